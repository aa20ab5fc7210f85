// What allowed an exchange may end while the exchange lasts, or before its head is complete: then it does not go on as
// if nothing had happened.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { before, test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { RecordingOrigin, ok } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const acceptFor = (key) => createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
const handshake = (headers) => request('/ws', { headers: ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', ...headers] });

let gateway;
let origin;
before(async () => {
  origin = await RecordingOrigin.start({
    answer: (received, socket) => {
      if (received.target === '/stream') { socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n'); return undefined; }
      if (received.target !== '/ws') return ok()(received);
      received.connection.raw = true;
      socket.on('data', (bytes) => socket.write(bytes));
      return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptFor(received.head.get('sec-websocket-key'))}\r\n\r\n`;
    },
  });
  gateway = await Gateway.start({
    drain: '1s',
    origins: { main: { url: origin.url, identity } },
    routes: [
      { name: 'open', match: { path: '/open' }, origin: 'main', public: true },
      { name: 'all', match: { path: '/*' }, origin: 'main', policies: ['api_key'] },
    ],
  });
});

test('a WebSocket and a stream end soon after their key is revoked; those of another key go on', async () => {
  const revoked = await gateway.createKey('leaver');
  const kept = await gateway.createKey('stayer');
  const sockets = {};
  for (const [name, key] of Object.entries({ revoked, kept })) {
    sockets[name] = await Wire.connect(gateway.port);
    await sockets[name].send(handshake([`X-API-Key: ${key}`]));
    assert.equal((await sockets[name].read()).status, 101);
  }
  const stream = await Wire.connect(gateway.port);
  await stream.send(request('/stream', { headers: [`X-API-Key: ${revoked}`] }));
  await stream.bytes(10);
  const { code, stderr } = await gateway.postern('keys revoke', revoked.slice(0, 12));
  assert.equal(code, 0, stderr);
  await sockets.revoked.closed();
  await stream.closed();
  await gateway.logged(({ path, error_code }) => path === '/ws' && error_code === 'PST-P402');
  await sockets.kept.send('ping');
  assert.equal((await sockets.kept.bytes(4)).toString(), 'ping');
  sockets.kept.close();
});

test('a key that expires ends what it had opened', async () => {
  const key = await gateway.createKey('guest', '--expires', '2s');
  const socket = await Wire.connect(gateway.port);
  await socket.send(handshake([`X-API-Key: ${key}`]));
  assert.equal((await socket.read()).status, 101);
  await socket.closed();
});

test('a request is judged by the configuration in force when its head is complete', async () => {
  const wire = await Wire.connect(gateway.port);
  await wire.send('GET /open HTTP/1.1\r\nHost: api.test\r\n');
  assert.equal((await exchange(gateway.port, request('/open'))).status, 200);
  gateway.write({ ...gateway.config, routes: [{ name: 'open', match: { path: '/open' }, origin: 'main', policies: ['api_key'] }] });
  gateway.signal('SIGHUP');
  await until('the new configuration', async () => (await exchange(gateway.port, request('/open'))).status === 401);
  await wire.send('\r\n');
  assert.equal((await wire.read()).status, 401);
  wire.close();
});
