// Clients that connect where HTTP/2 is spoken and then say nothing, or begin and stop: each is let go in its time, in
// clear and over TLS, and whoever else is on the same loop is served meanwhile. To the millisecond in timeouts_test.cc.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { freePort } from './lib/cleanup.mjs';
import { Gateway, identity } from './lib/gateway.mjs';
import { H2Wire, code, frame, frames, preface, requestFields, type } from './lib/http2_wire.mjs';
import { testPki } from './lib/peers.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const header = 3_000;  // ms; a handshake of TLS has to fit in, beside everything else
const idle = 6_000;
const body = 2_000;
const guard = 60_000;  // of a machine that has other things to do
let gateway;
let origin;
let ports;
before(async () => {
  origin = await RecordingOrigin.start();
  ports = { clear: await freePort(), tls: await freePort() };
  gateway = await Gateway.start({
    workers: 1,
    listeners: [{ address: `127.0.0.1:${ports.clear}`, http2: 'h2c' }, { address: `127.0.0.1:${ports.tls}`, tls: testPki().pair.files }],
    limits: { header_timeout: `${header}ms`, idle_timeout: `${idle}ms`, body_idle_timeout: `${body}ms`, max_requests_per_connection: 1000000 },
    origins: { main: { url: origin.url, identity } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
});

const secured = () => ({ tls: { ca: testPki().ca, servername: 'api.test' } });
// A connection that has said `bytes` in `pieces` and is silent from then on; what came of it when it was closed.
async function endsAfter(port, bytes, least, { pieces = bytes.length, every = 0 } = {}) {
  const wire = await H2Wire.connect(port, { silent: true, acknowledge: false, ...(port === ports.tls ? secured() : {}) });
  let text = '';
  const { receive } = wire;
  wire.receive = (chunk) => { text += chunk.toString('latin1'); if (!text.startsWith('HTTP/1.1')) receive.call(wire, chunk); };
  const started = Date.now();
  for (let at = 0; at < bytes.length && !wire.ended; at += pieces) {
    wire.write(bytes.subarray(at, at + pieces));
    if (every) await new Promise((resolve) => setTimeout(resolve, every));
  }
  await until('it to be let go', () => wire.ended, guard);
  const took = Date.now() - started;
  // Half of it: this side may have been late to look at its clock.
  assert.ok(took >= least * 0.5, `${took} ms: before its time`);
  wire.close();
  return { wire, text, took };
}

const silences = [
  ['nothing at all', Buffer.alloc(0), { clear: idle, tls: header }],
  ...[1, 3, 14, 18, preface.length - 1].map((size) => [`${size} bytes of the preface`, preface.subarray(0, size), { clear: header, tls: header }]),
  ['the preface', preface, { clear: header, tls: header }],
  ['the preface and half of a frame header', Buffer.concat([preface, frames.settings().subarray(0, 5)]), { clear: header, tls: header }],
  ['the preface and a frame without its end', Buffer.concat([preface, frame(type.settings, 0, 0, Buffer.alloc(6), 60)]), { clear: header, tls: header }],
  ['a greeting, and no request', Buffer.concat([preface, frames.settings()]), { clear: idle, tls: idle }],
  ['half of a header block', Buffer.concat([preface, frames.settings(), frames.headers(1, requestFields('/half'), { endHeaders: false })]), { clear: header, tls: header }],
  ['half of a HEADERS frame', Buffer.concat([preface, frames.settings(), frames.headers(1, requestFields('/half')).subarray(0, 15)]), { clear: 0, tls: 0 }],
];

test('who says nothing, or stops in the middle, is let go; a neighbour is served', { concurrency: true }, async (t) => {
  let stop = false;
  let served = 0;
  const failures = [];
  const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
  // On the same loop, all the time: a connection that lives on, and new ones.
  const neighbours = [
    (async () => {
      for (let wire = null; !stop;) {
        if (!wire || wire.ended || wire.goaway) wire = await H2Wire.connect(ports.clear);
        const { outcome } = await wire.ask('/neighbour');
        if (outcome === '200') served++;
        else failures.push(outcome);
        await pause();
      }
    })(),
    (async () => {
      while (!stop) {
        const response = await exchange(ports.clear, request('/neighbour', { headers: ['Connection: close'] }));
        if (response?.status === 200) served++;
        else failures.push(`${response?.status}`);
        await pause();
      }
    })(),
  ];
  const cases = [];
  for (const [name, bytes, least] of silences) {
    for (const listener of ['clear', 'tls']) {
      cases.push(t.test(`${name}, ${listener === 'tls' ? 'over TLS' : 'in clear'}`, async () => {
        const { wire, text } = await endsAfter(ports[listener], bytes, least[listener]);
        // Its first line names a version that HTTP/1 does not speak.
        if (text.startsWith('HTTP/')) assert.match(text, bytes.length < 16 ? /^HTTP\/1\.1 408 [^]*PST-R009/ : /^HTTP\/1\.1 505 [^]*PST-R013/);
        if (bytes.length > preface.length) assert.ok(wire.goaway, 'who has greeted is told');
        if (name === 'a greeting, and no request') assert.equal(wire.goaway.code, code.NO_ERROR);
      }));
    }
  }
  cases.push(t.test('a preface that drips has the time of a head for all of it', async () => {
    const { took } = await endsAfter(ports.clear, preface, header, { pieces: 1, every: 1_000 });
    assert.ok(took < preface.length * 1_000 * 0.9, `${took} ms: as long as it liked`);
  }));
  cases.push(t.test('hundreds of them at once', async () => {
    const wires = await Promise.all(Array.from({ length: 300 }, async (_, n) => {
      const wire = await Wire.connect(ports.clear);
      await wire.send(preface.subarray(0, n % (preface.length + 1)));
      return wire;
    }));
    await until('all of them to be let go', () => wires.every(({ ended }) => ended), guard);
    for (const wire of wires) wire.close();
  }));
  cases.push(t.test('a request whose body stops', async () => {
    const wire = await H2Wire.connect(ports.tls, secured());
    const stream = wire.request('/upload', { method: 'POST', end: false, headers: [['content-length', '10']] });
    await stream.send('half');
    await stream.finished(guard);
    assert.match(stream.outcome, /^408$|^RST /);
    assert.ok(await wire.alive(), 'the stream is at fault, not the connection');
    wire.close();
  }));
  await Promise.all(cases);
  stop = true;
  await Promise.all(neighbours);
  assert.deepEqual(failures, []);
  assert.ok(served > 10, `${served} requests of neighbours`);
  assert.deepEqual(origin.errors, []);
  assert.ok(!origin.requests.some(({ target }) => target === '/half'));
  await until('no connection to be left', async () => (await gateway.metric('postern_connections')) === 0, guard);
  assert.equal(gateway.process.exit, null);
});
