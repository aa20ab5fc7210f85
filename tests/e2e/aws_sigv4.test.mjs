// aws_sigv4 against two implementations of AWS's own: the origin signs each request that it receives once more, with
// @smithy/signature-v4 and with botocore, and refuses it if theirs is another signature.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway, root } from './lib/gateway.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { ask, connectHttp2, peer } from './lib/peers.mjs';
import { Process } from './lib/process.mjs';
import { resend, startVerifyingOrigin } from './lib/signature_origins.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

const { SignatureV4 } = peer('@smithy/signature-v4');
const { Sha256 } = peer('@aws-crypto/sha256-js');

const directory = temporaryDirectory();
const credentials = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: randomBytes(30).toString('base64') };
const sessionToken = randomBytes(300).toString('base64');
const file = (name, content) => {
  const full = path.join(directory, name);
  writeFileSync(full, content, { mode: 0o600 });
  return `\${file:${full}}`;
};
const secretFile = file('secret', credentials.secretAccessKey);
const region = 'eu-central-1';

// Needs Debian's own python3, for which ./dev setup installs botocore.
const botocore = new Process('/usr/bin/python3', [path.join(root, 'tests/e2e/lib/botocore_oracle.py')], { input: null });
let asked = 0;
let turn = Promise.resolve();
async function botocoreSignature(it) {
  const answer = turn.then(async () => {
    botocore.child.stdin.write(`${JSON.stringify(it)}\n`);
    const line = asked++;
    return until('botocore', () => {
      if (botocore.exit) throw new Error(botocore.stderr);
      const lines = botocore.stdout.split('\n');
      return lines.length > line + 1 && lines[line];
    });
  });
  turn = answer.catch(() => {});
  return answer;
}

// What AWS's edge takes out of a query before it compares: names and values, decoded once.
function parsedQuery(text) {
  const out = {};
  for (const pair of text.split('&').filter((each) => each !== '')) {
    const [, name, value] = /^([^=]*)=?(.*)$/s.exec(pair).map((each) => decodeURIComponent(each));
    out[name] = name in out ? [out[name], value].flat() : value;
  }
  return out;
}

function judge(service, { token, unsigned = false } = {}) {
  const signer = new SignatureV4({ credentials: { ...credentials, sessionToken: token }, region, service, sha256: Sha256, uriEscapePath: service !== 's3' });
  return async (it) => {
    const authorization = it.raw.filter(({ name }) => name === 'authorization');
    if (authorization.length !== 1) throw new Error('Authorization is missing or there twice');
    const parts = /^AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})$/.exec(authorization[0].value);
    if (!parts) throw new Error('not SigV4');
    const [, credential, signedText, signature] = parts;
    const signed = signedText.split(';');
    const date = it.headers['x-amz-date'];
    const scope = `${credentials.accessKeyId}/${date.slice(0, 8)}/${region}/${service}/aws4_request`;
    if (credential !== scope) throw new Error(`scope ${credential}`);
    for (const name of ['host', ...Object.keys(it.headers).filter((each) => each.startsWith('x-amz-'))]) if (!signed.includes(name)) throw new Error(`${name} is not signed`);
    const when = new Date(date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'));
    if (Math.abs(Date.now() - when) > 300_000) throw new Error('late');
    const hash = it.headers['x-amz-content-sha256'];
    if (hash !== (unsigned ? 'UNSIGNED-PAYLOAD' : createHash('sha256').update(it.body).digest('hex'))) throw new Error('another body');
    if ((it.headers['x-amz-security-token'] ?? undefined) !== token) throw new Error('another token');

    const headers = Object.fromEntries(signed.map((name) => [name, name === 'host' ? it.authority : it.headers[name]]));
    const [sent, query = ''] = it.target.split(/\?(.*)/s);
    // S3 compares object keys: whatever could be written plainly or encoded is one key, in one spelling.
    const path_ = service === 's3' ? sent.split('/').map((each) => encodeURIComponent(decodeURIComponent(each)).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)).join('/') : sent;
    const again = await signer.sign({ method: it.method, protocol: 'https:', hostname: it.authority, path: path_, query: parsedQuery(query), headers, body: it.body }, { signingDate: when });
    const theirs = /Signature=(\w+)$/.exec(again.headers.authorization)[1];
    if (theirs !== signature) throw new Error(`smithy: ${signature} is not ${theirs}, ${again.headers.authorization}`);
    // botocore takes queries as they are, so only those that are canonical already can be compared.
    const canonical = query.split('&').every((each) => /^[\w.~%-]+=[\w.~%-]*$/.test(each) && each === each.split('=').map((part) => encodeURIComponent(decodeURIComponent(part))).join('='));
    if (query !== '' && !canonical) return;
    const other = await botocoreSignature({ method: it.method, url: `https://${it.authority}${path_}${it.target.slice(sent.length)}`, headers: Object.entries(headers), body: it.body.toString('base64'), region, service, key: credentials.accessKeyId, secret: credentials.secretAccessKey, s3: service === 's3' });
    compared++;
    if (other !== signature) throw new Error(`botocore: ${signature} is not ${other}`);
  };
}
let compared = 0;

let gateway;
const origins = {};
let failures = 0;
before(async () => {
  origins.api = await startVerifyingOrigin(judge('execute-api'));
  origins.h2 = await startVerifyingOrigin(judge('execute-api'), { h2: true });
  origins.s3 = await startVerifyingOrigin(judge('s3'));
  origins.lambda = await startVerifyingOrigin(judge('lambda', { token: sessionToken }));
  origins.lattice = await startVerifyingOrigin(judge('vpc-lattice-svcs', { unsigned: true }));
  origins.forwarding = await startVerifyingOrigin(judge('execute-api'));
  origins.flaky = await startVerifyingOrigin(judge('execute-api'), { before: (it, incoming) => failures-- > 0 && (incoming.socket.destroy(), true) });
  const own = { access_key_id: credentials.accessKeyId, secret_access_key: secretFile };
  const identities = {
    api: { service: 'execute-api' }, h2: { service: 'execute-api' }, flaky: { service: 'execute-api' },
    s3: { service: 's3', pass: ['X-Amz-Meta-Owner'] },
    lambda: { service: 'lambda', credentials: { access_key_id: '${env:TEST_AWS_ID}', secret_access_key: '${env:TEST_AWS_SECRET}', session_token: '${env:TEST_AWS_TOKEN}' } },
    lattice: { service: 'vpc-lattice-svcs', payload: 'unsigned' },
    forwarding: { service: 'execute-api', client_authorization: 'forward' },
  };
  gateway = await Gateway.start(({ port }) => ({
    listeners: [{ address: `127.0.0.1:${port}`, http2: 'h2c' }],
    origins: Object.fromEntries(Object.entries(origins).map(([name, { url }]) => [name, {
      url, host: `${name}.example.amazonaws.com`, identity: [{ aws_sigv4: { region, credentials: own, ...identities[name] } }], ...(name === 'h2' ? { http2: 'always' } : {}), ...(name === 'flaky' ? { retries: { attempts: 3 } } : {}),
    }])),
    routes: Object.keys(origins).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true })),
  }), { env: { TEST_AWS_ID: credentials.accessKeyId, TEST_AWS_SECRET: credentials.secretAccessKey, TEST_AWS_TOKEN: sessionToken } });
});

const targets = ['/x', '/x/', '/', '/a%20b', '/%E2%82%AC', '/a+b', '/a;p=1/b', "/it's", '/a!$&*()=:@~_-.', '/x?', '/x?a=1', '/x?b=2&a=1', '/x?a=2&a=1&b', '/x?a=%20&b=', '/x?%61=b', '/x?a=1%2B2',
  '/x?q=a%3Fb%2Fc&Z=1&z=2', '/x?q=a?b/c', `/x?${Array.from({ length: 200 }, (_, n) => `k${n}=${n}`).join('&')}`];

for (const name of ['api', 'h2', 's3', 'lambda', 'lattice']) {
  test(`every target, to ${name}`, async (t) => {
    for (const target of targets) {
      await t.test(target.slice(0, 60), async () => {
        const response = await exchange(gateway.port, request(`/${name}${target}`));
        assert.equal(response.status, 200, response.text());
      });
    }
  });
  test(`every body, to ${name}`, async () => {
    for (const body of ['', 'x', Buffer.from([0, 255, 13, 10]), randomBytes(600_000)]) {
      for (const method of ['POST', 'PUT', 'DELETE']) {
        const response = await fetch(`${gateway.url}/${name}/x?a=1`, { method, body, headers: { 'content-type': 'application/x-thing;  charset="a  b"', 'user-agent': 'somebody' } });
        assert.equal(response.status, 200, `${method}: ${await response.text()}`);
        assert.ok(origins[name].last().body.equals(Buffer.from(body)));
      }
    }
    const chunked = await fetch(`${gateway.url}/${name}/x`, { method: 'POST', body: new Blob(['piece ', 'by piece']).stream(), duplex: 'half' });
    assert.equal(chunked.status, 200, await chunked.text());
    const client = await connectHttp2(gateway.port);
    const answer = await ask(client, `/${name}/x?a=1`, { method: 'POST', body: 'hello' });
    assert.equal(answer.status, 200, answer.body);
    client.close();
  });
}
test('both of them have judged', () => assert.ok(compared > 100, String(compared)));

test('around the gateway nobody gets in', async (t) => {
  await fetch(`${gateway.url}/api/pay?to=alice`, { method: 'POST', body: 'amount=10' });
  const it = origins.api.last();
  assert.equal((await resend(origins.api, it)).status, 200, 'the oracle is right: SigV4 has no nonce, times and TLS limit a replay');
  const changes = { method: { method: 'PUT' }, path: { target: '/api/other?to=alice' }, query: { target: '/api/pay?to=mallory' }, body: { body: Buffer.from('amount=99') }, host: { fields: { host: 'other.example' } }, date: { fields: { 'x-amz-date': '20200101T000000Z' } }, 'no signature': { drop: ['authorization'] }, 'an order of its own': { fields: { 'x-amz-acl': 'public-read' } } };
  for (const [name, change] of Object.entries(changes)) await t.test(`another ${name}`, async () => assert.equal((await resend(origins.api, it, change)).status, 401));
});

test('a client gives the service no orders in the name of the gateway', async () => {
  const headers = ['X-Amz-Acl: public-read', 'x_amz_acl: public-read', 'X-Amz-Meta-Owner: me', 'X-Amz-Date: 20200101T000000Z', 'X-Amz-Security-Token: mine', 'X-Amz-Content-Sha256: UNSIGNED-PAYLOAD', 'Authorization: Bearer mine', 'X-Amzn-Trace-Id: stays'];
  const response = await exchange(gateway.port, request('/s3/key', { method: 'PUT', headers, body: 'content' }));
  assert.equal(response.status, 200, response.text());
  const { raw, headers: got } = origins.s3.last();
  assert.ok(!raw.some(({ value }) => /public-read|mine/.test(value)), JSON.stringify(raw));
  assert.equal(got['x-amz-meta-owner'], 'me');
  assert.equal(got['x-amzn-trace-id'], 'stays');
  assert.ok(!('x-forwarded-authorization' in got));
  assert.match(got.authorization, /SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-owner,/);
  const forwarded = await exchange(gateway.port, request('/forwarding/x', { headers: ['Authorization: Bearer mine', 'X-Forwarded-Authorization: Bearer forged'] }));
  assert.equal(forwarded.status, 200, forwarded.text());
  assert.equal(origins.forwarding.last().headers['x-forwarded-authorization'], 'Bearer mine');
});

test('every attempt is signed for itself', async () => {
  failures = 2;
  const response = await fetch(`${gateway.url}/flaky/x`, { method: 'PUT', body: 'hello' });
  assert.equal(response.status, 200, await response.text());
  assert.equal(origins.flaky.seen.length, 3);
});

test('over the limit 413, and no limit where nothing is signed', async () => {
  const body = Buffer.alloc(2 ** 20 + 1);
  const refused = await fetch(`${gateway.url}/api/x`, { method: 'POST', body });
  assert.equal(refused.status, 413);
  assert.equal((await refused.json()).code, 'PST-R413');
  assert.equal((await fetch(`${gateway.url}/lattice/x`, { method: 'POST', body })).status, 200);
});

test('origin test shows the canonical request, and no token', async () => {
  const { code, stdout, stderr } = await gateway.postern('origin test', 'lambda', '--path', '/x?b=2&a=1');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /canonical request \(SigV4\)\n {4}\| GET\n {4}\| \/x\n {4}\| a=1&b=2\n/);
  assert.match(stdout, /\| x-amz-security-token:\[redacted\]\n/);
  assert.match(stdout, /string to sign \(SigV4\)\n {4}\| AWS4-HMAC-SHA256\n/);
  for (const output of [stdout, gateway.output()]) for (const secret of [sessionToken, credentials.secretAccessKey]) assert.ok(!output.includes(secret));
  assert.ok(!readFileSync(gateway.file, 'utf8').includes(credentials.secretAccessKey));
});
