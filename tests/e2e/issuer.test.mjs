// The issuer of several gateways: one directory, one set of keys, whoever makes or changes them, judged by jose.
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort, temporaryDirectory } from './lib/cleanup.mjs';
import { Gateway } from './lib/gateway.mjs';
import { startJose } from './lib/jwt_origins.mjs';
import { peer } from './lib/peers.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

const { createLocalJWKSet, decodeProtectedHeader, jwtVerify } = peer('jose');
const audience = 'orders';
const keys = path.join(temporaryDirectory(), 'issuer');
const list = path.join(keys, 'keys.json');
let issuer;
let origin;
let gateways;

async function prepared(port) {
  const gateway = new Gateway();
  await gateway.prepare((self) => {
    self.port = port;
    return {
      listeners: [{ address: `127.0.0.1:${port}` }],
      issuer: { url: issuer, algorithms: ['RS256', 'ES256'], directory: keys },
      origins: { orders: { url: origin.url, identity: [{ gateway_jwt: { audience } }] } },
      routes: [{ match: { path: '/orders/*' }, origin: 'orders', public: true }],
    };
  });
  return gateway;
}
// Asked of that very gateway, whoever the URL names.
const jwksOf = async ({ port }) => JSON.parse((await exchange(port, request('/postern/.well-known/jwks.json', { host: new URL(issuer).host }))).text());
const kidsOf = async (gateway) => (await jwksOf(gateway)).keys.map(({ kid }) => kid).sort();
async function throughAll() {
  for (const gateway of gateways) {
    const response = await exchange(gateway.port, request('/orders/7'));
    assert.equal(response.status, 200, response.text());
  }
}
const lastToken = () => origin.last().headers.authorization.slice('Bearer '.length);
const bothHave = (what, condition) => until(what, async () => (await Promise.all(gateways.map(async (gateway) => condition(await kidsOf(gateway))))).every(Boolean));

before(async () => {
  const port = await freePort();
  issuer = `http://127.0.0.1:${port}/postern`;
  origin = await startJose({ issuer, audience, cooldown: 100 });
  gateways = [await prepared(port), await prepared(await freePort())];
  await Promise.all(gateways.map((gateway) => gateway.launch()));
});

test('of two that start together one makes the keys', async () => {
  const [a, b] = await Promise.all(gateways.map(kidsOf));
  assert.deepEqual(a, b);
  assert.equal(a.length, 2);
  assert.deepEqual(readdirSync(keys).filter((name) => name.endsWith('.pem')).map((name) => name.slice(0, -4)).sort(), a);
  await throughAll();
});

test('what one signs is verified with what the other publishes', async () => {
  for (const [n, gateway] of gateways.entries()) {
    assert.equal((await exchange(gateway.port, request('/orders/7'))).status, 200);
    const other = createLocalJWKSet(await jwksOf(gateways[1 - n]));
    await jwtVerify(lastToken(), other, { issuer, audience });
  }
});

test('a successor is published by both and signs for neither, and nothing fails meanwhile', async () => {
  const before = await kidsOf(gateways[0]);
  await throughAll();
  const { kid } = decodeProtectedHeader(lastToken());
  const rotated = await gateways[1].postern('issuer rotate');
  assert.equal(rotated.code, 0, rotated.stderr);
  await bothHave('the successors', async (kids) => { await throughAll(); return kids.length === 4; });
  const after = await kidsOf(gateways[0]);
  assert.deepEqual(after, await kidsOf(gateways[1]));
  assert.ok(before.every((each) => after.includes(each)));
  await throughAll();
  assert.equal(decodeProtectedHeader(lastToken()).kid, kid);
  const again = await gateways[0].postern('issuer rotate');
  assert.notEqual(again.code, 0, 'one is waiting already');
});

test('a key that may be stolen signs no more within seconds; its last tokens are verified until it is removed', async () => {
  await throughAll();
  const old = lastToken();
  const { kid } = decodeProtectedHeader(old);
  assert.equal((await gateways[0].postern('issuer rotate', '--now', '--algorithm', 'RS256')).code, 0);
  await until('both to sign with another key', async () => {
    // For a moment one signs with what the other, whose key set the origin reads, has not seen: that is the price.
    const answers = [];
    for (const gateway of gateways) {
      const { status } = await exchange(gateway.port, request('/orders/7'));
      assert.ok([200, 401].includes(status), String(status));
      answers.push({ status, kid: decodeProtectedHeader(lastToken()).kid });
    }
    return answers.every((each) => each.status === 200 && each.kid === answers[0].kid && each.kid !== kid);
  });
  for (const gateway of gateways) await jwtVerify(old, createLocalJWKSet(await jwksOf(gateway)), { issuer, audience });
  assert.equal((await gateways[1].postern('issuer remove', '--', kid)).code, 0);
  await bothHave('the old key to be gone', (kids) => !kids.includes(kid));
  for (const gateway of gateways) await assert.rejects(jwtVerify(old, createLocalJWKSet(await jwksOf(gateway)), { issuer, audience }), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
  await throughAll();
});

test('a set that cannot be read takes them out of traffic, replaces nothing, and heals', async () => {
  const kept = readFileSync(list);
  const before = await kidsOf(gateways[0]);
  writeFileSync(list, '{"version":1,"keys":[');
  for (const gateway of gateways) {
    const answer = await until('it not to be ready', async () => { const each = await gateway.observe('/readyz'); return each.status !== 200 && each; });
    assert.match(answer.text, /issuer/);
  }
  assert.deepEqual(await kidsOf(gateways[0]), before, 'what is in force stays');
  await throughAll();
  assert.equal(readFileSync(list, 'utf8'), '{"version":1,"keys":[', 'nobody has made another set over it');
  writeFileSync(list, kept);
  for (const gateway of gateways) await until('it to be ready', async () => (await gateway.observe('/readyz')).status === 200);
  await throughAll();
});

test('a restart keeps the keys', async () => {
  const before = await kidsOf(gateways[0]);
  await gateways[1].stop();
  await gateways[1].launch();
  assert.deepEqual(await kidsOf(gateways[1]), before);
  await throughAll();
});

test('a start with a broken set fails, and says which file', async (t) => {
  await gateways[1].stop();
  const [file] = readdirSync(keys).filter((name) => name.endsWith('.pem')).map((name) => path.join(keys, name));
  const saved = `${file}.saved`;
  copyFileSync(file, saved);
  const other = readdirSync(keys).filter((name) => name.endsWith('.pem')).map((name) => path.join(keys, name)).find((name) => name !== file);
  const cases = {
    'read by others': [() => chmodSync(file, 0o644), /chmod 600/],
    empty: [() => writeFileSync(file, ''), /./],
    'no key': [() => writeFileSync(file, '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'), /./],
    'another key': [() => copyFileSync(other, file), /./],
    missing: [() => rmSync(file), /./],
  };
  for (const [what, [spoil, said]] of Object.entries(cases)) {
    await t.test(what, async () => {
      spoil();
      const { code, stdout, stderr } = await gateways[1].postern('run');
      assert.notEqual(code, 0);
      assert.ok((stdout + stderr).includes(path.basename(file)), stdout + stderr);
      assert.match(stdout + stderr, said);
      assert.ok(!(stdout + stderr).includes('PRIVATE KEY'));
      copyFileSync(saved, file);
      chmodSync(file, 0o600);
    });
  }
  rmSync(saved);
  await gateways[1].launch();
  await throughAll();
});

test('keys that somebody else keeps: the first one signs, all are published, and a new one counts within a second', async () => {
  const { generateKeyPairSync } = await import('node:crypto');
  const directory = temporaryDirectory();
  const made = (name) => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(path.join(directory, `${name}.new`), privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    renameSync(path.join(directory, `${name}.new`), path.join(directory, name));
    const { n, e } = privateKey.export({ format: 'jwk' });
    return peer('jose').calculateJwkThumbprint({ kty: 'RSA', n, e });
  };
  const [first, second] = [await made('a.pem'), await made('b.pem')];
  const port = await freePort();
  const own = `http://127.0.0.1:${port}`;
  const believing = await startJose({ issuer: own, audience, cooldown: 100 });
  const gateway = await Gateway.start((self) => {
    self.port = port;
    return {
      listeners: [{ address: `127.0.0.1:${port}` }],
      issuer: { url: own, keys: ['a.pem', 'b.pem'].map((name) => path.join(directory, name)) },
      origins: { orders: { url: believing.url, identity: [{ gateway_jwt: { audience } }] } },
      routes: [{ match: { path: '/orders/*' }, origin: 'orders', public: true }],
    };
  });
  const published = async () => (await (await fetch(`${own}/.well-known/jwks.json`)).json()).keys.map(({ kid }) => kid).sort();
  const signer = async () => {
    const response = await exchange(port, request('/orders/7'));
    assert.equal(response.status, 200, response.text());
    return decodeProtectedHeader(believing.last().headers.authorization.slice('Bearer '.length)).kid;
  };
  assert.deepEqual(await published(), [first, second].sort());
  assert.equal(await signer(), first);
  assert.ok(!readdirSync(gateway.directory).includes('issuer') && !readdirSync(path.join(gateway.directory, 'state')).includes('issuer'), 'it makes no keys of its own');
  const refused = await gateway.postern('issuer rotate');
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /somebody else keeps/);
  const status = await gateway.postern('issuer status', '--json');
  assert.equal(status.code, 0, status.stderr);

  const third = await made('b.pem');
  await until('the new key to be published', async () => (await published()).includes(third));
  assert.equal(await signer(), first);
  const fourth = await made('a.pem');
  await until('the new key to sign', async () => (await exchange(port, request('/orders/7'))).status === 200 && await signer() === fourth);
  rmSync(path.join(directory, 'a.pem'));
  await until('readiness to end', async () => (await gateway.observe('/readyz')).status === 503);
  assert.equal(await signer(), fourth, 'what it has goes on');
  assert.ok(!gateway.output().includes('PRIVATE KEY'));
});

test('a directory that goes away makes nobody sign with new keys', async () => {
  const [gateway] = gateways;
  const before = await kidsOf(gateway);
  renameSync(keys, `${keys}.away`);
  await until('readiness to end', async () => (await gateway.observe('/readyz')).status === 503);
  assert.deepEqual(await kidsOf(gateway), before);
  await throughAll();
  rmSync(keys, { recursive: true, force: true });
  renameSync(`${keys}.away`, keys);
  await until('readiness to come back', async () => (await gateway.observe('/readyz')).status === 200);
  assert.deepEqual(await kidsOf(gateway), before);
});
