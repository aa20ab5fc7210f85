// An origin that serves nobody but the gateway: it verifies the access token with the npm package jose, against the keys
// that the OAuth 2.0 server publishes, and looks whose token it is.
//
//   ISSUER=http://127.0.0.1:8404 AUDIENCE=https://orders.example.com PORT=8304 node origin.mjs
import { createServer } from 'node:http';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { ISSUER, AUDIENCE, PORT } = process.env;
const keys = createRemoteJWKSet(new URL(`${ISSUER}/jwks`));

createServer(async (request, response) => {
  try {
    const fields = request.headersDistinct.authorization ?? [];
    const token = /^Bearer ([\w.-]+)$/.exec(fields[0] ?? '')?.[1];
    if (!token || fields.length !== 1) throw new Error('no token');
    const { payload } = await jwtVerify(token, keys, { issuer: ISSUER, audience: AUDIENCE, typ: 'at+jwt', algorithms: ['RS256'] });
    // Any client of that server can ask for a token for this audience.
    if (payload.client_id !== 'gateway') throw new Error('somebody else');
  } catch (error) {
    console.error(`refused: ${error.message}`);
    response.writeHead(401).end('oauth2: not from the gateway\n');
    return;
  }
  response.end(`oauth2: hello, gateway: ${request.method} ${request.url}\n`);
}).listen(PORT, '127.0.0.1');
