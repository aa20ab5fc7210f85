// gateway_jwt with `bind: request`, judged by origins with jose that compare what the token says with what they received.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { freePort, temporaryDirectory } from './lib/cleanup.mjs';
import { Gateway, postern } from './lib/gateway.mjs';
import { ask, connectHttp2, peer } from './lib/peers.mjs';
import { resend, startVerifyingOrigin } from './lib/signature_origins.mjs';
import { exchange, request } from './lib/wire.mjs';

const { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } = peer('jose');
const digest = (bytes) => createHash('sha256').update(bytes).digest('base64url');
const field = 'x-postern-token';

function judge({ issuer, audience, algorithm, body = true }) {
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`));
  const used = new Set();
  return async (it) => {
    if (it.raw.filter(({ name }) => name === field).length !== 1) throw new Error('not one token');
    const { payload } = await jwtVerify(it.headers[field], keys, { issuer, audience, algorithms: [algorithm], typ: 'postern-request+jwt', requiredClaims: ['exp', 'jti'] });
    if (payload.htm !== it.method) throw new Error('for another method');
    if (payload.path_sha256 !== digest(Buffer.from(it.target, 'latin1'))) throw new Error('for another path');
    if (body && payload.body_sha256 !== digest(it.body)) throw new Error('for another body');
    if (!body && 'body_sha256' in payload) throw new Error('the body was not to be looked at');
    if (used.has(payload.jti)) throw new Error('a replay');
    used.add(payload.jti);
  };
}

const origins = {};
let gateway;
let failures = 0;
before(async () => {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}/postern`;
  origins.es = await startVerifyingOrigin(judge({ issuer, audience: 'es', algorithm: 'ES256' }));
  origins.ed = await startVerifyingOrigin(judge({ issuer: `${issuer}/eddsa`, audience: 'ed', algorithm: 'EdDSA' }));
  origins.h2 = await startVerifyingOrigin(judge({ issuer, audience: 'h2', algorithm: 'ES256' }), { h2: true });
  origins.streams = await startVerifyingOrigin(judge({ issuer, audience: 'streams', algorithm: 'ES256', body: false }));
  origins.flaky = await startVerifyingOrigin(judge({ issuer, audience: 'flaky', algorithm: 'ES256' }), { before: (it, incoming) => failures-- > 0 && (incoming.socket.destroy(), true) });
  const identity = (name) => ({ gateway_jwt: { audience: name, header: 'X-Postern-Token', bind: 'request', algorithm: name === 'ed' ? 'EdDSA' : 'ES256', ...(name === 'streams' ? { unsigned_body: { reason: 'uploads of any size' } } : {}) } });
  gateway = await Gateway.start((self) => {
    self.port = port;
    return {
      listeners: [{ address: `127.0.0.1:${port}`, http2: 'h2c' }],
      issuer: { url: issuer, algorithms: ['RS256', 'ES256', 'EdDSA'] },
      origins: Object.fromEntries(Object.entries(origins).map(([name, { url }]) => [name, { url, identity: [identity(name)], ...(name === 'h2' ? { http2: 'always' } : {}), ...(name === 'flaky' ? { retries: { attempts: 3 } } : {}) }])),
      routes: Object.keys(origins).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true })),
    };
  });
});

test('every request verifies', async (t) => {
  const cases = {
    plain: ['/x', {}],
    query: ['/x?a=1&b=%2F%20&&c=', {}],
    post: ['/pay?to=me', { method: 'POST', body: '{"amount": 10}' }],
    chunked: ['/pay', { method: 'PUT', body: new Blob(['a'.repeat(100_000)]).stream(), duplex: 'half' }],
    large: ['/pay', { method: 'POST', body: Buffer.alloc(900_000, 7) }],
    long: [`/${'p'.repeat(4000)}?${'q'.repeat(2000)}`, {}],
  };
  for (const name of ['es', 'ed', 'h2', 'streams']) {
    for (const [what, [target, options]] of Object.entries(cases)) {
      await t.test(`${name}, ${what}`, async () => {
        const fresh = what === 'chunked' ? { ...options, body: new Blob(['a'.repeat(100_000)]).stream() } : options;
        const response = await fetch(`${gateway.url}/${name}${target}`, fresh);
        assert.equal(response.status, 200, await response.text());
      });
    }
  }
  await t.test('over HTTP/2', async () => {
    const client = await connectHttp2(gateway.port);
    const answer = await ask(client, '/es/pay', { method: 'POST', body: '{"a": 1}' });
    assert.equal(answer.status, 200, answer.body);
    client.close();
  });
});

test('a token opens its own request, once', async () => {
  const response = await fetch(`${gateway.url}/es/pay?to=me`, { method: 'POST', body: '{"amount": 10}' });
  assert.equal(response.status, 200, await response.text());
  const it = origins.es.last();
  assert.deepEqual(decodeProtectedHeader(it.headers[field]).typ, 'postern-request+jwt');
  const { exp, iat } = decodeJwt(it.headers[field]);
  assert.ok(exp - iat <= 91, 'a minute, and half of one for clocks that are behind');
  assert.deepEqual(await resend(origins.es, it, { target: '/es/pay?to=you' }), { status: 401, text: 'for another path' });
  assert.deepEqual(await resend(origins.es, it, { method: 'PUT' }), { status: 401, text: 'for another method' });
  assert.deepEqual(await resend(origins.es, it, { body: Buffer.from('{"amount": 99}') }), { status: 401, text: 'for another body' });
  assert.deepEqual(await resend(origins.es, it, { body: Buffer.alloc(0) }), { status: 401, text: 'for another body' });
  assert.deepEqual(await resend(origins.es, it, { drop: [field] }), { status: 401, text: 'not one token' });
  assert.deepEqual(await resend(origins.es, it), { status: 401, text: 'a replay' });
  assert.equal((await resend(origins.streams, it, { target: '/streams/x' })).status, 401, 'the audience is another');
});

test('every attempt has a token of its own', async () => {
  failures = 2;
  const response = await fetch(`${gateway.url}/flaky/x`, { method: 'PUT', body: '{"n": 1}' });
  assert.equal(response.status, 200, await response.text());
  assert.equal(new Set(origins.flaky.seen.map(({ headers }) => decodeJwt(headers[field]).jti)).size, 3);
});

test('what a client sends in its place never arrives', async () => {
  for (const line of ['X-Postern-Token: forged', 'x_postern_token: forged', 'X-POSTERN-TOKEN: forged']) {
    const response = await exchange(gateway.port, request('/es/x', { headers: [line] }));
    assert.equal(response.status, 200, response.text());
    assert.ok(!JSON.stringify(origins.es.last().raw).includes('forged'));
  }
});

test('over the limit 413, and without one if the body is not bound', async () => {
  const body = Buffer.alloc(2 ** 20 + 1);
  const refused = await fetch(`${gateway.url}/es/x`, { method: 'POST', body });
  assert.equal(refused.status, 413);
  assert.equal((await refused.json()).code, 'PST-R413');
  assert.equal((await fetch(`${gateway.url}/streams/x`, { method: 'POST', body })).status, 200);
});

test('a key that signs other tokens as well is refused before anything starts', async () => {
  const file = path.join(temporaryDirectory(), 'postern.json');
  writeFileSync(file, JSON.stringify({
    version: 1,
    listeners: [{ address: '127.0.0.1:8080' }],
    issuer: { url: 'http://127.0.0.1:8080', algorithms: ['RS256', 'ES256'] },
    origins: { a: { url: 'http://127.0.0.1:1', identity: [{ gateway_jwt: { audience: 'a', algorithm: 'ES256' } }] }, b: { url: 'http://127.0.0.1:1', identity: [{ gateway_jwt: { audience: 'b', algorithm: 'ES256', bind: 'request' } }] } },
    routes: ['a', 'b'].map((origin) => ({ match: { path: `/${origin}/*` }, origin, public: true })),
  }));
  const { code, stdout, stderr } = await postern(['check', '--config', file]);
  assert.notEqual(code, 0);
  assert.match(stdout + stderr, /needs a key of its own/);
});

test('origin test shows the claims and never the token', async () => {
  const { stdout, stderr } = await gateway.postern('origin test', 'es');
  assert.match(stdout, /claims of the token\n {4}\| \{[^\n]*"htm":"GET","path_sha256":"[\w-]{43}","body_sha256":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"\}[^]*answer {4}200/);
  const token = origins.es.last().headers[field];
  for (const output of [stdout, stderr, gateway.output()]) assert.ok(!output.includes(token.slice(token.lastIndexOf('.'))));
});
