// Identity oauth2_client_credentials against servers of others: node-oidc-provider issues and judges the client, jose
// verifies at the origin. Then a stand-in that does everything wrong that a token endpoint can do.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { before, test } from 'node:test';
import { Standin, SigningKey, Refusal, jose, json, peer } from '../standins/standin.mjs';
import { Authority } from './lib/certificates.mjs';
import { onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { Gateway } from './lib/gateway.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

const secret = 'an oauth2 secret: 0123456789abcdef/+%';
const directory = temporaryDirectory();
const file = (name, content) => {
  const at = path.join(directory, name);
  writeFileSync(`${at}.new`, content, { mode: 0o600 });
  renameSync(`${at}.new`, at);
  return `\${file:${at}}`;
};
// What it has handed over (CONNECT) is closed, too: nobody else would.
const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => {
  const sockets = new Set();
  server.on('connection', (socket) => { sockets.add(socket); socket.on('close', () => sockets.delete(socket)); });
  onCleanup(() => { for (const socket of sockets) socket.destroy(); server.close(); });
  resolve(server.address().port);
}));

async function started(...args) {
  const standin = await Standin.start(...args);
  onCleanup(() => standin.stop());
  return standin;
}

// ---- node-oidc-provider and an origin that believes it ------------------------------------------------------------

const resource = 'https://orders.example.com';
const authority = Authority.root('Token endpoint CA');
const clientAuthority = Authority.root('Clients CA');
const clientPair = clientAuthority.issue({ subject: 'CN=gateway', dns: ['gateway.test'], use: 'client' });
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
let lifetime = 60;
const asked = [];  // what came to the token endpoint: {assertion}

async function startProvider({ tls = false } = {}) {
  const Provider = peer('oidc-provider').default;
  const key = await SigningKey.make();
  const server = tls
    ? https.createServer({ ...tls.tls, ca: clientAuthority.pem, requestCert: true, rejectUnauthorized: false })
    : http.createServer();
  const port = await listen(server);
  const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  const client = (client_id, token_endpoint_auth_method, more) => ({ client_id, token_endpoint_auth_method, grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: 'orders.read', ...more });
  const provider = new Provider(issuer, {
    clients: [
      client('basic client', 'client_secret_basic', { client_secret: secret }),
      client('post', 'client_secret_post', { client_secret: secret }),
      client('assertion', 'private_key_jwt', { jwks: { keys: [publicKey.export({ format: 'jwk' })] } }),
      ...(tls ? [client('mtls', 'tls_client_auth', { tls_client_auth_san_dns: 'gateway.test', tls_client_certificate_bound_access_tokens: true })] : []),
    ],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', ...(tls ? ['tls_client_auth'] : [])],
    scopes: ['orders.read'],
    jwks: { keys: [{ ...(await jose.exportJWK(key.privateKey)), kid: key.kid, alg: 'RS256', use: 'sig' }] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({ scope: 'orders.read', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: lifetime, jwt: { sign: { alg: 'RS256' } } }),
      },
      mTLS: {
        enabled: Boolean(tls), tlsClientAuth: Boolean(tls), certificateBoundAccessTokens: Boolean(tls),
        getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.()?.toString(),
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns' && ctx.socket.getPeerX509Certificate()?.checkHost(expected) === expected,
      },
    },
  });
  const callback = provider.callback();
  server.on('request', (incoming, response) => {
    if (incoming.url.startsWith('/token')) incoming.on('data', (chunk) => asked.push({ form: new URLSearchParams(chunk.toString()), authorization: incoming.headers.authorization }));
    callback(incoming, response);
  });
  return { issuer, tokenUrl: `${issuer}/token`, jwks: key.jwks };
}

// Serves who shows a token of one of these issuers for it; 401 else. What it saw: origin.seen.
async function startOrigin(issuers) {
  const seen = [];
  const server = http.createServer(async (incoming, response) => {
    const token = /^Bearer (.+)$/.exec(incoming.headers.authorization ?? '')?.[1] ?? '';
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    for (const { issuer, jwks } of issuers) {
      try {
        const { payload } = await jose.jwtVerify(token, jose.createLocalJWKSet(jwks), { issuer, audience: resource, typ: 'at+jwt', algorithms: ['RS256'], clockTolerance: 0 });
        seen.push({ token, payload, forwarded: incoming.headers['x-forwarded-authorization'], body: Buffer.concat(chunks).toString() });
        response.end('let in\n');
        return;
      } catch { /* the next one */ }
    }
    response.writeHead(401).end();
  });
  return { url: `http://127.0.0.1:${await listen(server)}`, seen };
}

const wrong = file('wrong', 'another secret that is not right');
const right = file('right', secret);

test('node-oidc-provider knows the gateway, and jose lets its requests in', async (t) => {
  const plain = await startProvider();
  const pair = authority.issue({ ip: ['127.0.0.1'] });
  const secure = await startProvider({ tls: pair });
  const origin = await startOrigin([plain, secure]);
  const common = { scope: 'orders.read', resource };
  const methods = {
    basic: { token_url: plain.tokenUrl, client_id: 'basic client', client_secret: right, ...common },
    post: { token_url: plain.tokenUrl, client_id: 'post', client_secret: right, client_authentication: 'client_secret_post', ...common },
    assertion: { token_url: plain.tokenUrl, client_id: 'assertion', client_authentication: 'private_key_jwt', key: file('client.key', privateKey.export({ type: 'pkcs8', format: 'pem' })), assertion_audience: plain.issuer, client_authorization: 'forward', ...common },
    mtls: { token_url: secure.tokenUrl, client_id: 'mtls', client_authentication: 'tls_client_auth', certificate: file('client.pem', clientPair.chainPem), certificate_key: file('client2.key', clientPair.keyPem), ca: file('ca.pem', authority.pem), ...common },
    untrusted: { token_url: secure.tokenUrl, client_id: 'basic client', client_secret: right, ...common },
  };
  const config = (all) => ({
    origins: Object.fromEntries(Object.entries(all).map(([name, options]) => [name, { url: origin.url, identity: [{ oauth2_client_credentials: options }] }])),
    routes: Object.keys(all).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true })),
  });
  const gateway = await Gateway.start(config(methods));
  const get = (name, more = {}) => exchange(gateway.port, request(`/${name}/x`, more));

  for (const [name, client] of Object.entries({ basic: 'basic client', post: 'post', assertion: 'assertion', mtls: 'mtls' })) {
    await t.test(name, async () => {
      const answer = await get(name);
      assert.equal(answer.status, 200, gateway.output());
      assert.equal(origin.seen.at(-1).payload.client_id, client);
      assert.equal(origin.seen.at(-1).payload.scope, 'orders.read');
    });
  }
  await t.test('around the gateway nobody gets in', async () => assert.equal((await fetch(origin.url)).status, 401));
  await t.test('a bound token names the certificate (RFC 8705)', async () => {
    await get('mtls');
    assert.ok(origin.seen.at(-1).payload.cnf['x5t#S256']);
  });
  await t.test("the client's own Authorization ends at the gateway, or goes on under another name", async () => {
    await get('basic', { headers: ['Authorization: Basic Zm9vOmJhcg=='] });
    assert.equal(origin.seen.at(-1).forwarded, undefined);
    await get('assertion', { headers: ['Authorization: Basic Zm9vOmJhcg=='] });
    assert.equal(origin.seen.at(-1).forwarded, 'Basic Zm9vOmJhcg==');
  });
  await t.test('a certificate that nobody vouches for: no request leaves', async () => {
    const answer = await get('untrusted');
    assert.equal(answer.status, 503);
    const problem = JSON.parse(answer.body);
    assert.equal(problem.code, 'PST-U013');
    assert.equal(problem.credential, 'origins.untrusted.identity[0].oauth2_client_credentials');
    assert.match(gateway.output(), /TLS to the server failed/);
  });
  await t.test('an assertion is good once, and the gateway makes a fresh one each time', async () => {
    const used = asked.map(({ form }) => form.get('client_assertion')).find(Boolean);
    const replay = await fetch(plain.tokenUrl, { method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', client_id: 'assertion', client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: used, scope: 'orders.read', resource }) });
    assert.equal(replay.status, 401, 'the server refuses what it has seen');
    const claims = jose.decodeJwt(used);
    assert.equal(claims.sub, 'assertion');
    assert.ok(claims.exp - claims.iat <= 90);
  });
  await t.test('a wrong secret is told to the operator; a right one counts after a reload', async () => {
    gateway.write(config({ basic: { ...methods.basic, client_secret: wrong } }));
    assert.equal((await gateway.postern('reload')).code, 0);
    const answer = await until('the refusal', async () => { const each = await get('basic'); return each.status === 503 && each; });
    assert.equal(JSON.parse(answer.body).code, 'PST-U013');
    await until('the log', () => /invalid_client/.test(gateway.output()));
    gateway.write(config({ basic: methods.basic }));
    assert.equal((await gateway.postern('reload')).code, 0);
    await until('the recovery', async () => (await get('basic')).status === 200);
    // In its file: without a reload.
    file('right', 'a secret that was wrongly rotated');
    await until('the change of the file', async () => (await get('basic')).status === 503);
    file('right', secret);
    await until('the change back', async () => (await get('basic')).status === 200);
  });
  await t.test('short lives: no token comes late, none is asked for twice', async () => {
    lifetime = 3;  // a JWT counts whole seconds: it may end after two
    gateway.write(config({ assertion: methods.assertion }));
    assert.equal((await gateway.postern('reload')).code, 0);
    asked.length = 0;
    gateway.write(config({ assertion: { ...methods.assertion, key_id: 'anew', params: { 'x-other': '1' } } }));
    await gateway.postern('reload');
    gateway.write(config({ assertion: { ...methods.assertion, params: { 'x-other': '2' } } }));
    await gateway.postern('reload');
    const until_ = Date.now() + 7000;
    await until('the first', async () => (await get('assertion')).status === 200);
    while (Date.now() < until_) assert.equal((await get('assertion')).status, 200);
    const jtis = asked.map(({ form }) => jose.decodeJwt(form.get('client_assertion')).jti);
    assert.ok(jtis.length >= 3, `${jtis.length} assertions`);
    assert.equal(new Set(jtis).size, jtis.length);
  });
  await t.test('status, metrics and origin test speak of it, and never show it', async () => {
    const shown = await gateway.postern('status');
    assert.match(shown.stdout, /credential assertion oauth2_client_credentials: expires/);
    assert.ok(await gateway.metric('postern_token_refreshes_total') >= 3);
    assert.equal(await gateway.metric('postern_token_usable'), 1);
    lifetime = 60;
    const tested = await gateway.postern('origin test', 'assertion');
    assert.equal(tested.code, 0, tested.stdout + tested.stderr);
    assert.match(tested.stdout, /"client_id":"assertion"/);
    assert.match(tested.stdout, /answer +200/);
    assert.doesNotMatch(tested.stdout + tested.stderr, /eyJ[\w-]+\.eyJ/);
  });
  await t.test('a restart fetches anew', async () => {
    await gateway.stop();
    await gateway.launch();
    assert.equal((await get('assertion')).status, 200);
  });
  await t.test('no secret and no token in anything that was said', () => {
    for (const text of [secret, encodeURIComponent(secret), Buffer.from(`basic+client:${encodeURIComponent(secret)}`).toString('base64').slice(0, 30), ...origin.seen.map(({ token }) => token)]) {
      assert.ok(!gateway.output().includes(text));
    }
  });
});

// ---- everything that a token endpoint can do wrong ----------------------------------------------------------------

let count = 0;
const startEndpoint = (lifetime = 3600) => Standin.start(({ form }) => {
  if (form.client_secret !== secret) throw new Refusal(401, 'invalid_client', 'who is that?');
  return json(200, { access_token: `opaque-token-${++count}-0123456789`, token_type: 'Bearer', expires_in: lifetime });
});
const options = (endpoint) => ({ token_url: `${endpoint.url}/token`, client_id: 'gateway', client_authentication: 'client_secret_post', client_secret: right });

test('whatever is wrong with the answer: a precise error, no leak, and recovery', async (t) => {
  // By what the log has to say. `stays`: permanent for the manager, so that it comes back after half a minute only.
  const cases = {
    silent: /did not answer in time/, slow: /did not answer in time/, drip: /not finish its answer in time|did not answer in time/,
    redirect: [/302.*redirects are not followed/, 'stays'], 500: /answered 500/, 503: /answered 503/, 429: /answered 429 temporarily_unavailable/,
    html: /not JSON/, html_error: /answered 502/, ok_with_error: /server_error: it failed with \[removed\]/, repeats_secret: [/invalid_client: what is \[removed\]/, 'stays'],
    endless: /larger than/, truncated: /before its answer was whole/, truncated_json: /not JSON/, garbage: /the server's answer/,
    no_expires_in: /without expires_in/, negative: /no time between/, zero: /no time between/, huge: /no time between/, words: /no time between/,
    wrong_type: /another type than Bearer/, illegal_token: /cannot stand in a header field/, no_token: /without access_token/, token_list: /without access_token/, twice: /not JSON/,
  };
  const origin = await started(() => json(200, {}));
  const endpoints = {};
  for (const name of Object.keys(cases)) {
    endpoints[name] = await startEndpoint();
    endpoints[name].misbehave(name);
  }
  endpoints.string = await startEndpoint();
  endpoints.string.misbehave('string');
  const names = Object.keys(endpoints);
  const gateway = await Gateway.start({
    origins: Object.fromEntries(names.map((name) => [`o${name}`, { url: origin.url, identity: [{ oauth2_client_credentials: options(endpoints[name]) }] }])),
    routes: names.map((name) => ({ match: { path: `/${name}` }, origin: `o${name}`, public: true })),
  });
  const get = (name) => exchange(gateway.port, request(`/${name}`));
  const logged = (name) => gateway.process.stderr.split('\n').filter((line) => line.includes(`origins.o${name}.`));
  await t.test('a lifetime that is a text is taken', async () => assert.equal((await get('string')).status, 200));
  for (const [name, expected] of Object.entries(cases)) {
    await t.test(name, async () => {
      const pattern = Array.isArray(expected) ? expected[0] : expected;
      await until(`the log of ${name}`, () => logged(name).length > 0, 20_000);
      assert.match(logged(name)[0], pattern);
      const before = origin.count();
      const answer = await get(name);
      assert.equal(answer.status, 503);
      assert.equal(JSON.parse(answer.body).code, 'PST-U013');
      assert.equal(JSON.parse(answer.body).credential, `origins.o${name}.identity[0].oauth2_client_credentials`);
      assert.equal(origin.count(), before, 'nothing was sent');
      assert.ok(!answer.body.includes(secret));
      assert.ok(endpoints[name].count() < 12, `${endpoints[name].count()} attempts`);
    });
  }
  await t.test('each comes back by itself', async () => {
    for (const name of Object.keys(cases)) endpoints[name].behave();
    for (const [name, expected] of Object.entries(cases)) {
      if (Array.isArray(expected)) continue;  // asked again after half a minute only
      await until(`the recovery from ${name}`, async () => (await get(name)).status === 200, 70_000);
    }
  });
  await t.test('no secret in any log', () => {
    assert.ok(!gateway.output().includes(secret));
    assert.ok(!gateway.output().includes('opaque-token'));
  });
  for (const endpoint of Object.values(endpoints)) await endpoint.stop();
});

test('a token that lives a second: under load nobody waits for the next one', async () => {
  const issued = new Map();
  const endpoint = await started(async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const token = `short-token-${++count}-0123456789`;
    issued.set(token, Date.now());
    return json(200, { access_token: token, token_type: 'Bearer', expires_in: 1 });
  });
  let late = 0;
  const origin = await started(({ headers }) => {
    if (Date.now() - issued.get(headers.authorization.slice('Bearer '.length)) > 1000) ++late;
    return json(200, {});
  });
  const gateway = await Gateway.start({
    origins: { main: { url: origin.url, identity: [{ oauth2_client_credentials: { ...options(endpoint), cold_start: 'refuse' } }] } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
  // With cold_start: refuse a request that would have to wait fails instead.
  const end = Date.now() + 6000;
  let requests = 0;
  while (Date.now() < end) {
    const answers = await Promise.all(Array.from({ length: 8 }, () => exchange(gateway.port, request('/x'))));
    for (const { status } of answers) assert.equal(status, 200);
    requests += answers.length;
  }
  assert.ok(issued.size >= 6, `${issued.size} tokens in 6 s`);
  assert.equal(late, 0, `of ${requests} requests`);
  await endpoint.stop();
  await origin.stop();
});

test('what the origin refuses is dropped once, and only what can be repeated is sent again', async () => {
  const endpoint = await startEndpoint();
  let refused = new Set();
  const bodies = [];
  const origin = await started(({ headers, body }) => {
    bodies.push([headers.authorization, body]);
    return refused.has(headers.authorization) || refused.has('all') ? json(401, {}) : json(200, {});
  });
  const gateway = await Gateway.start({
    origins: { main: { url: origin.url, identity: [{ oauth2_client_credentials: options(endpoint) }] } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
  assert.equal((await exchange(gateway.port, request('/x'))).status, 200);
  const first = bodies.at(-1)[0];
  refused.add(first);
  const answer = await exchange(gateway.port, request('/x', { method: 'POST', headers: ['Content-Length: 5'], body: 'hello' }));
  assert.equal(answer.status, 200, 'with a new token');
  assert.notEqual(bodies.at(-1)[0], first);
  assert.deepEqual(bodies.slice(-2).map(([, body]) => body), ['hello', 'hello']);
  assert.equal(endpoint.count(), 2);
  refused.add('all');
  for (let i = 0; i < 5; ++i) assert.equal((await exchange(gateway.port, request('/x'))).status, 401, 'that is what the origin says');
  assert.equal(endpoint.count(), 2, 'not more than one in 30 s');
  await endpoint.stop();
  await origin.stop();
});

test('through an egress proxy, with TLS end to end', async () => {
  const pair = authority.issue({ dns: ['login.example.test'] });
  const endpoint = https.createServer(pair.tls, (incoming, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ access_token: 'token-through-a-proxy', token_type: 'Bearer', expires_in: 60 }));
  });
  const port = await listen(endpoint);
  const tunnels = [];
  const proxy = http.createServer((incoming, response) => response.writeHead(405).end());
  proxy.on('connect', (incoming, client) => {
    tunnels.push(incoming.url);
    const server = net.connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      server.pipe(client).pipe(server);
    });
    for (const each of [server, client]) each.on('error', () => {}).on('close', () => { server.destroy(); client.destroy(); });
  });
  const proxyPort = await listen(proxy);
  const origin = await started(() => json(200, {}));
  const config = (more) => ({
    egress_proxy: { url: `http://127.0.0.1:${proxyPort}`, ...more },
    origins: { main: { url: origin.url, identity: [{ oauth2_client_credentials: { token_url: `https://login.example.test:${port}/token`, client_id: 'gateway', client_secret: right, ca: file('proxied.pem', authority.pem) } }] } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
  const gateway = await Gateway.start(config({}));
  assert.equal((await exchange(gateway.port, request('/x'))).status, 200, gateway.output());
  assert.deepEqual(tunnels, [`login.example.test:${port}`]);
  assert.equal(origin.requests.at(-1).headers.authorization, 'Bearer token-through-a-proxy');
  // Excepted: its name is looked up, and there is none.
  const direct = await Gateway.start(config({ bypass: ['.example.test'] }));
  assert.equal((await exchange(direct.port, request('/x'))).status, 503);
  assert.match(direct.output(), /its name cannot be resolved/);
  assert.equal(tunnels.length, 1);
  await origin.stop();
});
