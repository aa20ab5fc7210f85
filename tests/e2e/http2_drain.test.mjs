// Nothing is lost when the gateway stops, reloads, or changes whom it trusts and who it is, while HTTP/2 clients and
// HTTP/2 origins are in full swing.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { freePort } from './lib/cleanup.mjs';
import { H2Wire, codeName } from './lib/http2_wire.mjs';
import { Http2Load, h2load, parseH2load, startHttp2Origin, testPki } from './lib/peers.mjs';
import { Process } from './lib/process.mjs';
import { until, within } from './lib/wait.mjs';

const generation = (gateway) => gateway.metric('postern_config_generation');
async function reloaded(gateway) {
  const before = await generation(gateway);
  gateway.signal('SIGHUP');
  await until('a new generation', async () => (await generation(gateway)) > before);
}
const answers = async (request, response) => { for await (const _ of request); response.end('ok'); };

// A gateway for HTTP/2 in clear and over TLS, to an HTTP/2 origin.
async function start({ secure = true, extra = {}, origin: given } = {}) {
  const origin = given ?? await startHttp2Origin({ secure, handler: answers });
  const ports = { h2c: await freePort(), tls: await freePort() };
  const { pair, caFile } = testPki();
  const config = (changes = {}) => ({
    listeners: [{ address: `127.0.0.1:${ports.h2c}`, http2: 'h2c' }, { address: `127.0.0.1:${ports.tls}`, tls: changes.tls ?? pair.files }],
    limits: { max_requests_per_connection: 1_000_000 },
    origins: { main: { url: origin.url, identity, ...(secure ? { trust: { ca: caFile } } : { http2: 'always' }), ...changes.origin } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }, ...(changes.routes ?? [])],
    ...extra,
  });
  const gateway = await Gateway.start(config());
  return { gateway, origin, ports, config };
}

test('SIGTERM under load', async (t) => {
  for (const [name, secure] of [['in clear', false], ['over TLS', true]]) {
    await t.test(`every request that was sent is answered, ${name}`, async () => {
      const { gateway, ports } = await start();
      const load = new Http2Load(secure ? ports.tls : ports.h2c, { connections: 4, streams: 16, secure, replace: false });
      await until('the load', () => load.served > 500);
      gateway.signal('SIGTERM');
      await within('the load to end', Promise.all(load.lanes), 40_000);
      const exit = await within('the gateway to end', gateway.process.ended);
      assert.deepEqual(load.failures, []);
      assert.equal(load.goaways >= 4, true, `${load.goaways} GOAWAYs for four connections`);
      assert.deepEqual([exit.code, exit.signal], [0, null], gateway.process.stderr);
      assert.ok(gateway.log().every((record) => record.status === 200 && !record.error_code), JSON.stringify(gateway.log().find((record) => record.status !== 200)));
    });
  }
  await t.test('h2load loses nothing that it began', async () => {
    const { gateway, ports } = await start();
    const child = new Process('h2load', ['-n', '2000000', '-c', '4', '-m', '32', `http://127.0.0.1:${ports.h2c}/`]);
    await until('the load', () => gateway.log().length > 2000);
    gateway.signal('SIGTERM');
    await within('the gateway to end', gateway.process.ended, 40_000);
    await within('h2load to end', child.ended);
    assert.deepEqual(gateway.process.exit, { code: 0, signal: null });
    const bad = gateway.log().filter((record) => record.status !== 200 || record.error_code);
    assert.deepEqual(bad.slice(0, 3), []);
    // It counts what it never began as failed, too.
    const { started, done, succeeded } = parseH2load(child.stdout);
    assert.deepEqual([started, done, succeeded], Array(3).fill(gateway.log().length), child.stdout);
  });
  await t.test('GOAWAY comes in two steps, and what is under way ends', async () => {
    let release = null;
    const origin = await startHttp2Origin({ secure: true, handler: (_, response) => { release = () => response.end('late'); } });
    const { gateway, ports } = await start({ origin });
    const wire = await H2Wire.connect(ports.h2c);
    const goaways = [];
    const { handle } = wire;
    wire.handle = (kind, flags, id, payload) => { if (kind === 7) goaways.push([payload.readUInt32BE(0) & 0x7fffffff, codeName(payload.readUInt32BE(4))]); return handle.call(wire, kind, flags, id, payload); };
    const stream = wire.request('/slow');
    await until('the request at the origin', () => release);
    gateway.signal('SIGTERM');
    await until('both GOAWAYs', () => goaways.length >= 2);
    assert.deepEqual(goaways[0], [2 ** 31 - 1, 'NO_ERROR']);
    assert.deepEqual(goaways.at(-1), [stream.id, 'NO_ERROR']);
    assert.equal(wire.ended, false);
    release();
    assert.equal((await stream.finished()).outcome, '200');
    assert.equal(stream.text(), 'late');
    assert.equal(await wire.refused(), 'NO_ERROR');
    assert.equal((await within('the gateway to end', gateway.process.ended)).code, 0);
  });
  await t.test('an idle connection does not hold the stop up', async () => {
    const { gateway, ports } = await start();
    const idle = await H2Wire.connect(ports.h2c);
    const secure = await H2Wire.connect(ports.tls, { tls: { ca: testPki().ca, servername: 'api.test' } });
    const started = Date.now();
    gateway.signal('SIGTERM');
    assert.deepEqual([await idle.refused(), await secure.refused()], ['NO_ERROR', 'NO_ERROR']);
    await within('the gateway to end', gateway.process.ended);
    assert.ok(Date.now() - started < 10_000, 'long before the drain time of 30 s');
  });
  await t.test('a stream that does not end is cut off by the drain time, with a code', async () => {
    const origin = await startHttp2Origin({ secure: true, handler: () => {} });
    const { gateway, ports } = await start({ origin, extra: { drain: '1s' } });
    const wire = await H2Wire.connect(ports.h2c);
    const stream = wire.request('/never');
    await until('the request at the origin', () => origin.requests.length === 1);
    gateway.signal('SIGTERM');
    await within('the gateway to end', gateway.process.ended);
    await stream.finished();
    assert.notEqual(stream.outcome, '200');
  });
});

test('changes of the configuration under load lose nothing', async (t) => {
  await t.test('h2load over reloads: not one connection is touched', async () => {
    const { gateway, ports, config } = await start();
    const running = h2load(`http://127.0.0.1:${ports.h2c}/`, ['-n', '60000', '-c', '4', '-m', '32']);
    for (let n = 1; n <= 10; n++) {
      gateway.write(config({ routes: [{ match: { path: `/generation/${n}` }, respond: { status: 204 }, public: true }] }));
      await reloaded(gateway);
    }
    const result = await running;
    assert.deepEqual([result.succeeded, result.failed, result.errored, result.codes['2xx']], [60_000, 0, 0, 60_000], result.stdout);
  });
  // What changes, and whether the connections of clients are replaced because of it.
  const second = testPki().authority.issue({ subject: 'CN=second', dns: ['api.test', 'origin.test'], ip: ['127.0.0.1'] });
  const { caFile } = testPki();
  const cases = [
    ['the identity of the origin', (n) => ({ origin: { identity: [{ shared_secret: { header: `X-Secret-${n}`, value: '${env:ORIGIN_SECRET}' } }] } })],
    ['the trust in the origin', (n) => ({ origin: { trust: { ca: caFile, names: ['127.0.0.1', ...(n % 2 ? ['origin.test'] : [])] } } })],
    ['the version of HTTP to the origin', (n) => ({ origin: { http2: n % 2 ? 'always' : 'auto' } })],
    ['the certificate of the listener', (n) => ({ tls: n % 2 ? second.files : testPki().pair.files })],
    ['the oldest version of TLS', (n) => ({ tls: { ...testPki().pair.files, min_version: n % 2 ? '1.3' : '1.2' } })],
  ];
  for (const [name, change] of cases) {
    await t.test(name, async () => {
      const { gateway, origin, ports, config } = await start();
      const loads = [new Http2Load(ports.h2c, { streams: 8 }), new Http2Load(ports.tls, { streams: 8, secure: true }),
        new Http2Load(ports.tls, { streams: 2, secure: true, method: 'POST', body: 'x'.repeat(50_000) })];
      for (let n = 1; n <= 12; n++) {
        await until('requests in between', () => loads.every(({ served, failures }) => served >= n * 15 || failures.length > 0), 60_000);
        gateway.write(config(change(n)));
        await reloaded(gateway);
      }
      for (const load of loads) await load.stop();
      assert.deepEqual(loads.map(({ failures }) => failures), [[], [], []]);
      if (/origin$/.test(name) && !/version/.test(name)) assert.ok(origin.connections >= 12, `${origin.connections} connections: old ones were used under a new ${name}`);
    });
  }
  await t.test('after a change of identity nothing goes out under the old one', async () => {
    const { gateway, origin, ports, config } = await start();
    const wire = await H2Wire.connect(ports.h2c);
    await wire.ask('/old');
    gateway.write(config({ origin: { identity: [{ shared_secret: { header: 'X-Other-Secret', value: '${env:ORIGIN_SECRET}' } }] } }));
    await reloaded(gateway);
    await until('the connection of the old generation to close', () => origin.sessions.size === 0);
    assert.equal((await wire.ask('/new')).outcome, '200', "the client's connection lives");
    assert.ok(origin.requests.at(-1)['x-other-secret']);
    assert.equal(origin.requests.at(-1)['x-backend-secret'], undefined);
    wire.close();
  });
});

test('the programs of these tests are there', () => {
  for (const name of ['h2load', 'nghttp', 'nghttpd']) assert.equal(spawnSync(name, ['--version']).status, 0, name);
});
