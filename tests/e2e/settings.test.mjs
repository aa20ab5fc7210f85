// Settings of the gateway as a whole, each seen to do what its line in docs/configuration.md says.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway, identity, postern, secret, secretHeader } from './lib/gateway.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

let origin;
let config;
before(async () => {
  origin = await RecordingOrigin.start();
  config = { origins: { main: { url: origin.url, identity } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }] };
});
const records = (text) => text.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).filter(({ path: target }) => target);

test('access_log', async (t) => {
  await t.test('path: a file, opened again on SIGUSR1', async () => {
    const gateway = await Gateway.start(({ directory }) => ({ ...config, access_log: { path: path.join(directory, 'access.log') } }));
    const file = path.join(gateway.directory, 'access.log');
    const paths = (name) => (existsSync(name) ? records(readFileSync(name, 'utf8')).map((record) => record.path) : []);
    await exchange(gateway.port, request('/first'));
    await until('the first record', () => paths(file).includes('/first'));
    renameSync(file, `${file}.1`);
    await exchange(gateway.port, request('/second'));
    await until('the second record where the file went', () => paths(`${file}.1`).includes('/second'));
    assert.ok(!existsSync(file));
    gateway.signal('SIGUSR1');
    await until('a new file', () => existsSync(file));
    await exchange(gateway.port, request('/third'));
    await until('the third record', () => paths(file).includes('/third'));
    assert.deepEqual([paths(`${file}.1`), paths(file)], [['/first', '/second'], ['/third']]);
    assert.equal(statSync(file).mode & 0o007, 0, 'not for everybody');
    assert.deepEqual(records(gateway.process.stdout), []);
  });
  await t.test('path: stderr', async () => {
    const gateway = await Gateway.start({ ...config, access_log: { path: 'stderr' } });
    await exchange(gateway.port, request('/seen'));
    await until('the record', () => records(gateway.process.stderr).some((record) => record.path === '/seen'));
    assert.equal(gateway.process.stdout, '');
  });
  await t.test('path: off', async () => {
    const gateway = await Gateway.start({ ...config, access_log: { path: 'off' } });
    assert.equal((await exchange(gateway.port, request('/unseen'))).status, 200);
    gateway.signal('SIGUSR1');  // nothing to open again
    await gateway.stop();
    assert.deepEqual(gateway.process.exit, { code: 0, signal: null });
    assert.ok(!gateway.output().includes('/unseen'));
  });
  await t.test('query_values: keep', async () => {
    const gateway = await Gateway.start({ ...config, access_log: { query_values: 'keep' } });
    await exchange(gateway.port, request('/q?token=visible&flag'));
    assert.equal((await gateway.logged((record) => record.path === '/q')).query, 'token=visible&flag');
  });
});

test('limits of the head', async (t) => {
  // The listener's own count instead of the gateway's.
  const gateway = await Gateway.start(({ port }) => ({
    ...config,
    limits: { max_header_count: 50, max_header_bytes: '1KiB', max_target_length: '64B' },
    listeners: [{ address: `127.0.0.1:${port}`, limits: { max_header_count: 5 } }],
  }));
  const fields = (count, size = 1) => Array.from({ length: count }, (_, i) => `X-${i}: ${'v'.repeat(size)}`);
  const cases = [
    ['max_header_count: as many', request('/x', { headers: fields(4) }), 200],  // and Host
    ['max_header_count: one more', request('/x', { headers: fields(5) }), 431, 'PST-R006'],
    ['max_header_bytes: within', request('/x', { headers: fields(1, 900) }), 200],
    ['max_header_bytes: beyond', request('/x', { headers: fields(2, 600) }), 431, 'PST-R006'],
    ['max_target_length: as long', request(`/${'x'.repeat(63)}`), 200],
    ['max_target_length: one more', request(`/${'x'.repeat(64)}`), 414, 'PST-R007'],
  ];
  for (const [name, bytes, status, code] of cases) {
    await t.test(name, async () => {
      const response = await exchange(gateway.port, bytes);
      assert.equal(response.status, status, response.text());
      if (code) assert.equal(response.problem().code, code);
    });
  }
});

test('workers', async (t) => {
  for (const workers of [1, 3, 'auto']) {
    await t.test(String(workers), async () => {
      const gateway = await Gateway.start({ ...config, workers });
      const { loops } = JSON.parse((await gateway.postern('status', '--json')).stdout);
      if (workers === 'auto') assert.ok(loops.length >= 1);
      else assert.equal(loops.length, workers);
      assert.equal((await exchange(gateway.port, request('/x'))).status, 200);
    });
  }
});

test('a listener on a Unix socket', async () => {
  const gateway = await Gateway.start(({ directory, port }) => ({ ...config, listeners: [{ address: `127.0.0.1:${port}` }, { address: `unix:${path.join(directory, 'http.sock')}` }] }));
  const socket = path.join(gateway.directory, 'http.sock');
  origin.reset();
  assert.equal((await exchange(socket, request('/by-path'))).status, 200);
  assert.equal(origin.last().target, '/by-path');
  assert.equal(origin.last().head.get(secretHeader), secret);
  assert.equal((await exchange(gateway.port, request('/by-port'))).status, 200);
  assert.equal((await gateway.postern('reload')).code, 0);
  assert.equal((await exchange(socket, request('/again'))).status, 200);
  await gateway.stop();
  assert.ok(!existsSync(socket), 'the socket is left behind');
});

test('a secret from the credentials of the service', async (t) => {
  const value = 'credential-of-the-service-0123456789';
  const withCredential = { ...config, origins: { main: { url: origin.url, identity: [{ shared_secret: { header: secretHeader, value: '${cred:origin-secret}' } }] } } };
  const gateway = new Gateway();
  await gateway.prepare(withCredential);
  const credentials = path.join(gateway.directory, 'credentials');
  mkdirSync(credentials, { mode: 0o700 });
  writeFileSync(path.join(credentials, 'origin-secret'), `${value}\n`, { mode: 0o400 });
  const check = (env) => postern(['check', '--config', gateway.file], { env });
  await t.test('is sent', async () => {
    gateway.env.CREDENTIALS_DIRECTORY = credentials;
    await gateway.launch();
    await exchange(gateway.port, request('/x'));
    assert.equal(origin.last().head.get(secretHeader), value);
    assert.ok(!gateway.output().includes(value));
    assert.equal((await check({ CREDENTIALS_DIRECTORY: credentials })).code, 0);
  });
  await t.test('is missed', async () => {
    for (const env of [{ CREDENTIALS_DIRECTORY: '' }, { CREDENTIALS_DIRECTORY: gateway.directory }]) {
      const { code, stderr } = await check(env);
      assert.equal(code, 3);
      assert.match(stderr, /PST-C022/);
      assert.match(stderr, /origin-secret|CREDENTIALS_DIRECTORY/);
    }
  });
});
