// Hostile HTTP/2 clients against the running gateway, frame by frame: what is refused, with which code, and that neither a
// neighbour stream, nor a neighbour connection on the same loop, nor the HTTP/1.1 origin behind notices anything.
// What costs by its amount (floods, bombs, stalls) is in http2_floods.test.mjs.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { freePort } from './lib/cleanup.mjs';
import { H2Wire, code, codeName, flag, frame, frames, preface, requestFields, setting, type } from './lib/http2_wire.mjs';
import { encode, incremental, indexed, integer, literal, tableSize } from './lib/hpack.mjs';
import { testPki } from './lib/peers.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { smuggled } from './lib/refusal.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
let ports;
before(async () => {
  origin = await RecordingOrigin.start();
  ports = { h2c: await freePort(), tls: await freePort(), plain: await freePort(), never: await freePort() };
  const { pair } = testPki();
  gateway = await Gateway.start({
    workers: 1,
    listeners: [
      { address: `127.0.0.1:${ports.h2c}`, http2: 'h2c' }, { address: `127.0.0.1:${ports.tls}`, tls: pair.files },
      { address: `127.0.0.1:${ports.plain}` }, { address: `127.0.0.1:${ports.never}`, http2: 'never' },
    ],
    limits: { max_target_length: '1KiB' },
    origins: { main: { url: origin.url, identity } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
});

// A neighbour has an upload under way while something hostile happens, and ends it afterwards.
async function neighbour(wire = null) {
  const own = wire ?? await H2Wire.connect(ports.h2c);
  const stream = own.request('/neighbour', { method: 'POST', end: false, headers: [['content-length', '4']] });
  await stream.send('ab');
  return {
    async ends() {
      await stream.send('cd', true);
      await stream.finished();
      assert.equal(stream.outcome, '200', 'the neighbour');
      assert.equal(origin.last().body.toString(), 'abcd');
      if (!wire) own.close();
    },
  };
}
function nothingArrived(before, also = []) {
  const others = origin.requests.slice(before).map(({ target }) => target).filter((target) => target !== '/neighbour' && !also.includes(target));
  assert.deepEqual(others, [], 'reached the origin');
  assert.deepEqual(origin.errors, [], 'malformed request at the origin');
}
async function sendPieces(wire, bytes, fragment) {
  if (!fragment) { wire.write(bytes); return; }
  for (let at = 0; at < bytes.length && !wire.ended; at += fragment) {
    wire.write(bytes.subarray(at, at + fragment));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

// A stream error: this stream is refused or reset, everything else goes on. `make(id)` gives the frames of a stream.
// `expected`: outcomes that are right, "RST CODE" or "STATUS PST-CODE".
async function refusesStream(t, name, make, expected) {
  for (const fragment of [0, 1]) {
    await t.test(`${name}${fragment ? ', byte by byte' : ''}`, async () => {
      const before = origin.requests.length;
      const far = await neighbour();
      const wire = await H2Wire.connect(ports.h2c);
      const near = await neighbour(wire);
      const stream = wire.stream(wire.nextStream);
      wire.nextStream += 2;
      await sendPieces(wire, make(stream.id), fragment);
      await stream.finished();
      const outcome = stream.fields && stream.status >= 400 ? `${stream.status} ${stream.problem().code}` : stream.outcome;
      assert.ok([expected].flat().includes(outcome), `${outcome}${wire.goaway ? ` (GOAWAY: ${wire.goaway.debug})` : ''}, expected ${expected}`);
      await near.ends();
      assert.ok(await wire.alive(), 'the connection');
      await far.ends();
      nothingArrived(before);
      wire.close();
    });
  }
}
// A connection error: GOAWAY with one of these codes, and the connection is closed.
async function refusesConnection(t, name, make, expected, { raw = false } = {}) {
  for (const fragment of [0, 1]) {
    await t.test(`${name}${fragment ? ', byte by byte' : ''}`, async () => {
      const before = origin.requests.length;
      const far = await neighbour();
      const wire = await H2Wire.connect(ports.h2c, { silent: raw });
      await sendPieces(wire, make(), fragment);
      const outcome = await wire.refused();
      assert.ok([expected].flat().includes(outcome), `${outcome}, expected ${expected}`);
      await far.ends();
      nothingArrived(before, ['/honest']);
      wire.close();
    });
  }
}

const malformed = 'RST PROTOCOL_ERROR';
const with_ = (...headers) => (id) => frames.headers(id, requestFields('/hostile', { headers }));
const pseudo = (changes, headers = []) => (id) => {
  const fields = Object.entries({ ':method': 'GET', ':scheme': 'http', ':authority': 'api.test', ':path': '/hostile', ...changes }).filter(([, value]) => value !== null);
  return frames.headers(id, [...fields, ...headers]);
};
const body = (headers, ...pieces) => (id) => Buffer.concat([
  frames.headers(id, requestFields('/hostile', { method: 'POST', headers }), { end: false }),
  ...pieces.map((piece, at) => frames.data(id, piece, at === pieces.length - 1)),
]);

test('pseudo-headers', async (t) => {
  const cases = [
    ['no :method', pseudo({ ':method': null }), malformed],
    ['no :scheme', pseudo({ ':scheme': null }), malformed],
    ['no :path', pseudo({ ':path': null }), malformed],
    ['nothing at all', (id) => frames.headers(id, []), malformed],
    ...['method', 'scheme', 'authority', 'path'].map((name) => [`two :${name}`, (id) => frames.headers(id, [...requestFields('/hostile'), [`:${name}`, { method: 'GET', scheme: 'http', authority: 'api.test', path: '/hostile' }[name]]]), malformed]),
    [':status in a request', pseudo({ ':status': '200' }), malformed],
    ['an unknown one', pseudo({ ':unknown': 'x' }), malformed],
    [':protocol without CONNECT', pseudo({ ':protocol': 'websocket' }), malformed],
    ['one after a field', (id) => frames.headers(id, [[':method', 'GET'], [':scheme', 'http'], ['x-a', 'b'], [':path', '/hostile'], [':authority', 'api.test']]), malformed],
    ['an empty name after the colon', pseudo({ ':': 'x' }), malformed],
    ['neither :authority nor host', pseudo({ ':authority': null }), ['400 PST-R005', malformed]],
    ['an empty :authority', pseudo({ ':authority': '' }), ['400 PST-R005', malformed]],
    ['host that differs', pseudo({}, [['host', 'evil.test']]), ['400 PST-R005', malformed]],
    ['host that differs in its port', pseudo({ ':authority': 'api.test:1' }, [['host', 'api.test:2']]), ['400 PST-R005', malformed]],
    ['two hosts', pseudo({ ':authority': null }, [['host', 'api.test'], ['host', 'evil.test']]), ['400 PST-R005', malformed]],
    [':authority with user information', pseudo({ ':authority': 'user@api.test' }), ['400 PST-R005', malformed]],
    [':authority with a path', pseudo({ ':authority': 'api.test/x' }), ['400 PST-R005', malformed]],
    [':authority with a space', pseudo({ ':authority': 'api test' }), ['400 PST-R005', malformed]],
    [':authority with CRLF', pseudo({ ':authority': 'api.test\r\nX-Smuggled: 1' }), ['400 PST-R005', malformed]],
    [':authority with a port beyond 65535', pseudo({ ':authority': 'api.test:65536' }), ['400 PST-R005', malformed]],
    ['an empty :method', pseudo({ ':method': '' }), [malformed, '501 PST-R012', '400 PST-R001']],
    [':method with a space', pseudo({ ':method': 'GET /smuggled HTTP/1.1' }), [malformed, '501 PST-R012', '400 PST-R001']],
    [':method with CRLF', pseudo({ ':method': `GET /smuggled HTTP/1.1\r\nHost: api.test\r\n\r\nGET` }), [malformed, '400 PST-R001']],
    [':method in lower case', pseudo({ ':method': 'get' }), '501 PST-R012'],
    [':method that nobody knows', pseudo({ ':method': 'PRI' }), '501 PST-R012'],
    ['TRACE', pseudo({ ':method': 'TRACE' }), '501 PST-R012'],
    ['CONNECT', (id) => frames.headers(id, [[':method', 'CONNECT'], [':authority', 'api.test:443']], { end: false }), ['501 PST-R012', malformed]],
    ['CONNECT with :path', pseudo({ ':method': 'CONNECT' }), [malformed, '501 PST-R012']],
    [':scheme with CRLF', pseudo({ ':scheme': 'http\r\nx: y' }), malformed],
  ];
  for (const [name, make, expected] of cases) await refusesStream(t, name, make, expected);
  const wire = await H2Wire.connect(ports.h2c);
  for (const [name, fields] of [
    ['host equal to :authority', [...requestFields('/fine'), ['host', 'api.test']]],
    ['host equal but for its case', [...requestFields('/fine'), ['host', 'API.test']]],
    ['host alone', [[':method', 'GET'], [':scheme', 'http'], [':path', '/fine'], ['host', 'api.test']]],
    ['another order', [[':path', '/fine'], [':authority', 'api.test'], [':method', 'GET'], [':scheme', 'http']]],
    ['te: trailers', [...requestFields('/fine'), ['te', 'trailers']]],
  ]) {
    await t.test(`${name} passes`, async () => assert.equal((await wire.open(fields).finished()).outcome, '200'));
  }
});

test(':path', async (t) => {
  const bad = [malformed, '400 PST-R004'];
  const cases = [
    ['empty', '', bad], ['without a slash', 'hostile', bad], ['a whole URL', 'http://evil.test/hostile', bad], ['* with GET', '*', bad],
    ['a space', '/a b', bad], ['a tab', '/a\tb', bad], ['CRLF', `/a HTTP/1.1\r\nHost: api.test\r\n\r\n${smuggled}`, bad], ['LF', '/a\nb', bad], ['NUL', '/a\0b', bad],
    ['DEL', '/a\x7f', bad], ['a fragment', '/a#b', bad], ['a byte beyond ASCII', '/\xe4', bad], ['%00', '/%00', bad], ['%2f', '/a%2fb', bad], ['dots that climb', '/../a', bad],
    ['encoded dots that climb', '/%2e%2e/a', bad], ['a backslash', '/a\\b', bad], ['a broken escape', '/%zz', bad],
    ['too long', `/${'a'.repeat(1100)}`, ['414 PST-R007', '431 PST-R006']],
  ];
  for (const [name, path, expected] of cases) await refusesStream(t, name, pseudo({ ':path': path }), expected);
});

test('field names and values', async (t) => {
  const cases = [
    ...[['an upper-case name', 'X-Upper'], ['an empty name', ''], ['a name with a space', 'x a'], ['a name that ends in a space', 'x-a '], ['a name with a colon', 'x:a'], ['a name with CRLF', 'x\r\nx-b'], ['a name with NUL', 'x\0'],
      ['a name with DEL', 'x\x7f'], ['a name beyond ASCII', 'x-\xe4'], ['a name with a comma', 'x,a'], ['a name with a parenthesis', 'x(a'], ['a name that is a header line', 'transfer-encoding: chunked\r\nx']].map(([name, field]) => [name, with_([field, 'v']), malformed]),
    ...[['CR', 'a\rb'], ['LF', 'a\nb'], ['CRLF and a field', 'a\r\nX-Smuggled: 1'], ['CRLF and a request', `a\r\n\r\n${smuggled}`], ['NUL', 'a\0b'], ['NUL at its end', 'a\0'], ['an escape character', 'a\x1bb'], ['DEL', 'a\x7fb']].map(([name, value]) => [`a value with ${name}`, with_(['x-a', value]), malformed]),
    ...[['connection', 'keep-alive'], ['connection', 'close'], ['connection', 'x-backend-secret'], ['keep-alive', 'timeout=5'], ['proxy-connection', 'keep-alive'], ['transfer-encoding', 'chunked'], ['transfer-encoding', 'identity'],
      ['upgrade', 'h2c'], ['upgrade', 'websocket'], ['te', 'gzip'], ['te', 'trailers, gzip'], ['te', '']].map(([name, value]) => [`${name}: ${value}`, with_([name, value]), malformed]),
    ['transfer-encoding with a body that is chunked', body([['transfer-encoding', 'chunked']], `0\r\n\r\n${smuggled}`), malformed],
    ['transfer-encoding beside content-length', body([['content-length', '4'], ['transfer-encoding', 'chunked']], 'abcd'), malformed],
    ['Authorization twice', with_(['authorization', 'Bearer a'], ['authorization', 'Bearer b']), '400 PST-R015'],
    ['Expect that nobody knows', body([['expect', 'the-unexpected']], 'x'), ['417 PST-R010', malformed]],
  ];
  for (const [name, make, expected] of cases) await refusesStream(t, name, make, expected);
});

test('content-length and DATA', async (t) => {
  const early = ['RST PROTOCOL_ERROR', '400 PST-R003'];
  const cases = [
    ['more than came', body([['content-length', '5']], 'abc'), early],
    ['END_STREAM on HEADERS', with_(['content-length', '5']), early],
    ['less than came', body([['content-length', '2']], 'abcde'), early],
    ['zero, and a request behind', body([['content-length', '0']], smuggled), early],
    ['less, and the rest in a frame of its own', body([['content-length', '4']], 'abcd', smuggled), early],
    ...['', '+5', '-5', '0x5', '5,', '5, 5', '5, 6', ' 5', '5 ', '5.0', '18446744073709551616', '99999999999999999999999', 'five', '\xb2'].map((value) => [`of ${JSON.stringify(value)}`, body([['content-length', value]], 'abcde'), early]),
    ['twice and different', body([['content-length', '5'], ['content-length', '6']], 'abcde'), early],
    ['twice and the same', body([['content-length', '5'], ['content-length', '5']], 'abcde'), early],
    ['in trailers, to end short', (id) => Buffer.concat([frames.headers(id, requestFields('/hostile', { method: 'POST', headers: [['content-length', '9']] }), { end: false }), frames.data(id, 'abc'), frames.headers(id, [['content-length', '3']])]), early],
  ];
  for (const [name, make, expected] of cases) await refusesStream(t, name, make, expected);
  await t.test('a body that looks like framing arrives as a body', async () => {
    for (const text of [`0\r\n\r\n${smuggled}`, '5\r\nabcde\r\n0\r\n\r\n', `\r\n\r\n${smuggled}`]) {
      for (const headers of [[], [['content-length', String(text.length)]]]) {
        const wire = await H2Wire.connect(ports.h2c);
        const before = origin.requests.length;
        const stream = wire.request('/honest', { method: 'POST', end: false, headers });
        wire.write(Buffer.concat([...[...text].map((byte) => frames.data(stream.id, byte)), frames.data(stream.id, '', true)]));
        assert.equal((await stream.finished()).outcome, '200');
        assert.equal(origin.last().body.toString(), text);
        assert.deepEqual(origin.requests.slice(before).map(({ target }) => target), ['/honest']);
        wire.close();
      }
    }
    assert.deepEqual(origin.errors, []);
  });
});

test('trailers', async (t) => {
  const trailers = (fields, { end = true } = {}) => (id) => Buffer.concat([frames.headers(id, requestFields('/hostile', { method: 'POST' }), { end: false }), frames.data(id, 'abc'), frames.headers(id, fields, { end })]);
  const early = ['RST PROTOCOL_ERROR', '400 PST-R003', '400 PST-R002'];
  const cases = [
    ['a pseudo-header', trailers([[':path', '/smuggled']])], [':status', trailers([[':status', '200']])], ['transfer-encoding', trailers([['transfer-encoding', 'chunked']])], ['connection', trailers([['connection', 'close']])],
    ['an upper-case name', trailers([['X-Upper', 'v']])], ['CRLF in a value', trailers([['x-a', `b\r\n\r\n${smuggled}`]])], ['CRLF in a name', trailers([['x\r\ny', 'b']])], ['NUL', trailers([['x-a', '\0']])], ['without END_STREAM', trailers([['x-a', 'b']], { end: false })],
  ];
  for (const [name, make] of cases) await refusesStream(t, name, make, early);
});

test('too much in one head', async (t) => {
  const many = (count, name = (n) => `x-${n}`) => (id) => frames.headers(id, requestFields('/hostile', { headers: Array.from({ length: count }, (_, n) => [name(n), 'v']) }));
  const split = (id, fields) => {
    const block = encode(fields);
    const pieces = [];
    for (let at = 0; at < block.length; at += 16_384) pieces.push(block.subarray(at, at + 16_384));
    return Buffer.concat(pieces.map((piece, at) => frame(at === 0 ? type.headers : type.continuation, (at === 0 ? flag.endStream : 0) | (at === pieces.length - 1 ? flag.endHeaders : 0), id, piece)));
  };
  const refused = ['431 PST-R006', 'RST ENHANCE_YOUR_CALM', 'RST PROTOCOL_ERROR', 'RST INTERNAL_ERROR', 'RST CANCEL'];
  await refusesStream(t, '150 fields', many(150), '431 PST-R006');
  await refusesStream(t, '150 cookie crumbs, which would be one field', many(150, () => 'cookie'), '431 PST-R006');
  await refusesStream(t, '40 KiB in one field', (id) => split(id, requestFields('/hostile', { headers: [['x-big', 'b'.repeat(40_000)]] })), refused);
  await refusesStream(t, '60 KiB in many fields', (id) => split(id, requestFields('/hostile', { headers: Array.from({ length: 60 }, (_, n) => [`x-${n}`, 'b'.repeat(1000)]) })), refused);
  await refusesStream(t, '40 KiB of cookie crumbs', (id) => split(id, requestFields('/hostile', { headers: Array.from({ length: 80 }, () => ['cookie', 'b'.repeat(500)]) })), refused);
  await t.test('what is within the limits passes', async () => {
    const wire = await H2Wire.connect(ports.h2c);
    assert.equal((await wire.ask('/honest', { headers: Array.from({ length: 90 }, (_, n) => [`x-${n}`, 'v'.repeat(100)]) })).outcome, '200');
    assert.equal((await wire.ask('/honest', { headers: Array.from({ length: 90 }, (_, n) => ['cookie', `c${n}=1`]) })).outcome, '200');
    assert.equal(origin.last().head.get('cookie').split('; ').length, 90);
    wire.close();
  });
  await t.test('the limit is announced', async () => {
    const wire = await H2Wire.connect(ports.h2c);
    assert.ok(wire.settings[setting.maxHeaderListSize] >= 32 * 1024 && wire.settings[setting.maxHeaderListSize] <= 64 * 1024, JSON.stringify(wire.settings));
    wire.close();
  });
});

test('errors of one stream', async (t) => {
  const open = (id, path = '/hostile') => frames.headers(id, requestFields(path, { method: 'POST' }), { end: false });
  const closedCodes = ['RST STREAM_CLOSED', 'RST PROTOCOL_ERROR'];
  await refusesStream(t, 'WINDOW_UPDATE beyond 2^31-1', (id) => Buffer.concat([open(id), frames.windowUpdate(id, 0x7fffffff)]), 'RST FLOW_CONTROL_ERROR');
  await t.test('DATA after END_STREAM', async () => {
    const wire = await H2Wire.connect(ports.h2c);
    const near = await neighbour(wire);
    let answer;
    origin.answer = () => new Promise((resolve) => { answer = resolve; });
    const stream = wire.request('/honest');
    await until('the request at the origin', () => answer);
    wire.write(frames.data(stream.id, 'more', true));
    await stream.finished();
    assert.ok(closedCodes.includes(stream.outcome) || stream.outcome === 'GOAWAY STREAM_CLOSED', stream.outcome);
    origin.answer = () => 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
    answer('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    if (!wire.ended) await near.ends();
    wire.close();
  });
});

test('errors of the connection', async (t) => {
  const honest = (id = 1) => frames.headers(id, requestFields('/honest'));
  const P = 'PROTOCOL_ERROR';
  const F = 'FRAME_SIZE_ERROR';
  const cases = [
    ['HEADERS on stream 0', () => frames.headers(0, requestFields('/x')), P],
    ['HEADERS on an even stream', () => frames.headers(2, requestFields('/x')), P],
    // Stream errors that may be connection errors (RFC 9113 5.4.2), and are for nghttp2.
    ['WINDOW_UPDATE of 0 on a stream', () => Buffer.concat([frames.headers(1, requestFields('/x', { method: 'POST' }), { end: false }), frames.windowUpdate(1, 0)]), P],
    ['HEADERS that depend on themselves', () => frame(type.headers, flag.endHeaders | flag.endStream | flag.priority, 1, Buffer.concat([Buffer.from([0, 0, 0, 1, 15]), encode(requestFields('/x'))])), P],
    ['DATA on stream 0', () => frames.data(0, 'x'), P],
    ['DATA on a stream that was never opened', () => frames.data(1, 'x'), [P, 'STREAM_CLOSED']],
    ['RST_STREAM on stream 0', () => frames.rst(0), P],
    ['RST_STREAM on a stream that was never opened', () => frames.rst(7), P],
    ['RST_STREAM of 3 bytes', () => Buffer.concat([frames.headers(1, requestFields('/x', { method: 'POST' }), { end: false }), frame(type.rst, 0, 1, Buffer.alloc(3))]), F],
    ['WINDOW_UPDATE on a stream that was never opened', () => frames.windowUpdate(7, 1), P],
    ['WINDOW_UPDATE of 0 on the connection', () => frames.windowUpdate(0, 0), P],
    ['WINDOW_UPDATE of the connection beyond 2^31-1', () => frames.windowUpdate(0, 0x7fffffff), 'FLOW_CONTROL_ERROR'],
    ['WINDOW_UPDATE of 3 bytes', () => frame(type.windowUpdate, 0, 0, Buffer.alloc(3)), F],
    ['SETTINGS of 5 bytes', () => frame(type.settings, 0, 0, Buffer.alloc(5)), F],
    ['SETTINGS with ACK and content', () => frame(type.settings, flag.ack, 0, Buffer.alloc(6)), F],
    ['SETTINGS on a stream', () => frame(type.settings, 0, 1), P],
    ['SETTINGS_INITIAL_WINDOW_SIZE of 2^31', () => frames.settings([[setting.initialWindowSize, 2 ** 31]]), 'FLOW_CONTROL_ERROR'],
    ['SETTINGS_MAX_FRAME_SIZE of 1', () => frames.settings([[setting.maxFrameSize, 1]]), P],
    ['SETTINGS_MAX_FRAME_SIZE of 2^24', () => frames.settings([[setting.maxFrameSize, 2 ** 24]]), P],
    ['SETTINGS_ENABLE_PUSH of 2', () => frames.settings([[setting.enablePush, 2]]), P],
    ['SETTINGS_ENABLE_CONNECT_PROTOCOL of 2', () => frames.settings([[setting.enableConnectProtocol, 2]]), P],
    ['PING of 7 bytes', () => frame(type.ping, 0, 0, Buffer.alloc(7)), F],
    ['PING on a stream', () => frame(type.ping, 0, 1, Buffer.alloc(8)), P],
    ['GOAWAY of 4 bytes', () => frame(type.goaway, 0, 0, Buffer.alloc(4)), F],
    ['GOAWAY on a stream', () => frame(type.goaway, 0, 1, Buffer.alloc(8)), P],
    ['PRIORITY of 4 bytes', () => frame(type.priority, 0, 1, Buffer.alloc(4)), F],
    ['PRIORITY on stream 0', () => frame(type.priority, 0, 0, Buffer.alloc(5)), P],
    ['PUSH_PROMISE from a client', () => frame(type.push, flag.endHeaders, 1, Buffer.concat([Buffer.from([0, 0, 0, 2]), encode(requestFields('/smuggled'))])), P],
    ['a frame beyond SETTINGS_MAX_FRAME_SIZE', () => Buffer.concat([frames.headers(1, requestFields('/x', { method: 'POST' }), { end: false }), frame(type.data, 0, 1, Buffer.alloc(16_385))]), F],
    ['a frame of 16 MiB that is only announced', () => frame(type.data, 0, 1, Buffer.alloc(10), 2 ** 24 - 1), F],
    ['padding longer than the frame', () => frame(type.headers, flag.endHeaders | flag.endStream | flag.padded, 1, Buffer.from([200, 0x82])), [P, F]],
    ['CONTINUATION without HEADERS', () => frames.continuation(1, requestFields('/x'), { endHeaders: true }), P],
    ['another frame within a header block', () => Buffer.concat([frames.headers(1, requestFields('/x'), { endHeaders: false }), frames.ping()]), P],
    ['another stream within a header block', () => Buffer.concat([frames.headers(1, requestFields('/x'), { endHeaders: false }), frames.headers(3, requestFields('/x'))]), P],
    ['CONTINUATION of another stream', () => Buffer.concat([frames.headers(1, requestFields('/x'), { endHeaders: false }), frames.continuation(3, [], { endHeaders: true })]), P],
    ['HPACK: index 0', () => frames.headers(1, Buffer.from([0x80])), 'COMPRESSION_ERROR'],
    ['HPACK: an index beyond the table', () => frames.headers(1, indexed(200)), 'COMPRESSION_ERROR'],
    ['HPACK: an integer without an end', () => frames.headers(1, Buffer.alloc(40, 0xff)), 'COMPRESSION_ERROR'],
    ['HPACK: a string beyond the block', () => frames.headers(1, Buffer.from([0, 0x7f, 1])), 'COMPRESSION_ERROR'],
    ['HPACK: a table size beyond what was agreed on', () => frames.headers(1, Buffer.concat([tableSize(100_000), encode(requestFields('/x'))])), 'COMPRESSION_ERROR'],
    ['HPACK: a table size in the middle of a block', () => frames.headers(1, Buffer.concat([encode(requestFields('/x')), tableSize(0)])), 'COMPRESSION_ERROR'],
    ['HPACK: Huffman code with a wrong end', () => frames.headers(1, Buffer.concat([Buffer.from([0]), integer(1, 7, 0x80), Buffer.from([0x00]), integer(1, 7), Buffer.from('x')])), 'COMPRESSION_ERROR'],
    ['a first stream, and then garbage', () => Buffer.concat([honest(), Buffer.alloc(300, 0xff)]), F],
    ['an HTTP/1.1 request on the connection', () => Buffer.from(`${smuggled}${smuggled}`), [F, P]],
  ];
  for (const [name, make, expected] of cases) await refusesConnection(t, name, make, expected);
  await t.test('a stream number that goes back opens nothing', async () => {
    const before = origin.requests.length;
    const wire = await H2Wire.connect(ports.h2c);
    wire.nextStream = 5;
    assert.equal((await wire.ask('/honest')).outcome, '200');
    wire.write(frames.headers(3, requestFields('/smuggled')));
    if (await wire.alive()) assert.equal((await wire.ask('/honest')).outcome, '200');
    else assert.match(codeName(wire.goaway.code), /^(PROTOCOL_ERROR|STREAM_CLOSED)$/);
    nothingArrived(before, ['/honest']);
    wire.close();
  });
  await t.test('DATA beyond the window of its stream', async () => {
    origin.onHead = (_, socket) => socket.pause();
    const far = await H2Wire.connect(ports.h2c);
    const wire = await H2Wire.connect(ports.h2c);
    const stream = wire.request('/flood', { method: 'POST', end: false });
    const block = frames.data(stream.id, Buffer.alloc(16_384));
    for (let n = 0; n < 600 && !wire.ended && stream.reset === null; n++) { wire.write(block); await new Promise((resolve) => setImmediate(resolve)); }
    await stream.finished();
    assert.match(stream.outcome, /^(RST|GOAWAY) FLOW_CONTROL_ERROR$/);
    origin.onHead = null;
    for (const { socket } of origin.connections) socket.resume();
    assert.equal((await far.ask('/honest')).outcome, '200');
    wire.close();
    far.close();
  });
});

test('who speaks the wrong version', async (t) => {
  const first = (bytes) => () => bytes;
  await refusesConnection(t, 'a preface that turns wrong', first(Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nGET / HTTP/1.1\r\n\r\n')), ['closed', 'PROTOCOL_ERROR'], { raw: true });
  await refusesConnection(t, 'another frame than SETTINGS first', first(Buffer.concat([preface, frames.ping()])), 'PROTOCOL_ERROR', { raw: true });
  await refusesConnection(t, 'HEADERS instead of SETTINGS', first(Buffer.concat([preface, frames.headers(1, requestFields('/x'))])), 'PROTOCOL_ERROR', { raw: true });
  await refusesConnection(t, 'the preface twice', first(Buffer.concat([preface, preface])), ['FRAME_SIZE_ERROR', 'PROTOCOL_ERROR'], { raw: true });
  for (const port of ['plain', 'never']) {
    for (const fragment of [0, 1]) {
      await t.test(`HTTP/2 on a port of HTTP/1 only (${port})${fragment ? ', byte by byte' : ''}`, async () => {
        const before = origin.requests.length;
        const answer = await exchange(ports[port], Buffer.concat([preface, frames.settings(), frames.headers(1, requestFields('/smuggled'))]), { fragment, method: 'GET' });
        assert.match(answer.problem().code, /^PST-R0(01|12|13)$/);
        assert.equal(origin.requests.length, before);
      });
      await t.test(`HTTP/1.1 on a port of both${fragment ? ', byte by byte' : ''}`, async () => {
        const wire = await Wire.connect(ports.h2c);
        for (const target of ['/PRI', '/P']) {
          await wire.send(request(target, { method: 'POST', body: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' }), { fragment });
          assert.equal((await wire.read('POST')).status, 200);
          assert.equal(origin.last().target, target);
        }
        // In the middle of a connection it is no preface any more.
        await wire.send(Buffer.concat([preface, frames.settings()]));
        assert.match((await wire.read()).problem().code, /^PST-R0(01|12|13)$/);
        await wire.closed();
      });
    }
  }
  await t.test('methods that begin as the preface does are HTTP/1.1', async () => {
    for (const method of ['P', 'PR', 'PRI', 'PRO']) {
      const answer = await exchange(ports.h2c, request('/x', { method }), { fragment: 1, method });
      assert.equal(answer.problem().code, 'PST-R012', method);
    }
  });
  await t.test('HTTP/1.1 where ALPN said h2', async () => {
    const before = origin.requests.length;
    const wire = await H2Wire.connect(ports.tls, { silent: true, tls: { ca: testPki().ca, servername: 'api.test' } });
    wire.write(Buffer.from(smuggled.repeat(3)));
    await wire.refused();
    assert.equal(origin.requests.length, before);
  });
  await t.test('HTTP/2 where ALPN said http/1.1', async () => {
    const before = origin.requests.length;
    const wire = await H2Wire.connect(ports.tls, { silent: true, tls: { ca: testPki().ca, servername: 'api.test', ALPNProtocols: ['http/1.1'] } });
    let text = '';
    wire.receive = (bytes) => { text += bytes.toString('latin1'); };
    wire.write(Buffer.concat([preface, frames.settings(), frames.headers(1, requestFields('/smuggled', { scheme: 'https' }))]));
    await wire.refused();
    assert.match(text, /^HTTP\/1\.1 (400|501|505) /);
    assert.equal(origin.requests.length, before);
  });
});

test('the dynamic table is per connection, and follows what was agreed on', async () => {
  const wire = await H2Wire.connect(ports.h2c);
  const other = await H2Wire.connect(ports.h2c);
  const fields = (extra) => [...requestFields('/honest').map(([name, value]) => literal(name, value)), extra];
  assert.equal((await wire.open(fields(incremental('x-kept', 'in the table'))).finished()).outcome, '200');
  assert.equal((await wire.open(fields(indexed(62))).finished()).outcome, '200');
  assert.equal(origin.last().head.get('x-kept'), 'in the table');
  other.open(fields(indexed(62)));
  assert.equal(await other.refused(), 'COMPRESSION_ERROR');
  assert.equal((await wire.open([tableSize(0), tableSize(4096), ...requestFields('/honest')]).finished()).outcome, '200');
  wire.open(fields(indexed(62)));
  assert.equal(await wire.refused(), 'COMPRESSION_ERROR');
  assert.equal(code.COMPRESSION_ERROR, 9);
});
