// Identity mtls with certificates of one's own: nginx, HAProxy and Node serve the gateway and refuse who comes with the
// wrong certificate or with none, and what happened can be seen in the log and with `postern origin test`.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Authority } from './lib/certificates.mjs';
import { Gateway, identity } from './lib/gateway.mjs';
import { exchangeTls, refusalOf } from './lib/tls_client.mjs';
import { certificateOf } from './lib/tls_gateway.mjs';
import { startTlsHaproxy, startTlsNginx, startTlsNode } from './lib/tls_origins.mjs';
import { exchange, request } from './lib/wire.mjs';

const versions = ['1.2', '1.3'];
let ca;
let clients;
let shown;
let origins;
let gateway;

before(async () => {
  ca = Authority.root('Origin CA');
  clients = Authority.root('Client CA');
  const foreign = Authority.root('Client CA');
  const certificate = ca.issue({ ip: ['127.0.0.1'] });
  const issue = (options = {}, by = clients) => by.issue({ subject: 'CN=gateway', use: 'client', ...options });
  shown = {
    right: issue(),
    rsa: issue({ key: 'rsa' }),
    chained: clients.intermediate('Client Intermediate', { pathLength: 0 }).issue({ subject: 'CN=gateway', use: 'client' }),
    missing: null,
    foreign: issue({}, foreign),
    wrong: ca.issue({ subject: 'CN=gateway', use: 'client' }),  // of the authority that signed the origin's own
    expired: issue({ from: -10, until: -1 }),
  };
  origins = {};
  for (const version of versions) {
    const [openssl, node] = [`TLSv${version}`, { minVersion: `TLSv${version}`, maxVersion: `TLSv${version}` }];
    const key = version.replace('.', '-');
    origins[`nginx-${key}`] = { ...await startTlsNginx({ certificate, clients, protocols: openssl }), refuses: 'with 400' };
    origins[`strict-nginx-${key}`] = { ...await startTlsNginx({ certificate, clients, protocols: openssl, extra: 'ssl_conf_command VerifyMode Require;' }), refuses: 'with an alert if there is none' };
    origins[`haproxy-${key}`] = { ...await startTlsHaproxy({ certificate, clients, versions: `ssl-min-ver ${openssl} ssl-max-ver ${openssl}` }), refuses: 'with an alert' };
    origins[`node-${key}`] = { ...await startTlsNode({ certificate, clients, ...node }), refuses: 'with an alert if there is none, else it closes' };
    origins[`http2-node-${key}`] = { ...await startTlsNode({ certificate, clients, http2: true, ...node }), refuses: 'with an alert if there is none, else it closes' };
  }
  origins.open = await startTlsNginx({ certificate });
  const all = {};
  for (const [name, { url }] of Object.entries(origins)) {
    for (const [what, pair] of Object.entries(shown)) {
      all[`${name}-${what}`] = { url, trust: { ca: ca.leaf }, identity: pair ? [{ mtls: pair.files }] : identity, retries: { attempts: 1 } };
    }
  }
  gateway = await Gateway.start({
    origins: all, routes: Object.keys(all).map((name) => ({ match: { path: `/${name}` }, origin: name, public: true })),
  });
});
const good = ['right', 'rsa', 'chained'];

test('directly nobody gets in', async (t) => {
  for (const [name, { port, refuses }] of Object.entries(origins)) {
    if (!refuses) continue;
    for (const what of ['missing', 'foreign', 'wrong', 'expired']) {
      await t.test(`${name}, ${what}`, async () => {
        const refusal = await refusalOf(port, { ca: ca.pem, servername: '', ...shown[what]?.tls });
        if (refusal === '') assert.equal((await exchangeTls(port, request('/'), { ca: ca.pem, servername: '', ...shown[what]?.tls })).status, 400);
      });
    }
    await t.test(`${name}, right`, async () => assert.equal((await exchangeTls(port, request('/'), { ca: ca.pem, servername: '', ...shown.right.tls })).status, 200));
  }
});

test('through the gateway: with the right certificate 200, with any other one nothing', async (t) => {
  for (const [name, { refuses }] of Object.entries(origins)) {
    if (!refuses) continue;
    for (const what of Object.keys(shown)) {
      await t.test(`${name}, ${what}`, async () => {
        const target = `/${name}-${what}`;
        const response = await exchange(gateway.port, request(target));
        const record = await gateway.logged(({ path }) => path === target);
        assert.equal(record.status, response.status);
        if (good.includes(what)) {
          assert.equal(response.status, 200, response.text());
          assert.equal(record.origin_certificate, 'presented');
          if (/http2/.test(name)) assert.equal(origins[name].requests.at(-1).version, '2.0');
          if (/nginx/.test(name)) assert.match(response.json().subject, /CN=gateway/);
          return;
        }
        if (what === 'expired') {  // the gateway knows that itself, and says so before anybody else does
          assert.equal(response.status, 503);
          assert.equal(response.problem().code, 'PST-U011');
          assert.match(record.error_detail, /expired/);
          return;
        }
        const state = what === 'missing' ? 'requested_not_presented' : 'presented';
        if (response.status === 400) {  // nginx answers over the connection that it does not like
          assert.match(name, /nginx/);
          assert.match(response.text(), /SSL certificate/);
          assert.equal(record.origin_certificate, state);
          return;
        }
        assert.equal(response.status, 502, response.text());
        // TLS 1.3 tells a client after its handshake is done; the reason is known as well.
        // Node does not say why, and in TLS 1.3 only after the handshake.
        const silent = refuses.endsWith('closes') && what !== 'missing';
        assert.ok(response.problem().code === 'PST-U012' || (silent && response.problem().code === 'PST-U004'), response.text());
        if (!silent) assert.match(record.error_detail, /alert/i);
        if (what === 'missing') assert.match(record.error_detail, /certificate required|handshake failure/i);
      });
    }
  }
});

test('an origin that does not ask is seen not to', async () => {
  const before = await gateway.metric('postern_origin_client_certificate_total', { state: 'not_requested' }) ?? 0;
  for (const what of ['right', 'missing']) {
    assert.equal((await exchange(gateway.port, request(`/open-${what}`))).status, 200);
    assert.equal((await gateway.logged(({ path }) => path === `/open-${what}`)).origin_certificate, 'not_requested');
  }
  assert.equal(await gateway.metric('postern_origin_client_certificate_total', { state: 'not_requested' }), before + 2);
  assert.ok(await gateway.metric('postern_origin_client_certificate_total', { state: 'presented' }) > 0);
  assert.ok(await gateway.metric('postern_origin_client_certificate_total', { state: 'requested_not_presented' }) > 0);
});

test('postern origin test says what it saw', async (t) => {
  const tested = async (name, ...args) => {
    const { code, stdout, stderr } = await gateway.postern('origin test', name, '--json', ...args);
    return { code, ...JSON.parse(stdout || '{}'), stderr };
  };
  await t.test('the right certificate', async () => {
    for (const version of versions) {
      const { code, origin, endpoints } = await tested(`haproxy-${version.replace('.', '-')}-right`);
      assert.equal(code, 0);
      assert.match(origin, /^haproxy/);
      const [{ tls, status, address }] = endpoints;
      assert.equal(status, 200);
      assert.match(address, /^127\.0\.0\.1:\d+$/);
      assert.equal(tls.protocol, `TLSv${version}`);
      assert.match(tls.cipher, /GCM|CHACHA/);
      assert.equal(tls.verified, 'yes');
      assert.equal(tls.client_certificate, 'presented');
      assert.match(tls.chain[0].names, /127\.0\.0\.1/);
      assert.match(tls.chain[0].spki, /^sha256\/[\w+/]{43}=$/);
      assert.ok(tls.chain.some(({ subject }) => subject === 'CN=Origin CA'));
    }
  });
  await t.test('requested, not presented', async () => {
    const { code, endpoints: [seen] } = await tested('nginx-1-3-missing');
    assert.equal(code, 0);
    assert.equal(seen.tls.client_certificate, 'requested_not_presented');
    assert.equal(seen.status, 400);
  });
  await t.test('not requested', async () => {
    const { endpoints: [seen] } = await tested('open-right');
    assert.equal(seen.tls.client_certificate, 'not_requested');
    const { stdout } = await gateway.postern('origin test', 'open-right');
    assert.match(stdout, /not requested/);
  });
  await t.test('refused', async () => {
    for (const name of ['haproxy-1-2-missing', 'haproxy-1-3-missing', 'haproxy-1-2-foreign', 'haproxy-1-3-foreign']) {
      const { code, endpoints: [seen] } = await tested(name);
      assert.equal(code, 5, name);
      assert.match(seen.problem, /alert/, name);
      assert.equal(seen.status, undefined);
    }
  });
  await t.test('an origin that is not the right one', async () => {
    const suspicious = await Gateway.start({
      origins: { main: { url: origins.open.url, trust: { ca: clients.leaf }, identity } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
    });
    const { code, stdout } = await suspicious.postern('origin test', 'main', '--json');
    assert.equal(code, 5);
    assert.match(JSON.parse(stdout).endpoints[0].problem, /issuer|authority|signature/i);
    assert.match((await suspicious.postern('origin test', 'main')).stdout, /FAILED/);
  });
  await t.test('a name that is none, a path', async () => {
    assert.equal((await gateway.postern('origin test', 'nothing')).code, 2);
    assert.equal((await tested('nginx-1-3-right', '--path', '/x')).endpoints[0].status, 200);
  });
});

test('explain, status and metrics know the certificate', async () => {
  const { stdout } = await gateway.postern('explain', 'GET http://api.test/nginx-1-3-right');
  assert.match(stdout, /mtls/);
  assert.match(stdout, /assurance/i);
  const certificate = await certificateOf(gateway, 'origins.nginx-1-3-right.identity.mtls');
  assert.equal(certificate.fingerprint, shown.right.fingerprint);
  assert.equal(certificate.subject, 'CN=gateway');
  assert.equal(await gateway.metric('postern_certificate_days_left', { where: 'origins.nginx-1-3-right.identity.mtls' }), 29);
  assert.equal((await certificateOf(gateway, 'origins.nginx-1-3-expired.identity.mtls')).state, 'expired');
});

test('mtls needs TLS, and stands once', async (t) => {
  const day = new Date(Date.now() + 10 * 86_400_000).toISOString().slice(0, 10);
  const mtls = { mtls: shown.right.files };
  for (const [what, origin, expected = 3] of [
    ['over http', { url: 'http://127.0.0.1:9', identity: [mtls] }],
    ['over a socket', { url: 'unix:///run/x.sock', identity: [mtls] }],
    ['twice', { url: 'https://127.0.0.1:9', trust: { ca: ca.leaf }, identity: [mtls, mtls] }],
    ['managed and from files', { url: 'https://127.0.0.1:9', trust: { ca: ca.leaf }, identity: [{ mtls: { ...shown.right.files, managed: true } }] }],
    ['managed: false', { url: 'https://127.0.0.1:9', trust: { ca: ca.leaf }, identity: [{ mtls: { managed: false } }] }],
    ['a certificate without its key', { url: 'https://127.0.0.1:9', trust: { ca: ca.leaf }, identity: [{ mtls: { certificate: shown.right.certificate } }] }],
    ['a certificate for servers', { url: 'https://127.0.0.1:9', trust: { ca: ca.leaf }, identity: [{ mtls: ca.issue({ ip: ['127.0.0.1'] }).files }] }],
    ['with insecure it is none of these', { url: 'https://127.0.0.1:9', insecure: { reason: 'its certificate comes later', until: day }, identity: [mtls] }, 0],
  ]) {
    await t.test(what, async () => {
      gateway.write({ ...gateway.config, origins: { main: origin }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }] });
      const { code, stdout, stderr } = await gateway.postern('check');
      assert.equal(code, expected, stdout + stderr);
    });
  }
});
