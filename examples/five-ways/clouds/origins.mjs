// Four origins that serve nobody but the gateway, each by a token of another kind, and stand-ins for the clouds that give
// these tokens: Entra ID and Google (tests/standins). With a cloud in earnest the verifiers stay as they are; only the
// addresses of key sets and issuers become the cloud's.
//
//   ISSUER=http://127.0.0.1:PORT/path node origins.mjs DIRECTORY FIRST_PORT
//
// writes DIRECTORY/NAME.identity, what the gateway has to be configured with, and DIRECTORY/ports, "NAME PORT" a line,
// once all of it answers.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { startEntra } from '../../../tests/standins/entra.mjs';
import { startGoogle } from '../../../tests/standins/google.mjs';
import { jose } from '../../../tests/standins/standin.mjs';

const [directory, firstPort] = process.argv.slice(2);
const file = (name, content) => { writeFileSync(path.join(directory, name), content, { mode: 0o600 }); return `\${file:${path.join(directory, name)}}`; };

// ---- the clouds --------------------------------------------------------------------------------------------------

const clientId = '99999999-8888-7777-6666-000000000000';
const federatedId = '99999999-8888-7777-6666-000000000001';
const account = 'gateway@example.iam.gserviceaccount.com';
const clientSecret = randomBytes(24).toString('base64url');
const pair = generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });
const entra = await startEntra({ applications: [
  { client_id: clientId, secrets: [clientSecret], roles: ['Gateway'] },
  { client_id: federatedId, federated: [{ issuer: process.env.ISSUER, subject: 'postern/origins/federated' }], roles: ['Gateway'] },
], resources: ['api://orders'] });
const google = await startGoogle({ accounts: [{ email: account, keys: [{ kid: 'k1', pem: pair.publicKey }] }] });

// ---- the origins: what each of them insists on -------------------------------------------------------------------

const entraKeys = jose.createRemoteJWKSet(new URL(entra.jwksUrl));
const googleKeys = jose.createRemoteJWKSet(new URL(google.certsUrl));
const accountKey = await jose.importSPKI(pair.publicKey, 'RS256');
const fromEntra = (application) => async (token) => {
  const { payload } = await jose.jwtVerify(token, entraKeys, { issuer: entra.issuer, audience: 'api://orders', algorithms: ['RS256'] });
  if (payload.azp !== application || !payload.roles.includes('Gateway')) throw new Error('another application');
};
const verifiers = {
  azure: fromEntra(clientId),
  async gcp(token) {
    const { payload } = await jose.jwtVerify(token, googleKeys, { issuer: 'https://accounts.google.com', audience: 'https://orders.example.com', algorithms: ['RS256'] });
    if (payload.email !== account || payload.email_verified !== true) throw new Error('another account');
  },
  async 'gcp-jwt'(token) {
    await jose.jwtVerify(token, accountKey, { issuer: account, subject: account, audience: 'https://reports.example.com', algorithms: ['RS256'] });
  },
  federated: fromEntra(federatedId),
};

// ---- what the gateway is given -----------------------------------------------------------------------------------

const service = file('service.json', JSON.stringify({ type: 'service_account', private_key_id: 'k1', private_key: pair.privateKey, client_email: account, token_uri: google.tokenUrl }));
const identities = {
  azure: { azure_ad: { tenant: entra.tenant, client_id: clientId, resource: 'api://orders', authority: entra.url, client_secret: file('entra-secret', clientSecret) } },
  gcp: { gcp_id_token: { audience: 'https://orders.example.com', service_account: service } },
  'gcp-jwt': { gcp_jwt: { audience: 'https://reports.example.com', service_account: service } },
  federated: { azure_federated: { tenant: entra.tenant, client_id: federatedId, resource: 'api://orders', authority: entra.url } },
};

const servers = [entra.server, google.server];
const ports = [];
for (const [name, verify] of Object.entries(verifiers)) {
  const server = createServer(async (request, response) => {
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    try {
      await verify(token ?? '');
    } catch (error) {
      console.error(`${name} refused: ${error.message}`);
      response.writeHead(401, { 'www-authenticate': 'Bearer', 'content-type': 'text/plain' }).end(`${name}: not from the gateway\n`);
      return;
    }
    response.writeHead(200, { 'content-type': 'text/plain' }).end(`${name}: hello, gateway: ${request.method} ${request.url}\n`);
  });
  // The first free port from there on.
  const listen = (port) => new Promise((resolve, reject) => { server.once('error', reject).listen(port, '127.0.0.1', () => resolve(port)); });
  for (let port = Number(firstPort) + ports.length; ; port++) {
    try { ports.push(`${name} ${await listen(port)}`); break; } catch (error) { if (error.code !== 'EADDRINUSE') throw error; }
  }
  servers.push(server);
  writeFileSync(path.join(directory, `${name}.identity`), `${JSON.stringify(identities[name])}\n`, { mode: 0o600 });
}
writeFileSync(path.join(directory, 'ports.new'), `${ports.join('\n')}\n`);
renameSync(path.join(directory, 'ports.new'), path.join(directory, 'ports'));
process.on('SIGTERM', () => { for (const server of servers) { server.closeAllConnections(); server.close(); } });
