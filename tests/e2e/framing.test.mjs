// Message framing as attackers write it (RFC 9112 section 6 and 7): what a gateway and its origin could read differently
// must never be forwarded. Cases are named after what broke elsewhere.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { assertRefused, smuggled } from './lib/refusal.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
before(async () => {
  origin = await RecordingOrigin.start();
  gateway = await Gateway.start({
    origins: { main: { url: origin.url, identity } },
    routes: [
      { match: { path: '/*' }, origin: 'main', public: true },
      { match: { path: '/dav/*', methods: ['PROPFIND', 'FROB', 'M-SEARCH'] }, origin: 'main', public: true },
    ],
  });
});

const post = (headers, body, version = '1.1') =>
  `POST /post HTTP/${version}\r\nHost: api.test\r\n${[headers].flat().map((line) => `${line}\r\n`).join('')}\r\n${body}`;
const chunked = (body) => post('Transfer-Encoding: chunked', body);
const get = (lines) => `GET /get HTTP/1.1\r\nHost: api.test\r\n${lines}\r\n\r\n${smuggled}`;

const framing = { status: 400, code: ['PST-R003', 'PST-R002'] };
const header = { status: 400, code: 'PST-R002' };
const malformed = { status: 400, code: ['PST-R001', 'PST-R002', 'PST-R003'] };

test('Content-Length', async (t) => {
  const values = ['', '5,', ',5', '5, 5', '5, 6', '+5', '-5', '0x5', '5 5', '5.0', '5e0', '5;', '"5"', '\u00b2', '5\x0b',
    '18446744073709551616', '18446744073709551621', '99999999999999999999999', '9223372036854775808000'];
  for (const value of values) {
    await assertRefused(t, { gateway, origin, name: JSON.stringify(value), bytes: post(`Content-Length: ${value}`, `hello${smuggled}`), expected: framing });
  }
  const several = [
    ['two that differ', ['Content-Length: 5', 'Content-Length: 6']],
    ['two that agree', ['Content-Length: 5', 'Content-Length: 5']],
    ['two, one empty', ['Content-Length: 5', 'Content-Length:']],
    ['two in different case', ['Content-Length: 5', 'content-length: 0']],
    ['with chunked', ['Content-Length: 5', 'Transfer-Encoding: chunked']],
    ['after chunked', ['Transfer-Encoding: chunked', 'Content-Length: 5']],
  ];
  for (const [name, headers] of several) {
    await assertRefused(t, { gateway, origin, name, bytes: post(headers, `0\r\n\r\n${smuggled}`), expected: framing });
  }
});

test('Transfer-Encoding', async (t) => {
  const refused = ['', 'identity', 'chunked, identity', 'identity, chunked', 'chunked, chunked', 'xchunked', 'chunkedx',
    '\x0bchunked', 'chunked\x0b', '"chunked"', 'chunked;q=1', 'chunked,', ',chunked', 'gzip', 'gzip, chunked', 'chunked, gzip',
    'cow', 'chun\u00e7ked'];
  for (const value of refused) {
    await assertRefused(t, { gateway, origin, name: JSON.stringify(value), bytes: post(`Transfer-Encoding: ${value}`, `0\r\n\r\n${smuggled}`),
      expected: { status: 400, code: ['PST-R003', 'PST-R002'] } });
  }
  const lines = [
    ['two lines', ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], framing],
    ['two lines, the second unknown', ['Transfer-Encoding: chunked', 'Transfer-Encoding: x'], framing],
    ['space before the colon', ['Transfer-Encoding : chunked'], { status: 400, code: ['PST-R002', 'PST-R003'] }],
    ['tab before the colon', ['Transfer-Encoding\t: chunked'], { status: 400, code: ['PST-R002', 'PST-R003'] }],
    ['folded', ['Transfer-Encoding:\r\n chunked'], { status: 400, code: ['PST-R002', 'PST-R003'] }],
  ];
  for (const [name, headers, expected] of lines) {
    await assertRefused(t, { gateway, origin, name, bytes: post(headers, `0\r\n\r\n${smuggled}`), expected });
  }
  await assertRefused(t, { gateway, origin, name: 'in HTTP/1.0', bytes: post('Transfer-Encoding: chunked', `0\r\n\r\n${smuggled}`, '1.0'), expected: framing });
  await t.test('an underscore alias is no framing and does not reach the origin', async () => {
    origin.reset();
    const response = await exchange(gateway.port, request('/alias', { method: 'POST', headers: ['Transfer_Encoding: chunked', 'Content_Length: 99', 'Content-Length: 2'] }) + 'ok');
    if (response.status === 200) {
      assert.equal(origin.last().body.toString(), 'ok');
      assert.ok(!origin.last().head.has('Transfer_Encoding') && !origin.last().head.has('Content_Length'));
    } else {
      assert.equal(response.status, 400);
    }
  });
});

test('the chunked coding', async (t) => {
  const bodies = [
    ['signed size', '+5\r\nhello\r\n0\r\n\r\n'],
    ['negative size', '-5\r\nhello\r\n0\r\n\r\n'],
    ['0x size', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['no size', '\r\nhello\r\n0\r\n\r\n'],
    ['extension without size', ';a=b\r\nhello\r\n0\r\n\r\n'],
    ['not hexadecimal', 'g\r\nhello\r\n0\r\n\r\n'],
    ['underscore in size', '0_5\r\nhello\r\n0\r\n\r\n'],
    ['space before size', ' 5\r\nhello\r\n0\r\n\r\n'],
    ['space after size', '5 \r\nhello\r\n0\r\n\r\n'],
    ['size over 64 bits', '10000000000000005\r\nhello\r\n0\r\n\r\n'],
    ['endless size', `${'0'.repeat(300)}5\r\nhello\r\n0\r\n\r\n`],
    ['bare LF after size', '5\nhello\r\n0\r\n\r\n'],
    ['bare CR after size', '5\rhello\r\n0\r\n\r\n'],
    ['bare LF in extension', '5;a\nb\r\nhello\r\n0\r\n\r\n'],
    ['bare CR in extension', '5;a\rb\r\nhello\r\n0\r\n\r\n'],
    ['NUL in extension', '5;a\0b\r\nhello\r\n0\r\n\r\n'],
    ['endless extension', `5;${'a'.repeat(40_000)}\r\nhello\r\n0\r\n\r\n`],
    ['data longer than size', '5\r\nhelloo\r\n0\r\n\r\n'],
    ['data shorter than size', '6\r\nhello\r\n0\r\n\r\n'],
    ['no CRLF after data', '5\r\nhello0\r\n\r\n'],
    ['LF after data', '5\r\nhello\n0\r\n\r\n'],
    ['bare LF ends the trailers', '5\r\nhello\r\n0\r\n\n'],
    ['malformed trailer', '5\r\nhello\r\n0\r\nA : b\r\n\r\n'],
    ['trailer without name', '5\r\nhello\r\n0\r\n: b\r\n\r\n'],
    ['folded trailer', '5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n'],
    ['Content-Length in trailers', '5\r\nhello\r\n0\r\nContent-Length: 0\r\n\r\n'],
    ['Transfer-Encoding in trailers', '5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['Host in trailers', '5\r\nhello\r\n0\r\nHost: evil.test\r\n\r\n'],
  ];
  for (const [name, body] of bodies) {
    const inTrailers = /in trailers$/.test(name);
    if (inTrailers) {
      // Fields that must not be trailers (RFC 9110 6.5.1) are refused, or dropped before they reach the origin.
      await t.test(name, async () => {
        origin.reset();
        const response = await exchange(gateway.port, chunked(body));
        assert.ok(response === null || [200, 400].includes(response.status), `${response?.status}`);
        assert.ok(!origin.last()?.trailers, 'reached the origin');
      });
      continue;
    }
    await assertRefused(t, { gateway, origin, name, bytes: chunked(body + smuggled), expected: { ...malformed, silent: true } });
  }
  await t.test('extensions are accepted and not forwarded', async () => {
    origin.reset();
    assert.equal((await exchange(gateway.port, chunked('5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n'))).status, 200);
    const { body, connection } = origin.last();
    assert.equal(body.toString(), 'hello');
    assert.ok(!connection.bytes.includes('a=b'));
  });
  await t.test('leading zeros and capitals are a size', async () => {
    origin.reset();
    assert.equal((await exchange(gateway.port, chunked('00A\r\n0123456789\r\n0\r\n\r\n'))).status, 200);
    assert.equal(origin.last().body.toString(), '0123456789');
  });
});

test('header fields', async (t) => {
  const cases = [
    ['empty name', ': x'],
    ['empty name before a real one', ': x\r\nX-A: b'],
    ['space before the colon', 'X-A : b'],
    ['tab before the colon', 'X-A\t: b'],
    ['space in the name', 'X A: b'],
    ['no colon', 'X-A'],
    ['NUL in the name', 'X\0A: b'],
    ['high byte in the name', 'X\xe4: b'],
    ['slash in the name', 'X/A: b'],
    ['brackets in the name', 'X(A): b'],
    ['quote in the name', 'X"A: b'],
    ['NUL in the value', 'X-A: b\0c'],
    ['bare CR in the value', 'X-A: b\rc'],
    ['bare CR before a field', 'X-A: b\rX-Injected: c'],
    ['bare LF in the value', 'X-A: b\nX-Injected: c'],
    ['control byte in the value', 'X-A: b\x01c'],
    ['DEL in the value', 'X-A: b\x7fc'],
    ['folded line', 'X-A: b\r\n c'],
    ['folded with tab', 'X-A: b\r\n\tc'],
    ['folded Content-Length', 'Content-Length:\r\n 5'],
  ];
  for (const [name, lines] of cases) await assertRefused(t, { gateway, origin, name, bytes: get(lines), expected: { ...malformed } });
  await assertRefused(t, { gateway, origin, name: 'the first line starts with a space', expected: malformed,
    bytes: `GET / HTTP/1.1\r\n X-A: b\r\nHost: api.test\r\n\r\n${smuggled}` });
  await assertRefused(t, { gateway, origin, name: 'bare LF as line end', expected: malformed,
    bytes: `GET / HTTP/1.1\nHost: api.test\n\n${smuggled}` });
  await assertRefused(t, { gateway, origin, name: 'bare CR as line end', expected: { status: 400, code: ['PST-R001', 'PST-R002', 'PST-R004'], silent: true },
    bytes: `GET / HTTP/1.1\rHost: api.test\r\r${smuggled}` });
  // CVE-2021-40346: a name whose length overflowed hid Content-Length.
  for (const length of [255, 256, 257, 270, 1000]) {
    await t.test(`a name of ${length} bytes hides nothing`, async () => {
      origin.reset();
      const name = 'n'.repeat(length);
      const response = await exchange(gateway.port, post([`${name}: v`, 'Content-Length: 5'], `hello`), { keep: true });
      if (length > 256) {  // the documented limit
        assert.match(response.problem().code, /^PST-R00[26]$/);
        await response.wire.closed();
        return;
      }
      response.wire.close();
      assert.equal(response.status, 200);
      assert.equal(origin.last().body.toString(), 'hello');
      assert.equal(origin.last().head.get(name), 'v');
    });
  }
  await t.test('values with high bytes and inner tabs pass unchanged', async () => {
    origin.reset();
    assert.equal((await exchange(gateway.port, request('/x', { headers: ['X-A: \xe4\tb  c  '] }))).status, 200);
    assert.equal(origin.last().head.get('x-a'), '\xe4\tb  c');
  });
});

test('the request line', async (t) => {
  const line = (text) => `${text}\r\nHost: api.test\r\n\r\n${smuggled}`;
  const bad = { status: 400, code: ['PST-R001', 'PST-R002', 'PST-R004'] };
  const cases = [
    ['two spaces after the method', 'GET  / HTTP/1.1', bad],
    ['two spaces before the version', 'GET /  HTTP/1.1', bad],
    ['tab as separator', 'GET\t/\tHTTP/1.1', bad],
    ['space at the end', 'GET / HTTP/1.1 ', bad],
    ['space in the target', 'GET /a b HTTP/1.1', bad],
    ['no target', 'GET HTTP/1.1', bad],
    ['no version', 'GET /', bad],
    ['leading space', ' GET / HTTP/1.1', bad],
    ['leading bare LF', '\nGET / HTTP/1.1', bad],
    ['lower-case protocol', 'GET / http/1.1', bad],
    ['other protocol', 'GET / HTTQ/1.1', bad],
    ['NUL in the target', 'GET /\0 HTTP/1.1', bad],
    ['CR in the target', 'GET /\r HTTP/1.1', bad],
    ['HTTP/1.2', 'GET / HTTP/1.2', { status: 505, code: ['PST-R013'] }],
    ['HTTP/2.0', 'GET / HTTP/2.0', { status: 505, code: ['PST-R013'] }],
    ['HTTP/0.9', 'GET / HTTP/0.9', { status: 505, code: ['PST-R013'] }],
    ['HTTP/11.1', 'GET / HTTP/11.1', { status: [400, 505], code: ['PST-R001', 'PST-R013'] }],
    ['HTTP/1', 'GET / HTTP/1', { status: [400, 505], code: ['PST-R001', 'PST-R013'] }],
    ['lower-case method', 'get / HTTP/1.1', { status: [400, 501], code: ['PST-R001', 'PST-R012'] }],
    ['mixed-case method', 'Get / HTTP/1.1', { status: [400, 501], code: ['PST-R001', 'PST-R012'] }],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0', { status: [400, 501, 505], code: ['PST-R001', 'PST-R012', 'PST-R013'] }],
  ];
  for (const [name, text, expected] of cases) await assertRefused(t, { gateway, origin, name, bytes: line(text), expected });
  // These are sound messages, so the connection may be used for the next one.
  for (const [name, text] of [['TRACE', 'TRACE / HTTP/1.1'], ['CONNECT', 'CONNECT api.test:443 HTTP/1.1'], ['CONNECT with a path', 'CONNECT / HTTP/1.1'], ['CONNECT to ourselves', 'CONNECT api.test HTTP/1.1']]) {
    await assertRefused(t, { gateway, origin, name, bytes: `${text}\r\nHost: api.test\r\n\r\n`, expected: { status: [400, 501], code: ['PST-R001', 'PST-R004', 'PST-R005', 'PST-R012'], closes: false } });
  }
  await t.test('a method of WebDAV or of tomorrow passes where a route names it', async () => {
    for (const method of ['PROPFIND', 'FROB', 'M-SEARCH']) {
      assert.equal((await exchange(gateway.port, request('/dav/x', { method }))).status, 200);
      assert.equal(origin.last().method, method);
      const elsewhere = await exchange(gateway.port, request('/x', { method }));
      assert.equal(elsewhere.status, 501);
      assert.equal(elsewhere.problem().code, 'PST-R012');
    }
  });
  await assertRefused(t, { gateway, origin, name: 'a TLS ClientHello', expected: { ...bad, silent: true },
    bytes: Buffer.from('16030100c8010000c40303', 'hex').toString('latin1') + 'x'.repeat(200) });
});

test('limits of the head', async (t) => {
  const many = Array.from({ length: 101 }, (_, i) => `X-${i}: v`).join('\r\n');
  const giant = `X-Giant: ${'v'.repeat(40_000)}`;
  await assertRefused(t, { gateway, origin, name: 'too many fields', bytes: get(many), expected: { status: 431, code: 'PST-R006' } });
  await assertRefused(t, { gateway, origin, name: 'a giant field', bytes: get(giant), expected: { status: 431, code: 'PST-R006' } });
  await assertRefused(t, { gateway, origin, name: 'a giant target', bytes: request(`/${'a'.repeat(9_000)}`) + smuggled,
    expected: { status: 414, code: 'PST-R007' } });
  await t.test('an endless head without any line end', async () => {
    const wire = await Wire.connect(gateway.port);
    await wire.send('GET /' + 'a'.repeat(200_000));
    const response = await wire.read();
    assert.ok(response === null || response.status === 414 || response.status === 431);
    await wire.closed();
  });
});

test('a body that ends too early never completes at the origin', async (t) => {
  const cases = [
    ['Content-Length', post('Content-Length: 10', 'hello')],
    ['Content-Length without any byte', post('Content-Length: 10', '')],
    ['chunked within a chunk', chunked('a\r\nhello')],
    ['chunked before the last chunk', chunked('5\r\nhello\r\n')],
    ['chunked within the trailers', chunked('5\r\nhello\r\n0\r\nA: b\r\n')],
  ];
  for (const [name, bytes] of cases) {
    for (const end of ['half-close', 'reset']) {
      await t.test(`${name}, ${end}`, async () => {
        origin.reset();
        const wire = await Wire.connect(gateway.port);
        await wire.send(bytes);
        if (end === 'half-close') {
          wire.finish();
          const response = await wire.read().catch(() => null);
          assert.ok(response === null || response.status === 400, `${response?.status}`);
        } else {
          await gateway.observe('/healthz');  // lets the bytes arrive before the reset
          wire.reset();
        }
        assert.equal((await exchange(gateway.port, request('/after'))).status, 200);
        assert.deepEqual(origin.requests.map(({ target }) => target), ['/after']);
        // What was forwarded of it may only have ended with its connection.
        for (const { bytes: sent, closed } of origin.connections) {
          if (sent.includes('POST /post')) assert.ok(closed || !sent.includes('/after'), 'the connection was used again');
        }
        wire.close();
      });
    }
  }
});

test('what follows a refused request', async (t) => {
  await t.test('is served if the framing is sound', async () => {
    const wire = await Wire.connect(gateway.port);
    origin.reset();
    await wire.send(request('/a%00b') + request('/second'));
    const first = await wire.read();
    assert.equal(first.status, 400);
    const second = await wire.read();
    // Closing is always allowed; answering must be the right answer.
    if (second) assert.equal(second.status, 200);
    wire.close();
  });
  await t.test('is never read from the body of a refused request', async () => {
    const wire = await Wire.connect(gateway.port);
    origin.reset();
    await wire.send(request('/a%00b', { method: 'POST', body: smuggled }));
    assert.equal((await wire.read('POST')).status, 400);
    await wire.send(request('/third'));
    const next = await wire.read().catch(() => null);
    if (next) assert.equal(next.status, 200);
    assert.ok(!origin.requests.some(({ target }) => target === '/smuggled'));
    wire.close();
  });
});
