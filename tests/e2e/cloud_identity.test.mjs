// Every way to lock an origin with an identity of a cloud: the stand-ins give what the gateway has earned, the origins
// verify it with other people's libraries, and nobody else gets in.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import path from 'node:path';
import { writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { Authority } from './lib/certificates.mjs';
import { freePort, onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { Gateway } from './lib/gateway.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';
import { startSts } from '../standins/aws.mjs';
import { startEntra } from '../standins/entra.mjs';
import { startGoogle } from '../standins/google.mjs';
import { startAzureMetadata, startContainer, startEc2, startGce } from '../standins/metadata.mjs';
import { jose, misbehaviours } from '../standins/standin.mjs';

const clientId = '99999999-8888-7777-6666-000000000000';
const resource = 'api://orders';
const clientSecret = 'Aq8Q~the-client-secret-of-the-gateway';
const email = 'gw@project.iam.gserviceaccount.com';
const provider = '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/postern';
const roleArn = 'arn:aws:iam::123456789012:role/postern';
const user = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };
const account = generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });
const cloud = {};
const directory = temporaryDirectory();
const secretFile = (name, content) => { writeFileSync(path.join(directory, name), content, { mode: 0o600 }); return `\${file:${path.join(directory, name)}}`; };

// An origin that serves whom `verify({method, url, headers, body})` takes for the gateway; it answers with the headers
// it got, less what proves the identity.
async function startOrigin(verify) {
  const origin = { requests: [], refusals: [] };
  const server = http.createServer(async (incoming, response) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const seen = { method: incoming.method, url: new URL(incoming.url, `http://${incoming.headers.host}`), headers: incoming.headers, body: Buffer.concat(chunks).toString() };
    origin.requests.push(seen);
    try {
      await verify(seen);
    } catch (error) {
      origin.refusals.push(error.message);
      response.writeHead(401).end(`refused: ${error.message}`);
      return;
    }
    response.end('served');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin.port = server.address().port;
  origin.url = `http://127.0.0.1:${origin.port}`;
  onCleanup(() => { server.closeAllConnections(); server.close(); });
  return origin;
}
const bearer = (headers, name = 'authorization') => /^Bearer (\S+)$/.exec(headers[name] ?? '')?.[1] ?? assert.fail('no token');

let gateway;
const origins = {};
const methods = {};
before(async () => {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}/postern`;
  const certificate = Authority.root('Entra').issue({ subject: 'CN=gw', use: 'client', key: 'rsa' });
  cloud.entra = await startEntra({
    applications: [{ client_id: clientId, secrets: [clientSecret], certificates: [certificate.pem], federated: [{ issuer, subject: 'postern/origins/azure_federated' }], roles: ['Gateway'] }],
    resources: [resource],
  });
  cloud.google = await startGoogle({
    accounts: [{ email, keys: [{ kid: 'k1', pem: account.publicKey }] }],
    providers: [{ name: provider, issuer, subjects: ['postern/origins/gcp_federated', 'postern/origins/gcp_impersonated'] }],
    impersonators: { [email]: ['postern/origins/gcp_impersonated'] },
  });
  cloud.sts = await startSts({
    users: [user],
    roles: [{ arn: roleArn, users: [user.accessKeyId], externalId: 'ext', providers: [{ issuer, audiences: ['sts.amazonaws.com'], subject: 'postern/origins/aws_federated' }] }],
  });
  cloud.ec2 = await startEc2({ sts: cloud.sts });
  cloud.container = await startContainer({ token: 'token-of-the-container', sts: cloud.sts });
  cloud.gce = await startGce({ google: cloud.google, email });
  cloud.imds = await startAzureMetadata({ entra: cloud.entra, clientId, resources: [resource], roles: ['Gateway'] });
  for (const each of Object.values(cloud)) onCleanup(() => each.stop());

  const service = secretFile('service.json', JSON.stringify({ type: 'service_account', private_key_id: 'k1', private_key: account.privateKey, client_email: email, token_uri: cloud.google.tokenUrl }));
  const entra = (seen) => cloud.entra.verify(bearer(seen.headers), { audience: resource, clientId, role: 'Gateway' });
  const idToken = (name) => (seen) => cloud.google.verifyIdToken(bearer(seen.headers, name), { audience: 'https://orders.example.com', email });
  const accessToken = (who) => (seen) => assert.equal((cloud.google.tokens.get(bearer(seen.headers)) ?? {})[who[0]], who[1]);
  const selfSigned = async (seen) => jose.jwtVerify(bearer(seen.headers), await jose.importSPKI(account.publicKey, 'RS256'), { issuer: email, subject: email, audience: 'https://reports.example.com' });
  const sigv4 = (seen) => cloud.sts.verify(seen, 'execute-api');
  const app = { tenant: cloud.entra.tenant, client_id: clientId, resource, authority: cloud.entra.url };
  const scope = { region: 'eu-central-1', service: 'execute-api' };
  const audience = 'https://orders.example.com';
  const all = {
    azure_secret: [{ azure_ad: { ...app, client_secret: secretFile('entra', clientSecret) } }, entra],
    azure_certificate: [{ azure_ad: { ...app, certificate: secretFile('gw.crt', certificate.pem), key: secretFile('gw.key', certificate.keyPem) } }, entra],
    azure_managed: [{ azure_ad: { resource, managed_identity: { endpoint: cloud.imds.url } } }, entra],
    azure_federated: [{ azure_federated: app }, entra],
    gcp_id_token: [{ gcp_id_token: { audience, service_account: service, header: 'X-Serverless-Authorization' } }, idToken('x-serverless-authorization')],
    gcp_metadata_id: [{ gcp_id_token: { audience, metadata: { endpoint: cloud.gce.url } } }, idToken()],
    gcp_access_token: [{ gcp_access_token: { service_account: service } }, accessToken(['email', email])],
    gcp_metadata_access: [{ gcp_access_token: { metadata: { endpoint: cloud.gce.url } } }, accessToken(['email', email])],
    gcp_jwt: [{ gcp_jwt: { audience: 'https://reports.example.com', service_account: service } }, selfSigned],
    gcp_federated: [{ gcp_federated: { provider, sts_url: cloud.google.stsUrl } }, accessToken(['subject', 'postern/origins/gcp_federated'])],
    gcp_impersonated: [{ gcp_federated: { provider, impersonate: email, id_token_audience: audience, sts_url: cloud.google.stsUrl, iamcredentials_url: cloud.google.iamcredentialsUrl } }, idToken()],
    aws_instance: [{ aws_sigv4: { ...scope, credentials: { from: 'instance', endpoint: cloud.ec2.url } } }, sigv4],
    aws_container: [{ aws_sigv4: { ...scope, credentials: { from: 'ambient' } } }, sigv4],
    aws_role: [{ aws_sigv4: { ...scope, credentials: { access_key_id: user.accessKeyId, secret_access_key: secretFile('aws', user.secretAccessKey) }, role: { role_arn: roleArn, external_id: 'ext', sts_url: `${cloud.sts.url}/` } } }, sigv4],
    aws_federated: [{ aws_federated: { ...scope, role_arn: roleArn, sts_url: `${cloud.sts.url}/` } }, sigv4],
  };
  for (const [name, [identity, verify]] of Object.entries(all)) {
    origins[name] = await startOrigin(verify);
    methods[name] = identity;
  }
  gateway = await Gateway.start((self) => {
    self.port = port;
    return {
      listeners: [{ address: `127.0.0.1:${port}` }],
      issuer: { url: issuer },
      origins: Object.fromEntries(Object.entries(origins).map(([name, { url }]) => [name, { url, identity: [methods[name]] }])),
      routes: Object.keys(origins).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true })),
    };
  }, { env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: cloud.container.credentialsUrl, AWS_CONTAINER_AUTHORIZATION_TOKEN: 'token-of-the-container' } });
});

const through = (name, options = {}) => exchange(gateway.port, request(`/${name}/x?b=2&a=1`, options));

test('the gateway gets in, and nobody else', async (t) => {
  for (const name of Object.keys(origins)) {
    await t.test(name, async () => {
      for (let n = 0; n < 3; n++) {
        const response = await through(name);
        assert.equal(response.status, 200, `${response.text()} ${origins[name].refusals} ${gateway.output()}`);
      }
      const forged = await through(name, { headers: ['Authorization: Bearer forged', 'X-Serverless-Authorization: Bearer forged', 'X-Amz-Security-Token: forged', 'x_amz_date: 20200101T000000Z'] });
      assert.equal(forged.status, 200, 'what a client sends in its place never arrives');
      assert.equal((await exchange(origins[name].port, request('/x'))).status, 401);
      assert.equal((await exchange(origins[name].port, request('/x', { headers: ['Authorization: Bearer forged'] }))).status, 401);
    });
  }
});

test('one fetch serves all requests', async () => {
  // Origins ask for key sets; that is their affair.
  const fetches = () => Object.values(cloud).reduce((sum, each) => sum + each.count(({ url }) => !/keys|certs|openid-configuration/.test(url.pathname)), 0);
  const before = fetches();
  await Promise.all(Object.keys(origins).flatMap((name) => Array.from({ length: 5 }, () => through(name))));
  assert.equal(fetches(), before);
});

test('no secret is in what the gateway says', async () => {
  const said = gateway.output() + (await gateway.observe('/metrics')).text + (await gateway.postern('status')).stdout;
  const secrets = [clientSecret, user.secretAccessKey, 'token-of-the-container', account.privateKey.slice(100, 140), ...[...cloud.sts.credentials.values()].flatMap(({ secretAccessKey, sessionToken }) => [secretAccessKey, sessionToken]), ...cloud.google.tokens.keys()];
  for (const secret of secrets.filter(Boolean)) assert.ok(!said.includes(secret), secret);
  assert.doesNotMatch(said, /eyJ[\w-]{20,}\./);
});

test('origin test shows the claims and not the token', async () => {
  for (const name of ['azure_secret', 'gcp_id_token', 'gcp_jwt', 'aws_federated']) {
    const shown = await gateway.postern('origin test', name);
    assert.equal(shown.code, 0, shown.stdout + shown.stderr);
    assert.match(shown.stdout, /answer +200/);
    assert.doesNotMatch(shown.stdout + shown.stderr, /eyJ[\w-]{20,}\./);
  }
});

test('a cloud that misbehaves: refused with a reason, no secret in any of it, and served again as soon as it behaves', async () => {
  const names = Object.keys(misbehaviours).filter((name) => name !== 'string');
  const application = { client_id: clientId, secrets: [clientSecret], roles: ['Gateway'] };
  const place = (name) => `bad_${name}`;
  const bad = {};
  for (const name of names) {
    const entra = await startEntra({ applications: [application], resources: [resource] });
    onCleanup(() => entra.stop());
    entra.misbehave(name);
    bad[name] = { entra, origin: await startOrigin((seen) => entra.verify(bearer(seen.headers), { audience: resource, clientId })) };
  }
  const own = await Gateway.start({
    origins: Object.fromEntries(names.map((name) => [place(name), {
      url: bad[name].origin.url,
      identity: [{ azure_ad: { tenant: bad[name].entra.tenant, client_id: clientId, resource, authority: bad[name].entra.url, client_secret: secretFile('entra', clientSecret), cold_start: 'refuse' } }],
    }])),
    routes: names.map((name) => ({ match: { path: `/${name}` }, origin: place(name), public: true })),
  }, { ready: false });
  await until('the gateway to answer', () => {
    assert.equal(own.process.exit, null, own.output());
    return fetch(own.url).then(() => true, () => false);
  }, 30_000);
  // The slow ones take as long as a fetch may.
  await until('every fetch to have failed once', async () => {
    const status = (await own.postern('status')).stdout;
    return names.every((name) => new RegExp(`origins\\.${place(name)}\\.identity`).test(own.output() + status)) && names.every((name) => bad[name].entra.count() > 0);
  }, 30_000);
  for (const name of names) {
    const response = await exchange(own.port, request(`/${name}`));
    assert.equal(response.status, 503, name);
    assert.match(response.text(), /PST-U013/, name);
    assert.equal(bad[name].origin.requests.length, 0, `${name}: nothing goes out without a token`);
  }
  for (const name of names) bad[name].entra.behave();
  const passing = names.filter((name) => !['redirect', 'repeats_secret'].includes(name));  // asked again after 30 to 60 s
  await until('all to be served', async () => {
    for (const name of passing) if ((await exchange(own.port, request(`/${name}`))).status !== 200) return false;
    return true;
  }, 60_000);
  assert.ok(!own.output().includes(clientSecret));
  assert.doesNotMatch(own.output(), /<h1>|<title>|eyJ[\w-]{20,}\./, 'no body of theirs');
});
