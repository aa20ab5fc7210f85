// One HTTP/2 connection to an origin carries the requests of many clients: a login of the connection has no place on it,
// a reader who is slow does not hold it, and what an origin says behind a body is judged like what it says before.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gateway, identity, secret, secretHeader } from './lib/gateway.mjs';
import { H2Wire, frames, startRawH2Origin } from './lib/http2_wire.mjs';
import { ask, connectHttp2, startHttp2Origin, testPki } from './lib/peers.mjs';
import { RecordingOrigin, ok } from './lib/recording_origin.mjs';
import { status } from './lib/tls_gateway.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

// One loop, so that all requests have the same sessions; HTTP/1 and HTTP/2 clients on the same port.
const gatewayTo = (origin, extra = {}) => Gateway.start((own) => ({
  workers: 1,
  listeners: [{ address: `127.0.0.1:${own.port}`, http2: 'h2c' }],
  limits: { max_body_size: 'unlimited' },
  origins: { main: { identity, ...origin } },
  routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  ...extra,
}));
const send = (gateway, target, options) => exchange(gateway.port, request(target, options));

// ---- a login of the connection (RFC 4559 6) ----------------------------------------------------------------------

const logins = ['NTLM TlRMTVNTUAABAAAA', 'ntlm TlRMTVNTUAABAAAA', 'Negotiate YIIJvwYGKwYBBQUC', 'negotiate', 'NEGOTIATE x'];

test('NTLM and Negotiate have no place on a connection that is shared', async (t) => {
  const origin = await startHttp2Origin();
  const gateway = await gatewayTo({ url: origin.url, http2: 'always', ejection: { consecutive_failures: 3, max_percent: 100 } });
  const ejections = async () => (await status(gateway)).origins[0].endpoints.map((endpoint) => endpoint.ejections);
  const client = await connectHttp2(gateway.port);
  assert.equal((await send(gateway, '/first')).status, 200);
  for (const credentials of logins) {
    await t.test(`"${credentials.slice(0, 12)}" is refused under http2: always`, async () => {
      const before = origin.requests.length;
      const one = await send(gateway, '/login', { headers: [`Authorization: ${credentials}`] });
      assert.equal(one.problem().code, 'PST-U008');
      const record = await gateway.logged((entry) => entry.request_id === one.problem().request_id);
      assert.match(record.error_detail, /NTLM/);
      assert.equal(record.attempts, 1, 'another attempt would end alike');
      const two = await ask(client, '/login', { headers: { authorization: credentials } });
      assert.deepEqual([two.status, two.json().code], [502, 'PST-U008']);
      assert.equal(origin.requests.length, before, 'nothing of it reached the origin');
    });
  }
  await t.test('whoever sends it takes the origin from nobody', async () => {
    for (let n = 0; n < 10; n++) await send(gateway, '/login', { headers: [`Authorization: ${logins[0]}`] });
    const answer = await send(gateway, '/others');
    assert.equal(answer.status, 200, answer.text());
    assert.deepEqual(await ejections(), [0]);
  });
  await t.test('nor does a WebSocket to an origin that takes none', async () => {
    const handshake = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
    for (let n = 0; n < 10; n++) assert.equal((await send(gateway, '/ws', { headers: handshake })).problem().code, 'PST-U008');
    assert.equal((await send(gateway, '/others')).status, 200);
    assert.deepEqual(await ejections(), [0]);
  });
  await t.test('what only looks like one passes', async () => {
    for (const credentials of ['Bearer NTLM', 'NTLMv2 x', 'Basic TlRMTVNTUAAB', 'Negotiated x']) {
      const answer = await send(gateway, '/other', { headers: [`Authorization: ${credentials}`] });
      assert.deepEqual([answer.status, answer.json().headers.authorization], [200, credentials]);
    }
  });
  client.close();
});

test('with http2: auto it has an HTTP/1.1 connection of its own, which nobody else gets', async () => {
  const origin = await startHttp2Origin({ secure: true, allowHTTP1: true, handler: (req, res) => {
    res.end(JSON.stringify({ version: req.httpVersion, port: (req.stream?.session?.socket ?? req.socket).remotePort, authorization: req.headers.authorization }));
  } });
  const gateway = await gatewayTo({ url: origin.url, trust: { ca: testPki().caFile } });
  const client = await connectHttp2(gateway.port);
  const shared = (await send(gateway, '/')).json();
  assert.equal(shared.version, '2.0');
  const ports = new Set([shared.port]);
  for (const credentials of logins) {
    const one = (await send(gateway, '/login', { headers: [`Authorization: ${credentials}`] })).json();
    const two = (await ask(client, '/login', { headers: { authorization: credentials } })).json();
    for (const seen of [one, two]) {
      assert.deepEqual([seen.version, seen.authorization], ['1.1', credentials]);
      assert.ok(!ports.has(seen.port), 'a connection that carried something before');
      ports.add(seen.port);
    }
  }
  for (let n = 0; n < 5; n++) {
    const seen = (await send(gateway, '/')).json();
    assert.deepEqual([seen.version, seen.port], ['2.0', shared.port], 'who does not log in shares as before');
  }
  client.close();
});

// ---- trailers ----------------------------------------------------------------------------------------------------

const lower = secretHeader.toLowerCase();
const fine = [['x-checksum', 'sum'], ['grpc-status', '0'], ['server-timing', 'db;dur=1'], ['etag', '"e"']];
// What no head of an origin brings to a client, and what has no business behind a body (RFC 9110 6.5.1).
const stripped = [
  [lower, 'anything'], ['x_backend_secret', 'anything'], ['x.backend.secret', 'anything'],
  ['x-echo', `saw ${secret}!`], [`x-${secret}`, 'a name'],
  ['client-cert', ':AAAA:'], ['client_cert', ':AAAA:'], ['client-cert-chain', ':AAAA:'],
  ['x-request-id', 'another'],
];
const misplaced = [
  ['set-cookie', 'stolen=1'], ['content-length', '5'], ['content-type', 'text/html'], ['www-authenticate', 'Basic'], ['proxy-authenticate', 'Basic'],
  ['location', '/elsewhere'], ['cache-control', 'public'], ['trailer', 'x-more'], ['expect', '100-continue'],
];
const judged = (fields, left) => {
  for (const [name, value] of fine) assert.equal(fields[name], value, `${name} belongs to the client`);
  const names = Object.keys(fields).filter((name) => !fine.some(([kept]) => kept === name));
  assert.deepEqual(names, left);
  assert.ok(!JSON.stringify(fields).includes(secret));
};
const asObject = (head) => Object.fromEntries((head?.headers ?? []).map(([name, value]) => [name.toLowerCase(), value]));

test('trailers of an origin are cleared as its heads are', async (t) => {
  for (const [name, start] of [
    ['an HTTP/2 origin', async (trailers) => {
      const origin = await startRawH2Origin({ onRequest: (stream, wire) => wire.respond(stream, 200, { body: 'body', trailers }) });
      return { url: origin.url, http2: 'always' };
    }],
    ['a chunked HTTP/1.1 origin', async (trailers) => {
      const origin = await RecordingOrigin.start({ answer: () => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n${trailers.map(([key, value]) => `${key}: ${value}\r\n`).join('')}\r\n` });
      return { url: origin.url };
    }],
  ]) {
    await t.test(name, async () => {
      const gateway = await gatewayTo(await start([...stripped, ...fine]));
      const client = await connectHttp2(gateway.port);
      const two = await ask(client, '/');
      assert.deepEqual([two.status, two.body, two.reset], [200, 'body', 0]);
      judged({ ...two.trailers }, []);
      const one = await send(gateway, '/', { headers: ['TE: trailers'] });
      assert.deepEqual([one.status, one.text()], [200, 'body']);
      judged(asObject(one.trailers), []);
      assert.equal(await gateway.metric('postern_reflections_total'), 4, 'two for each client');
      assert.ok(!gateway.output().includes(secret));
      client.close();
    });
  }
  for (const field of misplaced) {
    await t.test(`${field[0]} behind a body of an HTTP/2 origin`, async () => {
      const origin = await startRawH2Origin({ onRequest: (stream, wire) => wire.respond(stream, 200, { body: 'body', trailers: [...fine, field] }) });
      const gateway = await gatewayTo({ url: origin.url, http2: 'always' });
      const client = await connectHttp2(gateway.port);
      // Left out, or the whole response is not believed: an HTTP/1.1 origin that says so is not.
      const two = await ask(client, '/');
      if (two.reset === 0) judged({ ...two.trailers }, []);
      const one = await send(gateway, '/', { headers: ['TE: trailers'] }).catch((error) => { assert.match(error.message, /ended within a response/); return null; });
      if (one) judged(asObject(one.trailers), []);
      client.close();
    });
  }
});

test('trailers of an HTTP/2 client say nothing that its head may not', async () => {
  const origin = await RecordingOrigin.start({ answer: ok() });
  const gateway = await gatewayTo({ url: origin.url, identity: [{ shared_secret: { header: 'Authorization', value: '${env:ORIGIN_SECRET}' } }] });
  const wire = await H2Wire.connect(gateway.port);
  const fields = [
    ['authorization', 'Bearer forged'], ['cookie', 'session=forged'], ['proxy-authorization', 'Basic forged'], ['content-type', 'forged/type'], ['host', 'forged.test'],
    ['x-forwarded-for', '6.6.6.6'], ['forwarded', 'for=6.6.6.6'], ['client-cert', ':forged:'], ['x-request-id', 'forged'], ['via', '1.1 forged'], ['expect', '100-continue'],
  ];
  for (const field of [null, ...fields]) {
    origin.reset();
    const stream = wire.request(`/${field?.[0] ?? 'none'}`, { method: 'POST', end: false });
    await stream.send('x');
    wire.write(frames.headers(stream.id, [['x-sum', '1'], ...(field ? [field] : [])]));
    await stream.finished();
    if (stream.outcome !== '200') {  // refused altogether is as good, for all but the honest one
      assert.ok(field && /^(400|RST PROTOCOL_ERROR)$/.test(stream.outcome), `${field}: ${stream.outcome}`);
      continue;
    }
    const { trailers } = origin.last();
    assert.deepEqual(asObject(trailers), { 'x-sum': '1' });
  }
  wire.close();
});

// ---- who reads slowly --------------------------------------------------------------------------------------------

test('a stalled reader does not hold the window that all streams of the connection share', async (t) => {
  let sessions = 0;
  const origin = await startHttp2Origin({
    onStream: (stream, headers) => {
      const size = Number(headers[':path'].slice(1));
      // Node resets a stream whose request nobody has read, sometimes before its last frame has gone out.
      stream.resume();
      stream.respond({ ':status': 200 });
      let left = size;
      const block = Buffer.alloc(16_384, 'x');
      const more = () => {
        while (left > 0 && !stream.destroyed) {
          const piece = left < block.length ? block.subarray(0, left) : block;
          left -= piece.length;
          if (left === 0) { stream.end(piece); return; }
          if (!stream.write(piece)) { stream.once('drain', more); return; }
        }
      };
      more();
    },
  });
  origin.on('session', () => { sessions++; });
  const big = 64 * 2 ** 20;
  for (const [name, stall] of [
    ['HTTP/2 streams with a full window', async (gateway) => {
      const wire = await H2Wire.connect(gateway.port);
      const stuck = Array.from({ length: 30 }, () => { const one = wire.request(`/${big}`); one.consume = false; return one; });
      await until('the windows to be full', () => stuck.every(({ bytes }) => bytes === 65_535));
      return { stop: () => wire.close(), resume: async () => {
        stuck[0].consume = true;
        wire.write(frames.windowUpdate(stuck[0].id, 65_535));
        await until('a stalled stream to move on', () => stuck[0].bytes > 2 ** 21);
      } };
    }],
    ['HTTP/2 connections with a full window', async (gateway) => {
      const wires = [];
      for (let n = 0; n < 30; n++) {
        const wire = await H2Wire.connect(gateway.port, { consume: false });
        wires.push({ wire, stream: wire.request(`/${big}`) });
      }
      await until('the windows to be full', () => wires.every(({ stream }) => stream.bytes === 65_535));
      return { stop: () => wires.forEach(({ wire }) => wire.close()), resume: async () => {
        const [{ wire, stream }] = wires;
        wire.consume = true;
        wire.write(Buffer.concat([frames.windowUpdate(0, 65_535), frames.windowUpdate(stream.id, 65_535)]));
        await until('a stalled stream to move on', () => stream.bytes > 2 ** 21);
      } };
    }],
    ['HTTP/1.1 connections that are not read', async (gateway) => {
      const before = origin.requests.length;
      const wires = await Promise.all(Array.from({ length: 30 }, async () => {
        const wire = await Wire.connect(gateway.port);
        wire.socket.pause();
        await wire.send(request(`/${big}`));
        return wire;
      }));
      await until('their requests at the origin', () => origin.requests.length === before + wires.length);
      return { stop: () => wires.forEach((wire) => wire.close()), resume: async () => {
        let seen = 0;
        wires[0].socket.removeAllListeners('data');
        wires[0].socket.on('data', (bytes) => { seen += bytes.length; });
        wires[0].socket.resume();
        await until('a stalled stream to move on', () => seen > 2 ** 23);
      } };
    }],
  ]) {
    await t.test(name, async () => {
      // Nobody is let go for being slow while this lasts.
      const gateway = await gatewayTo({ url: origin.url, http2: 'always', timeouts: { idle: '300s' } }, { limits: { write_idle_timeout: '300s' } });
      const before = sessions;
      const memory = gateway.residentBytes();
      const stalled = await stall(gateway);
      const reader = await H2Wire.connect(gateway.port);
      for (let n = 0; n < 3; n++) {
        const neighbour = await reader.ask(`/${3 * 2 ** 20}`);
        assert.deepEqual([neighbour.outcome, neighbour.bytes], ['200', 3 * 2 ** 20]);
        const old = await send(gateway, `/${2 ** 20}`);
        assert.deepEqual([old.status, old.body.length], [200, 2 ** 20]);
      }
      assert.equal(sessions, before + 1, 'all of them over one connection');
      assert.ok(gateway.residentBytes() - memory < 48 * 2 ** 20, `grew by ${gateway.residentBytes() - memory} bytes`);
      await stalled.resume();
      stalled.stop();
      reader.close();
    });
  }
});
