// A reload that changes listeners takes all of them or none.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { freePort } from './lib/cleanup.mjs';
import { Gateway } from './lib/gateway.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

const routes = (status) => [{ match: { path: '/*' }, respond: { status }, public: true }];
// Both workers have a listener: the kernel shares connections out among them.
async function allAnswer(port, status) {
  for (let i = 0; i < 30; ++i) assert.equal((await exchange(port, request('/'))).status, status);
}

test('an address that widens or narrows on the same port moves in place', async () => {
  const gateway = await Gateway.start({ routes: routes(204) });
  for (const address of ['0.0.0.0', '127.0.0.1', '0.0.0.0']) {
    gateway.write({ listeners: [{ address: `${address}:${gateway.port}` }], routes: routes(204) });
    const { code, stdout, stderr } = await gateway.postern('reload');
    assert.equal(code, 0, stdout + stderr);
    await allAnswer(gateway.port, 204);
  }
});

test('a worker that cannot bind leaves every worker as it was', async () => {
  const gateway = await Gateway.start({ routes: routes(204) });
  const [first, second] = [await freePort(), await freePort()];
  const descriptors = () => readdirSync(`/proc/${gateway.pid}/fd`).map(Number);
  const atRest = descriptors().length;
  await allAnswer(gateway.port, 204);
  await until('the connections to be closed', () => descriptors().length <= atRest);
  // Room for the descriptors of one worker's new listeners, not for those of both.
  const used = new Set(descriptors());
  let limit = 0;
  for (let free = 0; free < 2; ++limit) if (!used.has(limit)) ++free;
  gateway.write({ listeners: [{ address: `127.0.0.1:${first}` }, { address: `127.0.0.1:${second}` }], routes: routes(205) });
  assert.equal(spawnSync('prlimit', ['--pid', String(gateway.pid), `--nofile=${limit}:`]).status, 0);
  gateway.signal('SIGHUP');
  await until('the refusal', () => /reload rejected/.test(gateway.process.stderr));
  assert.equal(spawnSync('prlimit', ['--pid', String(gateway.pid), '--nofile=1000:']).status, 0);
  await allAnswer(gateway.port, 204);
  await assert.rejects(exchange(first, request('/')), /ECONNREFUSED/);
  // With room again, the same file is taken.
  const { code, stdout, stderr } = await gateway.postern('reload');
  assert.equal(code, 0, stdout + stderr);
  await allAnswer(first, 205);
  await allAnswer(second, 205);
});
