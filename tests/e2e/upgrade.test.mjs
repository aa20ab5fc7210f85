// Upgrades: WebSocket passes after the origin's matching 101, and nothing else ever turns a connection into a pipe.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, test } from 'node:test';
import { Gateway, identity, secretHeader, secret } from './lib/gateway.mjs';
import { RecordingOrigin, ok, reply } from './lib/recording_origin.mjs';
import { assertRefused } from './lib/refusal.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const acceptFor = (key) => createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const handshake = (headers = [], target = '/ws') => request(target, { headers: ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${key}`, ...headers] });
const switching = (received, extra = '') => `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptFor(received.head.get('sec-websocket-key'))}\r\n${extra}\r\n`;

let gateway;
let origin;
before(async () => {
  origin = await RecordingOrigin.start();
  gateway = await Gateway.start({
    origins: { main: { url: origin.url, identity, timeouts: { idle: '5s' } } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
});

// After the handshake the origin sends every byte back.
function echo(received, socket) {
  received.connection.raw = true;
  received.connection.keepOpen = false;
  received.connection.chunks = [];
  socket.on('data', (bytes) => socket.write(bytes));
  socket.write(switching(received));
}

test('a WebSocket passes', async (t) => {
  await t.test('handshake, frames in both directions, close', async () => {
    origin.reset();
    origin.answer = echo;
    const wire = await Wire.connect(gateway.port);
    await wire.send(handshake());
    const response = await wire.read();
    assert.equal(response.status, 101);
    assert.equal(response.get('sec-websocket-accept'), acceptFor(key));
    assert.match(response.get('upgrade'), /^websocket$/i);
    assert.match(response.get('connection'), /^upgrade$/i);
    const { head } = origin.last();
    assert.equal(head.get('sec-websocket-key'), key);
    assert.equal(head.get(secretHeader), secret);
    assert.match(head.get('connection'), /upgrade/i);
    const frame = Buffer.from('818537fa213d7f9f4d5158', 'hex');  // RFC 6455 5.7: masked "Hello"
    await wire.send(frame);
    assert.deepEqual(await wire.bytes(frame.length), frame);
    const large = Buffer.alloc(3_000_000, 'frame data ');
    await wire.send(large);
    assert.ok((await wire.bytes(large.length)).equals(large));
    wire.finish();
    await wire.closed();
    await until('the origin side to close', () => origin.connections.every(({ closed }) => closed));
  });
  await t.test('bytes that follow the 101 at once are not lost', async () => {
    origin.reset();
    origin.answer = (received, socket) => { received.connection.raw = true; socket.write(`${switching(received)}first frame`); };
    const wire = await Wire.connect(gateway.port);
    await wire.send(handshake());
    assert.equal((await wire.read()).status, 101);
    assert.equal((await wire.bytes(11)).toString(), 'first frame');
    wire.close();
  });
  await t.test('the origin may close first', async () => {
    origin.answer = (received, socket) => { received.connection.raw = true; socket.end(`${switching(received)}bye`); };
    const wire = await Wire.connect(gateway.port);
    await wire.send(handshake());
    assert.equal((await wire.read()).status, 101);
    assert.equal((await wire.readToClose()).toString(), 'bye');
  });
});

test('no byte of the client passes before the 101 (CVE-2026-2833)', async () => {
  origin.reset();
  let release;
  origin.answer = (received, socket) => { release = () => echo(received, socket); };
  const wire = await Wire.connect(gateway.port);
  await wire.send(`${handshake()}early frame`);
  await until('the handshake at the origin', () => release);
  await exchange(gateway.port, request('/%00'));
  assert.ok(!origin.connections.some(({ bytes }) => bytes.includes('early frame')));
  release();
  assert.equal((await wire.read()).status, 101);
  assert.equal((await wire.bytes(11)).toString(), 'early frame');
  wire.close();
});

test('an answer that is no matching 101 is no upgrade', async (t) => {
  const cases = [
    ['200 (CVE-2024-23326)', () => reply(200, 'no'), 200],
    ['403', () => reply(403, 'no'), 403],
    ['401 with a challenge', () => reply(401, 'no', ['WWW-Authenticate: Basic']), 401],
    ['101 with a wrong accept', () => `HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptFor('x')}\r\n\r\n`, 502],
    ['101 without accept', () => 'HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n', 502],
    ['101 with two accepts', (r) => switching(r, `Sec-WebSocket-Accept: ${acceptFor('x')}\r\n`), 502],
    ['101 to another protocol', (r) => switching(r).replace('Upgrade: websocket', 'Upgrade: h2c'), 502],
    ['101 without Upgrade', (r) => switching(r).replace('Upgrade: websocket\r\n', ''), 502],
    ['101 without Connection', (r) => switching(r).replace('Connection: Upgrade\r\n', ''), 502],
  ];
  for (const [name, bytes, status] of cases) {
    await t.test(name, async () => {
      origin.reset();
      origin.answer = (received) => (received.target === '/ws' ? bytes(received) : ok('fine')(received));
      const wire = await Wire.connect(gateway.port);
      await wire.send(handshake());
      const response = await wire.read();
      assert.equal(response.status, status);
      if (status === 502) assert.equal(response.problem().code, 'PST-U008');
      // Whatever comes now is HTTP again, or the connection is closed; never raw bytes to the origin.
      await wire.send(request('/smuggled-frame'));
      const next = await wire.read().catch(() => null);
      if (next) assert.equal(next.text(), 'fine');
      const raw = origin.connections.find(({ bytes: all }) => all.includes('GET /ws'));
      assert.ok(!raw.bytes.includes('smuggled-frame') || raw.requests.length === 2, 'raw bytes at the origin');
      if (next && raw.requests.length === 2) assert.equal(raw.requests[1].head.get(secretHeader), secret);
      wire.close();
    });
  }
});

test('every other upgrade is refused', async (t) => {
  const settings = 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA';
  const cases = [
    ['h2c', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', settings]],
    ['h2c without settings', ['Connection: Upgrade', 'Upgrade: h2c']],
    ['h2c after websocket', ['Connection: Upgrade', 'Upgrade: websocket, h2c']],
    ['websocket after h2c', ['Connection: Upgrade', 'Upgrade: h2c, websocket']],
    ['h2c in capitals', ['Connection: upgrade', 'Upgrade: H2C', settings]],
    ['two Upgrade fields', ['Connection: Upgrade', 'Upgrade: websocket', 'Upgrade: h2c', `Sec-WebSocket-Key: ${key}`, 'Sec-WebSocket-Version: 13']],
    ['TLS', ['Connection: Upgrade', 'Upgrade: TLS/1.0']],
    ['unknown', ['Connection: Upgrade', 'Upgrade: foo/2']],
    ['websocket without a key', ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']],
    ['websocket with a short key', ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAA']],
    ['websocket with two keys', ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${key}`, `Sec-WebSocket-Key: ${key}`]],
    ['websocket version 12', ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 12', `Sec-WebSocket-Key: ${key}`]],
  ];
  origin.answer = ok();
  for (const [name, headers] of cases) {
    await assertRefused(t, { gateway, origin, name, bytes: request('/ws', { headers }), expected: { status: [400, 426], code: ['PST-R011', 'PST-R002', 'PST-R015'], closes: false } });
  }
  await assertRefused(t, { gateway, origin, name: 'websocket by POST', expected: { status: [400, 426], code: ['PST-R011'], closes: false },
    bytes: handshake().replace('GET', 'POST') });
  await assertRefused(t, { gateway, origin, name: 'websocket with a body', expected: { status: [400, 426], code: ['PST-R011', 'PST-R003'], closes: false },
    bytes: handshake(['Content-Length: 5']) + 'hello' });
  await t.test('HTTP2-Settings alone is removed', async () => {
    origin.reset();
    const response = await exchange(gateway.port, request('/x', { headers: [settings] }));
    if (response.status === 200) assert.ok(!origin.last().head.has('http2-settings'));
    else assert.equal(response.problem().code, 'PST-R011');
  });
});
