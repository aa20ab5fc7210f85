// HTTP/1.1 as it is meant to be: everything a correct client and a correct origin may do to each other passes unharmed.
import assert from 'node:assert/strict';
import http from 'node:http';
import { before, test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { startNode } from './lib/real_origins.mjs';
import { RecordingOrigin, ok, reply } from './lib/recording_origin.mjs';
import { run } from './lib/process.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
let node;
before(async () => {
  origin = await RecordingOrigin.start();
  node = await startNode({});
  gateway = await Gateway.start({
    origins: { main: { url: origin.url, identity }, node: { url: node.url, identity } },
    routes: [
      { match: { path: '/node/*' }, origin: 'node', public: true },
      { match: { path: '/local' }, respond: { status: 200, body: 'local' }, public: true },
      { match: { path: '/*' }, origin: 'main', public: true },
    ],
  });
});
const answer = (value) => { origin.reset(); origin.answer = typeof value === 'function' ? value : () => value; };

test('bodies arrive unchanged in both directions', async (t) => {
  const sizes = [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1_000_000];
  for (const size of sizes) {
    for (const framing of ['length', 'chunked']) {
      await t.test(`${size} bytes, ${framing}`, async () => {
        const body = Buffer.alloc(size, 'abcdefghijklmnopqrstuvwxyz').toString('latin1');
        const frame = (text) => (framing === 'length' ? text : `${text.length.toString(16)}\r\n${text}\r\n`.repeat(text ? 1 : 0) + '0\r\n\r\n');
        const header = framing === 'length' ? `Content-Length: ${size}` : 'Transfer-Encoding: chunked';
        answer(`HTTP/1.1 200 OK\r\n${header}\r\n\r\n${frame(body)}`);
        const response = await exchange(gateway.port, `POST /x HTTP/1.1\r\nHost: api.test\r\n${header}\r\n\r\n${frame(body)}`);
        assert.equal(response.status, 200);
        assert.ok(origin.last().body.equals(Buffer.from(body)), 'the request body');
        assert.ok(response.body.equals(Buffer.from(body)), 'the response body');
      });
    }
  }
});

test('keep-alive and pipelining', async (t) => {
  await t.test('a hundred requests on one connection, answered in order', async () => {
    answer(({ target }) => reply(200, target));
    const wire = await Wire.connect(gateway.port);
    const targets = Array.from({ length: 100 }, (_, i) => `/p/${i}`);
    await wire.send(targets.map((target) => request(target)).join(''));
    for (const target of targets) assert.equal((await wire.read()).text(), target);
    wire.close();
  });
  await t.test('bodies and answers of different kinds, pipelined', async () => {
    answer(({ target, body }) => reply(200, `${target}:${body}`));
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/1', { method: 'POST', body: 'one' }) + request('/local') +
      'POST /3 HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n' + request('/nowhere%00') + request('/5'));
    assert.equal((await wire.read()).text(), '/1:one');
    assert.equal((await wire.read()).text(), 'local');
    assert.equal((await wire.read()).text(), '/3:three');
    assert.equal((await wire.read()).status, 400);
    const last = await wire.read();
    if (last) assert.equal(last.text(), '/5:');
    wire.close();
  });
  await t.test('connections to the origin are used again', async () => {
    answer(ok());
    const wire = await Wire.connect(gateway.port);
    const seen = new Set();
    for (let n = 0; n < 20; n++) {
      await wire.send(request('/again'));
      assert.equal((await wire.read()).status, 200);
      seen.add(origin.last().connection);
    }
    assert.equal(seen.size, 1);
    wire.close();
  });
  await t.test('Connection: close is obeyed', async () => {
    answer(ok());
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/x', { headers: ['Connection: close'] }));
    const response = await wire.read();
    assert.match(response.get('connection'), /close/i);
    await wire.closed();
  });
  await t.test('HTTP/1.0 closes by default and keeps alive on request', async () => {
    answer(ok());
    const closing = await Wire.connect(gateway.port);
    await closing.send('GET /x HTTP/1.0\r\nHost: api.test\r\n\r\n');
    assert.equal((await closing.read()).text(), 'ok');
    await closing.closed();
  });
  await t.test('the origin may close after its answer', async () => {
    answer((_, socket) => { socket.end(reply(200, 'bye', ['Connection: close'])); });
    const wire = await Wire.connect(gateway.port);
    for (let n = 0; n < 3; n++) {
      await wire.send(request('/x'));
      assert.equal((await wire.read()).text(), 'bye');
    }
    wire.close();
  });
});

test('responses without a body', async (t) => {
  const cases = [
    ['HEAD with Content-Length', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n', 200, '1234'],
    ['HEAD with chunked', 'HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 200, undefined],
    ['204', 'GET', 'HTTP/1.1 204 No Content\r\n\r\n', 204, undefined],
    ['304 with the length of what it did not send', 'GET', 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 1234\r\n\r\n', 304, null],
    ['204 to a DELETE', 'DELETE', 'HTTP/1.1 204 No Content\r\n\r\n', 204, undefined],
    ['empty 200', 'GET', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 200, '0'],
  ];
  for (const [name, method, bytes, status, length] of cases) {
    await t.test(name, async () => {
      answer(bytes);
      const wire = await Wire.connect(gateway.port);
      for (let n = 0; n < 2; n++) {
        await wire.send(request('/x', { method }));
        const response = await wire.read(method);
        assert.equal(response.status, status);
        if (length !== null) assert.equal(response.get('content-length'), length);
        if (status === 204) assert.ok(!response.has('transfer-encoding'));
      }
      assert.equal(wire.received.length, 0);
      wire.close();
    });
  }
  await t.test('HEAD to a fixed answer', async () => {
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/local', { method: 'HEAD' }) + request('/local'));
    assert.equal((await wire.read('HEAD')).status, 200);
    assert.equal((await wire.read()).text(), 'local');
    wire.close();
  });
});

test('Expect: 100-continue', async (t) => {
  const head = 'POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n';
  await t.test('the client gets its 100 and then sends', async () => {
    answer(({ body }) => reply(200, body.toString()));
    const wire = await Wire.connect(gateway.port);
    await wire.send(head);
    assert.equal((await wire.readMessage()).status, 100);
    await wire.send('hello');
    assert.equal((await wire.read()).text(), 'hello');
    wire.close();
  });
  await t.test('a refusal comes instead of the 100, and the body is not read as a request', async () => {
    const wire = await Wire.connect(gateway.port);
    await wire.send(head.replace('/x', '/%00'));
    const first = await wire.readMessage();
    assert.equal(first.status, 400);
    await wire.send('GET /smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n').catch(() => {});
    await wire.read().catch(() => null);
    assert.ok(!origin.requests.some(({ target }) => target === '/smuggled'));
    wire.close();
  });
  await t.test('an early final answer of the origin', async () => {
    answer(undefined);
    origin.onHead = (received, socket) => { if (received.target === '/early') socket.write(reply(413, 'too much', ['Connection: close'])); };
    const wire = await Wire.connect(gateway.port);
    await wire.send(head.replace('/x', '/early'));
    const response = await wire.read();
    origin.onHead = null;
    if (response.interim.length === 0) assert.equal(response.status, 413);
    else assert.ok([413, 502].includes(response.status));
    wire.close();
  });
  await t.test('a client that does not wait', async () => {
    answer(({ body }) => reply(200, body.toString()));
    assert.equal((await exchange(gateway.port, `${head}hello`)).text(), 'hello');
  });
  await t.test('any other expectation is 417', async () => {
    const response = await exchange(gateway.port, head.replace('100-continue', 'wonders'));
    assert.equal(response.status, 417);
    assert.equal(response.problem().code, 'PST-R010');
  });
  await t.test('curl with a large body', async () => {
    const { stdout } = await run('curl', ['-sS', '-H', 'Expect: 100-continue', '--data-binary', '@-', `${gateway.url}/node/x`], { input: 'x'.repeat(2_000_000) });
    assert.equal(JSON.parse(stdout).bodySize, 2_000_000);
  });
});

test('trailers', async (t) => {
  await t.test('of the request reach the origin', async () => {
    answer(ok());
    await exchange(gateway.port, 'POST /x HTTP/1.1\r\nHost: api.test\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: abc\r\n\r\n');
    assert.equal(origin.last().trailers?.get('x-sum'), 'abc');
  });
  await t.test('of the response reach a client that takes them', async () => {
    answer('HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: abc\r\n\r\n');
    const response = await exchange(gateway.port, request('/x', { headers: ['TE: trailers', 'Connection: TE'] }));
    assert.equal(response.text(), 'hi');
    assert.equal(response.trailers?.get('x-sum'), 'abc');
  });
});

test('an early answer to an unfinished upload reaches the client', async (t) => {
  for (const end of ['keeps reading', 'closes']) {
    await t.test(`the origin ${end}`, async () => {
      origin.reset();
      origin.answer = () => undefined;
      origin.onHead = (received, socket) => {
        if (received.target !== '/upload') return;
        const bytes = reply(403, 'stop', end === 'closes' ? ['Connection: close'] : []);
        if (end === 'closes') socket.end(bytes);
        else socket.write(bytes);
      };
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('/upload', { method: 'POST', headers: ['Content-Length: 5000000'] }) + 'x'.repeat(1000));
      const response = await wire.read();
      assert.equal(response.status, 403);
      assert.equal(response.text(), 'stop');
      origin.onHead = null;
      origin.answer = ok();
      // The rest of the upload is never the next request on this connection, nor on that to the origin.
      await wire.send('x'.repeat(1000)).catch(() => {});
      assert.equal((await exchange(gateway.port, request('/after'))).status, 200);
      assert.equal(origin.last().target, '/after');
      assert.notEqual(origin.last().connection.requests.length, 0);
      wire.close();
    });
  }
  await t.test('a fixed answer to an upload', async () => {
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/local', { method: 'POST', headers: ['Content-Length: 10'] }) + 'GET /');
    assert.equal((await wire.read()).text(), 'local');
    await wire.send('evil' + request('/local'));
    const next = await wire.read().catch(() => null);
    if (next) assert.equal(next.text(), 'local');
    wire.close();
  });
});

test('half-close', async (t) => {
  await t.test('of the client after its request still gets the answer', async () => {
    let release;
    answer(() => new Promise((resolve) => { release = () => resolve(reply(200, 'late')); }));
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/x'));
    wire.finish();
    await until('the request at the origin', () => release);
    release();
    assert.equal((await wire.read()).text(), 'late');
    await wire.closed();
  });
  await t.test('a client that vanishes frees its origin connection', async () => {
    answer(() => undefined);
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/x'));
    const { connection } = await origin.request();
    wire.reset();
    await until('the origin connection to close', () => connection.closed);
    const record = await gateway.logged((entry) => entry.error_code === 'PST-R018');
    assert.ok(record);
  });
});

test('curl, fetch and http.Agent as clients', async (t) => {
  await t.test('curl GET, POST, HEAD', async () => {
    const get = JSON.parse((await run('curl', ['-sS', `${gateway.url}/node/a?b=c`])).stdout);
    assert.equal(get.url, '/node/a?b=c');
    const post = JSON.parse((await run('curl', ['-sS', '-d', 'hello', `${gateway.url}/node/a`])).stdout);
    assert.equal(post.bodySize, 5);
    const chunked = JSON.parse((await run('curl', ['-sS', '-H', 'Transfer-Encoding: chunked', '-d', 'hello', `${gateway.url}/node/a`])).stdout);
    assert.equal(chunked.bodySize, 5);
    assert.match((await run('curl', ['-sSI', `${gateway.url}/node/a`])).stdout, /^HTTP\/1\.1 200/);
  });
  await t.test('curl twice on one connection', async () => {
    const { stdout } = await run('curl', ['-sS', '-w', '%{num_connects}\n', '-o', '/dev/null', '-o', '/dev/null', `${gateway.url}/node/1`, `${gateway.url}/node/2`]);
    assert.equal(stdout, '1\n0\n');
  });
  await t.test('fetch, in parallel', async () => {
    const bodies = await Promise.all(Array.from({ length: 50 }, (_, i) => fetch(`${gateway.url}/node/${i}`, { method: 'POST', body: 'x'.repeat(i) }).then((r) => r.json())));
    bodies.forEach((body, i) => { assert.equal(body.url, `/node/${i}`); assert.equal(body.bodySize, i); });
  });
  await t.test('fetch with a streamed body', async () => {
    const body = new ReadableStream({ start(c) { for (let i = 0; i < 100; i++) c.enqueue(new Uint8Array(1000)); c.close(); } });
    const response = await fetch(`${gateway.url}/node/s`, { method: 'POST', body, duplex: 'half' });
    assert.equal((await response.json()).bodySize, 100_000);
  });
  await t.test('http.Agent with keep-alive', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 10; i++) {
      const status = await new Promise((resolve, reject) => {
        http.get(`${gateway.url}/node/k`, { agent }, (response) => response.resume().on('end', () => resolve(response.statusCode))).on('error', reject);
      });
      assert.equal(status, 200);
    }
    agent.destroy();
  });
});
