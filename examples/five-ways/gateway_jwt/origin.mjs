// An origin that serves nobody but the gateway: it verifies the gateway's token with the npm package jose, against the
// keys that the gateway's issuer publishes. With BOUND=1 it wants a token that was made for this very request.
//
//   ISSUER=https://id.example.com/postern AUDIENCE=orders SUBJECT=postern/origins/orders PORT=8080 node origin.mjs
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { ISSUER, AUDIENCE, SUBJECT, PORT, BOUND } = process.env;
const limit = 16 * 2 ** 20;  // of a body
// Looks again when a token names a key that it does not know, but not more often than every five seconds.
const keys = createRemoteJWKSet(new URL(`${ISSUER}/.well-known/jwks.json`), { cooldownDuration: 5_000 });
const expected = {
  issuer: ISSUER,
  audience: AUDIENCE,
  subject: SUBJECT,
  algorithms: [BOUND ? 'ES256' : 'RS256'],  // what we expect, whatever a token says
  typ: BOUND ? 'postern-request+jwt' : 'JWT',
  requiredClaims: ['exp', 'iat', 'jti'],
  clockTolerance: 5,
};
const used = new Map();  // jti: until when it is remembered, oldest first

async function verify(request, body) {
  const fields = request.headersDistinct.authorization ?? [];
  const token = /^Bearer ([\w.-]+)$/.exec(fields[0] ?? '')?.[1];
  if (!token || fields.length !== 1) throw new Error('no token');
  const { payload } = await jwtVerify(token, keys, expected);
  if (!BOUND) return;
  const digest = (bytes) => createHash('sha256').update(bytes).digest('base64url');
  if (payload.htm !== request.method) throw new Error('for another method');
  if (payload.path_sha256 !== digest(Buffer.from(request.url, 'latin1'))) throw new Error('for another path');
  if (payload.body_sha256 !== digest(body)) throw new Error('for another body');
  const now = Date.now() / 1000;
  for (const [jti, until] of used) {
    if (until >= now) break;
    used.delete(jti);
  }
  if (used.has(payload.jti)) throw new Error('a replay');
  used.set(payload.jti, payload.exp + expected.clockTolerance);
}

createServer(async (request, response) => {
  try {
    const chunks = [];
    let size = 0;
    for await (const chunk of request) {
      if ((size += chunk.length) > limit) throw new Error('too long');
      chunks.push(chunk);
    }
    await verify(request, Buffer.concat(chunks));
  } catch (error) {
    console.error(`refused: ${error.message}`);
    response.writeHead(401).end('token: not from the gateway\n');
    return;
  }
  // From here on the request is the gateway's.
  response.end(`token: hello, gateway: ${request.method} ${request.url}\n`);
}).listen(PORT, '127.0.0.1');
