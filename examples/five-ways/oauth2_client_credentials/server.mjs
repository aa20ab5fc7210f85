// An OAuth 2.0 server for the example: node-oidc-provider with one client, the gateway, that logs in with a secret.
//
//   CLIENT_SECRET=secret PORT=8404 node server.mjs
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const { CLIENT_SECRET, PORT } = process.env;
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [{
    client_id: 'gateway', client_secret: readFileSync(CLIENT_SECRET, 'utf8').trim(),
    grant_types: ['client_credentials'], redirect_uris: [], response_types: [], scope: 'orders.read',
  }],
  scopes: ['orders.read'],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: 'first' }] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({ scope: 'orders.read', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 300 }),
    },
  },
});
createServer(provider.callback()).listen(PORT, '127.0.0.1');
