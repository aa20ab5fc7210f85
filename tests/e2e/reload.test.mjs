// Reload: validated first, then atomic and in place. Under load nothing is lost, and a bad file changes nothing.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { RecordingOrigin, ok, reply } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
const config = (extra = {}) => ({
  origins: { main: { url: origin.url, identity } },
  routes: [{ name: 'all', match: { path: '/*' }, origin: 'main', public: true }, ...(extra.routes ?? [])],
  ...extra.top,
});
const generationOf = async () => await gateway.metric('postern_config_generation');
async function reloaded(action) {
  const before = await generationOf();
  await action();
  await until('a new generation', async () => (await generationOf()) > before);
}

before(async () => {
  origin = await RecordingOrigin.start();
  gateway = await Gateway.start(config());
});

test('SIGHUP and `postern reload` change the routes in place', async (t) => {
  for (const [name, path, trigger] of [
    ['SIGHUP', '/by-signal', async () => gateway.signal('SIGHUP')],
    ['postern reload', '/by-command', async () => {
      const { code, stdout, stderr } = await gateway.postern('reload');
      assert.equal(code, 0, stderr);
      assert.match(stdout, /\+ .*by-command/, 'says what changed');
    }],
  ]) {
    await t.test(name, async () => {
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('/x'));
      assert.equal((await wire.read()).text(), 'ok');
      gateway.write(config({ routes: [{ match: { path }, respond: { status: 200, body: 'new' }, public: true }] }));
      await reloaded(trigger);
      await until('the new route', async () => (await exchange(gateway.port, request(path))).text() === 'new');
      await wire.send(request(path));
      assert.equal((await wire.read()).text(), 'new', 'the old connection lives on with the new routes');
      wire.close();
    });
  }
});

test('a request under way ends as it began', async () => {
  let release;
  origin.answer = (received) => (received.target === '/slow' ? new Promise((resolve) => { release = () => resolve(reply(200, 'old')); }) : ok()(received));
  const wire = await Wire.connect(gateway.port);
  await wire.send(request('/slow'));
  await until('the request at the origin', () => release);
  gateway.write(config({ routes: [{ match: { path: '/slow' }, respond: { status: 410 }, public: true }] }));
  await reloaded(() => gateway.signal('SIGHUP'));
  release();
  assert.equal((await wire.read()).text(), 'old');
  await until('the new route', async () => (await exchange(gateway.port, request('/slow'))).status === 410);
  wire.close();
});

test('a bad file leaves the old one running and says so', async (t) => {
  const bad = [
    ['not YAML', 'version: 1\nlisteners: [\n', /PST-C004/],
    ['an unknown key', { ...config().top, nonsense: 1 }, /PST-C010/],
    ['an unresolved secret', { origins: { main: { url: 'http://127.0.0.1:9', identity: [{ shared_secret: { header: 'X-S', value: '${env:NOT_SET}' } }] } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }] }, /PST-C022/],
    ['no routes', { origins: {}, routes: [] }, /PST-C0/],
  ];
  for (const [name, content, code] of bad) {
    await t.test(name, async () => {
      const generation = await generationOf();
      if (typeof content === 'string') { const { writeFileSync } = await import('node:fs'); writeFileSync(gateway.file, content); } else gateway.write(content);
      const refusals = async () => await gateway.metric('postern_config_reloads_total', { outcome: 'rejected' }) ?? 0;
      const before = await refusals();
      const command = await gateway.postern('reload', '--socket', gateway.adminSocket);  // which a file that is no YAML does not name
      assert.equal(command.code, 3, command.stdout + command.stderr);
      assert.match(command.stdout + command.stderr, code);
      gateway.signal('SIGHUP');
      await until('both refusals', async () => await refusals() === before + 2);
      const { reload } = JSON.parse((await gateway.postern('status', '--json', '--socket', gateway.adminSocket)).stdout);
      assert.equal(reload.state, 'rejected');
      assert.match(reload.message, code, 'what the signal met');
      assert.equal(await generationOf(), generation);
      assert.equal((await exchange(gateway.port, request('/still'))).status, 200);
      assert.equal(gateway.process.exit, null);
    });
  }
  // The log repeats itself only so often: it is sure to have the first.
  assert.match(gateway.process.stderr, /reload rejected; the running configuration stays.*PST-C004/);
  gateway.write(config());
  await reloaded(() => gateway.signal('SIGHUP'));
});

test('a hundred reloads under load lose nothing', async () => {
  origin.answer = ok('fine');
  let stop = false;
  let served = 0;
  const failures = [];
  const note = (what) => { if (failures.length < 5) failures.push(what); };
  const loops = [
    // Connections that live on,
    ...Array.from({ length: 6 }, async (_, n) => {
      const wire = await Wire.connect(gateway.port);
      while (!stop) {
        await wire.send(request(`/load/${n}`));
        const response = await wire.read().catch((error) => { note(error.message); return null; });
        if (!response) { note('a live connection was closed'); return; }
        if (response.status !== 200 || response.text() !== 'fine') note(`${response.status} ${response.text()}`);
        served++;
      }
      wire.close();
    }),
    // new ones,
    ...Array.from({ length: 2 }, async () => {
      while (!stop) {
        const response = await exchange(gateway.port, request('/new')).catch((error) => { note(error.message); return null; });
        if (response?.status !== 200) note(`new connection: ${response?.status}`);
        served++;
      }
    }),
    // and uploads.
    (async () => {
      while (!stop) {
        const response = await exchange(gateway.port, request('/upload', { method: 'POST', body: 'x'.repeat(100_000) })).catch((error) => { note(error.message); return null; });
        if (response?.status !== 200) note(`upload: ${response?.status}`);
        served++;
      }
    })(),
  ];
  const start = await generationOf();
  for (let n = 1; n <= 100; n++) {
    gateway.write(config({ routes: [{ match: { path: `/generation/${n}` }, respond: { status: 200, body: String(n) }, public: true }] }));
    gateway.signal('SIGHUP');
    await until(`generation ${n}`, async () => (await generationOf()) >= start + n);
    // However fast reloads are: each meets requests under way.
    await until('requests in between', () => served >= n * 10);
  }
  stop = true;
  await Promise.all(loops);
  assert.deepEqual(failures, []);
  assert.ok(served > 500, `only ${served} requests: no load`);
  assert.equal((await exchange(gateway.port, request('/generation/100'))).text(), '100');
  assert.deepEqual(origin.errors, []);
});

test('after a change of identity no old connection is used', async () => {
  origin.reset();
  assert.equal((await exchange(gateway.port, request('/x'))).status, 200);
  const old = origin.last().connection;
  gateway.write(config({ top: { origins: { main: { url: origin.url, identity: [{ shared_secret: { header: 'X-Other-Secret', value: '${env:ORIGIN_SECRET}' } }] } } } }));
  await reloaded(() => gateway.signal('SIGHUP'));
  await until('the idle connection of the old generation to close', () => old.closed);
  assert.equal((await exchange(gateway.port, request('/y'))).status, 200);
  assert.ok(origin.last().head.has('x-other-secret'));
});
