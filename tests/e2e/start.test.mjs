// What a start needs: places, permissions, an environment. `check` knows before, creates nothing, and says how to mend it.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { freePort, temporaryDirectory } from './lib/cleanup.mjs';
import { binary, postern, secret } from './lib/gateway.mjs';
import { PlainUser } from './lib/plain_user.mjs';
import { Process, run } from './lib/process.mjs';
import { until } from './lib/wait.mjs';
import { toYaml } from './lib/yaml.mjs';

const open = { match: { path: '/' }, respond: { status: 204 }, public: true };
const guarded = { match: { path: '/guarded' }, policies: ['api_key'], respond: { status: 204 } };
async function configuration(directory, extra) {
  const file = path.join(directory, 'postern.yaml');
  const content = { version: 1, listeners: [{ address: `127.0.0.1:${await freePort()}` }], ...extra };
  writeFileSync(file, `${toYaml(content).trimStart()}\n`, { mode: 0o644 });
  return file;
}
const tree = (directory) => readdirSync(directory, { recursive: true }).sort();

test('check finds what would stop a start, and leaves no trace', async (t) => {
  const cases = [
    ['no directory for the access log', (d) => ({ access_log: { path: `${d}/missing/access.log` } }), /PST-C016/, /access_log\.path.*missing/],
    ['a directory in place of the access log', (d) => ({ access_log: { path: d } }), /PST-C016/, /is a directory/],
    ['no state directory', (d) => ({ state_directory: `${d}/a-file/state` }), /PST-C016/, /state_directory.*a-file/],
    ['no directory for the database', (d) => ({ consumers: { database: `${d}/a-file/keys.db` } }), /PST-C016/, /consumers\.database.*a-file/],
    ['a broken database', (d) => ({ consumers: { database: `${d}/a-file` } }), /PST-C016/, /consumers\.database.*a-file/],
    ['a broken file of keys', (d) => ({ consumers: { file: `${d}/a-file` } }), /PST-C0/, /a-file/],
    ['no file of keys', (d) => ({ consumers: { file: `${d}/none.yaml` } }), /PST-C001/, /none\.yaml/],
    ['a file of keys that others may write', (d) => ({ consumers: { file: `${d}/open.yaml` } }), /PST-C017/, /chmod go-w/],
    ['a name to observe', () => ({ observe: { address: 'metrics.internal:9090' } }), /PST-C012/, /observe\.address.*metrics\.internal/],
    ['no place for the admin socket', (d) => ({ admin: { socket: `${d}/a-file/admin.sock` } }), /PST-C016/, /admin\.socket.*a-file/],
    ['a secret that others may write', (d) => ({ origins: { o: { url: 'http://127.0.0.1:9', identity: [{ shared_secret: { header: 'X-S', value: `\${file:${d}/open-secret}` } }] } }, routes: [{ match: { path: '/o' }, origin: 'o', public: true }, guarded] }), /PST-C017/, /chmod go-w/],
  ];
  for (const [name, extra, code, says] of cases) {
    await t.test(name, async () => {
      const d = temporaryDirectory();
      writeFileSync(path.join(d, 'a-file'), `neither a database nor a list of keys ${'x'.repeat(2000)}`, { mode: 0o600 });
      writeFileSync(path.join(d, 'open.yaml'), 'version: 1\nconsumers: []\n');
      writeFileSync(path.join(d, 'open-secret'), secret);
      chmodSync(path.join(d, 'open.yaml'), 0o666);
      chmodSync(path.join(d, 'open-secret'), 0o660);
      const file = await configuration(d, { state_directory: `${d}/state`, admin: { socket: `${d}/run/admin.sock` }, routes: [open, guarded], ...extra(d) });
      const before = tree(d);
      const checked = await postern(['check', '--config', file]);
      assert.equal(checked.code, 3, checked.stderr);
      assert.match(checked.stderr, code);
      assert.match(checked.stderr, says);
      if (/PST-C01[67]/.test(checked.stderr)) assert.match(checked.stderr, /\n +fix: /);
      assert.deepEqual(tree(d), before);
      const json = await postern(['check', '--json', '--config', file]);
      assert.equal(json.code, 3);
      assert.equal(json.stderr, '');
      assert.ok(JSON.parse(json.stdout).diagnostics.some((item) => code.test(item.code)), json.stdout);
      const started = await postern(['run', '--config', file]);
      assert.ok(started.code === 1 || started.code === 3, `run agrees: ${started.code}`);
      assert.notEqual(started.stderr, '');
    });
  }
  await t.test('nothing, if a start makes what is missing', async () => {
    const d = temporaryDirectory();
    const file = await configuration(d, { state_directory: `${d}/not/yet/state`, admin: { socket: `${d}/nor/run/admin.sock` }, routes: [open, guarded], access_log: { path: `${d}/access.log` } });
    const before = tree(d);
    const checked = await postern(['check', '--config', file]);
    assert.equal(checked.code, 0, checked.stderr);
    assert.deepEqual(tree(d), before);
  });
});

test('check says so if its answer does not arrive', async () => {
  const d = temporaryDirectory();
  const file = await configuration(d, { state_directory: d, admin: { socket: `${d}/admin.sock` }, routes: [open] });
  for (const args of ['', '--json']) {
    const { code } = await run('bash', ['-c', `"${binary}" check --config "${file}" ${args} > /dev/full`]);
    assert.equal(code, 1, args);
  }
});

test('a secret that everybody on the machine may read is worth a word, not a refusal', async () => {
  const d = temporaryDirectory();
  const secretFile = path.join(d, 'secret');
  const file = await configuration(d, { admin: { socket: `${d}/admin.sock` }, origins: { o: { url: 'http://127.0.0.1:9', identity: [{ shared_secret: { header: 'X-S', value: `\${file:${secretFile}}` } }] } }, routes: [{ match: { path: '/o' }, origin: 'o', public: true }] });
  for (const [mode, says] of [[0o644, true], [0o640, false]]) {
    writeFileSync(secretFile, secret);
    chmodSync(secretFile, mode);
    const { code, stderr } = await postern(['check', '--config', file]);
    assert.equal(code, 0, stderr);
    assert.equal(/warning.*\n.*PST-C029/.test(stderr), says, stderr);
  }
});

test('a user without a session: no privileges, no XDG_RUNTIME_DIR, an environment of PATH and HOME', async (t) => {
  const user = new PlainUser();
  const { home } = user;
  const plain = (...args) => user.command('postern', ...args);
  const observe = await freePort();
  const file = await configuration(home, { observe: { address: `127.0.0.1:${observe}` }, routes: [open, guarded] });

  const checked = await run(...plain('check', '--config', file));
  assert.equal(checked.code, 0, checked.stderr);
  assert.ok(!existsSync(path.join(home, '.local')));
  const [command, args] = plain('run', '--config', file);
  const gateway = new Process(command, args, { cwd: home });
  await until('the gateway to be ready', async () => {
    if (gateway.exit) throw new Error(gateway.stderr);
    return (await fetch(`http://127.0.0.1:${observe}/readyz`).catch(() => null))?.ok;
  });

  await t.test('keeps its state and its socket at home, for itself only', () => {
    const state = path.join(home, '.local/state/postern');
    assert.equal(statSync(state).mode & 0o777, 0o700);
    for (const name of ['admin.sock', 'postern.db']) assert.equal(statSync(path.join(state, name)).mode & 0o777, 0o600, name);
  });
  for (const verb of [['status'], ['reload'], ['keys', 'create', 'somebody']]) {
    await t.test(`postern ${verb.join(' ')} finds it`, async () => {
      const [operation, ...rest] = verb[0] === 'keys' ? [verb.slice(0, 2), ...verb.slice(2)] : [verb];
      const { code, stderr } = await run(...plain(...operation, '--config', file, ...rest));
      assert.equal(code, 0, stderr);
    });
  }
  await t.test('leaves no core dump, and lets nobody of its own user look into it', () => {
    assert.match(readFileSync(`/proc/${gateway.pid}/limits`, 'utf8'), /^Max core file size +0 +0 /m);
    assert.match(readFileSync(`/proc/${gateway.pid}/status`, 'utf8'), new RegExp(`^Uid:\\s+${user.id}\\s`, 'm'));
    assert.equal(statSync(`/proc/${gateway.pid}/mem`).uid, 0, 'what the kernel does to processes that are not dumpable');
  });
  await t.test('still knows itself', async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${observe}/metrics`)).text();
    assert.match(metrics, /^process_open_fds [1-9]/m);
    assert.match(metrics, /^process_resident_memory_bytes [1-9]/m);
  });
  await gateway.stop();
});

test('an admin socket that cannot be made: what, why and how to mend it', async () => {
  const d = temporaryDirectory();
  const file = await configuration(d, { state_directory: d, admin: { socket: '/proc/none/admin.sock' }, routes: [open] });
  const { code, stderr } = await postern(['run', '--config', file]);
  assert.equal(code, 1);
  assert.match(stderr, /admin\.socket: unix:\/proc\/none\/admin\.sock: \/proc\/none: cannot make the directory: .*\n.*PST-G005\)\n {2}fix: .*another place/);
});
