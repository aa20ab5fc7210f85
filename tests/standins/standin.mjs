// Stand-in: an HTTP server in the place of a cloud's, which does what the cloud does and can be told to misbehave. It
// keeps what it was asked: standin.requests. What the stand-ins verify, they verify with libraries of others.
//
//   const entra = await startEntra({...});
//   entra.misbehave('slow');            // until told otherwise
//   entra.misbehave('500', { times: 2 });
//   entra.behave();
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const require = createRequire(path.join(root, 'build/peers/node_modules/'));
// The npm packages of tests/peers.
export const peer = (name) => require(name);
export const jose = peer('jose');

export const json = (status, value, headers = {}) => ({ status, headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers }, body: JSON.stringify(value) });
export const text = (status, value, headers = {}) => ({ status, headers: { 'content-type': 'text/plain', ...headers }, body: value });
// As in RFC 6749 5.2.
export class Refusal extends Error {
  constructor(status, code, description, more = {}) { super(description); Object.assign(this, { status, code, more }); }
}

// What a server does that has gone wrong: each takes the response of Node and, for answers that are almost right, what
// the good one would have been. `secret`: what the caller sent, for servers that repeat it.
const changed = (change) => (response, good) => {
  const body = JSON.parse(good.body);
  change(body);
  send(response, { ...good, body: JSON.stringify(body) });
};
const token = (body) => ['access_token', 'id_token', 'accessToken', 'token', 'Token'].find((name) => name in body);
const lifetime = (value) => changed((body) => {
  if ('expires_in' in body) body.expires_in = value;
});
export const misbehaviours = {
  silent: () => {},
  slow: (response, good) => { const timer = setTimeout(() => send(response, good), 60_000); response.once('close', () => clearTimeout(timer)); },
  drip: (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100000' });
    const timer = setInterval(() => response.write(' '), 100);
    response.once('close', () => clearInterval(timer));
  },
  redirect: (response) => send(response, text(302, '', { location: 'http://127.0.0.1:1/elsewhere' })),
  500: (response) => send(response, text(500, 'oops')),
  503: (response) => send(response, text(503, 'later', { 'retry-after': '2' })),
  429: (response) => send(response, json(429, { error: 'temporarily_unavailable' }, { 'retry-after': '3' })),
  html: (response) => send(response, { status: 200, headers: { 'content-type': 'text/html' }, body: '<!doctype html><title>Log in</title>' }),
  html_error: (response, good, secret) => send(response, { status: 502, headers: { 'content-type': 'text/html' }, body: `<h1>Bad gateway</h1>${secret}` }),
  ok_with_error: (response, good, secret) => send(response, json(200, { error: 'server_error', error_description: `it failed with ${secret}` })),
  repeats_secret: (response, good, secret) => send(response, json(400, { error: 'invalid_client', error_description: `what is ${secret}?` })),
  endless: (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const chunk = Buffer.alloc(65_536, 32);
    const more = () => { while (!response.destroyed && response.write(chunk)) ; };
    response.on('drain', more);
    more();
  },
  truncated: (response, good) => {
    response.writeHead(good.status, { ...good.headers, 'content-length': String(Buffer.byteLength(good.body)) });
    response.write(good.body.slice(0, good.body.length / 2), () => response.destroy());
  },
  truncated_json: (response, good) => send(response, { ...good, body: good.body.slice(0, -8) }),
  garbage: (response) => { response.socket.end('SSH-2.0-OpenSSH_9.2\r\n'); },
  reset: (response) => response.socket.resetAndDestroy(),
  no_expires_in: changed((body) => { delete body.expires_in; }),
  negative: lifetime(-3600),
  zero: lifetime(0),
  huge: lifetime(99_999_999_999),
  string: lifetime('3600'),
  words: lifetime('soon'),
  wrong_type: changed((body) => { body.token_type = 'mac'; }),
  illegal_token: changed((body) => { body[token(body)] += '\r\nX-Injected: 1'; }),
  no_token: changed((body) => { delete body[token(body)]; }),
  token_list: changed((body) => { body[token(body)] = [body[token(body)]]; }),
  twice: (response, good) => send(response, { ...good, body: good.body.replace(/\}$/, ',"expires_in":86400}') }),
};

function send(response, { status, headers, body }) {
  response.writeHead(status, { ...headers, 'content-length': String(Buffer.byteLength(body)) });
  response.end(body);
}

export class Standin {
  // handler(request) answers {status, headers, body}, or throws a Refusal; request: {method, url (a URL), headers, body,
  // form (of its body)}. refusal(error) makes an answer of a Refusal.
  static async start(handler, { refusal = oauthRefusal, host = '127.0.0.1', port = 0 } = {}) {
    const standin = new Standin();
    standin.requests = [];
    standin.mode = null;
    standin.refusal = refusal;
    standin.server = http.createServer((request, response) => { void standin.serve(handler, request, response); });
    standin.server.keepAliveTimeout = 1000;
    await new Promise((resolve) => standin.server.listen(port, host, resolve));
    standin.port = standin.server.address().port;
    standin.url = `http://${host}:${standin.port}`;
    return standin;
  }

  async serve(handler, incoming, response) {
    response.on('error', () => {});
    const chunks = [];
    try {
      for await (const chunk of incoming) chunks.push(chunk);
    } catch { return; }
    const body = Buffer.concat(chunks).toString();
    const request = { method: incoming.method, url: new URL(incoming.url, this.url), headers: incoming.headers, rawHeaders: incoming.rawHeaders, body, at: Date.now() };
    request.form = Object.fromEntries(new URLSearchParams(/urlencoded/.test(incoming.headers['content-type'] ?? '') ? body : ''));
    this.requests.push(request);
    let good;
    try {
      good = await handler(request);
    } catch (error) {
      if (!(error instanceof Refusal)) console.error('stand-in:', error);
      good = error instanceof Refusal ? this.refusal(error) : text(500, 'the stand-in failed');
    }
    request.answer = good;
    const published = request.method === 'GET' && /keys|certs|jwks|openid-configuration/.test(request.url.pathname);
    if (!this.mode || published || (this.mode.times-- <= 0)) {
      if (this.mode?.times < 0) this.mode = null;
      send(response, good);
      return;
    }
    const secret = request.form.client_secret ?? request.form.client_assertion ?? request.form.assertion ?? request.form.subject_token ?? request.form.WebIdentityToken ?? '';
    try {
      misbehaviours[this.mode.name](response, good, secret);
    } catch (error) {
      send(response, text(500, `cannot misbehave: ${error.message}`));
    }
  }

  misbehave(name, { times = Infinity } = {}) {
    if (!(name in misbehaviours)) throw new Error(`no misbehaviour ${name}`);
    this.mode = { name, times };
  }
  behave() { this.mode = null; }
  // How often somebody asked, of those for whom `wanted` is true.
  count(wanted = () => true) { return this.requests.filter(wanted).length; }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

const oauthRefusal = ({ status, code, message, more }) => json(status, { error: code, error_description: message, ...more });

// ---- keys and issuers --------------------------------------------------------------------------------------------

// An RS256 key of an issuer, with its public half as JWKS and a way to sign.
export class SigningKey {
  static async make(kid = `key-${Math.random().toString(36).slice(2)}`, algorithm = 'RS256') {
    const key = new SigningKey();
    const { publicKey, privateKey } = await jose.generateKeyPair(algorithm, { extractable: true });
    Object.assign(key, { kid, algorithm, publicKey, privateKey });
    key.jwks = { keys: [{ ...(await jose.exportJWK(publicKey)), kid, alg: algorithm, use: 'sig' }] };
    return key;
  }
  sign(claims, { header = {} } = {}) {
    return new jose.SignJWT(claims).setProtectedHeader({ alg: this.algorithm, kid: this.kid, typ: 'JWT', ...header }).sign(this.privateKey);
  }
}

// Verifies a token of an outside issuer as a cloud does: exact issuer, the issuer's own key set by discovery or given
// as `jwks`. `algorithms` are those that the cloud documents. Throws what jose throws.
export async function verifyOutside(token, { issuer, jwks, audience, subject, algorithms, skew = 300, maxLife }) {
  const header = jose.decodeProtectedHeader(token);
  if (!header.kid) throw new Error('no kid');
  let keys;
  if (jwks) {
    keys = jose.createLocalJWKSet(jwks);
  } else {
    const discovery = await (await fetch(`${issuer}/.well-known/openid-configuration`, { redirect: 'error' })).json();
    if (discovery.issuer !== issuer) throw new Error(`the discovery document is that of ${discovery.issuer}`);
    keys = jose.createRemoteJWKSet(new URL(discovery.jwks_uri));
  }
  const { payload } = await jose.jwtVerify(token, keys, { issuer, audience, subject, algorithms, clockTolerance: skew, requiredClaims: ['iat', 'exp', 'sub', 'aud', 'jti'] });
  if (Array.isArray(payload.aud)) throw new Error('aud is a list');
  if ('azp' in payload) throw new Error('azp would be taken for the audience');
  if (payload.iat > Date.now() / 1000) throw new Error('iat is not in the past');
  if (maxLife && payload.exp - payload.iat > maxLife) throw new Error('it lives too long');
  return payload;
}
