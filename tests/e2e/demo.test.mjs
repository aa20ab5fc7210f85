// The demonstration: ./dev run --once as a newcomer types it, and `postern demo` when something is in its way.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { binary, postern, root } from './lib/gateway.mjs';
import { freePort, onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { Process, run } from './lib/process.mjs';
import { startNode } from './lib/real_origins.mjs';
import { startTlsNode } from './lib/tls_origins.mjs';
import { until, within } from './lib/wait.mjs';

// Everything that the demonstration leaves in its own TMPDIR.
const demo = async (args, command = [binary, 'demo']) => {
  const directory = temporaryDirectory();
  const result = await run(command[0], [...command.slice(1), ...args], { env: { TMPDIR: directory } });
  return { ...result, text: result.stdout + result.stderr, left: readdirSync(directory) };
};

test('./dev run --once: every check passes and nothing is left behind', async () => {
  const result = await demo(['--once'], [path.join(root, 'dev'), 'run']);
  assert.equal(result.code, 0, result.text);
  for (const backend of ['demo', 'nginx']) {
    for (const [what, status] of [['through the gateway, with an API key', 200], ['around the gateway', 401], ['around it, with a forged secret', 401], ['through it, with key and forged copies', 200]]) {
      assert.match(result.stdout, new RegExp(`ok +${backend} +${what} +${status}`));
    }
  }
  for (const [what, came] of [['through the gateway, with an API key', 200], ['around the gateway', 'handshake refused'], ['around it, with a certificate of somebody', 400], ['around it, with that for another origin', 403]]) {
    assert.match(result.stdout, new RegExp(`ok +mtls +${what} +${came}`));
  }
  for (const backend of ['signature', 'token', 'oauth2', 'azure', 'gcp', 'gcp-jwt', 'federated']) {
    for (const [what, status] of [['through the gateway, with an API key', 200], ['around the gateway', 401], ['around it, with a forged proof', 401], ['through it, with key and forged copies', 200]]) {
      assert.match(result.stdout, new RegExp(`ok +${backend} +${what} +${status}`));
    }
  }
  assert.match(result.stdout, /64 passed, 0 failed/);
  assert.deepEqual(result.left, []);
});

test('a backend that lets everybody in is not called locked', async () => {
  const open = await startNode({});
  const file = path.join(temporaryDirectory(), 'secret');
  writeFileSync(file, 'a-secret-that-nobody-asks-for', { mode: 0o600 });
  const result = await demo(['--once', '--backend', `open=${open.url}`, '--backend-secret', file]);
  assert.equal(result.code, 4, result.text);
  assert.match(result.stdout, /FAILED +open +around the gateway +200, expected 401/);
  assert.match(result.stdout, /ok +demo +around the gateway +401/);
});

test('nor one that serves whoever comes over TLS', async () => {
  const state = temporaryDirectory();
  const files = path.join(state, 'origin');
  for (const args of [['init'], ['issue-origin', 'open', '--ip', '127.0.0.1', '--out', files]]) {
    const { code, stderr } = await postern(['ca', ...args, '--directory', path.join(state, 'ca')]);
    assert.equal(code, 0, stderr);
  }
  const open = await startTlsNode({ certificate: { tls: { cert: readFileSync(path.join(files, 'open.pem')), key: readFileSync(path.join(files, 'open.key')) } } });
  const result = await demo(['--once', '--backend', `open=${open.url}`, '--state-directory', state]);
  assert.equal(result.code, 4, result.text);
  assert.match(result.stdout, /ok +open +through the gateway, with an API key +200/);
  assert.match(result.stdout, /FAILED +open +around the gateway +200, expected a refusal/);
  const { stdout } = await demo(['--once', '--json', '--backend', `open=${open.url}`, '--state-directory', state]);
  const check = JSON.parse(stdout).checks.find(({ backend, check: what }) => backend === 'open' && what === 'around the gateway');
  assert.deepEqual(check, { backend: 'open', check: 'around the gateway', passed: false, expected: 'refused', status: 200 });
});

test('--once --json is one line for machines', async () => {
  const file = path.join(temporaryDirectory(), 'secret');
  writeFileSync(file, 'a-secret-that-nobody-asks-for', { mode: 0o600 });
  const good = await demo(['--once', '--json']);
  assert.equal(good.code, 0, good.text);
  assert.match(good.stdout, /^[^\n]*\n$/);
  const { passed, failed, checks } = JSON.parse(good.stdout);
  assert.deepEqual([passed, failed, checks.length], [8, 0, 8]);
  assert.deepEqual(checks.find(({ check }) => check === 'around the gateway'), { backend: 'demo', check: 'around the gateway', passed: true, expected: 401, status: 401 });
  const bad = await demo(['--once', '--json', '--backend', `gone=http://127.0.0.1:${await freePort()}`, '--backend-secret', file]);
  assert.equal(bad.code, 4, bad.text);
  const gone = JSON.parse(bad.stdout).checks.find(({ backend, check }) => backend === 'gone' && check === 'around the gateway');
  assert.equal(gone.passed, false);
  assert.equal(gone.status, null);
  assert.match(gone.problem, /\S/);
  assert.equal((await demo(['--json'])).code, 2, 'a demonstration that goes on has no one result');
});

test('a backend that is not there is a failed check', async () => {
  const file = path.join(temporaryDirectory(), 'secret');
  writeFileSync(file, 'a-secret-that-nobody-asks-for', { mode: 0o600 });
  const result = await demo(['--once', '--backend', `gone=http://127.0.0.1:${await freePort()}`, '--backend-secret', file]);
  assert.equal(result.code, 4, result.text);
});

test('what is in its way is said', async (t) => {
  await t.test('a port that is taken', async () => {
    const blocker = net.createServer();
    await new Promise((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    onCleanup(() => blocker.close());
    const result = await demo(['--once', '--port', String(blocker.address().port)]);
    assert.equal(result.code, 1, result.text);
    assert.match(result.stderr, /in use/i);
    assert.match(result.stderr, /--port/);
    assert.deepEqual(result.left, []);
  });
  await t.test('a directory that cannot be written to', async () => {
    const result = await postern(['demo', '--once'], { env: { TMPDIR: '/nonexistent' } });
    assert.equal(result.code, 1);
    assert.match(result.stderr, /temporary directory/);
  });
  await t.test('a backend without its secret', async () => {
    assert.equal((await demo(['--once', '--backend', 'x=http://127.0.0.1:1'])).code, 2);
    assert.equal((await demo(['--once', '--backend', 'x', '--backend-secret', '/x'])).code, 2);
    assert.equal((await demo(['--once', '--backend', 'x=http://127.0.0.1:1', '--backend', 'y=http://127.0.0.1:1', '--backend-secret', '/x'])).code, 2);
    assert.equal((await demo(['--once', '--backend', 'x=https://127.0.0.1:1', '--state-directory', '/x', '--backend-secret', '/x'])).code, 2);
  });
  await t.test('an issuer that is no loopback URL', async () => {
    for (const url of ['https://127.0.0.1:1', 'http://id.example.com', 'x']) assert.equal((await demo(['--once', '--issuer', url])).code, 2);
  });
  await t.test('a backend that knows authorities, without them', async () => {
    const result = await demo(['--once', '--backend', 'x=https://127.0.0.1:1']);
    assert.equal(result.code, 2);
    assert.match(result.stderr, /--state-directory/);
  });
  await t.test('a secret file that is not there', async () => {
    const result = await demo(['--once', '--backend', 'x=http://127.0.0.1:1', '--backend-secret', '/nonexistent/secret']);
    assert.equal(result.code, 3, result.text);
    assert.match(result.stderr, /PST-C022/);
  });
});

test('Ctrl-C and SIGTERM end it in order', async (t) => {
  for (const signal of ['SIGINT', 'SIGTERM']) {
    await t.test(signal, async () => {
      const directory = temporaryDirectory();
      const child = new Process(binary, ['demo'], { env: { TMPDIR: directory } });
      await until('the demonstration to be up', () => /Ctrl-C ends it/.test(child.stdout));
      const key = /pst_[0-9A-Za-z]{36}/.exec(child.stdout)[0];
      const gateway = /gateway +(http:\S+)/.exec(child.stdout)[1];
      const { stdout } = await run('curl', ['-sS', '-H', `X-API-Key: ${key}`, `${gateway}/demo/hello`]);
      assert.match(stdout, /hello, gateway.*consumer demo-client/);
      child.signal(signal);
      await within('the end', child.ended);
      assert.deepEqual(child.exit, { code: 0, signal: null });
      assert.deepEqual(readdirSync(directory), []);
    });
  }
});
