// Origins that verify the gateway's tokens with software of other people: Apache with mod_auth_openidc, HAProxy with
// jwt_verify, Node with jose, and with jsonwebtoken and jwks-rsa. Each serves 200 with a good token and nothing without.
import { createPublicKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { freePort, onCleanup, temporaryDirectory } from './cleanup.mjs';
import { peer } from './peers.mjs';
import { Process } from './process.mjs';
import { until } from './wait.mjs';
import { exchange, request } from './wire.mjs';

const env = { PATH: `${process.env.PATH}:/usr/sbin` };
const jwksOf = (issuer) => `${issuer}/.well-known/jwks.json`;

async function answering(child, port) {
  await until(`${child.name} on port ${port}`, async () => {
    if (child.exit) throw new Error(`${child.name} ended: ${child.stderr}${child.stdout}`);
    return exchange(port, request('/', { headers: ['Connection: close'] })).catch(() => null);
  });
}

async function node(verify) {
  const seen = [];
  const server = http.createServer(async (incoming, response) => {
    seen.push({ url: incoming.url, headers: incoming.headers, raw: incoming.rawHeaders });
    try {
      const [scheme, token] = (incoming.headers.authorization ?? '').split(' ');
      if (scheme !== 'Bearer' || !token) throw new Error('no token');
      const claims = await verify(token);
      response.end(JSON.stringify(claims));
    } catch (error) {
      response.writeHead(401).end(error.message);
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => { server.closeAllConnections(); server.close(); });
  const { port } = server.address();
  return { port, url: `http://127.0.0.1:${port}`, seen, last: () => seen.at(-1) };
}

// `algorithm` is what the origin expects, whatever a token says.
export async function startJose({ issuer, audience, algorithm = 'RS256', cooldown = 30_000 }) {
  const { createRemoteJWKSet, jwtVerify } = peer('jose');
  const keys = createRemoteJWKSet(new URL(jwksOf(issuer)), { cooldownDuration: cooldown });
  return node(async (token) => (await jwtVerify(token, keys, { issuer, audience, algorithms: [algorithm], requiredClaims: ['exp', 'jti', 'sub'] })).payload);
}

export async function startJsonwebtoken({ issuer, audience }) {
  const jwt = peer('jsonwebtoken');
  const client = peer('jwks-rsa')({ jwksUri: jwksOf(issuer) });
  const key = ({ kid }, done) => client.getSigningKey(kid, (error, found) => done(error, found?.getPublicKey()));
  return node((token) => new Promise((resolve, reject) => {
    jwt.verify(token, key, { issuer, audience, algorithms: ['RS256'] }, (error, claims) => (error ? reject(error) : resolve(claims)));
  }));
}

// It reads keys over https only: `keys` is where, `bundle` the file with the authority.
export async function startApache({ issuer, audience, keys, bundle }) {
  const directory = temporaryDirectory();
  const port = await freePort();
  writeFileSync(path.join(directory, 'index.html'), 'apache\n');
  writeFileSync(path.join(directory, 'apache.conf'), `
ServerRoot ${directory}
ServerName 127.0.0.1
Listen 127.0.0.1:${port}
PidFile ${directory}/apache.pid
Mutex file:${directory} default
ErrorLog ${directory}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule auth_openidc_module /usr/lib/apache2/modules/mod_auth_openidc.so
StartServers 1
ThreadsPerChild 16
MaxRequestWorkers 16
ServerLimit 1
OIDCCacheDir ${directory}
OIDCOAuthVerifyJwksUri ${keys}
OIDCCABundlePath ${bundle}
OIDCOAuthRemoteUserClaim sub
OIDCOAuthAcceptTokenAs header
DocumentRoot ${directory}
DirectoryIndex index.html
<Location />
  AuthType oauth20
  <RequireAll>
    Require claim iss:${issuer}
    Require claim aud:${audience}
  </RequireAll>
</Location>
`, { mode: 0o600 });
  const child = new Process('apache2', ['-D', 'FOREGROUND', '-f', path.join(directory, 'apache.conf')], { env });
  await answering(child, port);
  return { port, url: `http://127.0.0.1:${port}`, process: child, directory };
}

// It has no key set of its own: `keys` are those of the issuer, and the one that signs is a file.
export async function startHaproxyJwt({ issuer, audience, jwk }) {
  const directory = temporaryDirectory();
  const port = await freePort();
  const pem = path.join(directory, 'issuer.pem');
  writeFileSync(pem, createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }));
  writeFileSync(path.join(directory, 'haproxy.cfg'), `
global
  maxconn 1000
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend locked
  bind 127.0.0.1:${port}
  http-request deny deny_status 401 unless { req.hdr_cnt(authorization) eq 1 }
  http-request set-var(txn.token) http_auth_bearer
  http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
  http-request set-var(txn.iss) var(txn.token),jwt_payload_query('$.iss')
  http-request set-var(txn.aud) var(txn.token),jwt_payload_query('$.aud')
  http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless { var(txn.alg) -m str RS256 }
  http-request deny deny_status 401 unless { var(txn.token),jwt_verify(txn.alg,"${pem}") -m int 1 }
  http-request deny deny_status 401 unless { var(txn.iss) -m str ${issuer} }
  http-request deny deny_status 401 unless { var(txn.aud) -m str ${audience} }
  http-request deny deny_status 401 unless { var(txn.exp),sub(txn.now) -m int gt 0 }
  http-request return status 200 content-type text/plain string "haproxy\\n"
`, { mode: 0o600 });
  const child = new Process('haproxy', ['-db', '-f', path.join(directory, 'haproxy.cfg')], { env });
  await answering(child, port);
  return { port, url: `http://127.0.0.1:${port}`, process: child };
}
