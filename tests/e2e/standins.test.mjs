// Are the stand-ins what they stand in for? The clouds' own libraries are asked: they read what the stand-ins answer,
// and log in at them. And each refuses what it has to refuse.
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Authority } from './lib/certificates.mjs';
import { onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { startSts } from '../standins/aws.mjs';
import { startEntra } from '../standins/entra.mjs';
import { startGoogle } from '../standins/google.mjs';
import { startAzureMetadata, startContainer, startEc2, startGce } from '../standins/metadata.mjs';
import { SigningKey, Standin, jose, json, misbehaviours, peer } from '../standins/standin.mjs';

const provider = '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/postern';
const email = 'gw@project.iam.gserviceaccount.com';
const clientId = '99999999-8888-7777-6666-000000000000';
const roleArn = 'arn:aws:iam::123456789012:role/postern';
const user = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' };

let outside, issuer, account, certificate, entra, google, sts;
// A token of the issuer outside, as ours makes them, with changes.
const outsideToken = (audience, changes = {}, options) => {
  const now = Math.floor(Date.now() / 1000) - 30;
  return outside.sign({ iss: issuer.url, sub: 'gateway:orders', aud: audience, iat: now, nbf: now, exp: now + 300, jti: randomUUID(), ...changes }, options);
};
const form = (url, fields) => fetch(url, { method: 'POST', body: new URLSearchParams(fields) });

before(async () => {
  outside = await SigningKey.make();
  issuer = await Standin.start(async ({ url }) => (url.pathname === '/keys' ? json(200, outside.jwks) : json(200, { issuer: issuer.url, jwks_uri: `${issuer.url}/keys` })));
  account = generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });
  certificate = Authority.root('Entra').issue({ subject: 'CN=gw', use: 'client', key: 'rsa' });
  entra = await startEntra({
    applications: [{ client_id: clientId, secrets: ['the-client-secret'], certificates: [certificate.pem], federated: [{ issuer: issuer.url, subject: 'gateway:orders' }], roles: ['Gateway'] }],
    resources: ['api://orders'],
  });
  google = await startGoogle({
    accounts: [{ email, keys: [{ kid: 'k1', pem: account.publicKey }] }],
    providers: [{ name: provider, issuer: issuer.url, subjects: ['gateway:orders'] }],
    impersonators: { [email]: ['gateway:orders'] },
  });
  sts = await startSts({
    users: [user],
    roles: [{ arn: roleArn, users: [user.accessKeyId], externalId: 'ext', providers: [{ issuer: issuer.url, audiences: ['sts.amazonaws.com'], subject: 'gateway:orders' }] }],
  });
  for (const each of [issuer, entra, google, sts]) onCleanup(() => each.stop());
});

// ---- AWS

test("AWS's own client reads the XML of STS, and signs what STS verifies", async (t) => {
  const { STSClient, AssumeRoleWithWebIdentityCommand, AssumeRoleCommand } = peer('@aws-sdk/client-sts');
  const client = (credentials = user) => {
    const made = new STSClient({ region: 'eu-central-1', endpoint: sts.url, credentials, maxAttempts: 1 });
    return made;
  };
  const web = async (token) => client().send(new AssumeRoleWithWebIdentityCommand({ RoleArn: roleArn, RoleSessionName: 'gw', WebIdentityToken: token, DurationSeconds: 900 }));
  const assume = (credentials, changes = {}) => client(credentials).send(new AssumeRoleCommand({ RoleArn: roleArn, RoleSessionName: 'gw', ExternalId: 'ext', ...changes }));

  await t.test('a web identity', async () => {
    const answer = await web(await outsideToken('sts.amazonaws.com'));
    assert.match(answer.Credentials.AccessKeyId, /^ASIA/);
    assert.equal(answer.SubjectFromWebIdentityToken, 'gateway:orders');
    assert.ok(Math.abs(answer.Credentials.Expiration - Date.now() - 900_000) < 5000);
    assert.equal(sts.credentials.get(answer.Credentials.AccessKeyId).secretAccessKey, answer.Credentials.SecretAccessKey);
  });
  await t.test('a web identity that is not good', async () => {
    const stranger = await SigningKey.make(outside.kid);
    const now = Math.floor(Date.now() / 1000);
    for (const [token, code] of [
      ['x.y.z', 'InvalidIdentityToken'],
      [await outsideToken('other'), 'InvalidIdentityToken'],
      [await outsideToken('sts.amazonaws.com', { sub: 'gateway:other' }), 'AccessDenied'],
      [await outsideToken('sts.amazonaws.com', { exp: now - 600, iat: now - 900 }), 'ExpiredTokenException'],
      [await outsideToken('sts.amazonaws.com', { iss: 'https://other.example' }), 'InvalidIdentityToken'],
      [await stranger.sign({ ...jose.decodeJwt(await outsideToken('sts.amazonaws.com')) }), 'InvalidIdentityToken'],
    ]) {
      await assert.rejects(web(token), (error) => error.name === code || error.Code === code || assert.fail(`${error.name} instead of ${code}`));
    }
  });
  await t.test('a role, signed', async () => {
    const answer = await assume(user);
    assert.match(answer.AssumedRoleUser.Arn, /assumed-role\/postern\/gw$/);
    await assert.rejects(assume({ ...user, secretAccessKey: 'wrong' }), { name: 'SignatureDoesNotMatch' });
    await assert.rejects(assume({ ...user, accessKeyId: 'AKIAOTHER' }), { name: 'InvalidClientTokenId' });
    await assert.rejects(assume(user, { ExternalId: 'xxx' }), { name: 'AccessDenied' });
  });
});

test('metadata of EC2 wants a session, that of a container its token', async () => {
  const ec2 = await startEc2({ sts });
  onCleanup(() => ec2.stop());
  const url = `${ec2.url}/latest/meta-data/iam/security-credentials/`;
  assert.equal((await fetch(url)).status, 401);
  assert.equal((await fetch(`${ec2.url}/latest/api/token`)).status, 405);
  const session = await (await fetch(`${ec2.url}/latest/api/token`, { method: 'PUT', headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '60' } })).text();
  const headers = { 'x-aws-ec2-metadata-token': session };
  assert.equal(await (await fetch(url, { headers })).text(), 'postern-role');
  assert.equal((await (await fetch(`${url}postern-role`, { headers })).json()).Code, 'Success');
  const container = await startContainer({ token: 'Bearer t', sts });
  onCleanup(() => container.stop());
  assert.equal((await fetch(container.credentialsUrl)).status, 401);
  const keys = await (await fetch(container.credentialsUrl, { headers: { authorization: 'Bearer t' } })).json();
  assert.ok(sts.credentials.has(keys.AccessKeyId));
});

// ---- Google

test("Google's own library logs in by federation, and verifies ID tokens", async (t) => {
  const { ExternalAccountClient, OAuth2Client } = peer('google-auth-library');
  const directory = temporaryDirectory();
  const subject = path.join(directory, 'subject');
  const client = (more = {}) => ExternalAccountClient.fromJSON({
    type: 'external_account', audience: provider, subject_token_type: 'urn:ietf:params:oauth:token-type:jwt', token_url: google.stsUrl,
    credential_source: { file: subject }, ...more,
  });
  await t.test('an access token', async () => {
    writeFileSync(subject, await outsideToken(`https:${provider}`));
    const federated = client();
    federated.scopes = ['https://www.googleapis.com/auth/cloud-platform'];
    const { token } = await federated.getAccessToken();
    assert.equal(google.tokens.get(token).subject, 'gateway:orders');
  });
  await t.test('an impersonated one', async () => {
    const federated = client({ service_account_impersonation_url: `${google.iamcredentialsUrl}/v1/projects/-/serviceAccounts/${email}:generateAccessToken` });
    federated.scopes = ['https://www.googleapis.com/auth/cloud-platform'];
    const { token } = await federated.getAccessToken();
    assert.equal(google.tokens.get(token).email, email);
  });
  await t.test('none for a token that is not good', async () => {
    for (const token of [await outsideToken('other'), await outsideToken(`https:${provider}`, { sub: 'x' }), await outsideToken(`https:${provider}`, { iat: Math.floor(Date.now() / 1000) + 100 })]) {
      writeFileSync(subject, token);
      await assert.rejects(client().getAccessToken());
    }
  });
  await t.test('an ID token', async () => {
    const now = Math.floor(Date.now() / 1000);
    const key = await jose.importPKCS8(account.privateKey, 'RS256');
    const assertion = (claims) => new jose.SignJWT({ iss: email, aud: google.tokenUrl, iat: now, exp: now + 3600, ...claims }).setProtectedHeader({ alg: 'RS256', kid: 'k1' }).sign(key);
    const ask = async (claims) => (await form(google.tokenUrl, { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: await assertion(claims) })).json();
    const { id_token: idToken } = await ask({ target_audience: 'https://svc' });
    const certs = { [google.key.kid]: (await jose.exportSPKI(google.key.publicKey)) };
    const { payload } = await new OAuth2Client().verifySignedJwtWithCertsAsync(idToken, certs, 'https://svc', ['https://accounts.google.com']);
    assert.equal(payload.email, email);
    assert.equal((await google.verifyIdToken(idToken, { audience: 'https://svc', email })).email, email);
    assert.match((await ask({ target_audience: 'https://svc', exp: now + 3601 })).error_description, /reasonable timeframe/);
    assert.match((await ask({ target_audience: 'https://svc', scope: 'a' })).error_description, /Either scope/);
    assert.match((await ask({ target_audience: 'https://svc', iss: 'x@y' })).error_description, /account not found/);
    assert.match((await ask({ target_audience: 'https://svc', aud: 'https://other' })).error_description, /Invalid JWT/);
  });
});

test("Google's own library takes the metadata stand-in for the real one", async () => {
  const gce = await startGce({ google });
  onCleanup(() => gce.stop());
  const base = `${gce.url}/computeMetadata/v1/instance/service-accounts/default`;
  assert.equal((await fetch(`${base}/token`)).status, 403);
  const headers = { 'metadata-flavor': 'Google' };
  const answer = await fetch(`${base}/token`, { headers });
  assert.equal(answer.headers.get('metadata-flavor'), 'Google');
  assert.ok(google.tokens.has((await answer.json()).access_token));
  const idToken = await (await fetch(`${base}/identity?audience=https://svc&format=full`, { headers })).text();
  await google.verifyIdToken(idToken, { audience: 'https://svc', email });
  process.env.GCE_METADATA_HOST = `127.0.0.1:${gce.port}`;
  const { Compute } = peer('google-auth-library');
  const { token } = await new Compute().getAccessToken();
  assert.equal(google.tokens.get(token).email, email);
});

// ---- Azure

test('Entra ID lets in by secret, certificate and federation, and says why it does not', async (t) => {
  const now = Math.floor(Date.now() / 1000);
  const ask = async (fields) => (await form(entra.tokenUrl, { grant_type: 'client_credentials', client_id: clientId, scope: 'api://orders/.default', ...fields })).json();
  const assertion = (token) => ({ client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: token });
  const good = async (answer) => entra.verify(answer.access_token ?? assert.fail(answer.error_description), { audience: 'api://orders', clientId, role: 'Gateway' });
  const codes = async (fields) => (await ask(fields)).error_codes;
  await t.test('secret', async () => {
    assert.equal((await good(await ask({ client_secret: 'the-client-secret' }))).azpacr, '1');
    assert.deepEqual(await codes({ client_secret: 'wrong' }), [7000215]);
    assert.deepEqual(await codes({ client_secret: 'the-client-secret', client_id: 'x' }), [700016]);
    assert.deepEqual(await codes({ client_secret: 'the-client-secret', scope: 'api://orders' }), [1002012]);
    assert.deepEqual(await codes({ client_secret: 'the-client-secret', scope: 'api://other/.default' }), [500011]);
  });
  await t.test('certificate', async () => {
    const key = await jose.importPKCS8(certificate.keyPem, 'PS256');
    const thumbprint = Buffer.from(certificate.x509.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
    const sign = (claims = {}, header = {}) => new jose.SignJWT({ aud: entra.tokenUrl, iss: clientId, sub: clientId, jti: randomUUID(), nbf: now, exp: now + 300, ...claims })
      .setProtectedHeader({ alg: 'PS256', typ: 'JWT', 'x5t#S256': thumbprint, ...header }).sign(key);
    const token = await sign();
    assert.equal((await good(await ask(assertion(token)))).azpacr, '2');
    assert.deepEqual(await codes(assertion(token)), [50027], 'once only');
    assert.deepEqual(await codes(assertion(await sign({}, { 'x5t#S256': 'x' }))), [700027]);
    assert.deepEqual(await codes(assertion(await sign({ aud: 'https://other' }))), [50027]);
    assert.deepEqual(await codes(assertion(await sign({ exp: now - 600 }))), [700024]);
  });
  await t.test('federation', async () => {
    await good(await ask(assertion(await outsideToken('api://AzureADTokenExchange'))));
    assert.deepEqual(await codes(assertion(await outsideToken('other'))), [700212]);
    assert.deepEqual(await codes(assertion(await outsideToken('api://AzureADTokenExchange', { sub: 'Gateway:orders' }))), [700213]);
    assert.deepEqual(await codes(assertion(await outsideToken('api://AzureADTokenExchange', { iss: `${issuer.url}/` }))), [700211]);
    const es256 = await SigningKey.make('e', 'ES256');
    assert.deepEqual(await codes(assertion(await es256.sign(jose.decodeJwt(await outsideToken('api://AzureADTokenExchange'))))), [50027]);
  });
  await t.test('managed identity', async () => {
    const imds = await startAzureMetadata({ entra, roles: ['Gateway'] });
    onCleanup(() => imds.stop());
    const url = `${imds.url}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api://orders`;
    assert.equal((await fetch(url)).status, 400);
    const answer = await (await fetch(url, { headers: { metadata: 'true' } })).json();
    assert.equal(answer.expires_in, '86399');
    await good(answer);
  });
});

// ---- misbehaviour

test('each misbehaviour is one, and ends when it is told to', async () => {
  const secret = 'the-client-secret';
  const ask = async (timeout = 300) => {
    try {
      const response = await fetch(entra.tokenUrl, {
        method: 'POST', redirect: 'manual', signal: AbortSignal.timeout(timeout),
        body: new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, scope: 'api://orders/.default', client_secret: secret }),
      });
      const body = await response.text();
      return { status: response.status, body };
    } catch (error) {
      return { status: 0, body: error.name };
    }
  };
  const good = await ask(5000);
  assert.equal(good.status, 200);
  for (const name of Object.keys(misbehaviours)) {
    entra.misbehave(name);
    const bad = await ask();
    let same = false;
    if (bad.status === 200) {
      try {
        const answer = JSON.parse(bad.body);
        same = answer.expires_in === 3599 && answer.token_type === 'Bearer' && typeof answer.access_token === 'string' && !/\s/.test(answer.access_token);
      } catch { /* not even JSON */ }
    }
    assert.equal(same, false, name);
    entra.behave();
  }
  entra.misbehave('500', { times: 2 });
  assert.deepEqual([(await ask(5000)).status, (await ask(5000)).status, (await ask(5000)).status], [500, 500, 200]);
});
