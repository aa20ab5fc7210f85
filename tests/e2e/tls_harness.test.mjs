// The tools of the TLS tests are tested first: a certificate that is bad in another way than it says proves nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Authority, complaint, rawName, selfSigned } from './lib/certificates.mjs';
import { FakeClock } from './lib/fake_clock.mjs';
import { run } from './lib/process.mjs';
import { byteByByte, exchangeTls, recordsOf, refusalOf, startCutter } from './lib/tls_client.mjs';
import { startTlsHaproxy, startTlsNginx, startTlsNode, startTlsRecorder } from './lib/tls_origins.mjs';
import { request } from './lib/wire.mjs';

test('openssl believes the good ones, and finds each bad one bad for its own reason', () => {
  const ca = Authority.root('CA');
  const name = 'a.test';
  const leaf = (options = {}, by = ca) => by.issue({ dns: [name], ...options });
  const cases = [
    ['good', leaf(), null],
    ['RSA', leaf({ key: 'rsa' }), null],
    ['P-384', leaf({ key: 'ec-384' }), null],
    ['through an intermediate', leaf({}, ca.intermediate('I', { pathLength: 0 })), null],
    ['within constraints', leaf({}, ca.intermediate('I', { constraints: 'permitted;DNS:test' })), null],
    ['foreign', leaf({}, Authority.root('CA')), /certificate signature failure|unable to get local issuer|authority and subject key identifier mismatch/],
    ['self-signed', selfSigned({ dns: [name] }), /self-signed/],
    ['expired', leaf({ from: -10, until: -1 }), /has expired/],
    ['early', leaf({ from: 1 }), /not yet valid/],
    ['for clients', leaf({ use: 'client' }), /unsuitable certificate purpose/],
    ['another name', leaf({ dns: ['b.test'] }), /hostname mismatch/],
    ['NUL in the name', leaf({ raw: [rawName.dns(`${name}\0.b.test`)] }), /hostname mismatch/],
    ['outside of constraints', leaf({}, ca.intermediate('I', { constraints: 'permitted;DNS:b.test' })), /permitted subtree violation/],
    ['too long a path', leaf({}, ca.intermediate('I', { pathLength: 0 }).intermediate('J')), /path length constraint exceeded/],
  ];
  for (const [what, pair, reason] of cases) {
    const said = complaint(pair, ca, { name });
    if (reason) assert.match(said ?? '', reason, what);
    else assert.equal(said, null, what);
  }
  assert.equal(complaint(leaf({ use: 'client' }), ca, { purpose: 'sslclient' }), null);
  assert.equal(leaf({ key: 'rsa-1024', digest: 'sha1' }).x509.publicKey.asymmetricKeyDetails.modulusLength, 1024);
});

test('nginx, HAProxy and Node refuse who shows no certificate, or a foreign one', async () => {
  const ca = Authority.root('CA');
  const clients = Authority.root('Clients');
  const certificate = ca.issue({ dns: ['api.test'] });
  const [right, foreign] = [clients, ca].map((by) => by.issue({ subject: 'CN=gateway', use: 'client' }));
  for (const start of [startTlsNginx, startTlsHaproxy, startTlsNode]) {
    const { port } = await start({ certificate, clients });
    const asked = async (pair) => (await exchangeTls(port, request('/'), { ca: ca.pem, ...pair?.tls }).catch(() => null))?.status;
    assert.equal(await asked(right), 200, start.name);
    for (const pair of [null, foreign]) assert.ok([undefined, 400].includes(await asked(pair)), start.name);
  }
  const strict = await startTlsNginx({ certificate, clients, extra: 'ssl_conf_command VerifyMode Require;' });
  assert.match(await refusalOf(strict.port, { ca: ca.pem }), /CERTIFICATE_REQUIRED/);
});

test('the recorder records what comes inside of TLS, and the cutter changes nothing but the pieces', async () => {
  const ca = Authority.root('CA');
  const recorder = await startTlsRecorder({ certificate: ca.issue({ dns: ['api.test'] }) });
  for (const cut of [byteByByte, recordsOf(1), recordsOf(7, { segments: false })]) {
    recorder.bytes = '';
    const port = await startCutter(recorder.port, cut);
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) assert.equal((await exchangeTls(port, request('/x'), { ca: ca.pem, maxVersion })).text(), 'recorded\n');
    assert.equal(recorder.bytes, request('/x').repeat(2));
  }
});

test('the calendar moves, forwards and back', async () => {
  const clock = new FakeClock();
  for (const days of [0, 40, -40]) {
    clock.days(days);
    const { stdout } = await run('date', ['+%s'], { env: clock.env });
    assert.ok(Math.abs(Number(stdout) * 1000 - clock.now()) < 3_000, `${days}: ${stdout}`);
  }
});
