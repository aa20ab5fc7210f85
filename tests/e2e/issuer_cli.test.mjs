// postern issuer: the keys on disk beside a running gateway, and that what is exported verifies what the gateway signs,
// as jose reads it.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway, postern } from './lib/gateway.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { peer } from './lib/peers.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

const url = 'https://id.example.com/tenant';
const audience = 'https://orders.example.com';
const out = temporaryDirectory();
let jose;
let origin;
let gateway;
let keys;

const section = (own = {}) => ({ url, algorithms: ['RS256', 'ES256', 'EdDSA'], ...own });
const config = (issuer = section()) => ({
  issuer,
  origins: { main: { url: origin.url, identity: [{ gateway_jwt: { audience } }] } },
  routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
});
const mode = (file) => (statSync(file).mode & 0o7777).toString(8);
const issuer = (...args) => postern(['issuer', ...args, '--config', gateway.file]);
const ok = (result) => {
  assert.equal(result.code, 0, result.stdout + result.stderr);
  return result.stdout;
};
const refused = (result, code, what) => {
  assert.equal(result.code, code, result.stdout + result.stderr);
  assert.match(result.stderr, what);
};
const status = async () => JSON.parse(ok(await issuer('status', '--json')));
const role = (shown, algorithm, wanted) => shown.keys.filter((key) => key.algorithm === algorithm && key.role === wanted).map(({ kid }) => kid);

// The token that the origin gets with the next request.
async function token() {
  assert.equal((await exchange(gateway.port, request('/x'))).status, 200);
  const field = origin.last().head.get('authorization');
  assert.match(field, /^Bearer /);
  return field.slice('Bearer '.length);
}
const kidOf = (jwt) => jose.decodeProtectedHeader(jwt).kid;
// The key set as somebody finds it who begins with the issuer's URL, in the files that were exported.
function exportedSet(where, of = url) {
  const read = (address) => JSON.parse(readFileSync(path.join(where, new URL(address).pathname), 'utf8'));
  const discovery = read(`${of}/.well-known/openid-configuration`);
  assert.equal(discovery.issuer, of);
  return { discovery, set: read(discovery.jwks_uri) };
}
const verifies = (jwt, set) => jose.jwtVerify(jwt, jose.createLocalJWKSet(set), { issuer: url, audience, algorithms: ['RS256'], clockTolerance: 0 });

before(async () => {
  jose = await peer('jose');
  origin = await RecordingOrigin.start();
  gateway = await Gateway.start(config());
  keys = path.join(gateway.directory, 'state/issuer');
});

test('the gateway has made its keys, for nobody else to read', async () => {
  const shown = await status();
  assert.equal(shown.url, url);
  assert.equal(shown.directory, keys);
  assert.deepEqual(shown.keys.map((key) => key.algorithm).sort(), ['ES256', 'EdDSA', 'RS256']);
  assert.ok(shown.keys.every((key) => key.role === 'signing' && key.signs_until === null));
  assert.deepEqual(shown.due, []);
  assert.equal(mode(keys), '700');
  assert.deepEqual(readdirSync(keys).sort(), ['keys.json', 'lock', ...shown.keys.map(({ kid }) => `${kid}.pem`)].sort());
  for (const { kid } of shown.keys) assert.equal(mode(path.join(keys, `${kid}.pem`)), '600');
  const text = ok(await issuer('status'));
  for (const { kid } of shown.keys) assert.ok(text.includes(kid));
});

test('what is exported verifies what the gateway signs', async () => {
  const result = JSON.parse(ok(await issuer('export', out, '--json')));
  assert.deepEqual(result.files, ['', '/eddsa'].flatMap((apart) => ['openid-configuration', 'jwks.json'].map((name) => `${out}/tenant${apart}/.well-known/${name}`)));
  for (const file of result.files) assert.equal(mode(file), '644');
  const { discovery, set } = exportedSet(out);
  assert.deepEqual(discovery.id_token_signing_alg_values_supported, ['RS256', 'ES256']);
  const { payload } = await verifies(await token(), set);
  assert.equal(payload.sub, 'postern/origins/main');
  const apart = exportedSet(out, `${url}/eddsa`);
  assert.deepEqual(apart.set.keys.map(({ alg }) => alg), ['EdDSA']);
  for (const key of [...set.keys, ...apart.set.keys]) {
    const numbers = { RSA: ['e', 'n'], EC: ['crv', 'x', 'y'], OKP: ['crv', 'x'] }[key.kty];
    assert.deepEqual(Object.keys(key).sort(), ['alg', 'kid', 'kty', 'use', ...numbers].sort(), 'and nothing private');
    assert.equal(key.use, 'sig');
    assert.equal(await jose.calculateJwkThumbprint(key), key.kid);
    assert.equal((await jose.importJWK(key)).type, 'public');
  }
  // What a running gateway publishes is the same, byte for byte.
  for (const file of result.files) {
    const served = await exchange(gateway.port, request(file.slice(out.length), { host: 'id.example.com' }));
    assert.equal(served.status, 200);
    assert.equal(served.text(), readFileSync(file, 'utf8'));
  }
});

test('rotate publishes a successor that does not sign yet', async () => {
  const first = kidOf(await token());
  const text = ok(await issuer('rotate', '--algorithm', 'RS256'));
  assert.match(text, /signs from/);
  const shown = await status();
  const [next] = role(shown, 'RS256', 'next');
  assert.deepEqual(role(shown, 'RS256', 'signing'), [first]);
  const key = shown.keys.find(({ kid }) => kid === next);
  assert.equal(Date.parse(key.signs_from) - Date.parse(key.published), 24 * 3600 * 1000);
  assert.equal(shown.keys.find(({ kid }) => kid === first).signs_until, key.signs_from);
  assert.equal(role(shown, 'ES256', 'next').length, 0);
  ok(await issuer('export', out));
  assert.ok(exportedSet(out).set.keys.some(({ kid }) => kid === next));
  await until('the gateway publishes it', async () => {
    const served = await exchange(gateway.port, request('/tenant/.well-known/jwks.json', { host: 'id.example.com' }));
    return served.text().includes(next);
  });
  assert.equal(kidOf(await token()), first);
  refused(await issuer('rotate', '--algorithm', 'RS256'), 1, new RegExp(`has a successor already that waits to sign: ${next}`));
  assert.deepEqual((await status()).keys, shown.keys);
});

test('a key that is stolen is replaced at once, and removed', async () => {
  const before = await token();
  const stolen = kidOf(before);
  const rotated = await issuer('rotate', '--now', '--algorithm', 'RS256');
  ok(rotated);
  assert.match(rotated.stderr, /issuer remove KID/);
  const shown = await status();
  assert.deepEqual(role(shown, 'RS256', 'old'), [stolen]);
  assert.deepEqual(role(shown, 'RS256', 'next'), [], 'what lay beside it, too');
  const [fresh] = role(shown, 'RS256', 'signing');
  let jwt;
  await until('the gateway signs with it', async () => kidOf(jwt = await token()) === fresh);
  ok(await issuer('export', out));
  await verifies(before, exportedSet(out).set);
  await verifies(jwt, exportedSet(out).set);

  refused(await issuer('remove', fresh), 1, /this key signs/);
  ok(await postern(['issuer', 'remove', '--config', gateway.file, '--', stolen]));
  assert.ok(!existsSync(path.join(keys, `${stolen}.pem`)));
  refused(await issuer('remove', stolen), 1, /there is no key of that kid/);
  refused(await postern(['issuer', 'remove', '--config', gateway.file, '--', `-${'a'.repeat(42)}`]), 1, /there is no key of that kid/);
  ok(await issuer('export', out));
  await verifies(jwt, exportedSet(out).set);
  await assert.rejects(verifies(before, exportedSet(out).set), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
  await until('the gateway has forgotten it', async () => {
    const served = await exchange(gateway.port, request('/tenant/.well-known/jwks.json', { host: 'id.example.com' }));
    return !served.text().includes(stolen);
  });
});

test('after a restart the keys are those from before', async () => {
  const shown = await status();
  const kid = kidOf(await token());
  await gateway.stop();
  await gateway.launch();
  assert.equal(kidOf(await token()), kid);
  assert.deepEqual(await status(), shown);
});

test('gateways that share the directory are one issuer', async () => {
  const shared = path.join(temporaryDirectory(), 'issuer');
  const both = await Promise.all([1, 2].map(() => Gateway.start(config(section({ directory: shared })))));
  const sets = await Promise.all(both.map(async ({ port }) => (await exchange(port, request('/tenant/.well-known/jwks.json', { host: 'id.example.com' }))).text()));
  assert.equal(sets[0], sets[1]);
  assert.equal(readdirSync(shared).filter((name) => name.endsWith('.pem')).length, 3);
});

test('what is wrong with the keys is said, and nothing is made anew', async (t) => {
  const place = temporaryDirectory();
  const broken = path.join(place, 'issuer');
  const file = path.join(place, 'postern.yaml');
  const at = (...args) => postern(['issuer', ...args, '--config', file, '--directory', broken]);
  writeFileSync(file, `version: 1\nissuer: {url: "${url}", algorithms: [ES256]}\norigins: {a: {url: 7}}\n`);
  refused(await at('status'), 1, /there are no keys yet; a gateway makes them at its start/);
  mkdirSync(broken, { mode: 0o700 });
  const shown = await status();
  const [kid] = role(shown, 'ES256', 'signing');
  const list = { version: 1, keys: [{ kid, algorithm: 'ES256', published: 1700000000, signs_from: 1700000000 }] };
  const pem = path.join(broken, `${kid}.pem`);
  const restore = () => {
    writeFileSync(path.join(broken, 'keys.json'), JSON.stringify(list), { mode: 0o600 });
    writeFileSync(pem, readFileSync(path.join(keys, `${kid}.pem`)), { mode: 0o600 });
    chmodSync(pem, 0o600);
  };
  restore();
  assert.match(ok(await at('status')), /a key is due; a running gateway makes it/);
  const cases = [
    ['a key that others may read', () => chmodSync(pem, 0o640), /others than its owner may read this key/],
    ['a key that is missing', () => rmSync(pem), /the key is missing/],
    ['a key that is cut off', () => writeFileSync(pem, readFileSync(pem).subarray(0, 100)), /\.pem: /],
    ['a list that is cut off', () => writeFileSync(path.join(broken, 'keys.json'), JSON.stringify(list).slice(0, -3)), /keys\.json: list of keys: /],
    ['a list that is missing', () => rmSync(path.join(broken, 'keys.json')), /it is missing beside keys/],
  ];
  for (const [name, spoil, what] of cases) {
    await t.test(name, async () => {
      restore();
      spoil();
      const before = readdirSync(broken).sort();
      for (const verb of [['status'], ['rotate', '--now'], ['export', path.join(place, 'out')]]) {
        const result = await at(...verb);
        refused(result, 1, what);
        assert.doesNotMatch(result.stderr, /PRIVATE/);
      }
      const error = JSON.parse((await at('status', '--json')).stdout).error;
      assert.match(error.what, what);
      assert.match(error.code, /^PST-/);
      assert.deepEqual(readdirSync(broken).filter((entry) => entry !== 'lock').sort(), before.filter((entry) => entry !== 'lock'));
      assert.ok(!existsSync(path.join(place, 'out')));
    });
  }
});

test('what cannot be meant', async () => {
  refused(await issuer('rotate', '--algorithm', 'PS256'), 2, /does not sign with PS256[^]*RS256, ES256, EdDSA/);
  refused(await postern(['issuer']), 2, /subcommand/);
  const file = path.join(temporaryDirectory(), 'postern.yaml');
  const status = () => postern(['issuer', 'status', '--config', file]);
  writeFileSync(file, 'version: 1\n');
  refused(await status(), 3, /there is no section `issuer`/);
  for (const [own, what] of [['{url: "http://id.example.com"}', /not https/], ['{url: "https://id.example.com", algorithms: [none]}', /not understood/], ['{url: "https://id.example.com", rotation: {lead: soon}}', /not understood/], ['{}', /not understood/]]) {
    writeFileSync(file, `version: 1\nissuer: ${own}\n`);
    refused(await status(), 3, what);
  }
  refused(await postern(['issuer', 'status', '--config', path.join(out, 'missing.yaml')]), 3, /cannot read the file/);
});
