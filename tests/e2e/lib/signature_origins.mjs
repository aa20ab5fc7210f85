// Origins that verify what the gateway signs, with libraries of other people. Each answers 200, or 401 with the reason,
// and keeps what it received, so that a test can send it again, changed or not.
import { createHash, createPublicKey } from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import { once } from 'node:events';
import { onCleanup } from './cleanup.mjs';
import { peer } from './peers.mjs';

const { createVerifier, httpbis } = peer('http-message-signatures');
const messageSig = peer('http-message-sig');

export const signedComponents = ['@method', '@authority', '@path', '@query', 'content-digest'];

// `judge({method, authority, target, headers, raw, body})` throws, or the request is served. http2: in clear, with prior
// knowledge. `before(request, response)` may answer in place of the verdict, or return false.
export async function startVerifyingOrigin(judge, { h2 = false, before } = {}) {
  const seen = [];
  const handler = async (request, response) => {
    request.on('error', () => {});
    response.on('error', () => {});
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch { return; }
    const raw = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) raw.push({ name: request.rawHeaders[i].toLowerCase(), value: request.rawHeaders[i + 1] });
    const it = {
      method: request.method, target: request.url, authority: request.headers[':authority'] ?? request.headers.host, body: Buffer.concat(chunks),
      headers: Object.fromEntries(Object.entries(request.headers).filter(([name]) => !name.startsWith(':'))),
      raw: raw.filter(({ name }) => !name.startsWith(':')), trailers: request.trailers,
    };
    seen.push(it);
    if (before?.(it, request, response)) return;
    let verdict = null;
    try {
      await judge(it);
    } catch (error) {
      verdict = error.message || error.code || String(error);
    }
    response.writeHead(verdict === null ? 200 : 401, { 'content-type': 'text/plain' });
    response.end(verdict ?? 'ok');
  };
  const server = h2 ? http2.createServer(handler) : http.createServer(handler);
  const sessions = new Set();
  server.on('session', (session) => { sessions.add(session); session.on('error', () => {}); });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onCleanup(() => { for (const session of sessions) session.destroy(); server.close(); server.closeAllConnections?.(); });
  const { port } = server.address();
  return { port, url: `http://127.0.0.1:${port}`, seen, last: () => seen.at(-1) };
}

// Both RFC 9421 libraries must agree; times, digest and nonce are judged as docs/http_signature.md says.
export function signatureJudge({ key, keyid, algorithm, maxAge = 60, clock = () => Date.now() / 1000, required = signedComponents }) {
  const nonces = new Set();
  const publicKey = algorithm === 'hmac-sha256' ? key : createPublicKey(key);
  const verifier = createVerifier(publicKey, algorithm);
  return async (it) => {
    for (const name of ['signature', 'signature-input', ...(required.includes('content-digest') ? ['content-digest'] : [])]) {
      if (it.raw.filter((field) => field.name === name).length !== 1) throw new Error(`${name} is missing or there twice`);
    }
    const [path, query] = /^([^?]*)(\?.*)?$/s.exec(it.target).slice(1);
    let parameters;
    const valid = await httpbis.verifyMessage({
      keyLookup: async (given) => { parameters = given; return given.keyid === keyid ? { id: keyid, algs: [algorithm], verify: verifier } : null; },
      requiredFields: required,
      requiredParams: ['created', 'expires', 'keyid', 'nonce', 'tag'],
      maxAge,
      componentParser: (name) => ({ '@path': [path], '@query': [query ?? '?'], '@authority': [it.authority.toLowerCase()] })[name] ?? null,
    }, { method: it.method, url: `http://${it.authority}${it.target}`, headers: it.headers });
    if (!valid) throw new Error('http-message-signatures: not signed');
    if (algorithm === 'ed25519' || algorithm === 'rsa-pss-sha512') await secondOpinion(it, { verifier, keyid, algorithm, maxAge, required });
    if (parameters.tag !== 'postern-origin') throw new Error('signed for something else');
    if (required.includes('content-digest')) {
      const digest = `sha-256=:${createHash('sha256').update(it.body).digest('base64')}:`;
      if (it.headers['content-digest'] !== digest) throw new Error('another body');
    }
    if (clock() > parameters.created.getTime() / 1000 + maxAge) throw new Error('late');
    if (nonces.has(parameters.nonce)) throw new Error('a replay');
    nonces.add(parameters.nonce);
  };
}
async function secondOpinion(it, { verifier, keyid, algorithm, maxAge, required }) {
  const verified = await messageSig.verifySignature({
    kind: 'request', method: it.method, targetUri: `http://${it.authority}${it.target}`, requestTarget: it.target, fields: it.raw,
  }, {
    label: 'gateway',
    policy: { algorithms: [algorithm], requiredComponents: required, requiredParameters: ['created', 'expires', 'keyid', 'nonce', 'tag'], maxAge, clockSkew: 2 },
    resolveVerifier: (candidate) => {
      if (candidate.parameters.keyid !== keyid) throw new Error('another key');
      return { algorithm, verify: (data, signature) => verifier(Buffer.from(data), Buffer.from(signature), {}) };
    },
  });
  if (verified.parameters.keyid !== keyid) throw new Error('http-message-sig: another key');
}

// A request as it was seen, sent to the origin itself, around the gateway; `change` may alter it first.
export async function resend(origin, it, change = {}) {
  const { method, target, body, fields, drop = [] } = { method: it.method, target: it.target, body: it.body, fields: {}, ...change };
  const headers = { ...it.headers, ...fields };
  for (const name of [...drop, 'connection', 'transfer-encoding', 'content-length']) delete headers[name];
  if (body.length || !['GET', 'HEAD', 'DELETE'].includes(method)) headers['content-length'] = String(body.length);
  const request = http.request({ host: '127.0.0.1', port: origin.port, method, path: target, headers, agent: false });
  request.end(body);
  const [response] = await once(request, 'response');
  let text = '';
  for await (const chunk of response.setEncoding('latin1')) text += chunk;
  return { status: response.statusCode, text };
}
