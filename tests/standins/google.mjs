// In the place of Google: the token endpoint (JWT-bearer grant), STS (token exchange), iamcredentials and the keys by
// which its ID tokens are verified, all on one port.
//
//   const google = await startGoogle({ accounts: [{ email, keys: [{ kid, pem }] }],
//     providers: [{ name: '//iam.googleapis.com/...', issuer, jwks?, audiences?, subjects? }],
//     impersonators: { 'gw@p.iam.gserviceaccount.com': ['subject'] } });
import { randomBytes } from 'node:crypto';
import { Refusal, SigningKey, Standin, jose, json, verifyOutside } from './standin.mjs';

const invalid = (text) => { throw new Refusal(400, 'invalid_grant', text); };

export async function startGoogle({ accounts = [], providers = [], impersonators = {}, lifetime = 3599 } = {}) {
  const key = await SigningKey.make();
  const tokens = new Map();  // access tokens that are good: token -> {email | subject, scope, expires}
  const grant = (who) => {
    const token = `ya29.${randomBytes(40).toString('base64url')}`;
    tokens.set(token, { ...who, expires: Date.now() + standin.lifetime * 1000 });
    return token;
  };
  const idToken = (email, audience) => {
    const now = Math.floor(Date.now() / 1000);
    return key.sign({ iss: 'https://accounts.google.com', aud: audience, azp: email, sub: '108000000000000000001', email, email_verified: true, iat: now, exp: now + standin.lifetime + 1 });
  };

  // POST /token
  async function jwtBearer({ form }) {
    if (form.grant_type !== 'urn:ietf:params:oauth:grant-type:jwt-bearer') throw new Refusal(400, 'unsupported_grant_type', 'Invalid grant_type');
    let claims, header;
    try { claims = jose.decodeJwt(form.assertion); header = jose.decodeProtectedHeader(form.assertion); } catch { invalid('Bad Request'); }
    const account = accounts.find(({ email }) => email === claims.iss);
    if (!account) invalid('Invalid grant: account not found');
    const registered = account.keys.find(({ kid }) => kid === header.kid);
    if (!registered) invalid('Invalid JWT Signature.');
    try {
      await jose.jwtVerify(form.assertion, await jose.importSPKI(registered.pem, 'RS256'), { algorithms: ['RS256'], audience: standin.tokenUrl, clockTolerance: 300, requiredClaims: ['iat', 'exp'] });
    } catch (error) {
      if (error.code === 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED') invalid('Invalid JWT Signature.');
      if (error.claim === 'exp' || error.claim === 'iat') invalid('Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.');
      invalid(`Invalid JWT: ${error.code}`);
    }
    const now = Date.now() / 1000;
    if (claims.exp - claims.iat > 3600 || claims.iat > now + 300 || claims.iat < now - 3900) invalid('Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.');
    if (Boolean(claims.scope) === Boolean(claims.target_audience)) throw new Refusal(400, 'invalid_scope', 'Either scope or target_audience is needed.');
    if (claims.target_audience) return json(200, { id_token: await idToken(account.email, claims.target_audience) });
    return json(200, { access_token: grant({ email: account.email, scope: claims.scope }), expires_in: standin.lifetime, token_type: 'Bearer' });
  }

  // POST /v1/token
  async function exchange({ form }) {
    if (form.grant_type !== 'urn:ietf:params:oauth:grant-type:token-exchange') throw new Refusal(400, 'unsupported_grant_type', 'Invalid grant_type');
    if (form.requested_token_type !== 'urn:ietf:params:oauth:token-type:access_token') throw new Refusal(400, 'invalid_request', 'Invalid requested_token_type');
    if (form.subject_token_type !== 'urn:ietf:params:oauth:token-type:jwt') throw new Refusal(400, 'invalid_request', 'Invalid subject_token_type');
    const provider = providers.find(({ name }) => name === form.audience);
    if (!provider) throw new Refusal(400, 'invalid_target', 'The target service indicated by the "audience" parameters is invalid.');
    if (!form.scope) throw new Refusal(400, 'invalid_scope', 'scope is needed');
    let claims;
    try {
      claims = await verifyOutside(form.subject_token, { issuer: provider.issuer, jwks: provider.jwks, audience: provider.audiences ?? `https:${provider.name}`, algorithms: ['RS256', 'ES256'], maxLife: 48 * 3600 });
    } catch (error) {
      if (error.claim === 'aud') invalid('The audience in ID Token does not match the expected audience.');
      if (error.claim === 'iss') invalid('The issuer in ID Token does not match the expected ones.');
      if (error.code === 'ERR_JWT_EXPIRED') invalid('ID Token issued is stale to sign-in.');
      invalid(`Error connecting to the given credential's issuer, or its token is not good: ${error.code ?? error.message}`);
    }
    if (provider.subjects && !provider.subjects.includes(claims.sub)) throw new Refusal(403, 'unauthorized_client', 'The given credential is rejected by the attribute condition.');
    return json(200, { access_token: grant({ subject: claims.sub, scope: form.scope }), issued_token_type: 'urn:ietf:params:oauth:token-type:access_token', token_type: 'Bearer', expires_in: standin.lifetime });
  }

  // POST /v1/projects/-/serviceAccounts/EMAIL:METHOD
  async function impersonate(request, email, method) {
    const deny = (code, status, message) => json(code, { error: { code, message, status } });
    const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    const who = tokens.get(bearer);
    if (!who || who.expires < Date.now()) return deny(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.');
    if (!/cloud-platform|\/auth\/iam/.test(who.scope)) return deny(403, 'PERMISSION_DENIED', 'Request had insufficient authentication scopes.');
    if (!(impersonators[email] ?? []).includes(who.subject)) return deny(403, 'PERMISSION_DENIED', "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).");
    const body = JSON.parse(request.body);
    if (method === 'generateIdToken') {
      if (typeof body.audience !== 'string') return deny(400, 'INVALID_ARGUMENT', 'audience is needed');
      return json(200, { token: await idToken(email, body.audience) });
    }
    const seconds = Number(/^(\d+)s$/.exec(body.lifetime ?? '3600s')?.[1]);
    if (!Array.isArray(body.scope) || body.scope.length === 0 || !(seconds > 0 && seconds <= 43_200)) return deny(400, 'INVALID_ARGUMENT', 'Request contains an invalid argument.');
    return json(200, { accessToken: grant({ email, scope: body.scope.join(' ') }), expireTime: new Date(Date.now() + Math.min(seconds, standin.lifetime) * 1000).toISOString() });
  }

  const standin = await Standin.start(async (request) => {
    const { pathname } = request.url;
    if (pathname === '/oauth2/v3/certs') return json(200, key.jwks, { 'cache-control': 'public, max-age=3600' });
    if (pathname === '/tokeninfo') {
      const who = tokens.get(request.url.searchParams.get('access_token'));
      return who && who.expires > Date.now() ? json(200, who) : json(400, { error: 'invalid_token' });
    }
    if (request.method !== 'POST') throw new Refusal(404, 'not_found', 'there is nothing here');
    if (pathname === '/token') return jwtBearer(request);
    if (pathname === '/v1/token') return exchange(request);
    const call = /^\/v1\/projects\/-\/serviceAccounts\/([^/:]+):(generateAccessToken|generateIdToken)$/.exec(decodeURIComponent(pathname));
    if (call) return impersonate(request, call[1], call[2]);
    throw new Refusal(404, 'not_found', 'there is nothing here');
  });
  return Object.assign(standin, {
    key, lifetime, tokens, tokenUrl: `${standin.url}/token`, stsUrl: `${standin.url}/v1/token`, iamcredentialsUrl: standin.url, certsUrl: `${standin.url}/oauth2/v3/certs`,
    // For the metadata stand-in, which hands out the same tokens.
    grant, idToken,
    // As an origin checks an ID token.
    verifyIdToken: async (token, { audience, email }) => {
      const { payload } = await jose.jwtVerify(token, jose.createRemoteJWKSet(new URL(standin.certsUrl)), { issuer: ['https://accounts.google.com', 'accounts.google.com'], audience, algorithms: ['RS256'] });
      if (!payload.email_verified || payload.email !== email) throw new Error(`the token is for ${payload.email}`);
      return payload;
    },
  });
}
