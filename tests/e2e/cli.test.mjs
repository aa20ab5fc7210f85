// The command line: exit codes, options, and what it says when something is in its way. Errors are {error: {what, why,
// code, fix}} with --json.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway, binary, identity, postern } from './lib/gateway.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { run, unprivileged } from './lib/process.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
let config;
const directory = temporaryDirectory();
const statusOf = async (key) => (await exchange(gateway.port, request('/x', { headers: [`X-API-Key: ${key}`] }))).status;
const keysIn = async (...where) => JSON.parse((await postern(['keys', 'list', '--json', ...where])).stdout).keys;
const database = () => path.join(gateway.directory, 'state/postern.db');

before(async () => {
  origin = await RecordingOrigin.start();
  const policies = [{ api_key: {} }, { request_headers: { set: { 'X-Name': '${consumer.name}' } } }];
  config = { origins: { main: { url: origin.url, identity, policies } }, routes: [{ match: { path: '/*' }, origin: 'main' }] };
  gateway = await Gateway.start(config);
});

test('exit codes', async (t) => {
  const broken = path.join(directory, 'broken.yaml');
  writeFileSync(broken, 'version: [\n');
  const nobody = path.join(directory, 'nobody.sock');
  const cases = [
    [0, ['--help']], [0, ['version']], [0, ['schema']],
    [2, []], [2, ['chekc']], [2, ['keys']], [2, ['keys', 'create']], [2, ['explain']], [2, ['status', 'now']], [2, ['prove']],
    [3, ['check', '--config', broken]], [3, ['run', '--config', broken]], [3, ['explain', '--config', broken, 'GET http://a/']],
    [3, ['status', '--config', broken]], [3, ['reload', '--config', broken]], [3, ['keys', 'list', '--config', broken]],
    [5, ['status', '--socket', nobody]], [5, ['reload', '--socket', nobody]],
  ];
  for (const [expected, args] of cases) {
    await t.test(`${expected}: postern ${args.map((arg) => path.basename(arg)).join(' ')}`, async () => {
      const { code, stdout, stderr } = await postern(args);
      assert.equal(code, expected, stdout + stderr);
      if (expected !== 0) assert.notEqual(stderr, '');
    });
  }
});

test('a configuration that cannot be read: the way out is named', async (t) => {
  const broken = path.join(directory, 'broken.yaml');
  for (const file of [broken, path.join(directory, 'missing.yaml')]) {
    for (const [verb, option] of [['status', /--socket/], ['reload', /--socket/], ['keys list', /--database/], ['keys create shop', /--database/], ['keys revoke pst_12345678', /--database/]]) {
      await t.test(`${verb}, ${path.basename(file)}`, async () => {
        const args = [...verb.split(' '), '--config', file];
        const text = await postern(args);
        assert.equal(text.code, 3);
        assert.match(text.stderr, option);
        const json = await postern([...args, '--json']);
        assert.equal(json.code, 3);
        assert.ok(JSON.parse(json.stdout).errors > 0);
      });
    }
  }
  await t.test('the file is missing: what to do', async () => {
    for (const verb of ['check', 'run', 'status']) {
      assert.match((await postern([verb, '--config', path.join(directory, 'missing.yaml')])).stderr, /PST-C001\)\n {2}fix: .*--config/, verb);
    }
  });
  await t.test('and it does lead out', async () => {
    assert.equal((await postern(['status', '--config', broken, '--socket', gateway.adminSocket])).code, 0);
    assert.equal((await postern(['reload', '--config', broken, '--socket', gateway.adminSocket])).code, 0);
    assert.equal((await postern(['keys', 'list', '--config', broken, '--database', path.join(directory, 'other.db')])).code, 1);
    assert.equal((await postern(['keys', 'create', 'shop', '--config', broken, '--database', path.join(directory, 'other.db')])).code, 0);
    assert.equal((await keysIn('--config', broken, '--database', path.join(directory, 'other.db')))[0].consumer, 'shop');
  });
});

test('nobody answers, or nobody may ask', async (t) => {
  await t.test('as JSON', async () => {
    const { code, stdout } = await postern(['status', '--json', '--socket', path.join(directory, 'nobody.sock')]);
    assert.equal(code, 5);
    const { error } = JSON.parse(stdout);
    assert.match(error.what, /nobody\.sock/);
    assert.match(error.fix, /--socket/);
  });
  await t.test('the admin socket of somebody else', async () => {
    const other = await Gateway.start(config);
    if (process.getuid() === 0) chownSync(other.adminSocket, 65_534, 65_534);
    else chmodSync(other.adminSocket, 0);
    for (const verb of ['status', 'reload']) {
      const { code, stderr } = await run(...unprivileged(binary, [verb, '--socket', other.adminSocket]));
      assert.equal(code, 1, stderr);
      assert.match(stderr, /Permission denied\n.*user and root only\n {2}fix: /);
    }
  });
});

test('keys list does not take what it cannot see for nothing', async (t) => {
  const locked = path.join(directory, 'locked');
  mkdirSync(locked);
  const inside = path.join(locked, 'keys.db');
  await postern(['keys', 'create', 'shop', '--database', inside]);
  const readable = async (file) => {
    const [command, args] = unprivileged(binary, ['keys', 'list', '--json', '--database', file]);
    const { code, stdout } = await run(command, args);
    return { code, error: JSON.parse(stdout).error };
  };
  await t.test('a directory that may not be entered', async () => {
    chmodSync(locked, 0);
    const { code, error } = await readable(inside);
    chmodSync(locked, 0o700);
    assert.equal(code, 1);
    assert.match(error.what, /locked\/keys\.db.*Permission denied/);
    assert.equal(error.code, 'PST-P503');
  });
  await t.test('a file that may not be read', async () => {
    chmodSync(inside, 0);
    const { code, error } = await readable(inside);
    chmodSync(inside, 0o600);
    assert.equal(code, 1);
    assert.match(error.what, /locked\/keys\.db.*Permission denied/);
  });
  for (const args of [['list'], ['revoke', 'pst_12345678']]) {
    await t.test(`a mistyped --database: ${args[0]}`, async () => {
      const mistyped = path.join(locked, 'kyes.db');
      const { code, stderr } = await postern(['keys', ...args, '--database', mistyped]);
      assert.equal(code, 1);
      assert.match(stderr, /kyes\.db.*No such file/);
      assert.match(stderr, /fix: .*--database/);
      assert.ok(!existsSync(mistyped));
    });
  }
  await t.test('no database yet is no key yet', async () => {
    const fresh = await Gateway.start({ routes: [{ match: { path: '/*' }, respond: { status: 204 }, public: true }] });
    const { code, stdout, stderr } = await fresh.postern('keys list', '--json');
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), { keys: [] });
    assert.match(stderr, /postern\.db/);
  });
});

test('a key that nobody has seen is revoked', async (t) => {
  const failed = async (consumer, error) => {
    const [made] = (await keysIn('--config', gateway.file)).filter((entry) => entry.consumer === consumer);
    assert.equal(made.status, 'revoked');
    assert.match(error, new RegExp(`${made.key_id} is revoked`));
  };
  const create = (consumer) => [binary, 'keys', 'create', '--config', gateway.file, consumer];
  await t.test('a full disk', async () => {
    for (const [consumer, ...args] of [['full'], ['full-json', '--json']]) {
      const { code, stderr } = await run('sh', ['-c', 'exec "$@" > /dev/full', 'sh', ...create(consumer), ...args]);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /No space left/);
      await failed(consumer, stderr);
    }
  });
  await t.test('a closed standard output', async () => {
    const { code, stderr } = await run('sh', ['-c', 'exec "$@" >&-', 'sh', ...create('closed')]);
    assert.equal(code, 1, stderr);
    await failed('closed', stderr);
  });
  await t.test('a reader that is gone', async () => {
    // The shell waits until nobody reads.
    const child = spawn('sh', ['-c', 'read _; exec "$@"', 'sh', ...create('gone')], { stdio: ['pipe', 'pipe', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text; });
    child.stdout.destroy();
    await once(child.stdout, 'close');
    child.stdin.end('\n');
    const [code, signal] = await once(child, 'close');
    assert.deepEqual({ code, signal }, { code: 1, signal: null });
    assert.match(stderr, /Broken pipe/);
    await failed('gone', stderr);
  });
  await t.test('a hashed key is stored nowhere', async () => {
    const { code, stderr } = await run('sh', ['-c', 'exec "$@" > /dev/full', 'sh', ...create('unstored'), '--hashed']);
    assert.equal(code, 1);
    assert.doesNotMatch(stderr, /revoked|sha256/);
  });
});

test('keys create', async (t) => {
  const create = (...args) => gateway.postern('keys create', ...args);
  await t.test('--name and --metadata', async () => {
    const key = await gateway.createKey('meta', '--name', 'Meta Ltd', '--metadata', 'plan=gold', '--metadata', 'note=a=b');
    await until('the key to count', async () => await statusOf(key) === 200);
    assert.equal(origin.last().head.get('x-name'), 'Meta%20Ltd');
    const [entry] = (await keysIn('--config', gateway.file)).filter(({ consumer }) => consumer === 'meta');
    assert.deepEqual([entry.name, entry.metadata], ['Meta Ltd', { plan: 'gold', note: 'a=b' }]);
    assert.equal((await create('meta', '--metadata', 'plan')).code, 2);
  });
  await t.test('--expires', async () => {
    const key = await gateway.createKey('short', '--expires', '1s');
    const made = Date.now();
    assert.equal(await statusOf(key), 200);
    await until('the key to expire', async () => await statusOf(key) === 401);
    assert.ok(Date.now() - made < 5_000);
    const entry = async (consumer) => (await keysIn('--config', gateway.file)).find((each) => each.consumer === consumer);
    assert.equal((await entry('short')).status, 'expired');
    for (const [consumer, text, expected] of [['day', '2127-01-01', '2127-01-01T00:00:00Z'], ['time', '2127-01-01T12:30:00Z', '2127-01-01T12:30:00Z']]) {
      await gateway.createKey(consumer, '--expires', text);
      assert.equal((await entry(consumer)).expires, expected);
    }
    for (const text of ['2020-01-01', 'soon', '90', '-1d']) assert.equal((await create('never', `--expires=${text}`)).code, 2, text);
    assert.equal(await entry('never'), undefined);
  });
  await t.test('--hashed', async () => {
    const text = await create('shop', '--hashed');
    const json = await create('shop', '--hashed', '--json');
    for (const [key, hash] of [[text.stdout.trim(), /sha256: "([0-9a-f]{64})"/.exec(text.stderr)[1]], [JSON.parse(json.stdout).key, JSON.parse(json.stdout).sha256]]) {
      assert.equal(hash, createHash('sha256').update(key).digest('hex'));
      assert.equal(await statusOf(key), 401, 'it is stored nowhere');
    }
    assert.ok(!('sha256' in JSON.parse((await create('shop', '--json')).stdout)));
  });
  await t.test('a hashed key in the file of the gateway', async () => {
    const { stdout, stderr } = await create('filed', '--hashed');
    const consumers = path.join(gateway.directory, 'consumers.yaml');
    writeFileSync(consumers, `version: 1\nconsumers:\n${stderr}`);
    const other = await Gateway.start({ ...config, consumers: { file: consumers } });
    assert.equal((await exchange(other.port, request('/x', { headers: [`X-API-Key: ${stdout.trim()}`] }))).status, 200);
  });
  await t.test('--database', async () => {
    const file = path.join(directory, 'new', 'named.db');
    assert.equal((await create('elsewhere', '--database', file)).code, 0);
    assert.deepEqual((await keysIn('--database', file)).map(({ consumer }) => consumer), ['elsewhere']);
    assert.ok(!(await keysIn('--config', gateway.file)).some(({ consumer }) => consumer === 'elsewhere'));
    const [{ key_id: id }] = await keysIn('--database', file);
    assert.equal((await postern(['keys', 'revoke', id, '--database', file])).code, 0);
    assert.equal((await keysIn('--database', file))[0].status, 'revoked');
  });
  await t.test('a database that is none', async () => {
    const file = path.join(directory, 'text.db');
    writeFileSync(file, 'not a database, but long enough to be looked at as if it were one\n'.repeat(20));
    const { code, stdout } = await postern(['keys', 'create', 'shop', '--json', '--database', file]);
    assert.equal(code, 1);
    assert.match(JSON.parse(stdout).error.what, /text\.db/);
  });
});

test('a revocation of what is not there, as JSON', async () => {
  const { code, stdout } = await postern(['keys', 'revoke', 'pst_00000000', '--json', '--database', database()]);
  assert.equal(code, 1);
  assert.match(JSON.parse(stdout).error.what, /pst_00000000/);
});

test('names of files cannot drive the terminal', async () => {
  const name = 'a\x1b[2J\nb.yaml';
  writeFileSync(path.join(directory, name), 'version: 9\n');
  const file = path.join(directory, 'good.yaml');
  renameSync(path.join(directory, name), path.join(directory, `${name}.yaml`));
  writeFileSync(file, 'version: 1\nlisteners: [{address: "127.0.0.1:1"}]\nroutes: [{match: {path: /}, respond: {status: 204}, public: true}]\n');
  renameSync(file, path.join(directory, name));
  for (const args of [['check', '--config', path.join(directory, name)], ['check', '--config', path.join(directory, `${name}.yaml`)], ['check', '--config', path.join(directory, `${name}.missing`)],
    ['status', '--socket', path.join(directory, name)], ['keys', 'list', '--database', path.join(directory, name, 'x')], ['run', '--config', path.join(directory, `${name}.yaml`)]]) {
    const { stdout, stderr } = await postern(args);
    assert.match(stdout + stderr, /a\\x1b\[2J\\x0ab\.yaml/, args.join(' '));
    assert.ok(!(stdout + stderr).includes('\x1b'), args.join(' '));
  }
});

test('credentials that are written out: a warning, and never shown', async () => {
  const secretValue = 'Basic dG9wOnNlY3JldA';
  const sending = (value, plan) => ({
    ...config,
    routes: [{ match: { path: '/*' }, origin: 'main', policies: [{ request_headers: { set: { Authorization: value, 'X-Plan': plan } } }] }],
  });
  const own = await Gateway.start(sending(secretValue, 'a'));
  const checked = await own.postern('check');
  assert.equal(checked.code, 0, checked.stderr);
  assert.match(checked.stderr, /warning routes\[0\]\.policies\[0\]\.request_headers\.set\.Authorization: .*\n.*PST-C020\)\n {2}fix: .*\$\{env:NAME\}/);
  assert.equal(checked.stderr.match(/PST-C020/g).length, 1, checked.stderr);
  own.write(sending('Basic b3RoZXI6c2VjcmV0', 'b'));
  const reloaded = await own.postern('reload');
  assert.equal(reloaded.code, 0, reloaded.stderr);
  assert.match(reloaded.stdout, /Authorization: changed/);
  assert.match(reloaded.stdout, /X-Plan: a -> b/);
  const explained = await own.postern('explain', 'GET http://api.test/x');
  for (const text of [checked, reloaded, explained].map(({ stdout, stderr }) => stdout + stderr)) assert.doesNotMatch(text, /dG9wOnNlY3JldA|b3RoZXI6c2VjcmV0/);
});
