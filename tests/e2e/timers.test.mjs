// Every timer at the length that it has by default, in real time, against the running gateway: not before its time, and
// not after five times of it. All at once, so that the file takes as long as the longest of them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { before, test } from 'node:test';
import { Gateway, identity, long } from './lib/gateway.mjs';
import { onCleanup } from './lib/cleanup.mjs';
import { RecordingOrigin, ok, reply } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { Wire, request } from './lib/wire.mjs';

const skip = long ? false : 'optional: needs the minutes of --long';
const second = 1000;

let gateway;
let origin;
let blackHole;
before(async () => {
  if (!long) return;
  origin = await RecordingOrigin.start();
  blackHole = await startBlackHole();
  const main = { url: origin.url, identity, retries: { attempts: 1 }, ejection: { consecutive_failures: 0 } };
  gateway = await Gateway.start({
    workers: 1,
    limits: { max_body_size: 'unlimited' },
    origins: { main, pooled: { ...main }, gone: { ...main, url: `http://127.0.0.1:${blackHole}` } },
    routes: [
      { match: { path: '/*' }, origin: 'main', public: true },
      { match: { path: '/pooled' }, origin: 'pooled', public: true },
      { match: { path: '/gone' }, origin: 'gone', public: true },
    ],
  });
  origin.answer = ({ target }, socket) => {
    if (target === '/silent') return undefined;
    if (target === '/half') return 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf';
    if (target === '/endless') {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n');
      const block = Buffer.alloc(1 << 20);
      const more = () => { while (socket.writable && socket.write(block)); };
      socket.on('drain', more);
      more();
      return undefined;
    }
    return target === '/pooled' ? reply(200, 'pooled') : ok()({ method: 'GET' });
  };
});

// A port whose connections never come to stand: a listener that takes nobody in, with its queue full, to which the
// kernel does not answer any more.
async function startBlackHole() {
  const code = `const server = require('node:net').createServer();
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      require('node:fs').writeSync(1, server.address().port + '\\n');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  onCleanup(() => child.kill('SIGKILL'));
  const port = Number(await new Promise((resolve) => child.stdout.once('data', (text) => resolve(String(text)))));
  for (;;) {
    const queued = await Promise.race([Wire.connect(port), new Promise((resolve) => setTimeout(resolve, 500, null))]);
    if (!queued) return port;
    onCleanup(() => queued.close());
  }
}

// `act` ends when the timer has; it took about `seconds`.
function timer(t, name, seconds, act) {
  return t.test(`${name}: ${seconds} s`, { skip, timeout: 6 * seconds * second }, async () => {
    const guard = 5 * seconds * second;
    let started = Date.now();
    await act(guard, () => { started = Date.now(); });
    const took = (Date.now() - started) / second;
    assert.ok(took >= 0.9 * seconds, `${took} s: before its time`);
    assert.ok(took <= 5 * seconds, `${took} s: far after its time`);
  });
}
const send = async (bytes) => {
  const wire = await Wire.connect(gateway.port);
  await wire.send(bytes);
  return wire;
};
const refused = async (wire, guard, code, method = 'GET') => {
  assert.equal((await wire.read(method, guard)).problem().code, code);
  wire.close();
};

test('timers of their default length', { concurrency: true }, async (t) => {
  const rows = [
    ['limits.header_timeout', 10, async (guard) => {
      await refused(await send('GET / HTTP/1.1\r\nHost: api.test\r\nX-'), guard, 'PST-R009');
    }],
    ['limits.header_timeout, of a head that drips', 10, async (guard) => {
      const wire = await send('GET / HTTP/1.1\r\nHost: api.test\r\nX-Drip: ');
      const drip = setInterval(() => wire.socket.writable && wire.socket.write('x'), second);
      try { await wire.closed(guard); } finally { clearInterval(drip); }
    }],
    ['limits.idle_timeout', 75, async (guard, begin) => {
      const wire = await send(request('/idle'));
      assert.equal((await wire.read()).status, 200);
      begin();
      assert.equal((await wire.readToClose(guard)).toString(), '');
    }],
    ['limits.body_idle_timeout', 30, async (guard) => {
      await refused(await send(request('/upload', { method: 'POST', headers: ['Content-Length: 10'] }) + 'ab'), guard, 'PST-R009', 'POST');
    }],
    ['limits.body_min_rate, averaged over body_idle_timeout', 30, async (guard) => {
      const wire = await send(request('/drip', { method: 'POST', headers: ['Content-Length: 100000'] }));
      const drip = setInterval(() => wire.socket.writable && wire.socket.write('x'.repeat(100)), second);
      try { await refused(wire, guard, 'PST-R009', 'POST'); } finally { clearInterval(drip); }
    }],
    ['limits.write_idle_timeout', 30, async (guard) => {
      const wire = await Wire.connect(gateway.port);
      wire.socket.pause();
      await wire.send(request('/endless'));
      await until('its record', () => gateway.log().find(({ path }) => path === '/endless'), guard);
      wire.close();
    }],
    ['timeouts.connect', 5, async (guard) => { await refused(await send(request('/gone')), guard, 'PST-U002'); }],
    ['timeouts.first_byte', 30, async (guard) => { await refused(await send(request('/silent')), guard, 'PST-U003'); }],
    ['timeouts.idle', 60, async (guard) => {
      const wire = await send(request('/half'));
      assert.match((await wire.readToClose(guard)).toString(), /half$/);
    }],
    ['pool.idle_timeout', 30, async (guard, begin) => {
      const wire = await send(request('/pooled'));
      assert.equal((await wire.read()).text(), 'pooled');
      begin();
      wire.close();
      const { connection } = origin.requests.find(({ target }) => target === '/pooled');
      await until('the connection to the origin to be closed', () => connection.closed, guard);
    }],
  ];
  await Promise.all(rows.map(([name, seconds, act]) => timer(t, name, seconds, act)));
});
