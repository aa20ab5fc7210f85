// Start and stop like a grown-up program: clear errors, no half-started gateway, a drain that loses nothing.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway, binary, identity, postern } from './lib/gateway.mjs';
import { onCleanup } from './lib/cleanup.mjs';
import { run, unprivileged } from './lib/process.mjs';
import { RecordingOrigin, ok, reply } from './lib/recording_origin.mjs';
import { until, within } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

let origin;
let config;
before(async () => {
  origin = await RecordingOrigin.start();
  config = { origins: { main: { url: origin.url, identity } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }], drain: '5s' };
});

test('SIGTERM drains', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    await t.test(signal, async () => {
      origin.reset();
      let release;
      origin.answer = (received) => (received.target === '/slow' ? new Promise((resolve) => { release = () => resolve(reply(200, 'finished')); }) : ok()(received));
      const gateway = await Gateway.start(config);
      const busy = await Wire.connect(gateway.port);
      const idle = await Wire.connect(gateway.port);
      await idle.send(request('/idle'));
      assert.equal((await idle.read()).status, 200);
      await busy.send(request('/slow'));
      await until('the request at the origin', () => release);
      gateway.signal(signal);
      await idle.closed();
      await until('new connections to be refused, or readiness to end', async () => {
        const ready = await gateway.observe('/readyz').catch(() => null);
        return !ready || ready.status === 503;
      });
      release();
      const response = await busy.read();
      assert.equal(response.text(), 'finished');
      await busy.closed();
      await within('the process to end', gateway.process.ended);
      assert.deepEqual(gateway.process.exit, { code: 0, signal: null });
      assert.ok(!existsSync(gateway.adminSocket), 'the admin socket is left behind');
    });
  }
  await t.test('but not for ever', async () => {
    origin.answer = () => undefined;
    const gateway = await Gateway.start({ ...config, drain: '1s' });
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/never'));
    await until('the request at the origin', () => origin.last()?.target === '/never');
    gateway.signal('SIGTERM');
    await within('the process to end', gateway.process.ended, 5_000);
    assert.equal(gateway.process.exit.signal, null);
    origin.answer = ok();
  });
  await t.test('a second signal ends it at once', async () => {
    origin.answer = () => undefined;
    const gateway = await Gateway.start({ ...config, drain: '60s' });
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/never'));
    await until('the request at the origin', () => origin.last()?.target === '/never');
    gateway.signal('SIGTERM');
    await until('the end of readiness', async () => (await gateway.observe('/readyz').catch(() => null))?.status !== 200);
    gateway.signal('SIGTERM');
    await within('the process to end', gateway.process.ended, 5_000);
    origin.answer = ok();
  });
});

test('what cannot start says why and exits', async (t) => {
  const start = async (own, env = {}) => {
    const gateway = new Gateway();
    await gateway.prepare(own, { ready: false, env });
    await gateway.launch();
    await within('the process to end', gateway.process.ended);
    return { ...gateway.process.exit, text: gateway.output(), gateway };
  };
  await t.test('a port that is taken', async () => {
    const blocker = net.createServer();
    await new Promise((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    onCleanup(() => blocker.close());
    const { port } = blocker.address();
    const result = await start({ ...config, listeners: [{ address: `127.0.0.1:${port}` }] });
    assert.equal(result.code, 1, result.text);
    assert.match(result.text, new RegExp(`postern\\.yaml:\\d+:\\d+ listeners\\[0\\]: 127\\.0\\.0\\.1:${port}: .*in use\\n.*PST-G005\\)\\n  fix: `));
  });
  await t.test('the port of another Postern', async () => {
    // SO_REUSEPORT must not let a second gateway take half of the connections.
    const first = await Gateway.start(config);
    const result = await start({ ...config, listeners: [{ address: `127.0.0.1:${first.port}` }] });
    assert.equal(result.code, 1, result.text);
    assert.match(result.text, /in use/i);
    assert.equal((await exchange(first.port, request('/x'))).status, 200);
  });
  await t.test('an address that is not ours', async () => {
    const result = await start({ ...config, listeners: [{ address: '192.0.2.1:8080' }] });
    assert.equal(result.code, 1, result.text);
    assert.match(result.text, /listeners\[0\]: 192\.0\.2\.1:8080: .*\n.*PST-G005\)\n {2}fix: .*ip address/);
  });
  await t.test('a port for the privileged', async (t) => {
    if (Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start')) <= 81) return t.skip('optional: every port is for everybody here');
    const gateway = new Gateway();
    await gateway.prepare({ ...config, listeners: [{ address: '127.0.0.1:81' }] }, { ready: false });
    const { code, stderr } = await run(...unprivileged(binary, ['run', '--config', gateway.file]), { env: gateway.env });
    assert.equal(code, 1, stderr);
    assert.match(stderr, /listeners\[0\]: 127\.0\.0\.1:81: .*Permission denied\n.*PST-G005\)\n {2}fix: .*CAP_NET_BIND_SERVICE/);
  });
  await t.test('the port of the observers', async () => {
    const first = await Gateway.start(config);
    const result = await start({ ...config, observe: { address: `127.0.0.1:${first.observePort}` } });
    assert.equal(result.code, 1, result.text);
    assert.match(result.text, /observe: 127\.0\.0\.1:\d+: .*in use\n.*PST-G005\)\n {2}fix: /);
  });
  await t.test('an access log that cannot be opened', async () => {
    const result = await start({ ...config, access_log: { path: '/nonexistent/access.log' } });
    assert.equal(result.code, 1, result.text);
    assert.match(result.text, /access_log\.path: \/nonexistent\/access\.log: No such file.*\n.*PST-G005\)\n {2}fix: .*directory/);
  });
  await t.test('a secret that is not set', async () => {
    const result = await start(config, { ORIGIN_SECRET: '' });
    assert.equal(result.code, 3, result.text);
    assert.match(result.text, /PST-C022/);
    assert.match(result.text, /ORIGIN_SECRET/);
  });
  await t.test('a secret that is too short, and is not printed', async () => {
    const result = await start(config, { ORIGIN_SECRET: 'tooshort-15byte' });
    assert.equal(result.code, 3, result.text);
    assert.match(result.text, /PST-C023/);
    assert.ok(!result.text.includes('tooshort-15byte'));
  });
  await t.test('no configuration file', async () => {
    const result = await postern(['run', '--config', '/nonexistent/postern.yaml']);
    assert.equal(result.code, 3);
    assert.match(result.stderr + result.stdout, /PST-C001/);
  });
  await t.test('an unknown verb and an unknown option', async () => {
    assert.equal((await postern(['frobnicate'])).code, 2);
    assert.equal((await postern(['run', '--frobnicate'])).code, 2);
  });
});

test('a state directory that is not there is made, for its owner alone', async () => {
  const locked = { ...config, routes: [{ match: { path: '/*' }, origin: 'main', policies: ['api_key'] }] };
  const gateway = await Gateway.start(({ directory }) => ({ ...locked, state_directory: path.join(directory, 'new/state') }));
  const state = path.join(gateway.directory, 'new/state');
  for (const made of [path.dirname(state), state]) assert.equal(statSync(made).mode & 0o777, 0o700, made);
  assert.equal(statSync(path.join(state, 'postern.db')).mode & 0o777, 0o600);
  const key = await gateway.createKey('shop');
  assert.equal((await exchange(gateway.port, request('/x', { headers: [`X-API-Key: ${key}`] }))).status, 200);
});

test('an admin socket that a dead process left behind is replaced, a living one is not', async () => {
  const first = await Gateway.start(config);
  first.process.signal('SIGKILL');
  await first.process.ended;
  assert.ok(existsSync(first.adminSocket));
  await first.launch();
  assert.equal((await first.postern('status')).code, 0);
  const second = new Gateway();
  await second.prepare({ ...config, admin: { socket: first.adminSocket } }, { ready: false });
  await second.launch();
  await within('the second process to end', second.process.ended);
  assert.equal(second.process.exit.code, 1, second.output());
  assert.match(second.output(), /admin\.socket: unix:\S+admin\.sock: .*in use\n.*PST-G005\)\n {2}fix: /);
  assert.equal((await first.postern('status')).code, 0, 'the first one still owns it');
});

test('an endless stream of connections that say nothing does not stop the others', async () => {
  const gateway = await Gateway.start(config);
  const silent = await Promise.all(Array.from({ length: 500 }, () => Wire.connect(gateway.port)));
  assert.equal((await exchange(gateway.port, request('/x'))).status, 200);
  for (const wire of silent) wire.close();
  await until('the connections to be gone', async () => (await gateway.metric('postern_connections')) <= 1);
});

test('a file that may not be read is an error, not a default', async (t) => {
  const gateway = new Gateway();
  await gateway.prepare(config, { ready: false });
  chmodSync(gateway.file, 0);
  for (const verb of ['check', 'run']) {
    await t.test(verb, async () => {
      const { code, stderr } = await run(...unprivileged(binary, [verb, '--config', gateway.file]), { env: gateway.env });
      assert.equal(code, 3, stderr);
      assert.match(stderr, /postern\.yaml: cannot read the file: Permission denied\n.*PST-C001/);
    });
  }
});
