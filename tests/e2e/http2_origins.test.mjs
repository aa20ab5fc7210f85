// HTTP/2 to origins: `http2: auto`, `always` and `never`, TLS and in clear, and what an origin may say at any time:
// limits, GOAWAY, refused streams, an orderly close.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { Gateway, identity, secret, secretHeader } from './lib/gateway.mjs';
import { onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { code, frames, setting, startRawH2Origin } from './lib/http2_wire.mjs';
import { Http2Load, ask, connectHttp2, echo, h2load, peer, startHttp2Origin, startNghttpd, testPki } from './lib/peers.mjs';
import { until, within } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const h2c = (gateway) => [{ address: `127.0.0.1:${gateway.port}`, http2: 'h2c' }];
const trust = () => ({ ca: testPki().caFile });
const send = (gateway, target, options) => exchange(gateway.port, request(target, options));

async function startHttps() {
  const server = https.createServer({ ...testPki().pair.tls }, echo);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => { server.closeAllConnections(); server.close(); });
  return { url: `https://127.0.0.1:${server.address().port}`, server };
}
// A gateway with one origin, for HTTP/1 clients and HTTP/2 ones on the same port.
const gatewayTo = (origin, extra = {}) => Gateway.start((own) => ({
  listeners: h2c(own), limits: { max_body_size: 'unlimited' },
  origins: { main: { identity, ...origin } },
  routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  ...extra,
}));

test('which HTTP an origin gets', async (t) => {
  const directory = temporaryDirectory();
  writeFileSync(path.join(directory, 'index.html'), 'nghttpd');
  const both = await startHttp2Origin({ secure: true, allowHTTP1: true });
  const old = await startHttps();
  const clear = await startHttp2Origin();
  const classic = http.createServer(echo);
  await new Promise((resolve) => classic.listen(0, '127.0.0.1', resolve));
  onCleanup(() => { classic.closeAllConnections(); classic.close(); });
  const socket = await startHttp2Origin({ path: path.join(directory, 'origin.sock') });
  const nghttpd = await startNghttpd(directory);
  const nghttpdTls = await startNghttpd(directory, { secure: true });
  const secure = { trust: trust() };
  const origins = {
    auto: { url: both.url, ...secure }, always: { url: both.url, http2: 'always', ...secure }, never: { url: both.url, http2: 'never', ...secure },
    'auto-old': { url: old.url, ...secure }, 'always-old': { url: old.url, http2: 'always', ...secure },
    'clear-auto': { url: `http://127.0.0.1:${classic.address().port}` }, 'clear-always': { url: clear.url, http2: 'always' },
    'clear-always-classic': { url: `http://127.0.0.1:${classic.address().port}`, http2: 'always' },
    socket: { url: socket.url, http2: 'always' },
    nghttpd: { url: nghttpd.url, http2: 'always' }, 'nghttpd-tls': { url: nghttpdTls.url, ...secure },
  };
  const gateway = await Gateway.start((own) => ({
    listeners: h2c(own),
    origins: Object.fromEntries(Object.entries(origins).map(([name, origin]) => [name, { identity, ...origin }])),
    routes: Object.keys(origins).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true, policies: [{ rewrite: { strip_prefix: `/${name}` } }] })),
  }));
  const client = await connectHttp2(gateway.port);
  const expected = { auto: '2.0', always: '2.0', never: '1.1', 'auto-old': '1.1', 'clear-auto': '1.1', 'clear-always': '2.0', socket: '2.0' };
  for (const [name, version] of Object.entries(expected)) {
    await t.test(`${name}: HTTP/${version}, from HTTP/1.1 and HTTP/2 clients`, async () => {
      for (let n = 0; n < 3; n++) {
        const one = await send(gateway, `/${name}/a?n=${n}`, { method: 'POST', body: 'hello' });
        assert.equal(one.status, 200, one.text());
        assert.deepEqual([one.json().version, one.json().method, one.json().url, one.json().bodySize], [version, 'POST', `/a?n=${n}`, 5]);
        const two = await ask(client, `/${name}/b`, { headers: { 'x-kept': 'yes', te: 'trailers' } });
        assert.equal(two.status, 200, two.body);
        assert.deepEqual([two.json().version, two.json().headers['x-kept']], [version, 'yes']);
        for (const field of ['connection', 'keep-alive', 'transfer-encoding', 'upgrade']) if (version === '2.0') assert.equal(two.json().headers[field], undefined, field);
      }
    });
  }
  await t.test('nghttpd, in clear and over TLS', async () => {
    for (const name of ['nghttpd', 'nghttpd-tls']) {
      const answer = await send(gateway, `/${name}/index.html`);
      assert.deepEqual([answer.status, answer.text()], [200, 'nghttpd']);
      assert.equal((await ask(client, `/${name}/missing`)).status, 404);
      const head = await ask(client, `/${name}/index.html`, { method: 'HEAD' });
      assert.deepEqual([head.status, head.headers['content-length'], head.bytes], [200, '7', 0]);
    }
  });
  await t.test('always is HTTP/2 or nothing', async () => {
    const refused = await send(gateway, '/always-old/x');
    assert.equal(refused.problem().code, 'PST-U012');
    const record = await gateway.logged((entry) => entry.request_id === refused.problem().request_id);
    assert.match(record.error_detail, /protocol|ALPN|h2/i);
    const wrong = await send(gateway, '/clear-always-classic/x');
    assert.equal(wrong.status, 502);
    assert.match(wrong.problem().code, /^PST-U00[45]$/);
  });
  await t.test('postern origin test says which', async () => {
    for (const [name, version] of [['auto', /HTTP\/2/], ['never', /HTTP\/1\.1/], ['clear-always', /HTTP\/2/], ['auto-old', /HTTP\/1\.1/]]) {
      const { code: exit, stdout, stderr } = await gateway.postern('origin test', name);
      assert.equal(exit, 0, stdout + stderr);
      assert.match(stdout, version, name);
    }
  });
  await t.test('the pseudo-headers and identity that an origin sees', async () => {
    await ask(client, '/auto/fields?q', { headers: { 'x-backend-secret': 'forged', cookie: 'a=1; b=2' } });
    const seen = both.requests.findLast((headers) => headers[':path'] === '/fields?q');
    assert.equal(seen[':scheme'], 'https');
    assert.equal(seen[':authority'], `127.0.0.1:${both.port}`);
    assert.equal(seen[secretHeader.toLowerCase()], secret);
    assert.equal(seen.cookie, 'a=1; b=2');
    assert.equal(seen.host, undefined);
    assert.equal(seen['x-forwarded-proto'], 'http');
    assert.ok(seen['x-request-id']);
  });
  client.close();
});

test('what streams: bodies, trailers, interim responses, resets', async (t) => {
  const origin = await startHttp2Origin({
    onStream: async (stream, headers) => {
      switch (headers[':path']) {
        case '/trailers':
          stream.respond({ ':status': 200, 'x-head': 'h' }, { waitForTrailers: true });
          stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checksum': 'c', [secretHeader.toLowerCase()]: 'x', 'x-echo': secret }));
          stream.end('body');
          break;
        case '/hints': stream.additionalHeaders({ ':status': 103, link: '</a>' }); stream.respond({ ':status': 200 }); stream.end('late'); break;
        case '/echo': stream.respond({ ':status': 200 }); stream.pipe(stream); break;
        case '/cut': stream.respond({ ':status': 200 }); stream.write('part', () => stream.destroy(new Error('cut'))); break;
        case '/early': stream.respond({ ':status': 413 }); stream.end('too much'); stream.close(code.NO_ERROR); break;
        case '/wait': origin.emit('waiting', stream); break;
        case '/no-content': stream.respond({ ':status': 204 }, { endStream: true }); break;
        case '/not-modified': stream.respond({ ':status': 304, etag: '"x"' }, { endStream: true }); break;
        default: stream.respond({ ':status': 200, 'content-length': 2 }); stream.end('ok');
      }
    },
  });
  const gateway = await gatewayTo({ url: origin.url, http2: 'always' });
  const client = await connectHttp2(gateway.port);
  await t.test('trailers, to HTTP/2 and HTTP/1.1 clients, without the secret', async () => {
    const two = await ask(client, '/trailers');
    assert.deepEqual([two.status, two.body, two.trailers['x-checksum']], [200, 'body', 'c']);
    assert.ok(!JSON.stringify(two.trailers).includes(secret));
    assert.equal(two.trailers[secretHeader.toLowerCase()], undefined);
    const one = await send(gateway, '/trailers', { headers: ['TE: trailers'] });
    assert.deepEqual([one.status, one.text(), one.trailers?.get('x-checksum')], [200, 'body', 'c']);
    assert.ok(!one.trailers.has(secretHeader));
  });
  await t.test('request trailers, the forged secret stripped', async () => {
    let seen = null;
    origin.once('waiting', (stream) => { stream.resume().on('trailers', (fields) => { seen = fields; }).on('end', () => { stream.respond({ ':status': 200 }); stream.end(); }); });
    assert.equal((await ask(client, '/wait', { method: 'POST', body: 'x', trailers: { 'x-sum': '1', 'x-backend-secret': 'forged' } })).status, 200);
    assert.equal(seen['x-sum'], '1');
    assert.equal(seen['x-backend-secret'], undefined);
  });
  await t.test('103', async () => {
    const answer = await ask(client, '/hints');
    assert.deepEqual([answer.interim[0]?.[':status'], answer.interim[0]?.link, answer.body], [103, '</a>', 'late']);
    assert.equal((await send(gateway, '/hints')).interim.length, 1);
  });
  await t.test('204 and 304', async () => {
    for (const [target, status] of [['/no-content', 204], ['/not-modified', 304]]) {
      assert.deepEqual([(await ask(client, target)).status, (await send(gateway, target)).status], [status, status]);
    }
  });
  await t.test('a large body both ways at once, whole', async () => {
    const bytes = Buffer.alloc(20 * 2 ** 20);
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(at, at);
    const chunks = [];
    const answer = await ask(client, '/echo', { method: 'POST', body: bytes, onStream: (one) => one.on('data', (chunk) => chunks.push(chunk)) });
    assert.equal(answer.status, 200);
    assert.ok(Buffer.concat(chunks).equals(bytes));
    assert.ok((await send(gateway, '/echo', { method: 'POST', body: bytes.toString('latin1') })).body.equals(bytes));
  });
  await t.test('a response that is reset half-way is not taken for whole', async () => {
    const two = await ask(client, '/cut');
    assert.notEqual(two.reset, 0);
    await assert.rejects(send(gateway, '/cut'), /ended within a response/);
    assert.equal((await ask(client, '/')).body, 'ok', 'the connection to the origin lives');
  });
  await t.test('an early answer with RST_STREAM(NO_ERROR) counts', async () => {
    const answer = await ask(client, '/early', { method: 'POST', body: (writer) => { writer.write('part'); setTimeout(() => writer.end(), 300); } });
    assert.deepEqual([answer.status, answer.body], [413, 'too much']);
  });
  await t.test('a client that goes resets its stream at the origin, and no other', async () => {
    const waiting = once(origin, 'waiting');
    const one = client.request({ ':path': '/wait' });
    one.on('error', () => {});
    const [stream] = await within('the request at the origin', waiting);
    const closed = once(stream, 'close');
    one.close(code.CANCEL);
    await within('RST_STREAM at the origin', closed);
    assert.equal(stream.rstCode, code.CANCEL);
    const again = once(origin, 'waiting');
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/wait'));
    const [second] = await within('the request at the origin', again);
    const secondClosed = once(second, 'close');
    wire.reset();
    await within('RST_STREAM at the origin', secondClosed);
    assert.equal((await ask(client, '/')).body, 'ok');
    assert.ok(origin.connections <= 2, `${origin.connections} connections: a cancelled stream must not cost one`);
  });
  client.close();
});

test('many requests share few connections', async () => {
  const origin = await startHttp2Origin({ secure: true, handler: (_, response) => response.end('ok') });
  const gateway = await gatewayTo({ url: origin.url, trust: trust() });
  const result = await h2load(`http://127.0.0.1:${gateway.port}/`, ['-n', '5000', '-c', '4', '-m', '32']);
  assert.deepEqual([result.succeeded, result.failed, result.codes['2xx']], [5000, 0, 5000], result.stdout);
  assert.ok(origin.connections <= 2, `${origin.connections} connections for two loops`);
  // HTTP/1 clients share them as well.
  await Promise.all(Array.from({ length: 50 }, () => send(gateway, '/x')));
  assert.ok(origin.connections <= 2, `${origin.connections} connections`);
});

test("the origin's limit on streams is honoured", async () => {
  let open = 0;
  let peak = 0;
  const perSession = new Map();
  const origin = await startHttp2Origin({
    settings: { maxConcurrentStreams: 3 },
    onStream: (stream) => {
      const { session } = stream;
      perSession.set(session, (perSession.get(session) ?? 0) + 1);
      peak = Math.max(peak, perSession.get(session));
      open++;
      stream.on('close', () => perSession.set(session, perSession.get(session) - 1));
      setTimeout(() => { if (!stream.destroyed) { stream.respond({ ':status': 200 }); stream.end('ok'); } }, 5);
    },
  });
  const gateway = await gatewayTo({ url: origin.url, http2: 'always' });
  const result = await h2load(`http://127.0.0.1:${gateway.port}/`, ['-n', '600', '-c', '3', '-m', '20']);
  assert.deepEqual([result.succeeded, result.failed, result.codes['2xx']], [600, 0, 600], result.stdout);
  assert.equal(open, 600, 'no stream was refused and tried again');
  assert.ok(peak <= 3, `${peak} streams at once`);
});

test('no request fails when the origin takes a connection out of service', async (t) => {
  for (const [name, options] of [['in clear', {}], ['over TLS', { secure: true }]]) {
    await t.test(`GOAWAY under load, ${name}`, async () => {
      const origin = await startHttp2Origin({ ...options, handler: async (req, response) => { for await (const _ of req); response.end('ok'); } });
      const gateway = await gatewayTo({ url: origin.url, ...(options.secure ? { trust: trust() } : { http2: 'always' }) });
      const loads = [new Http2Load(gateway.port, { streams: 8 }), new Http2Load(gateway.port, { streams: 4, method: 'POST', body: 'x'.repeat(1000) })];
      for (let n = 1; n <= 20; n++) {
        await until('requests in between', () => loads.every(({ served, failures }) => served >= n * 20 || failures.length > 0));
        for (const session of [...origin.sessions]) session.close();  // GOAWAY, then the streams that it has run to their end
      }
      for (const load of loads) await load.stop();
      assert.deepEqual(loads.map(({ failures }) => failures), [[], []]);
      assert.ok(origin.connections > 15, `${origin.connections} connections: the GOAWAYs had no effect`);
    });
  }
  await t.test('streams beyond the last one of a GOAWAY are sent again elsewhere', async () => {
    const origin = await startRawH2Origin({
      onRequest: (stream, wire) => {
        // The first connection looks at its first stream only.
        if (wire === origin.wires[0] && stream.id > 1) {
          if (!wire.left) { wire.left = true; wire.write(frames.goaway(1, code.NO_ERROR)); setTimeout(() => { wire.respond(wire.stream(1), 200, { body: 'one' }); wire.socket.end(); }, 100); }
          return;
        }
        if (wire !== origin.wires[0]) wire.respond(stream, 200, { body: 'other' });
      },
    });
    const gateway = await gatewayTo({ url: origin.url, http2: 'always' }, { workers: 1 });
    const answers = await Promise.all(Array.from({ length: 6 }, (_, n) => send(gateway, `/${n}`)));
    assert.deepEqual(answers.map(({ status }) => status), Array(6).fill(200));
    assert.equal(answers.filter((answer) => answer.text() === 'one').length, 1);
    assert.ok((await gateway.metric('postern_retries_total')) >= 1);
  });
  await t.test('a refused stream is sent again, whatever its method, and with its body', async () => {
    let refuse = 1;
    const origin = await startHttp2Origin({ onStream: async (stream) => {
      if (refuse-- > 0) { stream.close(code.REFUSED_STREAM); return; }
      let body = '';
      for await (const bytes of stream) body += bytes;
      stream.respond({ ':status': 200 });
      stream.end(`${body.length} ${body.slice(-3)}`);
    } });
    const gateway = await gatewayTo({ url: origin.url, http2: 'always' });
    assert.equal((await send(gateway, '/refused/never', { method: 'POST' })).status, 200);
    for (const [method, size] of [['GET', 0], ['POST', 0], ['DELETE', 0], ['POST', 5], ['PATCH', 50_000]]) {
      refuse = 1;
      const target = `/refused/${method}/${size}`;
      const answer = await send(gateway, target, { method, body: size ? `${'x'.repeat(size - 3)}end` : '' });
      assert.deepEqual([answer.status, answer.text()], [200, `${size} ${size ? 'end' : ''}`]);
      assert.equal((await gateway.logged((entry) => entry.path === target)).attempts, 2, target);
    }
    refuse = 100;
    const answer = await send(gateway, '/refused/always');
    assert.equal(answer.problem().code, 'PST-U004');
  });
  await t.test('a connection that the origin closed while it was idle costs nothing', async () => {
    const origin = await startHttp2Origin();
    const gateway = await gatewayTo({ url: origin.url, http2: 'always' });
    for (let n = 0; n < 5; n++) {
      assert.equal((await send(gateway, '/idle', { method: 'POST', body: 'x' })).status, 200);
      for (const session of [...origin.sessions]) { if (n % 2) session.destroy(); else session.close(); }
      await until('it to be closed', () => origin.sessions.size === 0);
    }
  });
  await t.test('the gateway closes a connection that nobody uses', async () => {
    const origin = await startHttp2Origin();
    const gateway = await gatewayTo({ url: origin.url, http2: 'always', pool: { idle_timeout: '1s' } });
    assert.equal((await send(gateway, '/')).status, 200);
    await until('it to be closed', () => origin.sessions.size === 0);
    assert.equal((await send(gateway, '/')).status, 200);
  });
  await t.test('SETTINGS_MAX_CONCURRENT_STREAMS of 0 is waited for, not run over', async () => {
    const origin = await startRawH2Origin({ settings: [[setting.maxConcurrentStreams, 0]], onConnection: (wire) => { setTimeout(() => wire.write(frames.settings([[setting.maxConcurrentStreams, 100]])), 300); } });
    const gateway = await gatewayTo({ url: origin.url, http2: 'always', timeouts: { connect: '3s' } });
    const answer = await send(gateway, '/zero');
    assert.ok([200, 502, 503, 504].includes(answer.status), `${answer.status}`);
    await until('the limit to be lifted', async () => (await send(gateway, '/later')).status === 200);
  });
});

test('a WebSocket to an origin with HTTP/2 by ALPN goes over HTTP/1.1', async () => {
  const { WebSocketServer, WebSocket } = peer('ws');
  const origin = await startHttp2Origin({ secure: true, allowHTTP1: true });
  const sockets = new WebSocketServer({ noServer: true });
  let version = null;
  origin.server.on('upgrade', (req, socket, head) => { version = req.httpVersion; sockets.handleUpgrade(req, socket, head, (ws) => ws.on('message', (data) => ws.send(data))); });
  const gateway = await gatewayTo({ url: origin.url, trust: trust() });
  assert.equal((await send(gateway, '/first')).json().version, '2.0');
  const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}/ws`, { headers: { host: 'api.test' } });
  onCleanup(() => ws.terminate());
  await within('the WebSocket', once(ws, 'open'));
  ws.send('hello');
  const [data] = await within('the echo', once(ws, 'message'));
  assert.equal(data.toString(), 'hello');
  assert.equal(version, '1.1');
  assert.equal((await send(gateway, '/after')).json().version, '2.0');
  ws.close();
});
