// An origin that serves nobody but the gateway: it verifies HTTP Message Signatures (RFC 9421) with the npm package
// http-message-signatures, and adds what a library cannot know: what must be covered, that the digest is the body's, and
// that a nonce comes once.
//
//   ORIGIN_KEYS=gateway.pub.pem PORT=8080 node origin.mjs
import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createVerifier, httpbis } from 'http-message-signatures';

const covered = ['@method', '@authority', '@path', '@query', 'content-digest'];
const tolerance = 5;         // seconds by which the two clocks may differ
const maxAge = 60;           // as `expires` of the gateway
const limit = 16 * 2 ** 20;  // of a body

// Public keys by their thumbprint (RFC 7638), which the gateway sends as keyid; two while one is being replaced. What a
// key is for is said by the key, never by a request.
const keys = new Map(process.env.ORIGIN_KEYS.split(',').map((file) => {
  const key = createPublicKey(readFileSync(file));
  const { crv, e, kty, n, x, y } = key.export({ format: 'jwk' });
  const algorithm = { Ed25519: 'ed25519', 'P-256': 'ecdsa-p256-sha256', 'P-384': 'ecdsa-p384-sha384' }[crv] ?? 'rsa-pss-sha512';
  const keyid = createHash('sha256').update(JSON.stringify({ crv, e, kty, n, x, y })).digest('base64url');
  return [keyid, { id: keyid, algs: [algorithm], verify: createVerifier(key, algorithm) }];
}));
const nonces = new Map();  // nonce: until when it is remembered, oldest first

async function verify(request, body) {
  for (const name of ['signature', 'signature-input', 'content-digest']) {
    if ((request.headersDistinct[name] ?? []).length !== 1) throw new Error(`${name} is missing or there twice`);
  }
  let parameters = {};
  const [path, query] = /^([^?]*)(\?.*)?$/s.exec(request.url).slice(1);
  const valid = await httpbis.verifyMessage({
    keyLookup: async (given) => { parameters = given; return keys.get(given.keyid) ?? null; },
    requiredFields: covered,
    requiredParams: ['created', 'expires', 'keyid', 'nonce', 'tag'],
    maxAge,
    tolerance,
    // As it came, and not as a library for URLs would write it.
    componentParser: (name) => ({ '@path': [path], '@query': [query ?? '?'], '@authority': [request.headers.host.toLowerCase()] })[name] ?? null,
  }, { method: request.method, url: `http://${request.headers.host}${request.url}`, headers: request.headers });
  if (!valid) throw new Error('not signed by the gateway');
  if (parameters.tag !== 'postern-origin') throw new Error('signed for something else');
  const digest = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
  if (request.headers['content-digest'] !== digest) throw new Error('another body');
  const now = Date.now() / 1000;
  for (const [nonce, until] of nonces) {
    if (until >= now) break;
    nonces.delete(nonce);
  }
  if (nonces.has(parameters.nonce)) throw new Error('a replay');
  nonces.set(parameters.nonce, now + maxAge + 2 * tolerance);
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
    response.writeHead(401).end('signature: not from the gateway\n');
    return;
  }
  // From here on the request is the gateway's.
  response.end(`signature: hello, gateway: ${request.method} ${request.url}\n`);
}).listen(process.env.PORT, '127.0.0.1');
