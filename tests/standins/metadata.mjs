// In the place of the metadata servers of machines: EC2 (IMDSv2), ECS and EKS, Google Compute Engine, Azure's IMDS and
// App Service. Each demands what its original demands of a caller. What it hands out is good at the other stand-ins, if
// they are given: `sts` knows AWS's keys, `google` the tokens, `entra` the key.
import { randomBytes } from 'node:crypto';
import { Refusal, Standin, json, text } from './standin.mjs';

const refuse = (status, message = '') => { throw new Refusal(status, 'invalid_request', message); };
const seconds = () => Math.floor(Date.now() / 1000);

// Roles of EC2 and containers: a new key each time.
function awsKeys(sts, lifetime, more = {}) {
  const made = {
    accessKeyId: `ASIA${randomBytes(10).toString('hex').toUpperCase().slice(0, 16)}`, secretAccessKey: randomBytes(30).toString('base64'),
    sessionToken: randomBytes(200).toString('base64'), expires: Date.now() + lifetime * 1000, arn: 'arn:aws:sts::123456789012:assumed-role/instance/i-1',
  };
  sts?.credentials.set(made.accessKeyId, made);
  return json(200, { ...more, AccessKeyId: made.accessKeyId, SecretAccessKey: made.secretAccessKey, Token: made.sessionToken, Expiration: new Date(made.expires).toISOString().replace(/\.\d+Z$/, 'Z') });
}

// IMDSv2 and nothing older.
export async function startEc2({ role = 'postern-role', sts, lifetime = 3600 } = {}) {
  const sessions = new Map();
  const standin = await Standin.start(async ({ method, url, headers }) => {
    if (url.pathname === '/latest/api/token') {
      if (method !== 'PUT') refuse(405);
      const ttl = Number(headers['x-aws-ec2-metadata-token-ttl-seconds']);
      if (!(ttl >= 1 && ttl <= 21_600) || headers['x-forwarded-for']) refuse(400);
      const session = `AQAEA${randomBytes(40).toString('base64')}`;
      sessions.set(session, Date.now() + ttl * 1000);
      return text(200, session, { 'x-aws-ec2-metadata-token-ttl-seconds': String(ttl) });
    }
    if (!(sessions.get(headers['x-aws-ec2-metadata-token']) > Date.now())) refuse(401);
    const base = '/latest/meta-data/iam/security-credentials/';
    if (standin.role && url.pathname === base) return text(200, standin.role);
    if (standin.role && url.pathname === base + standin.role) return awsKeys(sts, standin.lifetime, { Code: 'Success', LastUpdated: new Date().toISOString(), Type: 'AWS-HMAC' });
    return refuse(404);
  }, { refusal: ({ status }) => text(status, `<?xml version="1.0"?><html><body><h1>${status}</h1></body></html>`) });
  return Object.assign(standin, { role, lifetime, sessions });
}

// ECS and EKS Pod Identity. `token`: what has to be in Authorization; it may be changed while it runs.
export async function startContainer({ token, sts, lifetime = 3600, path = '/v2/credentials/1' } = {}) {
  const standin = await Standin.start(async ({ url, headers }) => {
    if (url.pathname !== path) return json(404, { code: 'NotFound', message: 'no such credentials' });
    if (standin.token && headers.authorization !== standin.token) return json(401, { code: 'AccessDenied', message: `the token ${headers.authorization} is not good` });
    return awsKeys(sts, standin.lifetime, { RoleArn: 'arn:aws:iam::123456789012:role/task' });
  });
  return Object.assign(standin, { token, lifetime, credentialsUrl: standin.url + path });
}

// Google's. `flavor`: what it says it is, for one that is something else.
export async function startGce({ google, email = 'gw@project.iam.gserviceaccount.com', flavor = 'Google', lifetime } = {}) {
  const flavored = (answer) => ({ ...answer, headers: { ...answer.headers, ...(standin.flavor ? { 'metadata-flavor': standin.flavor } : {}), server: 'Metadata Server for VM' } });
  const standin = await Standin.start(async ({ url, headers }) => {
    if (headers['metadata-flavor'] !== 'Google' || headers['x-forwarded-for']) return flavored(text(403, 'Missing Metadata-Flavor:Google header.'));
    const call = /^\/computeMetadata\/v1\/instance\/service-accounts\/([^/]+)\/(token|identity)$/.exec(url.pathname);
    if (!call || !['default', email].includes(call[1])) return flavored(text(404, 'not found'));
    if (call[2] === 'token') {
      const scope = (url.searchParams.get('scopes') ?? 'https://www.googleapis.com/auth/cloud-platform').replaceAll(',', ' ');
      return flavored(json(200, { access_token: google.grant({ email, scope }), expires_in: standin.lifetime ?? google.lifetime, token_type: 'Bearer' }));
    }
    if (!url.searchParams.get('audience')) return flavored(text(400, 'non-empty audience parameter required'));
    if (url.searchParams.get('format') !== 'full') return flavored(text(400, 'this stand-in wants format=full'));
    return flavored(text(200, await google.idToken(email, url.searchParams.get('audience'))));
  });
  return Object.assign(standin, { email, flavor, lifetime });
}

// Azure's IMDS; with `header`, App Service instead.
export async function startAzureMetadata({ entra, clientId = '99999999-8888-7777-6666-000000000000', resources = ['api://orders'], header, lifetime = 86_399, roles = [] } = {}) {
  const standin = await Standin.start(async ({ url, headers }) => {
    if (header) {
      if (headers['x-identity-header'] !== header) return json(401, { error: 'unauthorized', error_description: 'X-IDENTITY-HEADER is wrong' });
    } else {
      if (headers.metadata !== 'true') return json(400, { error: 'bad_request_102', error_description: 'Required metadata header not specified' });
      if (url.pathname !== '/metadata/identity/oauth2/token') return json(404, { error: 'not_found', error_description: 'nothing here' });
    }
    if (url.searchParams.get('api-version') !== (header ? '2019-08-01' : '2018-02-01')) return json(400, { error: 'invalid_request', error_description: 'api-version is wrong' });
    const resource = url.searchParams.get('resource');
    if (!resources.includes(resource)) return json(400, { error: 'invalid_resource', error_description: `AADSTS500011: The resource principal named ${resource} was not found in the tenant.` });
    const asked = url.searchParams.get('client_id');
    if (asked && asked !== clientId) return json(400, { error: 'invalid_request', error_description: 'Identity not found' });
    const now = seconds();
    const token = await entra.key.sign({ iss: entra.issuer, aud: resource, tid: entra.tenant, azp: clientId, oid: clientId, sub: clientId, roles, ver: '2.0', iat: now, nbf: now, exp: now + standin.lifetime });
    return json(200, { access_token: token, client_id: clientId, expires_in: String(standin.lifetime), expires_on: String(now + standin.lifetime), ext_expires_in: String(standin.lifetime), not_before: String(now), resource, token_type: 'Bearer' });
  });
  return Object.assign(standin, { lifetime });
}
