// In the place of Microsoft Entra ID: the token endpoint of one tenant, its keys, and what it demands of an
// application. Tokens are v2.0 access tokens, RS256.
//
//   const entra = await startEntra({ applications: [{ client_id, secrets: [...], certificates: [pem], federated: [{issuer,
//     subject, audience, jwks?}], roles: ['Gateway'] }], resources: ['api://orders'] });
import { X509Certificate, createHash, randomUUID } from 'node:crypto';
import { Refusal, SigningKey, Standin, jose, json, verifyOutside } from './standin.mjs';

const refuse = (status, code, number, text) => {
  const trace = randomUUID();
  throw new Refusal(status, code, `AADSTS${number}: ${text} Trace ID: ${trace} Correlation ID: ${trace} Timestamp: ${new Date().toISOString()}`,
    { error_codes: [number], timestamp: new Date().toISOString(), trace_id: trace, correlation_id: trace });
};

export async function startEntra({ tenant = '11111111-2222-3333-4444-555555555555', applications = [], resources = [], lifetime = 3599, refreshIn } = {}) {
  const key = await SigningKey.make();
  const jtis = new Set();

  // By assertion: the certificate's, or that of an issuer outside.
  async function checkAssertion(application, assertion) {
    let claims, header;
    try { claims = jose.decodeJwt(assertion); header = jose.decodeProtectedHeader(assertion); } catch { refuse(401, 'invalid_client', 50027, 'JWT token is invalid or malformed.'); }
    if (claims.iss !== application.client_id) return checkFederated(application, assertion, claims, header);
    const thumbprint = header['x5t#S256'];
    const certificate = (application.certificates ?? []).map((pem) => new X509Certificate(pem))
      .find((each) => createHash('sha256').update(each.raw).digest('base64url') === thumbprint);
    if (!certificate) refuse(401, 'invalid_client', 700027, 'The certificate with identifier used to sign the client assertion is not registered on application.');
    try {
      await jose.jwtVerify(assertion, await jose.importX509(certificate.toString(), 'PS256'), {
        algorithms: ['PS256'], issuer: application.client_id, subject: application.client_id, audience: standin.tokenUrl,
        requiredClaims: ['jti', 'nbf', 'exp'], clockTolerance: 300, typ: 'JWT',
      });
    } catch (error) {
      if (error.code === 'ERR_JWT_EXPIRED' || error.claim === 'nbf') refuse(401, 'invalid_client', 700024, 'Client assertion is not within its valid time range.');
      if (error.code === 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED') refuse(401, 'invalid_client', 700027, 'Client assertion failed signature validation.');
      refuse(401, 'invalid_client', 50027, `JWT token is invalid: ${error.code}.`);
    }
    if (jtis.has(claims.jti)) refuse(401, 'invalid_client', 50027, 'The assertion was seen before.');
    jtis.add(claims.jti);
  }
  async function checkFederated(application, assertion, claims, header) {
    const all = application.federated ?? [];
    if (all.length === 0) refuse(401, 'invalid_client', 70021, 'No matching federated identity record found for presented assertion.');
    if (header.alg !== 'RS256') refuse(401, 'invalid_client', 50027, 'The algorithm is not supported.');
    const byIssuer = all.filter((each) => each.issuer === claims.iss);
    if (byIssuer.length === 0) refuse(401, 'invalid_client', 700211, `No matching federated identity record found for presented assertion issuer '${claims.iss}'.`);
    const bySubject = byIssuer.filter((each) => each.subject === claims.sub);
    if (bySubject.length === 0) refuse(401, 'invalid_client', 700213, `No matching federated identity record found for presented assertion subject '${claims.sub}'.`);
    const record = bySubject.find((each) => (each.audience ?? 'api://AzureADTokenExchange') === claims.aud);
    if (!record) refuse(401, 'invalid_client', 700212, `No matching federated identity record found for presented assertion audience '${claims.aud}'.`);
    try {
      await verifyOutside(assertion, { issuer: record.issuer, jwks: record.jwks, audience: claims.aud, subject: record.subject, algorithms: ['RS256'] });
    } catch (error) {
      if (error.code === 'ERR_JWT_EXPIRED') refuse(401, 'invalid_client', 700024, 'Client assertion is not within its valid time range.');
      refuse(401, 'invalid_client', 50013, `Assertion failed signature validation: ${error.code ?? error.message}.`);
    }
  }

  const standin = await Standin.start(async (request) => {
    const { pathname } = request.url;
    if (pathname === `/${tenant}/discovery/v2.0/keys`) return json(200, key.jwks);
    if (pathname === `/${tenant}/v2.0/.well-known/openid-configuration`) return json(200, { issuer: standin.issuer, jwks_uri: standin.jwksUrl, token_endpoint: standin.tokenUrl });
    const [, asked, ...rest] = pathname.split('/');
    if (rest.join('/') !== 'oauth2/v2.0/token' || request.method !== 'POST') throw new Refusal(404, 'invalid_request', 'there is nothing here');
    if (asked !== tenant) refuse(400, 'invalid_request', 90002, `Tenant '${asked}' not found.`);
    const { form } = request;
    if (form.grant_type !== 'client_credentials') refuse(400, 'unsupported_grant_type', 70003, 'The app requested an unsupported grant type.');
    const application = applications.find((each) => each.client_id === form.client_id);
    if (!application) refuse(400, 'unauthorized_client', 700016, `Application with identifier '${form.client_id}' was not found in the directory.`);
    if (!/^\S+\/\.default$/.test(form.scope ?? '')) refuse(400, 'invalid_scope', 1002012, `The provided value for scope ${form.scope} is not valid.`);
    const resource = form.scope.replace(/\/\.default$/, '');
    if (!resources.includes(resource)) refuse(400, 'invalid_resource', 500011, `The resource principal named ${resource} was not found in the tenant.`);
    if (form.client_assertion) {
      if (form.client_assertion_type !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer') refuse(400, 'invalid_request', 900144, 'client_assertion_type is wrong.');
      await checkAssertion(application, form.client_assertion);
    } else if (!(application.secrets ?? []).includes(form.client_secret)) {
      refuse(401, 'invalid_client', 7000215, 'Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.');
    }
    const now = Math.floor(Date.now() / 1000);
    const accessToken = await key.sign({
      iss: standin.issuer, aud: resource, tid: tenant, azp: application.client_id, azpacr: form.client_assertion ? '2' : '1', oid: application.client_id, sub: application.client_id,
      roles: application.roles ?? [], ver: '2.0', iat: now, nbf: now, exp: now + standin.lifetime, uti: randomUUID(),
    });
    return json(200, { token_type: 'Bearer', expires_in: standin.lifetime, ext_expires_in: standin.lifetime, ...(refreshIn ? { refresh_in: refreshIn } : {}), access_token: accessToken });
  });
  return Object.assign(standin, {
    tenant, key, lifetime, issuer: `${standin.url}/${tenant}/v2.0`, jwksUrl: `${standin.url}/${tenant}/discovery/v2.0/keys`, tokenUrl: `${standin.url}/${tenant}/oauth2/v2.0/token`,
    // As an origin checks it: {audience, client_id, role}. Throws if it is not good.
    verify: async (token, { audience, clientId, role }) => {
      const { payload } = await jose.jwtVerify(token, jose.createRemoteJWKSet(new URL(standin.jwksUrl)), { issuer: standin.issuer, audience, algorithms: ['RS256'] });
      if (payload.azp !== clientId) throw new Error(`the token is for ${payload.azp}`);
      if (role && !payload.roles.includes(role)) throw new Error(`it has not the role ${role}`);
      return payload;
    },
  });
}
