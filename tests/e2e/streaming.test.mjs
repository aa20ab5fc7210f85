// Streaming and backpressure: memory stays flat however large the body and however slow the peer, and whoever stops
// moving is let go. 256 MiB by default, 10 GiB with ./dev test --long.
import assert from 'node:assert/strict';
import net from 'node:net';
import { before, test } from 'node:test';
import { Gateway, identity, long } from './lib/gateway.mjs';
import { onCleanup } from './lib/cleanup.mjs';
import { RecordingOrigin, ok } from './lib/recording_origin.mjs';
import { until, within } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const total = long ? 10 * 2 ** 30 : 256 * 2 ** 20;
const flat = 24 * 2 ** 20;  // bytes the process may grow by, for kernel-independent reasons: buffers of both sides, log, metrics
const block = Buffer.alloc(256 * 1024, 'x');
const minutes = 60_000;

let gateway;
let stream;   // counts what it receives, sends what it is asked to
before(async () => {
  stream = await startStreamOrigin();
  gateway = await Gateway.start({
    limits: { max_body_size: 'unlimited' },
    origins: { stream: { url: stream.url, identity } },
    routes: [{ match: { path: '/*' }, origin: 'stream', public: true }],
  });
});

// A plain socket server: "PUT" counts bytes of the body and answers with the count; "GET /n" sends n bytes. `paused`
// stops reading until resume() is called.
async function startStreamOrigin() {
  const state = { received: 0, sent: 0, paused: false, sockets: new Set() };
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    state.sockets.add(socket);
    let head = Buffer.alloc(0);
    let length = null;
    let body = 0;
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      if (length === null) {
        head = Buffer.concat([head, bytes]);
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        const text = head.subarray(0, end).toString('latin1');
        const size = /^GET \/(\d+)/.exec(text);
        if (size) {
          head = Buffer.alloc(0);
          send(socket, Number(size[1]));
          return;
        }
        length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
        bytes = head.subarray(end + 4);
        head = Buffer.alloc(0);
        if (state.paused) socket.pause();
      }
      body += bytes.length;
      state.received += bytes.length;
      if (body >= length) {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${String(body).length}\r\n\r\n${body}`);
        length = null;
        body = 0;
      }
    });
    socket.on('end', () => socket.end());
  });
  function send(socket, size) {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    let left = size;
    const more = () => {
      while (left > 0) {
        const piece = left < block.length ? block.subarray(0, left) : block;
        left -= piece.length;
        state.sent += piece.length;
        if (!socket.write(piece)) return;
      }
      socket.off('drain', more);
    };
    socket.on('drain', more);
    more();
  }
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => { server.close(); for (const socket of state.sockets) socket.destroy(); });
  return Object.assign(state, { url: `http://127.0.0.1:${server.address().port}`, resume: () => { state.paused = false; for (const socket of state.sockets) socket.resume(); } });
}

// Writes `size` bytes after `head`, as fast as the socket takes them. The returned state counts what was handed over.
function upload(size, head = `PUT /upload HTTP/1.1\r\nHost: api.test\r\nContent-Length: ${size}\r\n\r\n`) {
  const socket = net.connect(gateway.port, '127.0.0.1');
  const state = { socket, sent: 0, answer: '' };
  socket.on('error', () => {});
  socket.on('data', (bytes) => { state.answer += bytes.toString('latin1'); });
  onCleanup(() => socket.destroy());
  socket.write(head);
  const more = () => {
    while (state.sent < size) {
      const piece = size - state.sent < block.length ? block.subarray(0, size - state.sent) : block;
      state.sent += piece.length;
      if (!socket.write(piece)) return;
    }
    socket.off('drain', more);
  };
  socket.on('drain', more);
  more();
  return state;
}

// Waits until `value()` has not changed for a while: everything that could move has moved.
async function settled(what, value) {
  let last = value();
  let since = Date.now();
  await until(`${what} to settle`, () => {
    const now = value();
    if (now !== last) { last = now; since = Date.now(); }
    return Date.now() - since > 700;
  }, 2 * minutes);
  return last;
}

test('a large upload passes in constant memory', async () => {
  await exchange(gateway.port, request('/1'));
  const before = gateway.residentBytes();
  const state = upload(total);
  let peak = 0;
  await until('the upload to end', () => {
    peak = Math.max(peak, gateway.residentBytes());
    return state.answer.endsWith(String(total));
  }, long ? 20 * minutes : 2 * minutes);
  assert.ok(peak - before < flat, `grew by ${peak - before} bytes`);
});

test('a large download passes in constant memory', async () => {
  const before = gateway.residentBytes();
  const socket = net.connect(gateway.port, '127.0.0.1');
  let received = 0;
  let peak = 0;
  socket.on('data', (bytes) => { received += bytes.length; });
  onCleanup(() => socket.destroy());
  socket.write(request(`/${total}`));
  await until('the download to end', () => {
    peak = Math.max(peak, gateway.residentBytes());
    return received >= total;
  }, long ? 20 * minutes : 2 * minutes);
  socket.destroy();
  assert.ok(peak - before < flat, `grew by ${peak - before} bytes`);
});

test('a client that reads slowly stops the origin, not the gateway', async () => {
  const before = gateway.residentBytes();
  stream.sent = 0;
  const sockets = await Promise.all(Array.from({ length: 8 }, async () => {
    const wire = await Wire.connect(gateway.port);
    wire.socket.pause();
    wire.socket.write(request(`/${64 * 2 ** 20}`));
    return wire;
  }));
  const sent = await settled('the origin', () => stream.sent);
  // What lies in socket buffers of the kernel is bounded too, far below the whole.
  assert.ok(sent < 8 * 32 * 2 ** 20, `the origin could send ${sent} bytes to nobody`);
  assert.ok(gateway.residentBytes() - before < flat, `grew by ${gateway.residentBytes() - before} bytes`);
  assert.equal((await exchange(gateway.port, request('/5'))).body.length, 5, 'others are served meanwhile');
  for (const wire of sockets) wire.close();
});

test('an origin that reads slowly stops the client, and gets everything in the end', async () => {
  const before = gateway.residentBytes();
  const size = 64 * 2 ** 20;
  stream.received = 0;
  stream.paused = true;
  const state = upload(size);
  await settled('the origin', () => state.socket.bytesWritten);
  const stuck = state.socket.bytesWritten - state.socket.writableLength;
  assert.ok(stuck < 40 * 2 ** 20, `the client could send ${stuck} bytes to nobody`);
  assert.ok(gateway.residentBytes() - before < flat, `grew by ${gateway.residentBytes() - before} bytes`);
  stream.resume();
  await until('the upload to end', () => state.answer.endsWith(String(size)), minutes);
});

test('limits on time and size', async (t) => {
  const origin = await RecordingOrigin.start();
  const strict = await Gateway.start({
    limits: { max_body_size: '1KiB', header_timeout: '1s', idle_timeout: '1s', body_idle_timeout: '1s', write_idle_timeout: '1s', max_connections: 20, max_requests_per_connection: 3 },
    origins: { main: { url: origin.url, identity }, stream: { url: stream.url, identity } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }, { match: { path: '/67108864' }, origin: 'stream', public: true }],
  });
  const slow = await Gateway.start({
    limits: { body_idle_timeout: '1s', body_min_rate: '20B' },
    origins: { main: { url: origin.url, identity } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
  await t.test('a head that never ends is 408 or closed', async () => {
    const wire = await Wire.connect(strict.port);
    await wire.send('GET / HTTP/1.1\r\nHost: api.test\r\nX-');
    const response = await wire.read();
    if (response) assert.equal(response.problem().code, 'PST-R009');
    await wire.closed();
  });
  await t.test('a head that drips is 408 or closed, for the clock does not start anew', async () => {
    const wire = await Wire.connect(strict.port);
    const drip = setInterval(() => wire.socket.writable && wire.socket.write('x'), 100);
    wire.socket.write('GET / HTTP/1.1\r\nHost: api.test\r\nX-Drip: ');
    try {
      await wire.closed();
    } finally { clearInterval(drip); }
  });
  await t.test('a body that stops is 408 or closed', async () => {
    const wire = await Wire.connect(strict.port);
    await wire.send(request('/x', { method: 'POST', headers: ['Content-Length: 10'] }) + 'ab');
    const response = await wire.read().catch(() => null);
    if (response) assert.equal(response.problem().code, 'PST-R009');
    await wire.closed();
    assert.ok(!origin.requests.some(({ target }) => target === '/x'));
  });
  await t.test('a body that drips is 408: never idle, and yet too slow', async () => {
    // Four bytes in each body_idle_timeout: below the 20 B/s, and it never stops.
    const wire = await Wire.connect(slow.port);
    const drip = setInterval(() => wire.socket.writable && wire.socket.write('x'), 250);
    wire.socket.write(request('/drip', { method: 'POST', headers: ['Content-Length: 100'] }));
    const started = Date.now();
    try {
      const response = await wire.read('POST');
      assert.equal(response.status, 408);
      assert.equal(response.problem().code, 'PST-R009');
      assert.ok(Date.now() - started >= 900, 'the average is taken over body_idle_timeout');
      await wire.closed();
    } finally { clearInterval(drip); }
    assert.ok(!origin.requests.some(({ target }) => target === '/drip'));
  });
  await t.test('a body that is slow and above the rate passes', async () => {
    const wire = await Wire.connect(slow.port);
    const drip = setInterval(() => wire.socket.writable && wire.socket.write('x'.repeat(10)), 100);
    wire.socket.write(request('/slow', { method: 'POST', headers: ['Content-Length: 250'] }));
    try {
      assert.equal((await wire.read('POST')).status, 200);
    } finally { clearInterval(drip); }
    assert.equal(origin.requests.find(({ target }) => target === '/slow').body.length, 250);
    wire.close();
  });
  await t.test('an idle connection is closed without a word', async () => {
    const wire = await Wire.connect(strict.port);
    await wire.send(request('/idle'));
    assert.equal((await wire.read()).status, 200);
    assert.equal((await wire.readToClose()).toString(), '');
  });
  await t.test('a connection that never sends is closed', async () => {
    const wire = await Wire.connect(strict.port);
    await wire.closed();
  });
  await t.test('a client that takes nothing is let go', async () => {
    const wire = await Wire.connect(strict.port);
    wire.socket.pause();
    wire.socket.write(request('/67108864'));
    await strict.logged((record) => record.path === '/67108864');
    wire.close();
  });
  for (const [name, bytes] of [
    ['Content-Length', request('/big', { method: 'POST', headers: ['Content-Length: 1025'] }) + 'x'.repeat(1025)],
    ['chunked', request('/big', { method: 'POST', headers: ['Transfer-Encoding: chunked'] }) + `401\r\n${'x'.repeat(1025)}\r\n0\r\n\r\n`],
    ['chunked in small pieces', request('/big', { method: 'POST', headers: ['Transfer-Encoding: chunked'] }) + '1\r\nx\r\n'.repeat(1025) + '0\r\n\r\n'],
  ]) {
    await t.test(`a body over the limit is 413: ${name}`, async () => {
      const response = await exchange(strict.port, bytes);
      assert.equal(response.status, 413);
      assert.equal(response.problem().code, 'PST-R008');
      assert.ok(!origin.requests.some(({ target }) => target === '/big'));
    });
  }
  await t.test('a body at the limit passes', async () => {
    assert.equal((await exchange(strict.port, request('/fits', { method: 'POST', body: 'x'.repeat(1024) }))).status, 200);
  });
  await t.test('a connection ends after its number of requests', async () => {
    const wire = await Wire.connect(strict.port);
    for (let n = 1; n <= 3; n++) {
      await wire.send(request('/n'));
      const response = await wire.read();
      assert.equal(response.status, 200);
      if (n === 3) assert.match(response.get('connection'), /close/);
    }
    await wire.closed();
  });
  await t.test('connections beyond the limit are refused or closed, and come back', async () => {
    const wires = await Promise.all(Array.from({ length: 20 }, () => Wire.connect(strict.port)));
    // Connected is not accepted yet: two loops count them.
    await until('all of them to be accepted', async () => (await strict.metric('postern_connections')) >= 20);
    const extra = await Wire.connect(strict.port);
    await extra.send(request('/x'));
    const response = await extra.read().catch(() => null);
    if (response) assert.equal(response.problem().code, 'PST-R019');
    await extra.closed();
    for (const wire of wires) wire.close();
    await until('room for a new connection', async () => (await exchange(strict.port, request('/again')).catch(() => null))?.status === 200);
  });
  origin.answer = ok();
  await within('the gateway to live', strict.observe('/healthz'));
});

test('chunks of one byte in either direction starve nobody', async () => {
  const pieces = Buffer.from('1\r\nx\r\n'.repeat(10_000));
  const origin = await RecordingOrigin.start({
    onConnection: (socket) => {
      socket.once('data', (bytes) => {
        if (!bytes.toString('latin1').startsWith('GET')) return;
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
        pour(socket);
      });
      socket.on('data', () => {});
      return true;
    },
  });
  function pour(socket) {
    const more = () => { while (socket.writable && socket.write(pieces)); };
    socket.on('drain', more);
    more();
  }
  const shared = await Gateway.start({
    workers: 1,
    limits: { max_body_size: 'unlimited' },
    origins: { main: { url: origin.url, identity } },
    routes: [{ match: { path: '/local' }, respond: { status: 204 }, public: true }, { match: { path: '/*' }, origin: 'main', public: true }],
  });
  const upload = net.connect(shared.port, '127.0.0.1');
  const download = net.connect(shared.port, '127.0.0.1');
  const local = net.connect(shared.port, '127.0.0.1');
  for (const socket of [upload, download, local]) {
    socket.on('error', () => {});
    socket.on('data', () => {});
    onCleanup(() => socket.destroy());
  }
  upload.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
  pour(upload);
  download.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const requests = Buffer.from(request('/local').toString().repeat(1000));
  const more = () => { while (local.writable && local.write(requests)); };
  local.on('drain', more);
  more();
  for (let i = 0; i < 20; ++i) assert.equal((await exchange(shared.port, request('/local'))).status, 204);
  for (const socket of [upload, download, local]) socket.destroy();
});
