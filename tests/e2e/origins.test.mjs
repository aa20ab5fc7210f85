// Several endpoints: balance, retries where they are safe, ejection, health checks that carry the identity, limits.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { freePort, temporaryDirectory } from './lib/cleanup.mjs';
import { Gateway, identity, secret, secretHeader } from './lib/gateway.mjs';
import { RecordingOrigin, ok, reply } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const gatewayTo = (origin, extra = {}) => Gateway.start({
  origins: { main: { identity, ...origin } },
  routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  workers: 1,
  ...extra,
});
const get = (gateway, target = '/x', options = {}) => exchange(gateway.port, request(target, options));

test('round robin spreads requests over endpoints, Unix sockets included', async () => {
  const directory = temporaryDirectory();
  const origins = [await RecordingOrigin.start(), await RecordingOrigin.start({ path: path.join(directory, 'o.sock') }), await RecordingOrigin.start()];
  const gateway = await gatewayTo({ endpoints: origins.map(({ url }) => url) });
  for (let n = 0; n < 30; n++) assert.equal((await get(gateway)).status, 200);
  for (const origin of origins) {
    assert.equal(origin.requests.length, 10);
    assert.ok(origin.requests.every(({ head }) => head.get(secretHeader) === secret));
  }
});

test('least request avoids the busy endpoint', async () => {
  const busy = await RecordingOrigin.start({ answer: () => undefined });
  const free = await RecordingOrigin.start();
  const gateway = await gatewayTo({ endpoints: [busy.url, free.url], balance: 'least_request', timeouts: { first_byte: '30s' } });
  const stuck = [];
  while (busy.requests.length < 1 && stuck.length < 10) {
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/x'));
    stuck.push(wire);
    await until('the request somewhere', () => busy.requests.length + free.requests.length >= stuck.length);
  }
  const before = busy.requests.length;
  for (let n = 0; n < 20; n++) assert.equal((await get(gateway)).status, 200);
  assert.equal(busy.requests.length, before, 'the busy one got more');
  for (const wire of stuck) wire.close();
});

test('a dead endpoint costs no request', async (t) => {
  const alive = await RecordingOrigin.start();
  const dead = `http://127.0.0.1:${await freePort()}`;
  const gateway = await gatewayTo({ endpoints: [dead, alive.url], ejection: { consecutive_failures: 3, base_time: '30s' }, retries: { attempts: 2, budget_percent: 100 } });
  await t.test('for it is tried again elsewhere, bodies included', async () => {
    for (let n = 0; n < 10; n++) {
      const response = await get(gateway, '/x', n % 2 ? {} : { method: 'POST', body: 'hello' });
      assert.equal(response.status, 200);
      if (!(n % 2)) assert.equal(alive.last().body.toString(), 'hello');
    }
    assert.ok(alive.requests.every(({ head }) => head.get(secretHeader) === secret), 'the identity on every attempt');
    assert.ok(await gateway.metric('postern_retries_total', { origin: 'main' }) >= 1);
  });
  await t.test('and then ejected', async () => {
    await until('the ejection', async () => {
      await get(gateway);
      return await gateway.metric('postern_origin_endpoint_healthy', { origin: 'main', endpoint: '0' }) === 0;
    });
    const retries = await gateway.metric('postern_retries_total', { origin: 'main' });
    for (let n = 0; n < 10; n++) assert.equal((await get(gateway)).status, 200);
    assert.equal(await gateway.metric('postern_retries_total', { origin: 'main' }), retries, 'it was still tried');
  });
});

test('what may have been done is not done twice', async (t) => {
  for (const [method, tries] of [['GET', 2], ['PUT', 1], ['POST', 1], ['PATCH', 1]]) {
    await t.test(`${method}, the origin closes without an answer`, async () => {
      const origin = await RecordingOrigin.start({ answer: (_, socket) => { socket.end(); } });
      const gateway = await gatewayTo({ url: origin.url, retries: { attempts: 2, budget_percent: 100 }, ejection: { consecutive_failures: 0 } });
      const response = await get(gateway, '/x', method === 'GET' ? {} : { method, body: 'hello' });
      assert.equal(response.status, 502);
      assert.equal(response.problem().code, 'PST-U004');
      if (tries === 1) assert.equal(origin.requests.length, 1);
      else assert.ok(origin.requests.length <= 2);
    });
  }
  await t.test('a kept connection that the origin had closed is no failure', async () => {
    const origin = await RecordingOrigin.start();
    const gateway = await gatewayTo({ url: origin.url, retries: { attempts: 2, budget_percent: 100 } });
    for (let n = 0; n < 20; n++) {
      const response = await get(gateway, '/x', n % 2 ? {} : { method: 'POST', body: 'hello' });
      assert.ok(response.status === 200, `${response.status} ${response.text()}`);
      const { connection } = origin.last();
      if (n % 2) { connection.socket.end(); await until('the close', () => connection.closed); }
    }
  });
  await t.test('an answer is an answer: 500 and 503 are passed on', async () => {
    const origin = await RecordingOrigin.start({ answer: () => reply(503, 'busy', ['Retry-After: 1']) });
    const gateway = await gatewayTo({ url: origin.url });
    const response = await get(gateway);
    assert.equal(response.status, 503);
    assert.equal(response.text(), 'busy');
    assert.equal(origin.requests.length, 1);
  });
});

test('retries stay within their budget', async () => {
  const dead = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
  const gateway = await gatewayTo({ endpoints: dead, retries: { attempts: 3, budget_percent: 10 }, ejection: { consecutive_failures: 0 } });
  for (let n = 0; n < 200; n++) assert.ok((await get(gateway)).status >= 502);
  const retries = await gateway.metric('postern_retries_total', { origin: 'main' });
  assert.ok(retries <= 60, `${retries} retries for 200 requests`);
});

test('all endpoints gone is 502 or 503, and they come back', async () => {
  const port = await freePort();
  const gateway = await gatewayTo({ url: `http://127.0.0.1:${port}`, ejection: { consecutive_failures: 2, base_time: '1s' } });
  for (let n = 0; n < 5; n++) assert.match((await get(gateway)).problem().code, /^PST-U00[16]$/);
  const { createServer } = await import('node:http');
  const server = createServer((_, res) => res.end('back'));
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  await until('the origin to be used again', async () => (await get(gateway)).status === 200);
  server.closeAllConnections();
  server.close();
});

test('health checks', async (t) => {
  let healthy = true;
  const health = [];
  const answer = (received) => {
    if (received.target !== '/health') return ok('main')(received);
    health.push(received.head);
    return reply(healthy ? 200 : 500, '');
  };
  const checked = await RecordingOrigin.start({ answer });
  const other = await RecordingOrigin.start({ answer: ok('other') });
  const gateway = await gatewayTo({ endpoints: [checked.url, other.url],
    health: { path: '/health', interval: '200ms', timeout: '200ms', healthy_threshold: 1, unhealthy_threshold: 2, expected_status: [200] } });
  await t.test('carry the identity', async () => {
    await until('a health check', () => health.length > 0);
    assert.equal(health[0].get(secretHeader), secret);
  });
  const used = async () => {
    const before = checked.requests.filter(({ target }) => target === '/x').length;
    for (let n = 0; n < 6; n++) assert.equal((await get(gateway)).status, 200);
    return checked.requests.filter(({ target }) => target === '/x').length - before;
  };
  await t.test('take an endpoint out and bring it back', async () => {
    // The other endpoint answers 200 to /health too, so it stays.
    assert.ok(await used() > 0);
    healthy = false;
    await until('the endpoint to be out', async () => (await used()) === 0);
    assert.equal(await gateway.metric('postern_origin_endpoint_healthy', { origin: 'main', endpoint: '0' }), 0);
    healthy = true;
    await until('the endpoint to be back', async () => (await used()) > 0);
  });
});

test('connections to an endpoint are limited, and requests wait their turn', async () => {
  let open = 0;
  let peak = 0;
  const release = [];
  const origin = await RecordingOrigin.start({
    answer: () => { open++; peak = Math.max(peak, open); return new Promise((resolve) => release.push(() => { open--; resolve(reply()); })); },
  });
  const gateway = await gatewayTo({ url: origin.url, pool: { max_connections: 2 } });
  const answers = Array.from({ length: 6 }, () => get(gateway));
  await until('two requests at the origin', () => origin.requests.length === 2);
  for (let n = 0; n < 6; n++) {
    await until('a request to release', () => release.length > n);
    release[n]();
  }
  for (const answer of answers) assert.equal((await answer).status, 200);
  assert.equal(peak, 2);
});

test('a name is resolved, an unknown one is an error of its own', async () => {
  const origin = await RecordingOrigin.start();
  const known = await gatewayTo({ url: `http://localhost:${origin.port}` });
  assert.equal((await get(known)).status, 200);
  const { host } = Object.fromEntries(origin.last().head.headers.map(([k, v]) => [k.toLowerCase(), v]));
  assert.equal(host, `localhost:${origin.port}`);
});

// Whoever controls a name must not get the gateway, with the secret of the origin in hand, to what listens on its own
// machine. Link-local and metadata addresses: resolver_test.cc.
test('a name that stands for loopback is not used, unless it is localhost', async (t) => {
  const lying = readFileSync('/etc/hosts', 'utf8').split('\n').map((line) => line.replace(/#.*/, '').trim().split(/\s+/))
    .filter(([address]) => /^(127\.|::1$)/.test(address)).flatMap(([, ...names]) => names)
    .find((name) => /^[a-z][a-z0-9.-]*$/.test(name) && !/(^|\.)localhost$/.test(name));
  await t.test('a name of /etc/hosts', { skip: lying ? false : 'optional: /etc/hosts has no second name for loopback' }, async () => {
    const origin = await RecordingOrigin.start();
    const insecure = { reason: 'a test of names that lie', until: new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10) };
    const gateway = await gatewayTo({ url: `http://${lying}:${origin.port}`, insecure, retries: { attempts: 1 } });
    const response = await get(gateway);
    assert.ok([502, 503].includes(response.status), `${response.status}`);
    assert.match(response.problem().code, /^PST-U00[69]$/);
    // Because of what it stands for, not because it was not found.
    await until('the reason in the log', () => gateway.process.stderr.includes('may not stand for'));
    assert.equal(origin.connections.length, 0);
  });
});

test('host: origin, preserve, or a name', async () => {
  const origin = await RecordingOrigin.start();
  for (const [host, expected] of [[undefined, `127.0.0.1:${origin.port}`], ['origin', `127.0.0.1:${origin.port}`], ['preserve', 'api.test'], ['backend.internal', 'backend.internal']]) {
    const gateway = await gatewayTo({ url: origin.url, host });
    assert.equal((await get(gateway)).status, 200);
    assert.equal(origin.last().head.get('host'), expected);
    assert.equal(origin.last().head.get('x-forwarded-host'), 'api.test');
    await gateway.stop();
  }
});
