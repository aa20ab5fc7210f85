// The point of it all: a backend that is locked serves nobody but the gateway. nginx, HAProxy and Node as people run
// them, a Unix socket, rotation without downtime, and no way for the secret to leak.
import assert from 'node:assert/strict';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway, binary, identity, postern, secret, secretHeader } from './lib/gateway.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { run } from './lib/process.mjs';
import { startHaproxy, startNginx, startNode } from './lib/real_origins.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

let gateway;
let origins;
let recorder;
before(async () => {
  const directory = temporaryDirectory();
  recorder = await RecordingOrigin.start({ path: path.join(directory, 'origin.sock') });
  origins = { nginx: await startNginx({ secret }), haproxy: await startHaproxy({ secret }), node: await startNode({ secret }) };
  gateway = await Gateway.start({
    origins: {
      ...Object.fromEntries(Object.entries(origins).map(([name, { url }]) => [name, { url, identity }])),
      socket: { url: recorder.url, host: 'socket.internal', identity },
      other: { url: recorder.url, identity },
      keyed: { url: recorder.url, identity: [{ shared_secret: { header: 'Authorization', prefix: 'bearer', value: '${env:BEARER_SECRET}' } }], policies: [{ api_key: { bearer: true } }] },
      bearer: { url: recorder.url, host: 'preserve', identity: [{ shared_secret: { header: 'Authorization', prefix: 'bearer', value: '${env:BEARER_SECRET}' } }] },
    },
    routes: [
      ...[...Object.keys(origins), 'socket', 'bearer', 'other'].map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true })),
      { match: { path: '/keyed/*' }, origin: 'keyed' },
    ],
  }, { env: { BEARER_SECRET: 'bearer-secret-0123456789abcdef' } });
});

test('through the gateway 200, directly 401', async (t) => {
  for (const name of ['nginx', 'haproxy', 'node']) {
    await t.test(`${name}, curl`, async () => {
      const status = async (url, ...args) => (await run('curl', ['-sS', '-o', '/dev/null', '-w', '%{http_code}', ...args, url])).stdout;
      assert.equal(await status(`${gateway.url}/${name}/x`), '200');
      assert.equal(await status(`${origins[name].url}/${name}/x`), '401');
      assert.equal(await status(`${gateway.url}/${name}/x`, '-H', `${secretHeader}: wrong`), '200', 'a copy of the client does no harm');
      assert.equal(await status(`${gateway.url}/${name}/x`, '-H', `Connection: ${secretHeader}`), '400', 'nor may it be nominated away');
      assert.equal(await status(`${origins[name].url}/${name}/x`, '-H', `${secretHeader}: wrong`), '401', 'a guess does not help');
    });
    await t.test(`${name}, fetch`, async () => {
      const response = await fetch(`${gateway.url}/${name}/x`, { method: 'POST', body: 'hello' });
      assert.equal(response.status, 200);
      assert.equal((await fetch(`${origins[name].url}/${name}/x`)).status, 401);
    });
  }
});

test('over a Unix socket, with a host name of its own', async () => {
  recorder.reset();
  assert.equal((await exchange(gateway.port, request('/socket/x'))).status, 200);
  assert.equal(recorder.last().head.get(secretHeader), secret);
  assert.equal(recorder.last().head.get('host'), 'socket.internal');
});

test('as a bearer token, in place of what the client sent', async () => {
  recorder.reset();
  assert.equal((await exchange(gateway.port, request('/bearer/x', { headers: ['Authorization: Basic Zm9vOmJhcg=='] }))).status, 200);
  assert.equal(recorder.last().head.get('authorization'), 'Bearer bearer-secret-0123456789abcdef');
  assert.equal(recorder.last().head.get('host'), 'api.test');
});

test('Authorization as identity of one origin takes it from no other origin, and from no policy', async (t) => {
  await t.test('another origin gets what the client sent', async () => {
    recorder.reset();
    assert.equal((await exchange(gateway.port, request('/other/x', { headers: ['Authorization: Basic Zm9vOmJhcg=='] }))).status, 200);
    assert.equal(recorder.last().head.get('authorization'), 'Basic Zm9vOmJhcg==');
  });
  await t.test('a key that comes in it is seen, and does not go on', async () => {
    const key = await gateway.createKey('somebody');
    recorder.reset();
    assert.equal((await exchange(gateway.port, request('/keyed/x', { headers: [`Authorization: Bearer ${key}`] }))).status, 200);
    assert.deepEqual(recorder.last().head.all('authorization'), ['Bearer bearer-secret-0123456789abcdef']);
    assert.equal((await exchange(gateway.port, request('/keyed/x', { headers: ['Authorization: Bearer bearer-secret-0123456789abcdef'] }))).status, 401);
  });
  await t.test('no spelling of it reaches the origin', async () => {
    recorder.reset();
    await exchange(gateway.port, request('/bearer/x', { headers: ['AUTHORIZATION: Bearer forged'] }));
    assert.deepEqual(recorder.last().head.all('authorization'), ['Bearer bearer-secret-0123456789abcdef']);
  });
});

test('a secret that changes at its time, and by its file', async (t) => {
  const directory = temporaryDirectory();
  const file = path.join(directory, 'secret');
  const nextFile = path.join(directory, 'next');
  const first = 'first-secret-0123456789abcdef';
  const second = 'second-secret-0123456789abcdef';
  const third = 'third-secret-0123456789abcdef';
  writeFileSync(file, `${first}\n`, { mode: 0o600 });
  writeFileSync(nextFile, `${second}\n`, { mode: 0o600 });
  const origin = await RecordingOrigin.start();
  const config = (switchAt) => ({
    origins: { main: { url: origin.url, identity: [{ shared_secret: { header: secretHeader, value: `\${file:${file}}`, ...(switchAt && { next: { value: `\${file:${nextFile}}`, switch_at: switchAt } }) } }] } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
  const rotating = await Gateway.start(config());
  const sent = async () => {
    assert.equal((await exchange(rotating.port, request('/x'))).status, 200);
    return origin.last().head.get(secretHeader);
  };
  await t.test('the first value', async () => assert.equal(await sent(), first));
  await t.test('next, without a restart, at the moment that was named', async () => {
    const at = new Date(Date.now() + 2_500);
    rotating.write(config(`${at.toISOString().replace(/\.\d+Z$/, 'Z')}`));
    rotating.signal('SIGHUP');
    const seen = [];
    await until('the switch', async () => {
      const value = await sent();
      if (seen.at(-1) !== value) seen.push(value);
      return value === second;
    });
    assert.deepEqual(seen, [first, second]);
    assert.ok(Date.now() >= Math.floor(at / 1000) * 1000, 'not before its time');
  });
  await t.test('a reload reads the file anew', async () => {
    rotating.write(config());
    writeFileSync(file, `${third}\n`);
    rotating.signal('SIGHUP');
    await until('the third value', async () => (await sent()) === third);
  });
  await t.test('a file with other content counts without anybody asking, and takes nothing else with it', async () => {
    const running = readFileSync(rotating.file);
    writeFileSync(rotating.file, 'version: 1\n# half an edit that nobody has asked for');
    writeFileSync(`${file}.new`, first);
    renameSync(`${file}.new`, file);
    await until('the first value again', async () => (await sent()) === first);
    writeFileSync(rotating.file, running);
    writeFileSync(file, third);
    await until('the third value again', async () => (await sent()) === third);
  });
  await t.test('a file that became unusable is reported, and the old value stays', async () => {
    writeFileSync(file, 'short');
    await until('the refusal in the log', () => /PST-C023/.test(rotating.output()));
    assert.equal(await sent(), third);
    writeFileSync(file, third);
  });
  await t.test('an emptied file does not empty the header', async () => {
    writeFileSync(file, '');
    rotating.signal('SIGHUP');
    await until('the refusal in the log', () => /PST-C022/.test(rotating.output()));
    assert.equal(await sent(), third);
  });
  for (const value of [first, second, third]) assert.ok(!rotating.output().includes(value), 'a secret in the output');
});

test('the secret is nowhere to be read', async (t) => {
  await t.test('not in the arguments of the process', () => {
    assert.ok(!readFileSync(`/proc/${gateway.pid}/cmdline`, 'latin1').includes(secret));
  });
  await t.test('not in explain, check or metrics', async () => {
    for (const [verb, ...args] of [['check'], ['explain', `GET http://api.test/nginx/x`], ['explain', '--json', `GET http://api.test/nginx/x`]]) {
      const { code, stdout, stderr } = await gateway.postern(verb, ...args);
      assert.equal(code, 0, stderr);
      assert.ok(!(stdout + stderr).includes(secret), verb);
    }
    assert.ok(!(await gateway.observe('/metrics')).text.includes(secret));
  });
  await t.test('not in what the gateway prints', () => assert.ok(!gateway.output().includes(secret)));
  await t.test('not accepted as an argument', async () => {
    const { stdout } = await run(binary, ['run', '--help']);
    assert.ok(!/--secret\b/.test(stdout));
  });
});

test('explain names the identity and the headers it sets', async () => {
  const { stdout } = await gateway.postern('explain', 'GET http://api.test/nginx/x');
  assert.match(stdout, /nginx/);
  assert.match(stdout, /shared_secret/);
  assert.match(stdout, /X-Backend-Secret/i);
  assert.match(stdout, /assurance/i);
});

test('a secret in clear over a network is refused unless it is named and limited', async (t) => {
  const directory = temporaryDirectory();
  const check = async (origin) => {
    const file = path.join(directory, 'c.json');
    writeFileSync(file, JSON.stringify({ version: 1, listeners: [{ address: '127.0.0.1:1' }], origins: { o: { identity, ...origin } }, routes: [{ match: { path: '/' }, origin: 'o', public: true }] }));
    return postern(['check', '--config', file]);
  };
  const day = (days) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
  const cases = [
    ['loopback', { url: 'http://127.0.0.1:9' }, 0],
    ['IPv6 loopback', { url: 'http://[::1]:9' }, 0],
    ['a Unix socket', { url: 'unix:///run/x.sock' }, 0],
    ['another machine', { url: 'http://192.0.2.1:9' }, 3],
    ['a name', { url: 'http://orders.internal:9' }, 3],
    ['all interfaces is not loopback', { url: 'http://0.0.0.0:9' }, 3],
    ['one of several endpoints', { endpoints: ['http://127.0.0.1:9', 'http://192.0.2.1:9'] }, 3],
    ['with a reason and an end', { url: 'http://192.0.2.1:9', insecure: { reason: 'moves to TLS next month', until: day(30) } }, 0],
    ['with an end in the past', { url: 'http://192.0.2.1:9', insecure: { reason: 'moves to TLS next month', until: day(-2) } }, 3],
    ['with an end far away', { url: 'http://192.0.2.1:9', insecure: { reason: 'moves to TLS next month', until: day(400) } }, 3],
    ['without a reason', { url: 'http://192.0.2.1:9', insecure: { until: day(30) } }, 3],
  ];
  for (const [name, origin, code] of cases) {
    await t.test(name, async () => {
      const result = await check(origin);
      assert.equal(result.code, code, result.stdout + result.stderr);
      if (code === 3) assert.match(result.stdout + result.stderr, /PST-C0(12|13|27)/);
    });
  }
});
