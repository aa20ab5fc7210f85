// The tools of these tests are tested first: a recorder that loses bytes or a reader that forgives proves nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { secret, secretHeader } from './lib/gateway.mjs';
import { MessageReader } from './lib/message.mjs';
import { startHaproxy, startNginx, startNode } from './lib/real_origins.mjs';
import { RecordingOrigin, reply } from './lib/recording_origin.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';
import { toYaml } from './lib/yaml.mjs';
import { H2Wire, startRawH2Origin } from './lib/http2_wire.mjs';
import { ask, connectHttp2, startHttp2Origin, testPki } from './lib/peers.mjs';
import { run } from './lib/process.mjs';

test('the recording origin keeps the exact bytes, whole or one at a time', async () => {
  const origin = await RecordingOrigin.start();
  const bytes = 'POST /a HTTP/1.1\r\nHost:  x\r\nX-oDd: \xe4 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n';
  for (const fragment of [0, 1]) {
    origin.reset();
    const response = await exchange(origin.port, bytes, { fragment });
    assert.equal(response.status, 200);
    const recorded = await origin.request();
    assert.equal(recorded.connection.bytes.toString('latin1'), bytes);
    assert.equal(recorded.body.toString(), 'abc');
    assert.equal(recorded.trailers.get('t'), '1');
  }
});

test('the recording origin answers pipelined requests in order', async () => {
  const origin = await RecordingOrigin.start({ answer: ({ target }) => reply(200, target) });
  const wire = await Wire.connect(origin.port);
  await wire.send(request('/1') + request('/2') + request('/3'));
  for (const target of ['/1', '/2', '/3']) assert.equal((await wire.read()).text(), target);
  wire.close();
});

test('the reader does not forgive', () => {
  const malformed = [
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx'],
    ['length and chunked', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['space before colon', 'HTTP/1.1 200 OK\r\nA : b\r\n\r\n'],
    ['folded line', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n'],
    ['bare LF in a value', 'HTTP/1.1 200 OK\r\nA: b\nc: d\r\n\r\n'],
    ['signed chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n'],
    ['no CRLF after a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n'],
    ['bad status line', 'HTTP/1.1 2000 OK\r\n\r\n'],
  ];
  for (const [name, bytes] of malformed) assert.throws(() => new MessageReader('response').feed(Buffer.from(bytes, 'latin1')), undefined, name);
});

test('nginx, HAProxy and Node refuse who does not bring the secret', async () => {
  for (const start of [startNginx, startHaproxy, startNode]) {
    const origin = await start({ secret });
    const cases = [
      ['with the secret', [`${secretHeader}: ${secret}`], 200],
      ['without it', [], 401],
      ['with a wrong one', [`${secretHeader}: ${secret}x`], 401],
      ['with an empty one', [`${secretHeader}:`], 401],
    ];
    for (const [name, headers, status] of cases) {
      assert.equal((await exchange(origin.port, request('/', { headers }))).status, status, `${start.name} ${name}`);
    }
  }
});

test('yaml is written as people write it', async () => {
  assert.equal(toYaml({ a: { b: [1, { c: 'x y', d: true }, [2]], e: [] }, f: 'no', g: '${env:X}' }),
    '\na: \n  b: \n    - 1\n    - c: "x y"\n      d: true\n    - - 2\n  e: []\nf: "no"\ng: "${env:X}"');
});

test('curl is there', async () => {
  const origin = await RecordingOrigin.start();
  const { stdout } = await run('curl', ['-sS', '-o', '/dev/null', '-w', '%{http_code}', origin.url]);
  assert.equal(stdout, '200');
});

test('raw HTTP/2 understands other implementations, and they understand it', async () => {
  const node = await startHttp2Origin({ secure: true });
  const wire = await H2Wire.connect(node.port, { tls: { ca: testPki().ca, servername: 'api.test' } });
  const every = Array.from({ length: 94 }, (_, n) => String.fromCharCode(33 + n)).join(' ');
  const stream = wire.request('/x', { method: 'POST', scheme: 'https', end: false, headers: [['x-every', every]] });
  await stream.send(Buffer.alloc(200_000), true);
  assert.equal((await stream.finished()).outcome, '200');
  const { headers, bodySize, method } = JSON.parse(stream.text());
  assert.deepEqual([headers['x-every'], bodySize, method], [every, 200_000, 'POST']);
  assert.ok(await wire.alive());

  const raw = await startRawH2Origin();
  raw.onConnection = (session) => { session.onEnd = (request) => session.respond(request, 200, { headers: [['x-every', request.get('x-every')]], body: String(request.bytes), trailers: [['x-sum', request.trailers[0][1]]] }); };
  raw.onRequest = () => {};
  const client = await connectHttp2(raw.port);
  for (let n = 0; n < 3; n++) {  // the dynamic table counts from the second on
    const answer = await ask(client, '/y', { method: 'POST', headers: { 'x-every': every }, body: 'x'.repeat(100_000), trailers: { 'x-sum': `${n}` } });
    assert.deepEqual([answer.status, answer.headers['x-every'], answer.body, answer.trailers['x-sum']], [200, every, '100000', `${n}`]);
  }
});
