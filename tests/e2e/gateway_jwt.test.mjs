// gateway_jwt against verifiers that are not ours: what comes through the gateway is served, what does not is refused;
// and what a client sends in its place never arrives.
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Authority } from './lib/certificates.mjs';
import { Gateway } from './lib/gateway.mjs';
import { freePort } from './lib/cleanup.mjs';
import { startApache, startHaproxyJwt, startJose, startJsonwebtoken } from './lib/jwt_origins.mjs';
import { peer } from './lib/peers.mjs';
import { exchange, request } from './lib/wire.mjs';

const audience = 'https://orders.example.com';
const base64url = (value) => Buffer.from(value).toString('base64url');
const origins = {};
let gateway;
let issuer;
let keys;

before(async () => {
  const port = await freePort();
  issuer = `http://127.0.0.1:${port}/postern`;
  const section = { url: issuer, algorithms: ['RS256', 'ES256', 'EdDSA'] };
  origins.jose = await startJose({ issuer, audience });
  origins.es = await startJose({ issuer, audience, algorithm: 'ES256' });
  origins.ed = await startJose({ issuer: `${issuer}/eddsa`, audience, algorithm: 'EdDSA' });
  origins.forwarding = await startJose({ issuer, audience });
  origins.jsonwebtoken = await startJsonwebtoken({ issuer, audience });
  const authority = Authority.root('Public authority');
  const securePort = await freePort();
  const listeners = [{ address: `127.0.0.1:${port}` }, { address: `127.0.0.1:${securePort}`, tls: authority.issue({ ip: ['127.0.0.1'] }).files }];
  const config = (own) => ({ listeners, issuer: section, ...own });
  const plain = { routes: [{ match: { path: '/' }, respond: { status: 204 }, public: true }] };
  // The issuer first: Apache and HAProxy want its keys when they start.
  gateway = await Gateway.start((self) => { self.port = port; return config(plain); });
  keys = (await (await fetch(`${issuer}/.well-known/jwks.json`)).json()).keys;
  origins.apache = await startApache({ issuer, audience, bundle: authority.leaf, keys: `https://127.0.0.1:${securePort}/postern/.well-known/jwks.json` });
  origins.haproxy = await startHaproxyJwt({ issuer, audience, jwk: keys.find(({ alg }) => alg === 'RS256') });
  const more = { es: { algorithm: 'ES256' }, ed: { algorithm: 'EdDSA' }, forwarding: { client_authorization: 'forward' } };
  gateway.write(config({
    origins: Object.fromEntries(Object.entries(origins).map(([name, { url }]) => [name, { url, identity: [{ gateway_jwt: { audience, ...more[name] } }] }])),
    routes: Object.keys(origins).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true })).concat(
      { match: { path: '/postern/*' }, respond: { status: 418 }, public: true },
    ),
  }));
  const reloaded = await gateway.postern('reload');
  assert.equal(reloaded.code, 0, reloaded.stderr + reloaded.stdout);
});

const through = (name, fields = []) => exchange(gateway.port, request(`/${name}/`, { headers: fields }));
const direct = (name, fields = []) => exchange(origins[name].port, request('/', { headers: fields }));

test('every verifier serves what comes through the gateway', async (t) => {
  for (const name of Object.keys(origins)) {
    await t.test(name, async () => {
      for (let n = 0; n < 3; n += 1) {
        const response = await through(name);
        // Apache has no such page, but it has let the request in.
        assert.equal(response.status, name === 'apache' ? 404 : 200, response.text());
      }
    });
  }
});

test('the claims are those of the contract', async () => {
  const claims = JSON.parse((await through('jose')).text());
  assert.deepEqual(Object.keys(claims).sort(), ['aud', 'exp', 'iat', 'iss', 'jti', 'nbf', 'sub']);
  assert.equal(claims.aud, audience);
  assert.equal(claims.iss, issuer);
  assert.equal(claims.sub, 'postern/origins/jose');
  assert.equal(claims.iat, claims.nbf);
  const now = Date.now() / 1000;
  assert.ok(claims.iat < now && now - claims.iat < 240, 'back-dated');
  assert.ok(claims.exp > now + 100 && claims.exp <= now + 301);
  assert.equal(JSON.parse((await through('ed')).text()).iss, `${issuer}/eddsa`);
});

test('nothing is served around the gateway', async (t) => {
  const header = { alg: 'RS256', typ: 'JWT', kid: keys.find(({ alg }) => alg === 'RS256').kid };
  const claims = { iss: issuer, aud: audience, sub: 'postern/origins/jose', jti: 'x', iat: Math.floor(Date.now() / 1000) - 30, exp: Math.floor(Date.now() / 1000) + 300 };
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const signed = (head, body) => {
    const input = `${base64url(JSON.stringify(head))}.${base64url(JSON.stringify(body))}`;
    return `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`;
  };
  const none = `${base64url(JSON.stringify({ ...header, alg: 'none' }))}.${base64url(JSON.stringify(claims))}.`;
  const confused = (() => {
    const input = `${base64url(JSON.stringify({ ...header, alg: 'HS256' }))}.${base64url(JSON.stringify(claims))}`;
    return `${input}.${createHmac('sha256', JSON.stringify(keys[0])).update(input).digest('base64url')}`;
  })();
  for (const name of Object.keys(origins)) {
    await t.test(name, async () => {
      assert.equal((await direct(name)).status, 401);
      for (const token of [signed(header, claims), none, confused, 'x.y.z', '']) {
        assert.equal((await direct(name, [`Authorization: Bearer ${token}`])).status, 401, token);
      }
    });
  }
  await t.test('a token for another origin', async () => {
    const { jwtVerify, createRemoteJWKSet } = peer('jose');
    const token = origins.jose.last().headers.authorization.split(' ')[1] ?? '';
    await assert.rejects(jwtVerify(token, createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`)), { issuer, audience: 'reports' }));
  });
});

test('what a client sends in its place never arrives', async (t) => {
  for (const field of ['Authorization: Bearer forged', 'authorization: Basic eDp5', 'Authorization : Bearer forged', 'X_Forwarded_Authorization: forged']) {
    await t.test(field, async () => {
      const before = origins.jose.seen.length;
      const response = await through('jose', [field]);
      if (response.status === 400) return assert.equal(origins.jose.seen.length, before);
      assert.equal(response.status, 200, response.text());
      const { headers, raw } = origins.jose.last();
      assert.equal(raw.filter((name) => /^authorization$/i.test(name)).length, 1);
      assert.ok(!JSON.stringify(raw).includes('forged'));
      assert.ok(headers.authorization.startsWith('Bearer ey'));
    });
  }
  await t.test('and what is to be forwarded goes under another name', async () => {
    const response = await through('forwarding', ['Authorization: Bearer of-the-client', 'X-Forwarded-Authorization: forged']);
    assert.equal(response.status, 200, response.text());
    assert.equal(origins.forwarding.last().headers['x-forwarded-authorization'], 'Bearer of-the-client');
    await through('forwarding', ['X-Forwarded-Authorization: forged']);
    assert.equal(origins.forwarding.last().headers['x-forwarded-authorization'], undefined);
  });
});

test('discovery and keys are published where no route can take their place', async (t) => {
  const { issuer: named, jwks_uri: uri, id_token_signing_alg_values_supported: algorithms } = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
  assert.equal(named, issuer);
  assert.equal(uri, `${issuer}/.well-known/jwks.json`);
  assert.deepEqual(algorithms, ['RS256', 'ES256']);
  const response = await fetch(uri);
  assert.equal(response.headers.get('content-type'), 'application/json');
  assert.match(response.headers.get('cache-control'), /^public, max-age=\d+$/);
  for (const key of (await response.json()).keys) {
    assert.equal(key.use, 'sig');
    assert.ok(key.kid && key.alg && !key.d && !key.p && !key.x5c, JSON.stringify(key));
    assert.notEqual(key.kty, 'OKP');
    assert.equal(await peer('jose').calculateJwkThumbprint(key), key.kid);
  }
  assert.equal((await fetch(`${issuer}/x`)).status, 418, 'the rest belongs to routes');
  assert.equal((await fetch(uri, { method: 'POST' })).status, 405);
  const head = await fetch(uri, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.ok(Number(head.headers.get('content-length')) > 100);
  await t.test('not under another host', async () => {
    assert.equal((await exchange(gateway.port, request('/postern/.well-known/jwks.json', { host: 'other.example.com' }))).status, 418);
  });
});

test('the key lies in a file of the gateway alone, and nowhere else', async () => {
  const directory = path.join(gateway.directory, 'state/issuer');
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  const files = readdirSync(directory).filter((name) => name.endsWith('.pem'));
  assert.equal(files.length, 3);
  for (const name of files) assert.equal(statSync(path.join(directory, name)).mode & 0o777, 0o600);
  const text = gateway.output() + readFileSync(gateway.file);
  assert.ok(!text.includes('PRIVATE KEY') && !text.includes(origins.jose.last().headers.authorization.slice(7)));
});

test('a restart keeps the keys, and a rotation fails no request', async () => {
  const kidsOf = async () => (await (await fetch(`${issuer}/.well-known/jwks.json`)).json()).keys.map(({ kid }) => kid);
  const before = await kidsOf();
  await gateway.stop();
  await gateway.launch();
  assert.deepEqual(await kidsOf(), before);
  assert.equal((await through('jose')).status, 200);
  assert.equal((await through('haproxy')).status, 200, 'it has the key as a file');

  const rotated = await gateway.postern('issuer rotate', '--json');
  assert.equal(rotated.code, 0, rotated.stderr);
  const statuses = [];
  const until = Date.now() + 4000;
  while (Date.now() < until && (await kidsOf()).length === before.length) {
    statuses.push((await through('jose')).status);
  }
  const after = await kidsOf();
  assert.equal(after.length, before.length * 2, 'published, and not signing yet');
  assert.ok(before.every((kid) => after.includes(kid)));
  statuses.push((await through('jose')).status, (await through('haproxy')).status);
  assert.deepEqual([...new Set(statuses)], [200]);
});
