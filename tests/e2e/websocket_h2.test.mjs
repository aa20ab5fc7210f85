// WebSockets where HTTP/2 or TLS is on either side: over HTTP/1.1 Upgrade within TLS, and over extended CONNECT
// (RFC 8441) from clients and to origins. The WebSocket itself is that of the package ws on both ends.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { before, test } from 'node:test';
import { Gateway, identity, secret } from './lib/gateway.mjs';
import { freePort, onCleanup } from './lib/cleanup.mjs';
import { H2Wire, requestFields, setting } from './lib/http2_wire.mjs';
import { ask, connectHttp2, peer, startHttp2Origin, testPki } from './lib/peers.mjs';
import { until, within } from './lib/wait.mjs';
import { Wire, request } from './lib/wire.mjs';

const { WebSocket, WebSocketServer } = peer('ws');
let gateway;
let ports;
const sockets = [];      // of all origins, in order of arrival: {ws, headers}
const kinds = { upgrade: 'HTTP/1.1', secure: 'HTTP/1.1 within TLS', extended: 'HTTP/2 in clear', 'extended-tls': 'HTTP/2 over TLS' };
let onSocket = null;     // (ws, headers): instead of the echo

function serve(ws, headers) {
  sockets.push({ ws, headers });
  ws.on('error', () => {});
  if (onSocket) { onSocket(ws, headers); return; }
  ws.on('message', (data, binary) => ws.send(data, { binary }));
}
const protocols = (offered) => (offered.has('chat.v2') ? 'chat.v2' : false);

// Origins for HTTP/1.1: the path /refuse is answered 403, /redirect 302.
function startUpgradeOrigin(server) {
  const wss = new WebSocketServer({ noServer: true, handleProtocols: protocols, maxPayload: 64 * 2 ** 20, perMessageDeflate: true });
  server.on('upgrade', (req, socket, head) => {
    socket.on('error', () => {});
    if (req.url === '/refuse') { socket.end('HTTP/1.1 403 Forbidden\r\nX-Why: not you\r\nContent-Length: 7\r\n\r\nrefused'); return; }
    wss.handleUpgrade(req, socket, head, (ws) => serve(ws, req.headers));
  });
}
// And for RFC 8441: what ws does with an upgraded socket, it does with a stream.
function startExtendedOrigin(secure) {
  return startHttp2Origin({ secure, settings: { enableConnectProtocol: true }, onStream: (stream, headers) => {
    if (headers[':protocol'] !== 'websocket') { stream.respond({ ':status': 200 }); stream.end('plain'); return; }
    if (headers[':path'] === '/refuse') { stream.respond({ ':status': 403, 'x-why': 'not you' }); stream.end('refused'); return; }
    const offered = new Set((headers['sec-websocket-protocol'] ?? '').split(/, */));
    const chosen = protocols(offered);
    stream.respond({ ':status': 200, ...(chosen ? { 'sec-websocket-protocol': chosen } : {}) });
    serve(socketOver(stream, true), headers);
  } });
}
function socketOver(stream, server) {
  const ws = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 30_000 });
  ws._isServer = server;
  ws.setSocket(stream, Buffer.alloc(0), { maxPayload: 64 * 2 ** 20, skipUTF8Validation: false, allowSynchronousEvents: true });
  return ws;
}

before(async () => {
  const { pair, caFile } = testPki();
  const plain = http.createServer();
  const secure = https.createServer(pair.tls);
  for (const server of [plain, secure]) {
    startUpgradeOrigin(server);
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    onCleanup(() => { server.closeAllConnections(); server.close(); });
  }
  const extended = await startExtendedOrigin(false);
  const extendedTls = await startExtendedOrigin(true);
  const without = await startHttp2Origin({ handler: (_, response) => response.end('x') });
  const origins = {
    upgrade: { url: `http://127.0.0.1:${plain.address().port}` },
    secure: { url: `https://127.0.0.1:${secure.address().port}`, trust: { ca: caFile } },
    extended: { url: extended.url, http2: 'always' },
    'extended-tls': { url: extendedTls.url, http2: 'always', trust: { ca: caFile } },
    without: { url: without.url, http2: 'always' },
  };
  ports = { h2c: await freePort(), tls: await freePort() };
  gateway = await Gateway.start({
    listeners: [{ address: `127.0.0.1:${ports.h2c}`, http2: 'h2c' }, { address: `127.0.0.1:${ports.tls}`, tls: pair.files }],
    origins: Object.fromEntries(Object.entries(origins).map(([name, origin]) => [name, { ...origin, identity, timeouts: { idle: '10s' } }])),
    routes: [
      ...Object.keys(origins).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true, policies: [{ rewrite: { strip_prefix: `/${name}` } }] })),
      { match: { path: '/private/*' }, origin: 'upgrade', policies: ['api_key'] },
    ],
  });
});

// ---- clients -----------------------------------------------------------------------------------------------------

const opened = async (ws) => { ws.on('error', () => {}); await within('the WebSocket to open', Promise.race([once(ws, 'open'), once(ws, 'close').then(() => { throw new Error('closed before it was open'); })])); return ws; };
const plain = { perMessageDeflate: false };
const clients = {
  'Upgrade in clear': (target, list = []) => opened(new WebSocket(`ws://127.0.0.1:${ports.h2c}${target}`, list, { ...plain, headers: { host: 'api.test' } })),
  'Upgrade within TLS': (target, list = []) => opened(new WebSocket(`wss://127.0.0.1:${ports.tls}${target}`, list, { ...plain, headers: { host: 'api.test' }, servername: 'api.test', ca: testPki().ca })),
  'extended CONNECT in clear': (target, list = []) => extendedConnect(target, list, false),
  'extended CONNECT over TLS': (target, list = []) => extendedConnect(target, list, true),
};
async function extendedConnect(target, list, secure) {
  const client = await connectHttp2(secure ? ports.tls : ports.h2c, { secure });
  const { stream, headers } = await connectStream(client, target, list.length ? { 'sec-websocket-protocol': list.join(', ') } : {});
  assert.equal(headers[':status'], 200);
  const ws = socketOver(stream, false);
  ws.session = client;
  ws.chosen = headers['sec-websocket-protocol'];
  ws.on('error', () => {});
  return ws;
}
async function connectStream(client, target, fields = {}) {
  assert.equal(client.remoteSettings.enableConnectProtocol, true);
  const stream = client.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': target, 'sec-websocket-version': '13', ...fields }, { endStream: false });
  stream.on('error', () => {});
  const [headers] = await within('the response', Promise.race([once(stream, 'response'), once(stream, 'close').then(() => [{ ':status': 0, reset: stream.rstCode }])]));
  return { stream, headers };
}
async function roundTrip(ws, message) {
  const answer = once(ws, 'message');
  ws.send(message);
  const [data] = await within('the echo', answer, 60_000);
  return data;
}

for (const [name, connect] of Object.entries(clients)) {
  test(`${name}`, async (t) => {
    onSocket = null;
    for (const [origin, what] of Object.entries(kinds)) {
      await t.test(`to an origin with ${what}`, async (s) => {
        await s.test('messages of every size, ping, and an orderly close', async () => {
          const ws = await connect(`/${origin}/ws?a=1`);
          assert.equal(String(await roundTrip(ws, 'hello')), 'hello');
          for (const size of [0, 1, 125, 126, 65_535, 65_536, 1_000_000, 8_000_000]) {
            const message = Buffer.alloc(size, `${size} `);
            assert.ok((await roundTrip(ws, message)).equals(message), `${size}`);
          }
          const pong = once(ws, 'pong');
          ws.ping('are you there');
          assert.equal(String((await within('the pong', pong))[0]), 'are you there');
          const { ws: other } = sockets.at(-1);
          const pinged = once(ws, 'ping');
          const ponged = once(other, 'pong');
          other.ping('and you');
          await within('the ping', pinged);
          await within('the pong', ponged);
          const closed = once(ws, 'close');
          const otherClosed = once(other, 'close');
          ws.close(4321, 'enough');
          const [[code], [otherCode, reason]] = await within('the close', Promise.all([closed, otherClosed]));
          assert.deepEqual([code, otherCode, String(reason)], [4321, 4321, 'enough']);
        });
        await s.test('the origin may close, with its code', async () => {
          const ws = await connect(`/${origin}/ws`);
          await roundTrip(ws, 'x');
          const closed = once(ws, 'close');
          sockets.at(-1).ws.close(1013, 'try again later');
          const [code, reason] = await within('the close', closed);
          assert.deepEqual([code, String(reason)], [1013, 'try again later']);
        });
        await s.test('the identity arrives, and nothing of the other handshake', async () => {
          const ws = await connect(`/${origin}/ws`);
          const { headers } = sockets.at(-1);
          assert.equal(headers['x-backend-secret'], secret);
          assert.equal(headers['sec-websocket-version'], '13');
          const extended = origin.startsWith('extended');
          assert.equal(headers['sec-websocket-key'] === undefined, extended);
          assert.equal(headers.upgrade, extended ? undefined : 'websocket');
          ws.close();
        });
        await s.test('a subprotocol is agreed on', async () => {
          const ws = await connect(`/${origin}/ws`, ['chat.v1', 'chat.v2']);
          assert.equal(ws.chosen ?? ws.protocol, 'chat.v2');
          assert.match(sockets.at(-1).headers['sec-websocket-protocol'], /^chat\.v1, ?chat\.v2$/);
          ws.close();
        });
        await s.test('whoever dies takes the other with him', async () => {
          const ws = await connect(`/${origin}/ws`);
          await roundTrip(ws, 'x');
          const { ws: other } = sockets.at(-1);
          const otherClosed = once(other, 'close');
          ws.terminate();
          assert.equal((await within('the origin to see it', otherClosed))[0], 1006);
          const second = await connect(`/${origin}/ws`);
          await roundTrip(second, 'x');
          const closed = once(second, 'close');
          sockets.at(-1).ws.terminate();
          assert.equal((await within('the client to see it', closed))[0], 1006);
        });
      });
    }
  });
}

test('a reader that is slow stops the writer, not the gateway', async (t) => {
  for (const [name, connect] of Object.entries(clients)) {
    for (const origin of ['upgrade', 'extended']) {
      await t.test(`${name} to ${kinds[origin]}`, async () => {
        const flat = 24 * 2 ** 20;
        onSocket = (ws) => { ws.pause(); };
        const ws = await connect(`/${origin}/ws`);
        await until('the origin', () => sockets.length > 0);
        const { ws: other } = sockets.at(-1);
        const before = gateway.residentBytes();
        const block = Buffer.alloc(2 ** 20);
        for (let n = 0; n < 100; n++) ws.send(block);
        let last = -1;
        await until('it to stop', async () => { const now = ws.bufferedAmount; const same = now === last; last = now; await new Promise((resolve) => setTimeout(resolve, 400)); return same && now > 0; });
        assert.ok(ws.bufferedAmount > 40 * 2 ** 20, `${ws.bufferedAmount} bytes are left of 100 MiB: who took the rest?`);
        assert.ok(gateway.residentBytes() - before < flat, `grew by ${gateway.residentBytes() - before} bytes`);
        let received = 0;
        other.on('message', (data) => { received += data.length; });
        other.resume();
        await until('all of it', () => received === 100 * 2 ** 20, 60_000);
        ws.close();
        onSocket = null;
      });
    }
  }
});

test('extensions are between the two ends', async () => {
  onSocket = null;
  for (const origin of ['upgrade', 'secure']) {
    const ws = await opened(new WebSocket(`ws://127.0.0.1:${ports.h2c}/${origin}/ws`, { headers: { host: 'api.test' } }));
    assert.match(ws.extensions, /permessage-deflate/);
    const message = Buffer.alloc(1_000_000);
    assert.ok((await roundTrip(ws, message)).equals(message));
    ws.close();
  }
});

test('what is no WebSocket', async (t) => {
  onSocket = null;
  await t.test('a refusal of the origin passes: status, fields, body', async () => {
    for (const origin of Object.keys(kinds)) {
      for (const secure of [false, true]) {
        const client = await connectHttp2(secure ? ports.tls : ports.h2c, { secure });
        const { stream, headers } = await connectStream(client, `/${origin}/refuse`);
        let body = '';
        for await (const bytes of stream) body += bytes;
        assert.deepEqual([headers[':status'], headers['x-why'], body], [403, 'not you', 'refused'], origin);
        client.close();
      }
      const wire = await Wire.connect(ports.h2c);
      await wire.send(request(`/${origin}/refuse`, { headers: ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='] }));
      const answer = await wire.read();
      assert.deepEqual([answer.status, answer.get('x-why'), answer.text()], [403, 'not you', 'refused'], origin);
      wire.close();
    }
  });
  await t.test('policies come before the handshake', async () => {
    const client = await connectHttp2(ports.tls, { secure: true });
    const { headers } = await connectStream(client, '/private/ws');
    assert.equal(headers[':status'], 401);
    client.close();
  });
  await t.test('an origin without RFC 8441 is 502 with a code', async () => {
    const client = await connectHttp2(ports.h2c);
    const { stream, headers } = await connectStream(client, '/without/ws');
    let body = '';
    for await (const bytes of stream) body += bytes;
    assert.deepEqual([headers[':status'], JSON.parse(body).code], [502, 'PST-U008']);
    assert.equal((await ask(client, '/without/x')).status, 200);
    client.close();
  });
  await t.test('the setting is announced, and connections live side by side with requests', async () => {
    const wire = await H2Wire.connect(ports.h2c);
    assert.equal(wire.settings[setting.enableConnectProtocol], 1);
    const tunnel = wire.open([[':method', 'CONNECT'], [':protocol', 'websocket'], [':scheme', 'http'], [':authority', 'api.test'], [':path', '/upgrade/ws'], ['sec-websocket-version', '13']], { end: false });
    await until('the tunnel', () => tunnel.fields);
    assert.equal(tunnel.status, 200);
    for (const field of ['sec-websocket-accept', 'upgrade', 'connection']) assert.equal(tunnel.get(field), undefined);
    assert.equal((await wire.ask('/extended/x')).outcome, '200');
    await tunnel.send(Buffer.from('818537fa213d7f9f4d5158', 'hex'));
    await until('the echo', () => tunnel.bytes === 7);
    assert.deepEqual(Buffer.concat(tunnel.chunks), Buffer.from('810548656c6c6f', 'hex'));
    await tunnel.send('', true);
    wire.close();
  });
  const connectFields = (...extra) => [...requestFields('/upgrade/ws', { method: 'CONNECT' }), ...extra];
  const cases = [
    ['another protocol', connectFields([':protocol', 'connect-udp'], ['sec-websocket-version', '13'])],
    ['another version', connectFields([':protocol', 'websocket'], ['sec-websocket-version', '12'])],
    ['CONNECT without :protocol', [[':method', 'CONNECT'], [':authority', 'api.test:443']]],
    [':protocol with GET', [...requestFields('/upgrade/ws'), [':protocol', 'websocket']]],
    ['without :path', [[':method', 'CONNECT'], [':protocol', 'websocket'], [':scheme', 'http'], [':authority', 'api.test']]],
    ['two :protocol', connectFields([':protocol', 'websocket'], [':protocol', 'websocket'])],
  ];
  for (const [name, fields] of cases) {
    await t.test(`${name} is refused`, async () => {
      const before = sockets.length;
      const wire = await H2Wire.connect(ports.h2c);
      const ordered = [...fields.filter(([field]) => field.startsWith(':')), ...fields.filter(([field]) => !field.startsWith(':'))];
      const stream = wire.open(ordered, { end: false });
      await until('an answer', () => stream.fields || stream.done);
      assert.ok(stream.fields ? stream.status >= 400 : stream.reset !== null, stream.outcome);
      assert.equal(sockets.length, before);
      assert.equal((await wire.ask('/extended/x')).outcome, '200', 'the connection lives');
      wire.close();
    });
  }
});
