// Soak: everything at once, for a while: well-behaved clients, ones that leave in the middle, hostile bytes, uploads,
// WebSockets, reloads, keys that come and go. Afterwards nothing is left over, and memory has stopped growing. Six
// seconds by default, five minutes with ./dev test --long.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Gateway, identity, long, secret, secretHeader } from './lib/gateway.mjs';
import { startNode } from './lib/real_origins.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const seconds = long ? 300 : 6;
const block = 'x'.repeat(64 * 1024);
const key64 = 'dGhlIHNhbXBsZSBub25jZQ==';

// Reads everything, answers what the path asks for; refuses who does not bring the secret.
async function startOrigin() {
  const origin = await startNode({
    handler: async (req, res) => {
      if (req.headers[secretHeader.toLowerCase()] !== secret) return res.writeHead(401).end();
      if (req.url === '/broken') return res.socket.destroy();
      if (req.url === '/late') return setTimeout(() => res.end('late'), 50);
      let size = 0;
      for await (const chunk of req) size += chunk.length;
      if (req.url === '/large') { for (let i = 0; i < 32; i++) res.write(block); return res.end(); }
      return res.end(String(size));
    },
  });
  origin.server.on('clientError', (error, socket) => socket.destroy());
  origin.server.on('upgrade', (req, socket) => {
    const accept = createHash('sha1').update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.on('error', () => {}).on('end', () => socket.end()).on('data', (bytes) => socket.write(bytes));
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  });
  return origin;
}

test('a mixed load leaves nothing behind', { timeout: (seconds + 60) * 1000 }, async (t) => {
  const origin = await startOrigin();
  const config = (n) => ({
    origins: { main: { url: origin.url, identity, policies: ['api_key', { rate_limit: { requests: 1_000_000, per: '1s', by: 'consumer' } }] } },
    routes: [
      { match: { path: '/*' }, origin: 'main' },
      { match: { path: '/fixed' }, respond: { status: 200, body: `generation ${n}` }, public: true },
    ],
  });
  const gateway = await Gateway.start(config(0));
  const key = await gateway.createKey('soak');
  const auth = `X-API-Key: ${key}`;
  const done = {};
  const wrong = [];
  let stop = false;
  const expect = (what, response, status) => {
    done[what] = (done[what] ?? 0) + 1;
    if (response?.status !== status && wrong.length < 10) wrong.push(`${what}: ${response?.status} instead of ${status}`);
  };
  const forever = async (what, act) => { while (!stop) await act().catch((error) => { if (wrong.length < 10) wrong.push(`${what}: ${error.message}`); }); };

  const loads = {
    'keep-alive': async () => {
      const wire = await Wire.connect(gateway.port);
      for (let n = 0; n < 50 && !stop; n++) {
        await wire.send(request(`/k/${n}`, { headers: [auth] }));
        expect('keep-alive', await wire.read(), 200);
      }
      wire.close();
    },
    upload: async () => expect('upload', await exchange(gateway.port, request('/up', { method: 'POST', headers: [auth], body: block })), 200),
    chunked: async () => expect('chunked', await exchange(gateway.port, `${request('/up', { method: 'POST', headers: [auth, 'Transfer-Encoding: chunked'] })}5\r\nhello\r\n0\r\n\r\n`, { fragment: 7 }), 200),
    download: async () => expect('download', await exchange(gateway.port, request('/large', { headers: [auth] })), 200),
    'leaves in the middle': async () => {
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('/large', { headers: [auth] }));
      await wire.bytes(1000);
      wire.reset();
      done.left = (done.left ?? 0) + 1;
    },
    'leaves before the answer': async () => {
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('/late', { headers: [auth] }));
      await new Promise((resolve) => setTimeout(resolve, 5));
      wire.reset();
    },
    'a broken origin': async () => expect('a broken origin', await exchange(gateway.port, request('/broken', { method: 'POST', headers: [auth], body: 'x' })), 502),
    hostile: async () => expect('hostile', await exchange(gateway.port, 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'), 400),
    'no key': async () => expect('no key', await exchange(gateway.port, request('/x')), 401),
    websocket: async () => {
      const response = await exchange(gateway.port, request('/ws', { headers: [auth, 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${key64}`] }), { keep: true });
      expect('websocket', response, 101);
      await response.wire.send('ping');
      assert.equal((await response.wire.bytes(4)).toString(), 'ping');
      response.wire.close();
    },
    'keys come and go': async () => {
      const fresh = await gateway.createKey('guest');
      expect('a new key', await exchange(gateway.port, request('/x', { headers: [`X-API-Key: ${fresh}`] })), 200);
      await gateway.postern('keys revoke', fresh.slice(0, 12));
      expect('a revoked key', await exchange(gateway.port, request('/x', { headers: [`X-API-Key: ${fresh}`] })), 401);
      await new Promise((resolve) => setTimeout(resolve, 200));
    },
  };
  let generation = 0;
  loads.reload = async () => {
    gateway.write(config(++generation));
    gateway.signal('SIGHUP');
    await until('the new generation', async () => (await exchange(gateway.port, request('/fixed'))).text() === `generation ${generation}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  };

  const running = Object.entries(loads).map(([what, act]) => forever(what, act));
  const memory = [];
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    memory.push(gateway.residentBytes());
  }
  stop = true;
  await Promise.all(running);

  await t.test('every answer was the right one', () => assert.deepEqual(wrong, []));
  await t.test('every kind of client was served', () => {
    for (const [what, count] of Object.entries(done)) assert.ok(count >= 3, `${what}: ${count}`);
    assert.ok(generation >= 10, `${generation} reloads`);
  });
  await t.test('no connection is left over', async () => {
    await until('the connections to be gone', async () => (await gateway.metric('postern_connections')) === 0);
    const status = JSON.parse((await gateway.postern('status', '--json')).stdout);
    for (const endpoint of status.origins.flatMap(({ endpoints }) => endpoints)) assert.equal(endpoint.active, 0, JSON.stringify(endpoint));
  });
  await t.test('memory has stopped growing', { skip: long ? false : 'optional: needs the five minutes of --long' }, () => {
    const third = Math.floor(memory.length / 3);
    const peak = (list) => Math.max(...list);
    const growth = peak(memory.slice(2 * third)) - peak(memory.slice(third, 2 * third));
    assert.ok(growth < 8 * 2 ** 20, `${growth} bytes more in the last third than in the second`);
  });
  await t.test('the gateway ends in order', async () => {
    gateway.signal('SIGTERM');
    await gateway.process.ended;
    assert.deepEqual(gateway.process.exit, { code: 0, signal: null });
    for (const line of gateway.process.stdout.split('\n').filter(Boolean)) JSON.parse(line);
  });
});
