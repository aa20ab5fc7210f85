// Reload beyond the routes: where keys are stored, and what only a start can change.
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway, postern } from './lib/gateway.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

let gateway;
const open = { match: { path: '/open' }, respond: { status: 200, body: 'open' }, public: true };
const guarded = { match: { path: '/guarded' }, policies: ['api_key'], respond: { status: 200, body: 'let in' } };
const database = (name) => path.join(gateway.directory, 'keys', `${name}.db`);
const config = (name, extra = {}) => ({ routes: [open, guarded], consumers: { database: database(name) }, ...extra });
const status = async (key) => (await exchange(gateway.port, request('/guarded', { headers: [`X-API-Key: ${key}`] }))).status;
async function reload(content, code = 0) {
  gateway.write(content);
  const result = await gateway.postern('reload', '--socket', gateway.adminSocket);
  assert.equal(result.code, code, result.stdout + result.stderr);
  return result.stdout + result.stderr;
}
async function createKey(name, consumer) {
  const { code, stdout, stderr } = await postern(['keys', 'create', '--database', database(name), consumer]);
  assert.equal(code, 0, stderr);
  return /pst_[0-9A-Za-z]{36}/.exec(stdout)[0];
}
const keys = {};

before(async () => {
  gateway = await Gateway.start({ routes: [open] });
});

test('a rejected reload leaves nothing of its key store in force', async () => {
  // The listener's address is judged when everything else has been built.
  const rejected = config('rejected', { listeners: [{ address: 'no-address.test:1' }] });
  assert.match(await reload(rejected, 3), /PST-C012/);
  assert.equal(await gateway.metric('postern_store_available'), undefined, 'no store is open');
  assert.match((await gateway.postern('status')).stdout, /^store: none$/m);
  await reload(config('one'));
  keys.one = await createKey('one', 'first');
  await until('the key of the store in force', async () => (await status(keys.one)) === 200);
  assert.equal(await gateway.metric('postern_store_available'), 1);
});

test('another database counts from the reload on', async () => {
  await reload(config('two'));
  keys.two = await createKey('two', 'second');
  await until('the key of the new database', async () => (await status(keys.two)) === 200);
  assert.equal(await status(keys.one), 401);
  await reload(config('one'));
  assert.equal(await status(keys.one), 200, 'and back');
  assert.equal(await status(keys.two), 401);
});

test('a rejected reload keeps the store that is in force', async () => {
  await reload(config('two', { listeners: [{ address: 'no-address.test:1' }] }), 3);
  assert.equal(await status(keys.one), 200);
  assert.equal(await status(keys.two), 401);
  const broken = path.join(gateway.directory, 'broken.yaml');
  writeFileSync(broken, 'version: 1\nconsumers: nonsense\n', { mode: 0o600 });
  assert.match(await reload({ routes: [open, guarded], consumers: { file: broken, database: database('one') } }, 1), /broken\.yaml/);
  assert.equal(await status(keys.one), 200);
});

test('a file of keys that others may write lets nobody in', async () => {
  const file = path.join(gateway.directory, 'consumers.yaml');
  writeFileSync(file, 'version: 1\nconsumers: []\n', { mode: 0o600 });
  const content = { routes: [open, guarded], consumers: { file, database: database('one') } };
  await reload(content);
  assert.equal(await status(keys.one), 200);
  chmodSync(file, 0o666);
  await until('the refusal', async () => (await status(keys.one)) === 503);
  assert.match(gateway.process.stderr, /PST-C017/);
  assert.equal(await gateway.metric('postern_store_available'), 0);
  chmodSync(file, 0o600);
  await until('the keys again', async () => (await status(keys.one)) === 200);
  await reload(config('one'));
});

test('old stores are closed', async () => {
  const used = () => readdirSync(`/proc/${gateway.pid}/task`).length;
  const before = used();
  for (let n = 0; n < 4; n++) await reload(config(n % 2 ? 'one' : 'two'));
  await until('their threads to end', () => used() <= before);
  rmSync(database('two'));
  assert.equal(await status(keys.one), 200);
  await reload({ routes: [open] });
  assert.equal(await gateway.metric('postern_store_available'), undefined);
});

test('what only a start can change is said at each reload, and shown until it is so', async () => {
  const said = /^! workers: takes effect at the next start$/m;
  const waiting = async () => JSON.parse((await gateway.postern('status', '--json')).stdout).waiting_for_restart;
  assert.deepEqual(await waiting(), []);
  assert.match(await reload({ routes: [open], workers: 3 }), said);
  const again = await reload({ routes: [open], workers: 3 });
  assert.match(again, /^unchanged/);
  assert.match(again, said);
  assert.match(await reload({ routes: [{ ...open, name: 'other' }], workers: 3 }), said, 'however many reloads ago it was');
  assert.deepEqual(await waiting(), [{ option: 'workers' }]);
  assert.match((await gateway.postern('status')).stdout, /^takes effect at the next start: workers$/m);
  const moved = await reload({ routes: [open], admin: { socket: `${gateway.adminSocket}.new` }, access_log: { path: 'off' } }, 0);
  for (const name of ['admin.socket', 'access_log']) assert.match(moved, new RegExp(`^! ${name}: `, 'm'));
  assert.doesNotMatch(moved, said, 'what runs is what the file says');
});
