// Hostile HTTP/2 origins: what a backend must not be able to do to the gateway, to its clients, or to other backends. Each
// case is met by an HTTP/1.1 and by an HTTP/2 client, and ends in a stable code; neighbours go on, on the same connection
// where only a stream is to blame; afterwards the same origin is served again if it behaves.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { H2Wire, code, flag, frame, frames, setting, startRawH2Origin, type } from './lib/http2_wire.mjs';
import { encode, incremental, indexed, literal, tableSize } from './lib/hpack.mjs';
import { testPki } from './lib/peers.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { Wire, request } from './lib/wire.mjs';

const flat = 24 * 2 ** 20;
let gateway;
let evil;       // raw HTTP/2 in clear
let evilTls;
let other;      // an honest HTTP/1.1 origin beside it
before(async () => {
  evil = await startRawH2Origin();
  evilTls = await startRawH2Origin({ tls: testPki().pair.tls });
  other = await RecordingOrigin.start();
  const settings = { identity, http2: 'always', ejection: { consecutive_failures: 0 }, timeouts: { connect: '2s', first_byte: '2s', idle: '2s' } };
  gateway = await Gateway.start((own) => ({
    workers: 1,
    listeners: [{ address: `127.0.0.1:${own.port}`, http2: 'h2c' }],
    limits: { max_body_size: 'unlimited' },
    origins: { evil: { url: evil.url, ...settings }, 'evil-tls': { url: evilTls.url, trust: { ca: testPki().caFile }, ...settings }, other: { url: other.url, identity } },
    routes: [{ match: { path: '/*' }, origin: 'evil', public: true }, { match: { path: '/tls/*' }, origin: 'evil-tls', public: true }, { match: { path: '/other' }, origin: 'other', public: true }],
  }));
});

// One request as each kind of client: what became of it, "STATUS PST-CODE", "STATUS" or "broken off".
async function one(target, options = {}) {
  const wire = await Wire.connect(gateway.port);
  try {
    await wire.send(request(target, options));
    const response = await wire.read(options.method);
    if (!response) return 'closed';
    return response.status >= 500 ? `${response.status} ${response.problem().code}` : String(response.status);
  } catch (error) {
    if (/ended within a response/.test(error.message)) return 'broken off';
    throw error;
  } finally { wire.close(); }
}
let shared = null;
async function two(target, { method = 'GET', body = null } = {}) {
  if (!shared || shared.ended) shared = await H2Wire.connect(gateway.port);
  const stream = shared.request(target, { method, end: body === null });
  if (body !== null) await stream.send(body, true);
  await stream.finished();
  if (stream.reset !== null && stream.reset !== code.NO_ERROR && stream.fields) return 'broken off';
  return stream.fields && stream.status >= 500 ? `${stream.status} ${stream.problem().code}` : stream.outcome;
}
const honest = (stream, wire) => wire.respond(stream, 200, { body: 'ok' });
const pathOf = (stream) => stream.get(':path');

// `answer(stream, wire)` is what the origin does with /hostile; everything else it answers honestly.
// expected: outcomes that are right. connection: the whole connection may be lost, so a neighbour stream may be, too.
async function survives(t, name, answer, expected, { connection = false, target = '/hostile', origin = evil, options = {} } = {}) {
  await t.test(name, async () => {
    const held = [];
    const before = gateway.residentBytes();
    origin.onRequest = (stream, wire) => {
      if (pathOf(stream) === target) return answer(stream, wire);
      if (pathOf(stream) === '/held') return held.push([stream, wire]);
      return honest(stream, wire);
    };
    const neighbour = two('/held');
    if (origin === evil) await until('the neighbour at the origin', () => held.length > 0);
    for (const client of [one, two]) {
      const outcome = await client(target, options);
      assert.ok([expected].flat().includes(outcome), `${client.name}: ${outcome}, expected ${expected}`);
      assert.equal(await one('/other'), '200', 'the other origin');
    }
    assert.ok(gateway.residentBytes() - before < flat, `grew by ${gateway.residentBytes() - before} bytes`);
    if (connection) for (const [, wire] of held) wire.close();
    else if (held.length) { for (const [stream, wire] of held) honest(stream, wire); assert.equal(await neighbour, '200', 'the neighbour stream'); }
    await neighbour;
    origin.onRequest = honest;
    assert.equal(await one(target === '/hostile' ? '/again' : '/tls/again'), '200', 'the same origin, behaving');
    assert.equal(gateway.process.exit, null);
  });
}
const malformed = '502 PST-U005';
const head = (fields, options) => (stream, wire) => wire.write(frames.headers(stream.id, fields, options));
const raw = (...make) => (stream, wire) => wire.write(Buffer.concat(make.map((part) => part(stream.id))));
const headers = (fields, options) => (id) => frames.headers(id, fields, options);
const data = (bytes, end = false) => (id) => frames.data(id, bytes, end);
const ok = [':status', '200'];
const open = { end: false };

test('response heads', async (t) => {
  const cases = [
    ['no :status', head([['x-a', 'b']])],
    ['nothing', head([])],
    ['two :status', head([ok, ok])],
    ['two different :status', head([ok, [':status', '404']])],
    ...['', '20', '2000', '099', '600', 'abc', '2 0', '-20', '200 OK', '2\r\n'].map((value) => [`:status ${JSON.stringify(value)}`, head([[':status', value]])]),
    ['101 (RFC 9113 8.6)', head([[':status', '101']])],
    ['101 that goes on', raw(headers([[':status', '101']], open), headers([ok]))],
    [':status behind a field', head([['x-a', 'b'], ok])],
    ['a pseudo-header of requests', head([ok, [':path', '/']])],
    ['an unknown pseudo-header', head([ok, [':x', 'y']])],
    ['an upper-case name', head([ok, ['X-A', 'b']])],
    ['an empty name', head([ok, ['', 'b']])],
    ['a name with a space', head([ok, ['x a', 'b']])],
    ['a name with CRLF', head([ok, ['x\r\ny', 'b']])],
    ['a value with CRLF', head([ok, ['x-a', 'b\r\nSet-Cookie: stolen=1']])],
    ['a value with LF', head([ok, ['x-a', 'b\nc']])],
    ['a value with NUL', head([ok, ['x-a', 'b\0']])],
    ...[['connection', 'close'], ['keep-alive', 'timeout=5'], ['transfer-encoding', 'chunked'], ['upgrade', 'h2c'], ['proxy-connection', 'close']].map(([name, value]) => [`${name}: ${value}`, head([ok, [name, value]])]),
    ['content-length and END_STREAM', head([ok, ['content-length', '5']])],
    ['two content-lengths', raw(headers([ok, ['content-length', '2'], ['content-length', '3']], open), data('ok', true))],
    ...['+2', '0x2', '2,2', '', ' 2', '99999999999999999999'].map((value) => [`content-length ${JSON.stringify(value)}`, raw(headers([ok, ['content-length', value]], open), data('ok', true))]),
    ['DATA before any head', raw(data('early', true))],
    ['END_STREAM on an interim head', head([[':status', '103']])],
    ['interim heads without an end', (stream, wire) => wire.write(Buffer.concat(Array.from({ length: 200 }, () => frames.headers(stream.id, [[':status', '103'], ['x-a', 'b']], open))))],
    ['1000 fields', head([ok, ...Array.from({ length: 1000 }, (_, n) => [`x-${n}`, ''])])],
    ['HPACK bomb', raw((id) => frames.headers(id, Buffer.concat([literal(':status', '200'), incremental('x-bomb', 'b'.repeat(4000)), ...Array(8000).fill(indexed(62))])))],
  ];
  for (const [name, answer] of cases) await survives(t, name, answer, [malformed, '502 PST-U004']);
  await survives(t, 'the same over TLS: CRLF in a value', head([ok, ['x-a', 'b\r\nc: d']]), malformed, { origin: evilTls, target: '/tls/hostile' });
});

test('bodies and trailers', async (t) => {
  const broken = ['broken off', malformed];
  const cases = [
    ['less than content-length', raw(headers([ok, ['content-length', '5']], open), data('abc', true))],
    ['more than content-length', raw(headers([ok, ['content-length', '2']], open), data('abcde', true))],
    ['more than content-length, and another response behind', raw(headers([ok, ['content-length', '2']], open), data('ok'), data('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil', true))],
    ['a pseudo-header in trailers', raw(headers([ok], open), data('ok'), headers([[':status', '500']]))],
    ['CRLF in trailers', raw(headers([ok], open), data('ok'), headers([['x-a', 'b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n']]))],
    ['transfer-encoding in trailers', raw(headers([ok], open), data('ok'), headers([['transfer-encoding', 'chunked']]))],
    ['trailers that do not end the stream', raw(headers([ok], open), data('ok'), headers([['x-a', 'b']], open))],
    ['RST_STREAM in the middle', raw(headers([ok], open), data('ok'), (id) => frames.rst(id, code.INTERNAL_ERROR))],
    ['RST_STREAM(NO_ERROR) in the middle', raw(headers([ok], open), data('ok'), (id) => frames.rst(id, code.NO_ERROR))],
  ];
  for (const [name, answer] of cases) await survives(t, name, answer, broken);
  await survives(t, 'a body for HEAD is dropped or refused', raw(headers([ok, ['content-length', '5']], open), data('abcde', true)), ['200', malformed, 'broken off'], { options: { method: 'HEAD' } });
  await survives(t, 'a body for 204', raw(headers([[':status', '204']], open), data('abcde', true)), ['204', malformed, 'broken off']);
  await survives(t, 'a body for 304', raw(headers([[':status', '304']], open), data('abcde', true)), ['304', malformed, 'broken off']);
  await survives(t, 'a body that never goes on', raw(headers([ok], open), data('ok')), ['broken off', '504 PST-U003']);
  await survives(t, 'silence', () => {}, '504 PST-U003');
  await survives(t, 'a head, one frame of it at a time, without an end', (stream, wire) => {
    wire.write(frames.headers(stream.id, [ok], { end: false, endHeaders: false }));
  }, ['504 PST-U003', malformed, '502 PST-U004'], { connection: true });
});

test('streams refused and reset', async (t) => {
  for (const [name, expected] of [['NO_ERROR', '502'], ['PROTOCOL_ERROR', '502'], ['INTERNAL_ERROR', '502'], ['CANCEL', '502'], ['REFUSED_STREAM', '502'], ['ENHANCE_YOUR_CALM', '502'], ['HTTP_1_1_REQUIRED', '502']]) {
    await survives(t, name, (stream, wire) => wire.write(frames.rst(stream.id, code[name])), [`${expected} PST-U004`, `${expected} PST-U005`]);
  }
  await survives(t, 'a code that nobody knows', (stream, wire) => wire.write(frames.rst(stream.id, 0xdeadbeef)), ['502 PST-U004', malformed]);
  await survives(t, 'RST_STREAM twice', (stream, wire) => wire.write(Buffer.concat([frames.rst(stream.id), frames.rst(stream.id)])), ['502 PST-U004']);
});

test('the connection itself', async (t) => {
  const lost = ['502 PST-U004', malformed, 'broken off'];
  const all = (...make) => (_, wire) => wire.write(Buffer.concat(make.map((part) => part())));
  const cases = [
    ['garbage', all(() => Buffer.alloc(1000, 0xff))],
    ['an HTTP/1.1 response', all(() => Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))],
    ['a frame too large', raw((id) => frame(type.data, 0, id, Buffer.alloc(20_000)))],
    ['PUSH_PROMISE', raw((id) => frame(type.push, flag.endHeaders, id, Buffer.concat([Buffer.from([0, 0, 0, 2]), encode([[':method', 'GET'], [':path', '/pushed'], [':scheme', 'http'], [':authority', 'a']])])))],
    ['HEADERS on a stream that nobody opened', raw(() => frames.headers(9999, [ok]))],
    ['HEADERS on an even stream', raw(() => frames.headers(2, [ok]))],
    ['DATA on stream 0', raw(() => frames.data(0, 'x'))],
    ['SETTINGS of 5 bytes', raw(() => frame(type.settings, 0, 0, Buffer.alloc(5)))],
    ['SETTINGS_INITIAL_WINDOW_SIZE of 2^31', raw(() => frames.settings([[setting.initialWindowSize, 2 ** 31]]))],
    ['SETTINGS_ENABLE_PUSH of 1', raw(() => frames.settings([[setting.enablePush, 1]]))],
    ['WINDOW_UPDATE of 0', raw(() => frames.windowUpdate(0, 0))],
    ['WINDOW_UPDATE beyond 2^31-1', raw(() => frames.windowUpdate(0, 0x7fffffff))],
    ['PING of 7 bytes', raw(() => frame(type.ping, 0, 0, Buffer.alloc(7)))],
    ['HPACK: index 0', raw((id) => frames.headers(id, Buffer.from([0x80])))],
    ['HPACK: a table size beyond what was agreed on', raw((id) => frames.headers(id, Buffer.concat([tableSize(100_000), encode([ok])])))],
    ['another frame within a header block', raw((id) => frames.headers(id, [ok], { endHeaders: false }), () => frames.ping())],
    ['CONTINUATION without an end', (stream, wire) => { wire.write(frames.headers(stream.id, [ok], { endHeaders: false })); for (let n = 0; n < 5000; n++) wire.write(frames.continuation(stream.id, [])); }],
    ['CONTINUATION of 16 MiB', (stream, wire) => { wire.write(frames.headers(stream.id, [ok], { endHeaders: false })); const block = encode(Array.from({ length: 16 }, (_, n) => [`x-${n}`, 'v'.repeat(1000)])); for (let n = 0; n < 1000; n++) wire.write(frames.continuation(stream.id, block)); }],
    ['GOAWAY and an end', all(() => frames.goaway(0, code.INTERNAL_ERROR), () => Buffer.alloc(0))],
    ['the connection is cut', (_, wire) => wire.socket.resetAndDestroy()],
    ['the connection is closed in order', (_, wire) => wire.socket.end()],
    ['the connection is cut within a frame', (stream, wire) => { wire.write(frames.headers(stream.id, [ok, ['x-a', 'b']]).subarray(0, 12)); setTimeout(() => wire.socket.resetAndDestroy(), 20); }],
  ];
  for (const [name, answer] of cases) await survives(t, name, answer, [...lost, '504 PST-U003'], { connection: true });
  await survives(t, 'DATA beyond the window of the stream and of the connection', (stream, wire) => {
    wire.write(frames.headers(stream.id, [ok, ['content-length', String(2 ** 30)]], open));
    const block = frames.data(stream.id, Buffer.alloc(16_384));
    const more = () => { for (let n = 0; n < 16 && !wire.ended; n++) if (!wire.write(block)) { wire.socket.once('drain', more); return; } if (!wire.ended) setImmediate(more); };
    more();
  }, ['200', 'broken off'], { connection: true });
});

test('floods', async (t) => {
  const lost = ['502 PST-U004', malformed, 'broken off', '504 PST-U003'];
  const flood = (make, count = 100_000) => (stream, wire) => {
    let n = 0;
    const more = () => {
      for (; n < count && !wire.ended; n++) if (!wire.write(make(stream.id, n))) { n++; wire.socket.once('drain', more); return; }
    };
    more();
  };
  const cases = [
    ['PING', flood(() => frames.ping())],
    ['SETTINGS', flood(() => frames.settings())],
    ['SETTINGS that change all windows', flood((_, n) => frames.settings([[setting.initialWindowSize, 1000 + (n % 2)]]))],
    ['SETTINGS that change the header table', flood((_, n) => frames.settings([[setting.headerTableSize, n % 2 ? 0 : 4096]]))],
    ['PRIORITY', flood((_, n) => frames.priority(1 + 2 * (n % 1000)))],
    ['WINDOW_UPDATE', flood(() => frames.windowUpdate(0, 1))],
    ['DATA without a byte', flood((id, n) => (n === 0 ? frames.headers(id, [ok], open) : frames.data(id, '')))],
    ['frames that nobody knows', flood(() => frame(0xfa, 0, 0, Buffer.alloc(8)))],
    ['GOAWAY', flood(() => frames.goaway(2 ** 31 - 1, code.NO_ERROR))],
    ['RST_STREAM of a stream that is over', flood((id) => frames.rst(id))],
    ['DATA of a stream that is over', flood((id, n) => (n === 0 ? frames.headers(id, [[':status', '500']]) : frames.data(id, '')), 100_000)],
  ];
  for (const [name, answer] of cases) {
    await survives(t, name, answer, [...lost, '500'], { connection: true });
  }
  await t.test('an origin that resets every stream costs a code each time, and nothing else', async () => {
    evil.onRequest = (stream, wire) => wire.write(frames.rst(stream.id, code.INTERNAL_ERROR));
    for (let n = 0; n < 300; n++) assert.match(await two(`/reset/${n}`), /^50[23] PST-U00[456]$/);
    evil.onRequest = honest;
    assert.equal(await two('/again'), '200');
  });
});

test('before the first answer', async (t) => {
  const cases = [
    ['no SETTINGS', (wire) => { wire.quiet = true; return 'silent'; }, ['504 PST-U002', '504 PST-U003', '502 PST-U004', malformed]],
    ['HTTP/1.1 instead', (wire) => { wire.write(Buffer.from('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')); return 'silent'; }, ['502 PST-U004', malformed]],
    ['another frame than SETTINGS', (wire) => { wire.write(frames.ping()); return 'silent'; }, ['502 PST-U004', malformed]],
    ['an end at once', (wire) => { wire.socket.end(); return 'silent'; }, ['502 PST-U004', malformed]],
    ['a reset at once', (wire) => { wire.socket.resetAndDestroy(); return 'silent'; }, ['502 PST-U004', malformed, '502 PST-U001']],
    ['GOAWAY at once', (wire) => { wire.write(Buffer.concat([frames.settings(), frames.goaway(0, code.NO_ERROR)])); return 'silent'; }, ['502 PST-U004', malformed, '503 PST-U006', '503 PST-U007']],
    ['no stream allowed, for ever', (wire) => { wire.write(frames.settings([[setting.maxConcurrentStreams, 0]])); return 'silent'; }, ['502 PST-U004', malformed, '504 PST-U002', '503 PST-U007', '504 PST-U003']],
  ];
  for (const [name, onConnection, expected] of cases) {
    await t.test(name, async () => {
      // What has been agreed on before does not count here.
      for (const wire of evil.live()) wire.close();
      evil.onConnection = onConnection;
      evil.onRequest = () => {};
      try {
        for (const client of [one, two]) {
          const outcome = await client('/hostile');
          assert.ok(expected.includes(outcome), `${outcome}, expected ${expected}`);
        }
        assert.equal(await one('/other'), '200');
        assert.ok(evil.live().length < 20, `${evil.live().length} connections to an origin that gives nothing`);
      } finally {
        evil.onConnection = null;
        evil.onRequest = honest;
        for (const wire of evil.live()) wire.close();
      }
      await until('the origin to be served again', async () => (await one('/again')) === '200');
    });
  }
});

test('uploads', async (t) => {
  const renew = () => { for (const wire of evil.live()) wire.close(); };
  for (const [name, settings] of [['a window of zero', [[setting.initialWindowSize, 0]]], ['a window that is never given back', []]]) {
    await t.test(name, async () => {
      renew();
      evil.settings = settings;
      evil.onRequest = (stream, wire) => { wire.consume = false; if (pathOf(stream) !== '/hostile') honest(stream, wire); };
      const before = gateway.residentBytes();
      const body = 'x'.repeat(2 ** 20);
      for (const client of [one, two]) assert.match(await client('/hostile', { method: 'POST', body }), /^504 PST-U003$/);
      assert.ok(gateway.residentBytes() - before < flat);
      assert.equal(await one('/other'), '200');
      evil.settings = [];
      evil.onRequest = honest;
      renew();
      await until('the origin to be served again', async () => (await one('/again')) === '200');
    });
  }
  await t.test('a window that shrinks below zero and comes back loses nothing', async () => {
    renew();
    let total = 0;
    evil.onRequest = (stream, wire) => {
      if (pathOf(stream) !== '/shrink') { honest(stream, wire); return; }
      setTimeout(() => wire.write(frames.settings([[setting.initialWindowSize, 10]])), 20);
      setTimeout(() => wire.write(frames.settings([[setting.initialWindowSize, 100_000]])), 200);
    };
    for (const wire of evil.wires) wire.onEnd = null;
    evil.onConnection = (wire) => { wire.onEnd = (stream) => { if (pathOf(stream) === '/shrink') { total = stream.bytes; honest(stream, wire); } }; };
    assert.equal(await one('/shrink', { method: 'POST', body: 'x'.repeat(400_000) }), '200');
    assert.equal(total, 400_000);
    evil.onConnection = null;
    evil.onRequest = honest;
  });
  await t.test('a refusal before the end of the upload is the answer', async () => {
    evil.onRequest = (stream, wire) => { wire.respond(stream, 413, { body: 'too much' }); wire.write(frames.rst(stream.id, code.NO_ERROR)); };
    for (const client of [one, two]) assert.equal(await client('/early', { method: 'POST', body: 'x'.repeat(500_000) }), '413');
    evil.onRequest = honest;
  });
});

test('after all this the gateway is what it was', async () => {
  shared?.close();
  assert.equal(await one('/again'), '200');
  assert.equal(gateway.process.exit, null);
  assert.ok(!/exception|sanitizer/i.test(gateway.process.stderr), gateway.process.stderr);
  assert.deepEqual(other.errors, []);
});
