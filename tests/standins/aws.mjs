// In the place of AWS: the regional endpoint of STS. It verifies web identity tokens as IAM OIDC providers do, and
// signatures of AssumeRole; its XML is what @aws-sdk/client-sts takes. standin.credentials knows whom it let in.
//
//   const sts = await startSts({ region, users: [{ accessKeyId, secretAccessKey }], roles: [{ arn, providers: [{ issuer,
//     jwks?, audiences: [...], subject }], users: [accessKeyId], externalId?, maxDuration? }] });
import { randomBytes, randomUUID } from 'node:crypto';
import { Refusal, Standin, jose, verifyOutside } from './standin.mjs';
import { verifySigV4 } from './sigv4.mjs';

const namespace = 'https://sts.amazonaws.com/doc/2011-06-15/';
const escape = (value) => String(value).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const xml = (status, body) => ({ status, headers: { 'content-type': 'text/xml' }, body });
const refusal = ({ status, code, message }) => xml(status, `<ErrorResponse xmlns="${namespace}">
  <Error>
    <Type>Sender</Type>
    <Code>${escape(code)}</Code>
    <Message>${escape(message)}</Message>
  </Error>
  <RequestId>${randomUUID()}</RequestId>
</ErrorResponse>
`);
const refuse = (status, code, message) => { throw new Refusal(status, code, message); };

export async function startSts({ region = 'eu-central-1', users = [], roles = [], lifetime } = {}) {
  const credentials = new Map(users.map((user) => [user.accessKeyId, user]));

  function assume(role, form, subject) {
    const duration = Number(form.DurationSeconds ?? 3600);
    if (!Number.isInteger(duration) || duration < 900 || duration > (role.maxDuration ?? 43_200)) refuse(400, 'ValidationError', 'The requested DurationSeconds exceeds the MaxSessionDuration set for this role.');
    if (!/^[\w+=,.@-]{2,64}$/.test(form.RoleSessionName ?? '')) refuse(400, 'ValidationError', 'RoleSessionName is not valid');
    const seconds = standin.lifetime ?? duration;
    const name = form.RoleArn.split('/').at(-1);
    const made = {
      accessKeyId: `ASIA${randomBytes(10).toString('hex').toUpperCase().slice(0, 16)}`,
      secretAccessKey: randomBytes(30).toString('base64'),
      sessionToken: randomBytes(300).toString('base64'),
      expires: Date.now() + seconds * 1000,
      arn: `arn:aws:sts::123456789012:assumed-role/${name}/${form.RoleSessionName}`,
      subject,
    };
    credentials.set(made.accessKeyId, made);
    return made;
  }
  const answer = (action, made, more = '') => xml(200, `<${action}Response xmlns="${namespace}">
  <${action}Result>
    ${more}<AssumedRoleUser>
      <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:${escape(made.arn.split('/').at(-1))}</AssumedRoleId>
      <Arn>${escape(made.arn)}</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>${made.accessKeyId}</AccessKeyId>
      <SecretAccessKey>${escape(made.secretAccessKey)}</SecretAccessKey>
      <SessionToken>${escape(made.sessionToken)}</SessionToken>
      <Expiration>${new Date(made.expires).toISOString().replace(/\.\d+Z$/, 'Z')}</Expiration>
    </Credentials>
    <PackedPolicySize>6</PackedPolicySize>
  </${action}Result>
  <ResponseMetadata>
    <RequestId>${randomUUID()}</RequestId>
  </ResponseMetadata>
</${action}Response>
`);

  async function webIdentity({ form, headers }) {
    if (headers.authorization) refuse(400, 'ValidationError', 'AssumeRoleWithWebIdentity is not signed');
    const token = form.WebIdentityToken ?? '';
    let claims;
    try { claims = jose.decodeJwt(token); } catch { refuse(400, 'InvalidIdentityToken', 'The ID Token provided is not a valid JWT.'); }
    const role = roles.find(({ arn }) => arn === form.RoleArn);
    const provider = (roles.flatMap(({ providers = [] }) => providers)).find(({ issuer }) => issuer === claims.iss);
    if (!provider) refuse(400, 'InvalidIdentityToken', 'No OpenIDConnect provider found in your account for the issuer of the token');
    if (!provider.audiences.includes(claims.aud)) refuse(400, 'InvalidIdentityToken', 'Incorrect token audience');
    try {
      await verifyOutside(token, { issuer: provider.issuer, jwks: provider.jwks, audience: provider.audiences, algorithms: ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'] });
    } catch (error) {
      if (error.code === 'ERR_JWT_EXPIRED') refuse(400, 'ExpiredTokenException', 'Token expired: current date/time must be before the expiration date/time');
      if (error.cause || error.code === 'ERR_JWKS_TIMEOUT' || /fetch failed/.test(error.message)) refuse(400, 'IDPCommunicationError', "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements");
      refuse(400, 'InvalidIdentityToken', `The token is not good: ${error.code ?? error.message}`);
    }
    const trusted = role?.providers?.find(({ issuer, subject }) => issuer === claims.iss && subject === claims.sub);
    if (!trusted) refuse(403, 'AccessDenied', 'Not authorized to perform sts:AssumeRoleWithWebIdentity');
    const made = assume(role, form, claims.sub);
    return answer('AssumeRoleWithWebIdentity', made, `<SubjectFromWebIdentityToken>${escape(claims.sub)}</SubjectFromWebIdentityToken>
    <Audience>${escape(claims.aud)}</Audience>
    <Provider>arn:aws:iam::123456789012:oidc-provider/${escape(claims.iss.replace(/^\w+:\/\//, ''))}</Provider>
    `);
  }

  async function assumeRole(request) {
    const { form } = request;
    let who;
    try {
      who = await verifySigV4(request, { service: 'sts', region, secretOf: (id) => credentials.get(id) });
    } catch (error) {
      refuse(403, /^\w+/.exec(error.message)[0], error.message);
    }
    const role = roles.find(({ arn }) => arn === form.RoleArn);
    if (!role?.users?.includes(who.accessKeyId) && !role?.users?.includes(who.arn)) refuse(403, 'AccessDenied', `User is not authorized to perform: sts:AssumeRole on resource: ${form.RoleArn}`);
    if (role.externalId && role.externalId !== form.ExternalId) refuse(403, 'AccessDenied', `User is not authorized to perform: sts:AssumeRole on resource: ${form.RoleArn}`);
    return answer('AssumeRole', assume(role, form, who.accessKeyId));
  }

  const standin = await Standin.start(async (request) => {
    const { form } = request;
    if (request.url.pathname !== '/' || request.method !== 'POST') refuse(404, 'InvalidAction', 'there is nothing here');
    if (form.Version !== '2011-06-15') refuse(400, 'InvalidAction', `Could not find operation ${form.Action} for version ${form.Version}`);
    if (form.Action === 'AssumeRoleWithWebIdentity') return webIdentity(request);
    if (form.Action === 'AssumeRole') return assumeRole(request);
    return refuse(400, 'InvalidAction', `Could not find operation ${form.Action}`);
  }, { refusal });
  return Object.assign(standin, {
    region, lifetime, credentials,
    // As a service verifies a request that was signed with what this STS gave: {method, url, headers, body}.
    verify: (request, service) => verifySigV4(request, { service, region, secretOf: (id) => credentials.get(id) }),
  });
}
