// The origin as attacker: whatever it answers, the client sees one well-framed response or a closed connection, the next
// request is not poisoned, and the gateway lives.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Gateway, identity, secret } from './lib/gateway.mjs';
import { RecordingOrigin, ok, reply } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
before(async () => {
  origin = await RecordingOrigin.start();
  gateway = await Gateway.start({
    origins: {
      main: { url: origin.url, identity, timeouts: { connect: '2s', first_byte: '1s', idle: '1s' }, retries: { attempts: 1 },
        ejection: { consecutive_failures: 0 } },
    },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
});

const poison = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';

// Answers the next request with `bytes` (and closes, if asked) and everything after it properly.
function script(bytes, { close = false } = {}) {
  origin.reset();
  let first = true;
  origin.answer = (received, socket) => {
    if (!first) return ok('fine')(received);
    first = false;
    socket.write(Buffer.from(bytes, 'latin1'));
    if (close) socket.end();
    return undefined;
  };
}
async function assertNextIsFine(wire) {
  if (wire && !wire.ended) {
    await wire.send(request('/next'));
    const next = await wire.read().catch(() => null);
    if (next) assert.equal(next.text(), 'fine', 'the next response on the same connection');
  }
  assert.equal((await exchange(gateway.port, request('/other'))).text(), 'fine', 'a neighbour');
}

test('a malformed head is 502 and nothing of it is passed on', async (t) => {
  const head = (lines) => `HTTP/1.1 200 OK\r\n${lines}\r\n\r\n`;
  const cases = [
    ['no HTTP at all', 'hello world\r\n\r\n'],
    ['HTTP/0.9', '<html></html>'],
    ['status line without status', 'HTTP/1.1\r\n\r\n'],
    ['status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
    ['status of letters', 'HTTP/1.1 2xx OK\r\n\r\n'],
    ['negative status', 'HTTP/1.1 -20 OK\r\n\r\n'],
    ['status 000', 'HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n'],
    ['status 099', 'HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n'],
    ['HTTP/2.0', 'HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['lower-case protocol', 'http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['bare LF line ends', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
    ['bare CR', 'HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n'],
    ['bare LF in a value', head(`X-A: a\nSet-Cookie: evil\r\nContent-Length: 0`)],
    ['NUL in a value', head('X-A: a\0b\r\nContent-Length: 0')],
    ['control byte in the reason', 'HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n'],
    ['folded line', head('X-A: a\r\n b\r\nContent-Length: 0')],
    ['space before the colon', head('Content-Length : 0')],
    ['empty name', head(': x\r\nContent-Length: 0')],
    ['field without colon', head('X-A\r\nContent-Length: 0')],
    ['Content-Length and chunked', `${head('Content-Length: 5\r\nTransfer-Encoding: chunked')}0\r\n\r\n${poison}`],
    ['two Content-Lengths that differ', `${head('Content-Length: 0\r\nContent-Length: 6')}${poison}`],
    ['a list of Content-Lengths', `${head('Content-Length: 0, 6')}${poison}`],
    ['empty Content-Length', `${head('Content-Length:')}${poison}`],
    ['signed Content-Length', `${head('Content-Length: +5')}hello`],
    ['Content-Length over 64 bits', `${head('Content-Length: 18446744073709551621')}hello`],
    ['two transfer codings', `${head('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity')}0\r\n\r\n`],
    ['an unknown transfer coding', `${head('Transfer-Encoding: cow')}hello`],
    ['chunked twice', `${head('Transfer-Encoding: chunked, chunked')}0\r\n\r\n`],
    ['chunked before gzip', `${head('Transfer-Encoding: chunked, gzip')}0\r\n\r\n`],
    ['a giant field', head(`X-Giant: ${'v'.repeat(2_000_000)}\r\nContent-Length: 0`)],
    ['a hundred thousand fields', head(`${'X: y\r\n'.repeat(100_000)}Content-Length: 0`)],
    ['a giant status line', `HTTP/1.1 200 ${'x'.repeat(2_000_000)}\r\nContent-Length: 0\r\n\r\n`],
  ];
  for (const [name, bytes] of cases) {
    await t.test(name, async () => {
      script(bytes, { close: true });
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('/hostile'));
      const response = await wire.read();
      assert.equal(response.status, 502, response.text().slice(0, 200));
      assert.match(response.problem().code, /^PST-U00[45]$/);
      assert.ok(!response.head.text.includes('evil'));
      assert.ok(!response.text().includes(String(origin.port)), 'the address of the origin in the answer');
      await assertNextIsFine(wire);
      wire.close();
      const record = await gateway.logged((entry) => entry.request_id === response.json().request_id);
      assert.equal(record.error_side, 'origin');
      assert.equal(record.origin, 'main');
    });
  }
});

test('1xx', async (t) => {
  await t.test('an endless flood of them ends in 502', async () => {
    origin.reset();
    origin.answer = (received, socket) => {
      if (received.target !== '/flood') return ok('fine')(received);
      const flood = () => {
        while (!socket.destroyed && socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'));
        if (!socket.destroyed) socket.once('drain', flood);
      };
      flood();
      return undefined;
    };
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/flood'));
    const response = await wire.read();
    assert.equal(response.status, 502);
    assert.equal(response.problem().code, 'PST-U005');
    await assertNextIsFine(null);
    wire.close();
  });
  await t.test('100 and 103 come before the final answer', async () => {
    script(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${reply(200, 'final')}`);
    const response = await exchange(gateway.port, request('/x'));
    assert.equal(response.status, 200);
    assert.equal(response.text(), 'final');
  });
  await t.test('101 that nobody asked for is 502', async () => {
    script(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n${poison}`);
    const response = await exchange(gateway.port, request('/x'));
    assert.equal(response.status, 502);
    assert.match(response.problem().code, /^PST-U00[58]$/);
    await assertNextIsFine(null);
  });
});

test('a body that breaks off is not passed on as whole', async (t) => {
  const cases = [
    ['Content-Length, too short', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello'],
    ['chunked, no last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'],
    ['chunked, within a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello'],
    ['chunked, signed size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n+5\r\nhello\r\n0\r\n\r\n'],
    ['chunked, bare LF', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\nhello\r\n0\r\n\r\n'],
    ['chunked, data too long', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2\r\nhello\r\n0\r\n\r\n'],
    ['chunked, malformed trailer', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA : b\r\n\r\n'],
  ];
  for (const [name, bytes] of cases) {
    await t.test(name, async () => {
      script(bytes, { close: true });
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('/x'));
      // Either refused before the first byte went out, or visibly cut.
      const outcome = await wire.read().catch((error) => error);
      if (outcome instanceof Error) assert.match(outcome.message, /ended within/);
      else assert.equal(outcome.status, 502);
      await assertNextIsFine(null);
      wire.close();
    });
  }
  await t.test('in HTTP/1.0 to a 1.0 client it ends with the connection', async () => {
    script('HTTP/1.0 200 OK\r\n\r\nuntil the end', { close: true });
    const response = await exchange(gateway.port, 'GET /x HTTP/1.0\r\nHost: api.test\r\n\r\n');
    assert.equal(response.text(), 'until the end');
  });
});

test('bytes after the response never become the next response', async (t) => {
  const cases = [
    ['after Content-Length', `${reply(200, 'first')}${poison}`],
    ['after chunked', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n${poison}`],
    ['after 204', `HTTP/1.1 204 No Content\r\n\r\n${poison}`],
    ['after 204 with Content-Length', `HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello${poison}`],
    ['after 304 with Content-Length', `HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello${poison}`],
  ];
  for (const [name, bytes] of cases) {
    await t.test(name, async () => {
      script(bytes);
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('/x'));
      assert.ok([200, 204, 304, 502].includes((await wire.read()).status));
      await assertNextIsFine(wire);
      wire.close();
    });
  }
  await t.test('after HEAD', async () => {
    script(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello${poison}`);
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/x', { method: 'HEAD' }));
    const response = await wire.read('HEAD');
    assert.equal(response.status, 200);
    assert.equal(response.get('content-length'), '5');
    await assertNextIsFine(wire);
    wire.close();
  });
  await t.test('on an idle connection, unasked', async () => {
    script(reply(200, 'first'));
    assert.equal((await exchange(gateway.port, request('/x'))).text(), 'first');
    for (const { socket } of origin.connections) if (!socket.destroyed) socket.write(poison);
    for (let round = 0; round < 4; round++) await assertNextIsFine(null);
  });
});

test('an origin that says nothing is 504, one that stops is cut', async (t) => {
  await t.test('no answer', async () => {
    origin.answer = (received) => (received.target === '/silent' ? undefined : ok('fine')(received));
    const response = await exchange(gateway.port, request('/silent'));
    assert.equal(response.status, 504);
    assert.equal(response.problem().code, 'PST-U003');
    await assertNextIsFine(null);
  });
  await t.test('half a head', async () => {
    script('HTTP/1.1 200 OK\r\nConte');
    const response = await exchange(gateway.port, request('/x'));
    assert.equal(response.status, 504);
    await assertNextIsFine(null);
  });
  await t.test('half a body', async () => {
    script('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello');
    await assert.rejects(exchange(gateway.port, request('/x')), /ended within/);
    await assertNextIsFine(null);
  });
  await t.test('closed without an answer', async () => {
    script('', { close: true });
    const response = await exchange(gateway.port, request('/x', { method: 'POST', body: 'x' }));
    assert.equal(response.status, 502);
    assert.equal(response.problem().code, 'PST-U004');
    await assertNextIsFine(null);
  });
  await t.test('reset instead of an answer', async () => {
    origin.answer = (received, socket) => (received.target === '/reset' ? void socket.resetAndDestroy() : ok('fine')(received));
    const response = await exchange(gateway.port, request('/reset', { method: 'POST', body: 'x' }));
    assert.equal(response.status, 502);
    await assertNextIsFine(null);
  });
});

test('bytes sent before the request are never an answer', async () => {
  // Says something first, and then answers each request with its own target.
  const eager = await RecordingOrigin.start({ answer: ({ target }) => reply(200, target), onConnection: (socket) => { socket.write(poison); return false; } });
  const other = await Gateway.start({
    origins: { eager: { url: eager.url, identity, retries: { attempts: 1 } } },
    routes: [{ match: { path: '/*' }, origin: 'eager', public: true }],
  });
  // What came with the connection may be taken for the answer to its first request, because nobody can know when it was
  // sent; the answer to that request must never be the answer to another.
  for (let n = 0; n < 50; n++) {
    const response = await exchange(other.port, request(`/${n}`));
    if (response.status === 502) assert.match(response.problem().code, /^PST-U00[45]$/);
    else assert.ok(['poison', `/${n}`].includes(response.text()), `${response.text()} is the answer to /${n}`);
  }
});

test('the secret does not come back', async (t) => {
  const before = await gateway.metric('postern_reflections_total').catch(() => 0) ?? 0;
  const cases = [
    ['echoed under its own name', reply(200, 'ok', [`X-Backend-Secret: ${secret}`])],
    ['echoed under another name', reply(200, 'ok', [`X-Debug: got ${secret} from you`])],
    ['echoed in two fields', reply(200, 'ok', [`X-A: ${secret}`, `Set-Cookie: s=${secret}`])],
    ['in an error', reply(500, 'ok', [`X-Error: bad ${secret}`])],
    ['in trailers', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: ${secret}\r\n\r\n`],
    ['in a 103', `HTTP/1.1 103 Early Hints\r\nX-A: ${secret}\r\n\r\n${reply()}`],
  ];
  for (const [name, bytes] of cases) {
    await t.test(name, async () => {
      script(bytes);
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('/reflect', { headers: ['TE: trailers', 'Connection: TE, close'] }));
      const all = (await wire.readToClose()).toString('latin1');
      assert.match(all, /^HTTP\/1\.1 /);
      assert.ok(!all.includes(secret), 'the secret reached the client');
    });
  }
  await t.test('raises a metric', async () => {
    const text = (await gateway.observe('/metrics')).text;
    assert.match(text, /^postern_\w*reflect\w*(\{.*\})? [1-9]/m, `no reflection metric above zero (${before} before)`);
    assert.ok(!text.includes(secret));
  });
  assert.ok(!gateway.output().includes(secret), 'the secret in the log');
});

test('a redirect of the origin is for the client to follow', async (t) => {
  const elsewhere = await RecordingOrigin.start();
  for (const status of [301, 302, 303, 307, 308]) {
    await t.test(String(status), async () => {
      origin.answer = () => reply(status, '', [`Location: ${elsewhere.url}/metadata`]);
      const requests = origin.requests.length;
      const response = await exchange(gateway.port, request('/redirect'));
      assert.equal(response.status, status);
      assert.equal(response.get('location'), `${elsewhere.url}/metadata`);
      assert.equal(origin.requests.length, requests + 1, 'asked once');
    });
  }
  origin.answer = ok();
  assert.deepEqual(elsewhere.connections, [], 'nobody went there');
});

test('the gateway is still the same process', async () => {
  await until('the gateway to be ready', async () => (await gateway.observe('/readyz')).status === 200);
  assert.equal(gateway.process.exit, null);
});
