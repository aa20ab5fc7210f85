// API keys: created, listed and revoked while the gateway runs; nobody passes on a guess, a fault of the store closes the
// door, and who the consumer is can be said by the gateway alone.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { before, test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
let key;
const get = (headers = [], target = '/x') => exchange(gateway.port, request(target, { headers }));
const withKey = (value) => get([`X-API-Key: ${value}`]);

before(async () => {
  origin = await RecordingOrigin.start();
  gateway = await Gateway.start(({ directory }) => {
    const database = path.join(directory, 'keys.db');
    const file = path.join(directory, 'consumers.yaml');
    if (!existsSync(file)) writeFileSync(file, 'version: 1\nconsumers: []\n', { mode: 0o600 });
    return {
      consumers: { database, file },
      origins: { main: { url: origin.url, identity, policies: [{ api_key: { headers: { id: 'X-Consumer-Id', name: 'X-Consumer-Name', key_id: 'X-Consumer-Key' } } }] } },
      routes: [
        { name: 'locked', match: { path: '/*' }, origin: 'main' },
        { name: 'free', match: { path: '/free' }, origin: 'main', public: true, without: ['api_key'], reason: 'a page for everybody' },
      ],
    };
  });
  key = await gateway.createKey('shop');
  await until('the key to count', async () => (await withKey(key)).status === 200);
});

test('who has no valid key stays outside', async (t) => {
  const flipped = key.slice(0, 20) + (key[20] === 'a' ? 'b' : 'a') + key.slice(21);
  const cases = [
    ['none', [], 'PST-P401'],
    ['empty', ['X-API-Key:'], 'PST-P401'],
    ['not a key', ['X-API-Key: hello'], 'PST-P402'],
    ['one character changed', [`X-API-Key: ${flipped}`], 'PST-P402'],
    ['cut', [`X-API-Key: ${key.slice(0, -1)}`], 'PST-P402'],
    ['longer', [`X-API-Key: ${key}a`], 'PST-P402'],
    ['in capitals', [`X-API-Key: ${key.toUpperCase()}`], 'PST-P402'],
    ['only its id', [`X-API-Key: ${key.slice(0, 12)}`], 'PST-P402'],
    ['its hash', [`X-API-Key: ${createHash('sha256').update(key).digest('hex')}`], 'PST-P402'],
    ['giant', [`X-API-Key: ${'a'.repeat(10_000)}`], 'PST-P402'],
    ['SQL', ["X-API-Key: ' OR 1=1 --"], 'PST-P402'],
    ['as a bearer token where a header is asked for', [`Authorization: Bearer ${key}`], 'PST-P401'],
    ['in the query where a header is asked for', [], 'PST-P401', `/x?api_key=${key}`],
    ['in a cookie', [`Cookie: X-API-Key=${key}`], 'PST-P401'],
    ['under an alias', [`X_API_Key: ${key}`], 'PST-P401'],
  ];
  for (const [name, headers, code, target] of cases) {
    await t.test(name, async () => {
      origin.reset();
      const response = await get(headers, target);
      assert.equal(response.status, 401, response.text());
      assert.equal(response.problem().code, code, response.text());
      assert.ok(response.has('www-authenticate'), 'RFC 9110 11.6.1');
      assert.ok(!response.text().includes(key));
      assert.deepEqual(origin.requests, []);
    });
  }
  for (const lines of [[`X-API-Key: ${key}`, `X-API-Key: ${key}`], ['X-API-Key: hello', `X-API-Key: ${key}`], [`X-API-Key: ${key}`, 'x-api-key: hello'], [`X-API-Key: ${key}`, 'X_API_Key: hello']]) {
    await t.test(`twice: ${lines.map((line) => line.split(':')[0])}`, async () => {
      origin.reset();
      const response = await get(lines);
      assert.equal(response.status, 400, 'two readers could differ');
      assert.equal(response.problem().code, 'PST-R015');
      assert.deepEqual(origin.requests, []);
    });
  }
});

test('the origin learns who it is, from the gateway alone', async (t) => {
  await t.test('and never sees the key', async () => {
    origin.reset();
    assert.equal((await withKey(key)).status, 200);
    const { head, connection } = origin.last();
    assert.ok(head.get('x-consumer-id'));
    assert.equal(head.get('x-consumer-key'), key.slice(0, 12));
    assert.ok(!connection.bytes.includes(key));
  });
  for (const name of ['X-Consumer-Id', 'x_consumer_id', 'X.Consumer.Name', 'X-CONSUMER-KEY', 'X_Consumer_Key']) {
    await t.test(`a forged ${name} is removed, on public routes too`, async () => {
      for (const [target, headers] of [['/x', [`X-API-Key: ${key}`]], ['/free', []]]) {
        origin.reset();
        assert.equal((await get([...headers, `${name}: admin`], target)).status, 200);
        assert.ok(!origin.last().head.text.includes('admin'), origin.last().head.text);
      }
    });
    await t.test(`Connection cannot take ${name} away`, async () => {
      const response = await get([`X-API-Key: ${key}`, `Connection: ${name}`]);
      assert.equal(response.problem().code, 'PST-R014');
    });
  }
});

test('keys are created, listed and revoked', async (t) => {
  await t.test('a new key counts within a second', async () => {
    const fresh = await gateway.createKey('partner');
    const since = Date.now();
    await until('the key to count', async () => (await withKey(fresh)).status === 200, 5_000);
    assert.ok(Date.now() - since < 5_000);
  });
  await t.test('the list shows ids, not keys', async () => {
    const { code, stdout } = await gateway.postern('keys list');
    assert.equal(code, 0);
    assert.ok(stdout.includes(key.slice(0, 12)));
    assert.ok(!stdout.includes(key));
    const json = await gateway.postern('keys list', '--json');
    assert.ok(JSON.stringify(JSON.parse(json.stdout)).includes(key.slice(0, 12)));
  });
  await t.test('the database has no key in clear', () => {
    for (const name of readdirSync(gateway.directory).filter((entry) => entry.startsWith('keys.db'))) {
      assert.ok(!readFileSync(path.join(gateway.directory, name)).includes(key.slice(12)), name);
    }
  });
  await t.test('a revoked key is refused within a second, connection or not', async () => {
    const victim = await gateway.createKey('victim');
    const held = await exchange(gateway.port, request('/x', { headers: [`X-API-Key: ${key}`] }), { keep: true });
    await until('the key to count', async () => (await withKey(victim)).status === 200);
    const { code, stderr } = await gateway.postern('keys revoke', victim.slice(0, 12));
    assert.equal(code, 0, stderr);
    const since = Date.now();
    await until('the revocation', async () => {
      await held.wire.send(request('/x', { headers: [`X-API-Key: ${victim}`] }));
      const response = await held.wire.read();
      if (response.status === 401) { assert.equal(response.problem().code, 'PST-P402'); return true; }
      // The promise is one second; five times that is the bound of this test.
      assert.ok(Date.now() - since < 5_000, 'still accepted after five seconds');
      return false;
    });
    held.wire.close();
    assert.equal((await withKey(key)).status, 200, 'other keys are untouched');
  });
  await t.test('revoking what is not there is an error', async () => {
    assert.notEqual((await gateway.postern('keys revoke', 'pst_00000000')).code, 0);
  });
});

test('keys in a file, hashed', async () => {
  const inFile = await gateway.createKey('elsewhere');
  await gateway.postern('keys revoke', inFile.slice(0, 12));
  // A key of our own making, with the documented form and checksum.
  const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  const body = 'pst_FileKey1' + 'x'.repeat(22);
  let value = crc32(body);
  let check = '';
  for (let i = 0; i < 6; i++) { check = base62[value % 62] + check; value = Math.floor(value / 62); }
  const own = body + check;
  const sha256 = createHash('sha256').update(own).digest('hex');
  writeFileSync(path.join(gateway.directory, 'consumers.yaml.new'), `version: 1\nconsumers:\n  - id: from-file\n    metadata: {plan: gold}\n    keys:\n      - id: pst_FileKey1\n        sha256: ${sha256}\n        created: 2026-01-01T00:00:00Z\n`);
  renameSync(path.join(gateway.directory, 'consumers.yaml.new'), path.join(gateway.directory, 'consumers.yaml'));
  await until('the key of the file', async () => (await withKey(own)).status === 200, 5_000);
  assert.equal(origin.last().head.get('x-consumer-id'), 'from-file');
  writeFileSync(path.join(gateway.directory, 'consumers.yaml'), 'version: 1\nconsumers: []\n');
  await until('the key to be gone', async () => (await withKey(own)).status === 401, 5_000);
  assert.equal((await withKey(key)).status, 200);
});

test('a fault of the store closes the door and says so', async (t) => {
  const file = path.join(gateway.directory, 'consumers.yaml');
  await t.test('a damaged file', async () => {
    const before = readFileSync(file);
    writeFileSync(file, 'version: 1\nconsumers: [\n');
    await until('503', async () => (await withKey(key)).status === 503, 10_000);
    const response = await withKey(key);
    assert.equal(response.problem().code, 'PST-P503');
    assert.notEqual((await gateway.observe('/readyz')).status, 200);
    assert.match(gateway.process.stderr, /keys cannot be read.*consumers\.yaml/);
    const { store } = JSON.parse((await gateway.postern('status', '--json')).stdout);
    assert.equal(store.state, 'failing');
    assert.match(store.problem, /consumers\.yaml/);
    writeFileSync(file, before);
    await until('recovery by itself', async () => (await withKey(key)).status === 200, 10_000);
    await until('readiness', async () => (await gateway.observe('/readyz')).status === 200);
    assert.match(gateway.process.stderr, /keys can be read again/);
  });
  await t.test('a database that is gone', async () => {
    const database = path.join(gateway.directory, 'keys.db');
    renameSync(database, `${database}.away`);
    await until('503', async () => (await withKey(key)).status === 503, 10_000);
    assert.ok(!existsSync(database), 'an empty database was made in its place');
    renameSync(`${database}.away`, database);
    await until('recovery by itself', async () => (await withKey(key)).status === 200, 10_000);
  });
  await t.test('others do not notice', async () => {
    writeFileSync(file, 'broken: [');
    await until('503', async () => (await withKey(key)).status === 503, 10_000);
    assert.equal((await get([], '/free')).status, 200);
    writeFileSync(file, 'version: 1\nconsumers: []\n');
    await until('recovery by itself', async () => (await withKey(key)).status === 200, 10_000);
  });
});

test('no key is in the log', async () => {
  await get([], `/x?api_key=${key}`);
  await gateway.logged(({ consumer }) => consumer);
  assert.ok(!gateway.output().includes(key.slice(12)));
});
