// Verifies SigV4 as IAM does: the same request signed again, with the caller's secret, by @smithy/signature-v4.
import { peer } from './standin.mjs';

const { SignatureV4 } = peer('@smithy/signature-v4');
const { Sha256 } = peer('@aws-crypto/sha256-js');

// {accessKeyId, secretAccessKey, sessionToken?, ...} of whoever signed, or throws with IAM's own codes in the message.
// `secretOf(accessKeyId)` gives them; `request` is {method, url (a URL), headers, body}.
export async function verifySigV4(request, { service, region, secretOf, skew = 300 }) {
  const { headers } = request;
  const field = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/.exec(headers.authorization ?? '');
  if (!field) throw new Error('IncompleteSignature');
  const [, accessKeyId, day, signedRegion, signedService, names, signature] = field;
  if (signedRegion !== region || signedService !== service) throw new Error('SignatureDoesNotMatch: the scope is another');
  const credentials = secretOf(accessKeyId);
  if (!credentials) throw new Error('InvalidClientTokenId');
  if ((credentials.sessionToken ?? undefined) !== (headers['x-amz-security-token'] ?? undefined)) throw new Error('InvalidClientTokenId: the session token is another');
  if (credentials.expires && credentials.expires < Date.now()) throw new Error('ExpiredToken');
  const stamp = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(headers['x-amz-date'] ?? '');
  if (!stamp) throw new Error('IncompleteSignature: X-Amz-Date');
  const [, year, month, date, hour, minute, second] = stamp.map(Number);
  const signingDate = new Date(Date.UTC(year, month - 1, date, hour, minute, second));
  if (Math.abs(Date.now() - signingDate) > skew * 1000) throw new Error('RequestExpired');
  if (headers['x-amz-date'].slice(0, 8) !== day) throw new Error('SignatureDoesNotMatch: the day is another');
  const list = names.split(';');
  for (const needed of ['host', 'x-amz-date', ...(headers['x-amz-security-token'] ? ['x-amz-security-token'] : [])]) {
    if (!list.includes(needed)) throw new Error(`SignatureDoesNotMatch: ${needed} is not signed`);
  }
  const again = { method: request.method, protocol: 'http:', hostname: headers.host, path: request.url.pathname, query: Object.fromEntries(request.url.searchParams), headers: {}, body: request.body };
  for (const name of list) again.headers[name] = headers[name] ?? '';
  delete again.headers['x-amz-date'];
  delete again.headers['x-amz-security-token'];
  if (headers['x-amz-content-sha256']) again.headers['x-amz-content-sha256'] = headers['x-amz-content-sha256'];
  const signer = new SignatureV4({ service, region, credentials, sha256: Sha256, applyChecksum: false, uriEscapePath: service !== 's3' });
  const signed = await signer.sign(again, { signingDate, signableHeaders: new Set(list) });
  if (!signed.headers.authorization.endsWith(`Signature=${signature}`)) throw new Error('SignatureDoesNotMatch');
  return { accessKeyId, ...credentials };
}
