// HTTP/2 from clients: by ALPN and with prior knowledge, to an HTTP/1.1 origin. What HTTP/1 clients get, they get too.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import tls from 'node:tls';
import { before, test } from 'node:test';
import { Gateway, identity, secret, secretHeader } from './lib/gateway.mjs';
import { freePort, onCleanup } from './lib/cleanup.mjs';
import { H2Wire, code, frames, setting } from './lib/http2_wire.mjs';
import { ask, connectHttp2, curl, h2load, peer, testPki } from './lib/peers.mjs';
import { run } from './lib/process.mjs';
import { RecordingOrigin, ok, reply } from './lib/recording_origin.mjs';
import { until, within } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
let stream;           // Node's http, for what streams
let handler;          // of `stream`; a test sets it
let ports;
let key;
const shapes = [['h2c', { secure: false }], ['TLS', { secure: true }]];
const portOf = (secure) => (secure ? ports.tls : ports.h2c);

before(async () => {
  origin = await RecordingOrigin.start();
  const server = http.createServer((req, res) => { req.on('error', () => {}); res.on('error', () => {}); handler(req, res); });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => { server.closeAllConnections(); server.close(); });
  stream = { server, url: `http://127.0.0.1:${server.address().port}` };
  ports = { h2c: await freePort(), tls: await freePort(), never: await freePort(), neverTls: await freePort(), plain: await freePort(), few: await freePort() };
  const { pair, authority } = testPki();
  const elsewhere = authority.issue({ subject: 'CN=elsewhere', dns: ['elsewhere.test'] });
  gateway = await Gateway.start({
    listeners: [
      { address: `127.0.0.1:${ports.h2c}`, http2: 'h2c' },
      { address: `127.0.0.1:${ports.tls}`, tls: { certificates: [pair.files, elsewhere.files] } },
      { address: `127.0.0.1:${ports.never}`, http2: 'never' },
      { address: `127.0.0.1:${ports.neverTls}`, http2: 'never', tls: pair.files },
      { address: `127.0.0.1:${ports.plain}` },
      { address: `127.0.0.1:${ports.few}`, http2: 'h2c', limits: { max_concurrent_streams: 3, max_requests_per_connection: 5, idle_timeout: '1s' } },
    ],
    limits: { max_body_size: 'unlimited' },
    origins: { main: { url: origin.url, identity }, stream: { url: stream.url, identity } },
    routes: [
      { match: { path: '/*' }, origin: 'main', public: true },
      { match: { path: '/stream/*' }, origin: 'stream', public: true },
      { match: { path: '/private/*' }, origin: 'main', policies: ['api_key'] },
      { match: { path: '/limited' }, origin: 'main', public: true, policies: [{ rate_limit: { requests: 3, per: '1h', by: { header: 'X-Tenant' } } }] },
      { match: { path: '/local' }, respond: { status: 200, body: 'local' }, public: true },
    ],
  });
  key = await gateway.createKey('partner');
});

test('who speaks what', async (t) => {
  let number = 0;
  const cases = [
    ['curl --http2 to TLS', 'tls', ['--http2'], true, '2'],
    ['curl --http1.1 to TLS', 'tls', ['--http1.1'], true, '1.1'],
    ['curl without ALPN to TLS', 'tls', ['--no-alpn'], true, '1.1'],
    ['curl --http2 to TLS that never does', 'neverTls', ['--http2'], true, '1.1'],
    ['curl --http2-prior-knowledge to h2c', 'h2c', ['--http2-prior-knowledge'], false, '2'],
    ['curl --http1.1 to h2c', 'h2c', ['--http1.1'], false, '1.1'],
  ];
  for (const [name, port, args, secure, version] of cases) {
    await t.test(name, async () => {
      const path = `/who/${++number}`;
      const answer = await curl(ports[port], path, args, { secure });
      assert.deepEqual([answer.code, answer.status, answer.version, answer.text], [0, 200, version, 'ok'], answer.stderr);
      const record = await gateway.logged((entry) => entry.path === path);
      assert.equal(record.protocol, `HTTP/${version}`);
      assert.equal(origin.last().head.startLine, `GET ${path} HTTP/1.1`);
    });
  }
  for (const port of ['never', 'plain']) {
    await t.test(`prior knowledge to a listener without it: ${port}`, async () => {
      const before = origin.requests.length;
      const answer = await curl(ports[port], '/prior', ['--http2-prior-knowledge']);
      assert.notEqual(answer.code, 0);
      assert.equal(origin.requests.length, before);
    });
  }
  await t.test('a client that speaks h2 only is told so where it is never spoken', async () => {
    const socket = tls.connect({ port: ports.neverTls, host: '127.0.0.1', servername: 'api.test', ca: testPki().ca, ALPNProtocols: ['h2'] });
    const [error] = await within('the alert', once(socket, 'error'));
    assert.match(error.message + error.code, /no application protocol|NO_APPLICATION_PROTOCOL/i);
  });
  await t.test('the access log names the protocol', async () => {
    for (const [name, { secure }] of shapes) {
      assert.equal((await curl(portOf(secure), `/logged/${name}`, [secure ? '--http2' : '--http2-prior-knowledge'], { secure })).status, 200);
      const record = await gateway.logged(({ path }) => path === `/logged/${name}`);
      assert.equal(record.protocol, 'HTTP/2');
      assert.equal(record.tls, secure ? 'TLSv1.3' : undefined);
    }
    await exchange(ports.h2c, request('/logged/one'));
    assert.equal((await gateway.logged(({ path }) => path === '/logged/one')).protocol, 'HTTP/1.1');
  });
  await t.test('nghttp gets several at once, over TLS and in clear', async () => {
    for (const [, { secure }] of shapes) {
      const base = `${secure ? 'https' : 'http'}://127.0.0.1:${portOf(secure)}`;
      const { code: exit, stdout, stderr } = await run('nghttp', ['-nv', `${base}/n/1`, `${base}/n/2`, `${base}/n/3`]);
      assert.equal(exit, 0, stderr);
      assert.equal([...stdout.matchAll(/:status: 200/g)].length, 3, stdout);
    }
  });
});

for (const [name, options] of shapes) {
  test(`methods and statuses over ${name}`, async (t) => {
    const client = await connectHttp2(portOf(options.secure), options);
    origin.answer = (received) => {
      if (received.target === '/204') return 'HTTP/1.1 204 No Content\r\nX-Answer: yes\r\n\r\n';
      if (received.target === '/304') return 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 500\r\n\r\n';
      return ok(`${received.method} ${received.body.length}`)(received);
    };
    const cases = [
      ['GET', '/a?b=%20c&d', undefined, 200, 'GET 0'],
      ['POST', '/a', 'hello', 200, 'POST 5'],
      ['POST', '/a', '', 200, 'POST 0'],
      ['PUT', '/a', Buffer.alloc(300_000, 'x'), 200, 'PUT 300000'],
      ['DELETE', '/a', undefined, 200, 'DELETE 0'],
      ['PATCH', '/a', '{}', 200, 'PATCH 2'],
      ['OPTIONS', '/a', undefined, 200, 'OPTIONS 0'],
      ['GET', '/204', undefined, 204, ''],
      ['GET', '/304', undefined, 304, ''],
    ];
    for (const [method, target, body, status, text] of cases) {
      await t.test(`${method} ${target} ${body === undefined ? '' : `with ${body.length} bytes`} is ${status}`, async () => {
        const answer = await ask(client, target, { method, body });
        assert.deepEqual([answer.status, answer.body, answer.reset], [status, text, 0]);
        assert.ok(answer.headers['x-request-id']);
        if (status === 304) assert.equal(answer.headers.etag, '"a"');
        for (const field of ['connection', 'keep-alive', 'transfer-encoding', 'upgrade']) assert.equal(answer.headers[field], undefined);
        assert.equal(origin.last().target, target);
      });
    }
    await t.test('HEAD has the fields and no body', async () => {
      origin.answer = () => 'HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n';
      const answer = await ask(client, '/head', { method: 'HEAD' });
      assert.deepEqual([answer.status, answer.bytes, answer.headers['content-length'], answer.reset], [200, 0, '1234', 0]);
      origin.answer = ok();
    });
    await t.test('an interim 103 comes first', async () => {
      origin.answer = async (received, socket) => { socket.write('HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n'); return reply(200, 'late'); };
      const answer = await ask(client, '/103');
      assert.deepEqual(answer.interim.map((fields) => [fields[':status'], fields.link]), [[103, '</s.css>; rel=preload']]);
      assert.deepEqual([answer.status, answer.body], [200, 'late']);
      origin.answer = ok();
    });
    await t.test('Expect: 100-continue', async () => {
      let continued = false;
      const answer = await ask(client, '/expect', { method: 'POST', headers: { expect: '100-continue' },
        body: (writer) => writer.once('continue', () => { continued = true; writer.end('expected'); }) });
      assert.ok(continued);
      assert.equal(answer.status, 200);
      assert.equal(origin.last().body.toString(), 'expected');
    });
    await t.test('a chunked response and one without a length end in order', async () => {
      origin.answer = () => 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n';
      assert.equal((await ask(client, '/chunked')).body, 'abcde');
      origin.answer = (_, socket) => { socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end'); };
      const answer = await ask(client, '/close');
      assert.deepEqual([answer.body, answer.reset], ['to the end', 0]);
      origin.answer = ok();
    });
    await t.test('a response that breaks off is reset, and the connection lives', async () => {
      origin.answer = (_, socket) => { socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart'); setTimeout(() => socket.destroy(), 50); };
      const answer = await ask(client, '/broken');
      assert.equal(answer.status, 200);
      assert.notEqual(answer.reset, 0, 'a short body must not look whole');
      origin.answer = ok();
      assert.equal((await ask(client, '/after')).status, 200);
    });
    client.close();
  });
}

test('what the origin receives', async (t) => {
  const client = await connectHttp2(ports.tls, { secure: true });
  await t.test('an honest HTTP/1.1 request with identity and forwarding fields', async () => {
    origin.reset();
    assert.equal((await ask(client, '/fields?q=1', { headers: { 'x-kept': 'Kept Value', te: 'trailers', 'accept-language': 'en' } })).status, 200);
    const { head } = origin.last();
    assert.equal(head.startLine, 'GET /fields?q=1 HTTP/1.1');
    assert.equal(head.get('host'), `127.0.0.1:${origin.port}`);
    assert.equal(head.get(secretHeader), secret);
    assert.equal(head.get('x-kept'), 'Kept Value');
    assert.equal(head.get('x-forwarded-proto'), 'https');
    assert.equal(head.get('x-forwarded-host'), `api.test:${ports.tls}`);
    assert.equal(head.get('x-forwarded-for'), '127.0.0.1');
    assert.ok(head.names().every((name) => !name.startsWith(':') && name !== 'http2-settings'), head.text);
  });
  await t.test('cookie crumbs are one field (RFC 9113 8.2.3)', async () => {
    const wire = await H2Wire.connect(ports.h2c);
    assert.equal((await wire.ask('/cookies', { headers: [['cookie', 'a=1'], ['x-between', 'y'], ['cookie', 'b=2'], ['cookie', 'c=3']] })).status, 200);
    assert.equal(origin.last().head.get('cookie'), 'a=1; b=2; c=3');
    wire.close();
  });
  await t.test('the secret of a client is stripped, also from trailers, under every alias', async () => {
    origin.reset();
    const forged = { 'x-backend-secret': 'a guess', x_backend_secret: 'a guess', 'x.backend.secret': 'a guess' };
    const answer = await ask(client, '/forged', { method: 'POST', body: 'x', headers: forged, trailers: { ...forged, 'x-checksum': 'abc' } });
    assert.equal(answer.status, 200);
    const { head, trailers } = origin.last();
    assert.equal(head.get(secretHeader), secret);
    assert.ok(!origin.connections.some(({ bytes }) => bytes.includes('a guess')), 'at the origin');
    assert.equal(trailers.get('x-checksum'), 'abc');
  });
  await t.test('the secret in an answer of the origin does not reach the client, also not in trailers', async () => {
    origin.answer = () => `HTTP/1.1 200 OK\r\nX-Echo: ${secret}\r\n${secretHeader}: ${secret}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Checksum: sum\r\nX-Echo: ${secret}\r\n${secretHeader}: x\r\n\r\n`;
    const answer = await ask(client, '/echoing');
    assert.equal(answer.body, 'ok');
    assert.ok(!JSON.stringify([answer.headers, answer.trailers]).includes(secret));
    assert.equal(answer.trailers['x-checksum'], 'sum');
    assert.equal(answer.trailers[secretHeader.toLowerCase()], undefined);
    origin.answer = ok();
  });
  client.close();
});

test('policies are those of HTTP/1', async (t) => {
  const client = await connectHttp2(ports.tls, { secure: true });
  const problem = (answer, status, id) => {
    assert.equal(answer.status, status, answer.body);
    assert.equal(answer.headers['content-type'], 'application/problem+json');
    const body = answer.json();
    assert.deepEqual([body.status, body.code, body.request_id], [status, id, answer.headers['x-request-id']]);
    assert.equal(Number(answer.headers['content-length']), answer.body.length);
  };
  await t.test('api_key', async () => {
    const missing = await ask(client, '/private/a');
    problem(missing, 401, 'PST-P401');
    assert.match(missing.headers['www-authenticate'], /ApiKey/);
    problem(await ask(client, '/private/a', { headers: { 'x-api-key': 'pst_guess' } }), 401, 'PST-P402');
    assert.equal((await ask(client, '/private/a', { headers: { 'x-api-key': key } })).status, 200);
    assert.equal((await gateway.logged(({ path, status }) => path === '/private/a' && status === 200)).consumer, 'partner');
  });
  await t.test('rate_limit, over all streams at once', async () => {
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(client, '/limited', { headers: { 'x-tenant': 'many' } })));
    const refused = answers.filter(({ status }) => status !== 200);
    assert.equal(answers.length - refused.length, 3);
    for (const answer of refused) { problem(answer, 429, 'PST-P429'); assert.ok(Number(answer.headers['retry-after']) > 0); }
  });
  await t.test('no route, a refused method, the local answer', async () => {
    problem(await ask(client, '/%2e%2e/x'), 400, 'PST-R004');
    assert.equal((await ask(client, '/local')).body, 'local');
    problem(await ask(client, '/a', { method: 'TRACE' }), 501, 'PST-R012');
    assert.equal((await ask(client, '/still')).status, 200, 'the connection lives');
  });
  await t.test('an authority of another configuration is 421, on this stream only', async () => {
    problem(await ask(client, '/a', { headers: { ':authority': 'elsewhere.test' } }), 421, 'PST-R016');
    assert.equal((await ask(client, '/a')).status, 200);
  });
  client.close();
});

test('bodies and flow control', async (t) => {
  const size = 128 * 2 ** 20;
  const flat = 24 * 2 ** 20;
  const block = Buffer.alloc(128 * 1024, 'b');
  const pour = (out, total) => {
    let left = total;
    const more = () => {
      while (left > 0) {
        const piece = left < block.length ? block.subarray(0, left) : block;
        left -= piece.length;
        if (!out.write(piece)) return;
      }
      out.off('drain', more);
      out.end();
    };
    out.on('drain', more);
    more();
  };
  const released = [];  // uploads that the origin holds
  handler = async (req, res) => {
    const [, what, number] = /^\/stream\/(\w+)\/?(\d*)/.exec(req.url);
    if (what === 'down') { res.writeHead(200, { 'content-length': number }); pour(res, Number(number)); return; }
    if (what === 'hold') { req.pause(); released.push(() => { let n = 0; req.on('data', (bytes) => { n += bytes.length; }).on('end', () => res.end(String(n))).resume(); }); return; }
    let count = 0;
    for await (const bytes of req) count += bytes.length;
    res.end(String(count));
  };
  for (const [name, options] of shapes) {
    await t.test(`large bodies pass both ways in constant memory over ${name}`, async () => {
      const client = await connectHttp2(portOf(options.secure), { ...options, settings: { initialWindowSize: 2 ** 20 } });
      await ask(client, '/stream/down/1');
      const before = gateway.residentBytes();
      let peak = 0;
      const watch = setInterval(() => { peak = Math.max(peak, gateway.residentBytes()); }, 50);
      const [up, down] = await Promise.all([
        ask(client, '/stream/up', { method: 'POST', body: (writer) => pour(writer, size) }),
        ask(client, `/stream/down/${size}`),
      ]);
      clearInterval(watch);
      assert.deepEqual([up.status, up.body], [200, String(size)]);
      assert.deepEqual([down.status, down.bytes, down.reset], [200, size, 0]);
      assert.ok(peak - before < flat, `grew by ${peak - before} bytes`);
      client.close();
    });
    await t.test(`a stream that is not read blocks neither neighbours nor memory over ${name}`, async () => {
      const wire = await H2Wire.connect(portOf(options.secure), { tls: options.secure ? { ca: testPki().ca, servername: 'api.test' } : undefined });
      const before = gateway.residentBytes();
      const scheme = options.secure ? 'https' : 'http';
      const stuck = Array.from({ length: 20 }, () => { const one = wire.request(`/stream/down/${64 * 2 ** 20}`, { scheme }); one.consume = false; return one; });
      await until('the windows to be full', () => stuck.every(({ bytes }) => bytes === 65_535));
      const neighbour = await wire.ask(`/stream/down/${3 * 2 ** 20}`, { scheme });
      assert.deepEqual([neighbour.outcome, neighbour.bytes], ['200', 3 * 2 ** 20]);
      assert.ok(stuck.every(({ bytes }) => bytes === 65_535), 'beyond the window');
      assert.ok(gateway.residentBytes() - before < flat, `grew by ${gateway.residentBytes() - before} bytes`);
      // Who reads again gets the rest.
      stuck[0].consume = true;
      wire.write(frames.windowUpdate(stuck[0].id, 65_535));
      await until('the first stream to move', () => stuck[0].bytes > 2 ** 20);
      wire.close();
    });
    await t.test(`an upload that the origin does not read blocks neither neighbours nor memory over ${name}`, async () => {
      const client = await connectHttp2(portOf(options.secure), options);
      const before = gateway.residentBytes();
      released.length = 0;
      const held = ask(client, '/stream/hold', { method: 'POST', body: (writer) => pour(writer, 32 * 2 ** 20) });
      await until('the upload at the origin', () => released.length === 1);
      const neighbour = await ask(client, '/stream/up', { method: 'POST', body: Buffer.alloc(3 * 2 ** 20) });
      assert.deepEqual([neighbour.status, neighbour.body], [200, String(3 * 2 ** 20)]);
      assert.ok(gateway.residentBytes() - before < flat, `grew by ${gateway.residentBytes() - before} bytes`);
      released[0]();
      assert.equal((await held).body, String(32 * 2 ** 20));
      client.close();
    });
  }
  await t.test('every byte comes out as it went in', async () => {
    handler = (req, res) => { res.writeHead(200); req.pipe(res); };
    const bytes = Buffer.alloc(700_001, 0).map((_, at) => (at * 31) & 255);
    const client = await connectHttp2(ports.h2c);
    const chunks = [];
    await ask(client, '/stream/echo', { method: 'POST', body: bytes, onStream: (one) => one.on('data', (chunk) => chunks.push(chunk)) });
    assert.ok(Buffer.concat(chunks).equals(Buffer.from(bytes)));
    client.close();
  });
});

test('server-sent events arrive before the next is sent', async (t) => {
  const { EventSource } = peer('eventsource');
  let heard = 0;
  handler = async (req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let n = 1; n <= 5; n++) {
      res.write(`id: ${n}\ndata: event ${n}\n\n`);
      await until(`event ${n} at the client`, () => heard >= n || res.destroyed);
    }
  };
  const ways = [
    ['HTTP/1.1', undefined, `http://127.0.0.1:${ports.h2c}/stream/events`],
    ...shapes.map(([name, options]) => [`HTTP/2 over ${name}`, () => fetchOver(options), 'http://api.test/stream/events']),
  ];
  for (const [name, makeFetch, url] of ways) {
    await t.test(name, async () => {
      heard = 0;
      const fetch = await makeFetch?.();
      const source = new EventSource(url, fetch ? { fetch } : {});
      onCleanup(() => source.close());
      const seen = [];
      source.addEventListener('message', (event) => { seen.push(event.data); heard++; });
      await until('five events', () => heard >= 5);
      source.close();
      assert.deepEqual(seen, [1, 2, 3, 4, 5].map((n) => `event ${n}`));
    });
  }
});
// fetch() as EventSource uses it, over one HTTP/2 session.
async function fetchOver(options) {
  const client = await connectHttp2(portOf(options.secure), options);
  return async (url, init) => {
    const events = client.request({ ':path': new URL(url).pathname, accept: 'text/event-stream' });
    init.signal?.addEventListener('abort', () => events.close(http2.constants.NGHTTP2_CANCEL));
    events.on('error', () => {});
    const [headers] = await once(events, 'response');
    const body = new ReadableStream({
      start(controller) {
        events.on('data', (bytes) => controller.enqueue(new Uint8Array(bytes)));
        events.on('close', () => { try { controller.close(); } catch { /* aborted */ } });
      },
    });
    return { url, status: headers[':status'], redirected: false, headers: new Headers({ 'content-type': headers['content-type'] }), body };
  };
}

test('many streams at once on one connection', async (t) => {
  await t.test('as many as were announced, all at the same time', async () => {
    const waiting = [];
    handler = (req, res) => { waiting.push(res); };
    const client = await connectHttp2(ports.h2c);
    assert.equal(client.remoteSettings.maxConcurrentStreams, 128);
    const answers = Array.from({ length: 128 }, (_, n) => ask(client, `/stream/at-once/${n}`));
    await until('all of them at the origin', () => waiting.length === 128);
    for (const res of waiting) res.end('x');
    assert.ok((await Promise.all(answers)).every(({ status }) => status === 200));
    client.close();
  });
  await t.test('max_concurrent_streams is announced, and one stream more is refused', async () => {
    const waiting = [];
    handler = (req, res) => { waiting.push(res); };
    const wire = await H2Wire.connect(ports.few);
    assert.equal(wire.settings[setting.maxConcurrentStreams], 3);
    await until('our SETTINGS to be acknowledged', () => wire.acks > 0);
    const held = [1, 2, 3].map((n) => wire.request(`/stream/few/${n}`));
    await until('three at the origin', () => waiting.length === 3);
    const extra = wire.request('/stream/few/4');
    await extra.finished();
    assert.match(extra.outcome, /^RST (REFUSED_STREAM|PROTOCOL_ERROR)$|^GOAWAY PROTOCOL_ERROR$/);
    assert.equal(waiting.length, 3);
    for (const res of waiting) res.end('x');
    if (extra.reset !== null) for (const one of held) assert.equal((await one.finished()).outcome, '200');
    wire.close();
  });
  await t.test('max_requests_per_connection and idle_timeout end a connection in order', async () => {
    const wire = await H2Wire.connect(ports.few);
    for (let n = 1; n <= 5; n++) assert.equal((await wire.ask('/local')).outcome, '200');
    assert.equal(await wire.refused(), 'NO_ERROR');
    const idle = await H2Wire.connect(ports.few);
    assert.equal((await idle.ask('/local')).outcome, '200');
    assert.equal(await idle.refused(), 'NO_ERROR');
  });
  for (const [name, { secure }] of shapes) {
    await t.test(`h2load over ${name}`, async () => {
      origin.answer = ok();
      const url = `${secure ? 'https' : 'http'}://127.0.0.1:${portOf(secure)}/load`;
      const result = await h2load(url, ['-n', '20000', '-c', '8', '-m', '32']);
      assert.deepEqual([result.succeeded, result.failed, result.errored, result.codes['2xx']], [20_000, 0, 0, 20_000], result.stdout + result.stderr);
    });
  }
});

test('a cancelled stream aborts the request at the origin, and nothing else', async (t) => {
  for (const [name, options] of shapes) {
    await t.test(`while it waits for an answer, over ${name}`, async () => {
      let aborted = false;
      let received = false;
      handler = (req, res) => { received = true; res.on('close', () => { aborted = !res.writableFinished; }); };
      const client = await connectHttp2(portOf(options.secure), options);
      const one = client.request({ ':path': '/stream/wait' });
      one.on('error', () => {});
      await until('the request at the origin', () => received);
      one.close(http2.constants.NGHTTP2_CANCEL);
      await until('the origin to see it', () => aborted);
      assert.equal((await ask(client, '/local')).body, 'local');
      const record = await gateway.logged(({ path }) => path === '/stream/wait');
      assert.equal(record.error_code, 'PST-R018');
      client.close();
    });
    await t.test(`in the middle of a download, over ${name}`, async () => {
      let aborted = false;
      handler = (req, res) => { res.on('close', () => { aborted = !res.writableFinished; }); const more = () => { while (!res.destroyed && res.write(Buffer.alloc(65_536))); }; res.on('drain', more); more(); };
      const client = await connectHttp2(portOf(options.secure), options);
      const one = client.request({ ':path': '/stream/endless' });
      one.on('error', () => {}).resume();
      await once(one, 'data');
      one.close(http2.constants.NGHTTP2_CANCEL);
      await until('the origin to see it', () => aborted);
      assert.equal((await ask(client, '/local')).body, 'local');
      client.close();
    });
    await t.test(`in the middle of an upload, over ${name}`, async () => {
      let aborted = false;
      let bytes = 0;
      handler = (req) => { req.on('data', (chunk) => { bytes += chunk.length; }).on('close', () => { aborted = !req.complete; }); };
      const scheme = options.secure ? 'https' : 'http';
      const wire = await H2Wire.connect(portOf(options.secure), { tls: options.secure ? { ca: testPki().ca, servername: 'api.test' } : undefined });
      const one = wire.request('/stream/upload', { scheme, method: 'POST', end: false });
      await one.send('part');
      await until('the part at the origin', () => bytes === 4);
      wire.write(frames.rst(one.id, code.CANCEL));
      await until('the origin to see it', () => aborted);
      assert.equal((await wire.ask('/local', { scheme })).text(), 'local');
      wire.close();
    });
  }
  await t.test('a connection that is cut aborts all its requests', async () => {
    let open = 0;
    handler = (req, res) => { open++; res.on('close', () => { open--; }); };
    const client = await connectHttp2(ports.h2c);
    for (let n = 0; n < 10; n++) client.request({ ':path': '/stream/wait' }).on('error', () => {});
    await until('ten at the origin', () => open === 10);
    client.destroy();
    await until('none at the origin', () => open === 0);
  });
  await t.test('an answer before the end of the upload ends the exchange; the connection lives', async () => {
    handler = (req, res) => { res.writeHead(413, { connection: 'close' }); res.end('too much'); };
    const wire = await H2Wire.connect(ports.h2c);
    const one = wire.request('/stream/early', { method: 'POST', end: false });
    await one.send('x'.repeat(1000));
    await one.finished();
    assert.equal(one.status, 413);
    assert.ok(one.ended);
    assert.ok([null, 0].includes(one.reset), one.outcome);
    assert.equal((await wire.ask('/local')).outcome, '200');
    wire.close();
  });
});
