// Managed mTLS from end to end: the authorities of a deployment, an origin that is locked with exactly what
// `postern ca export` prints, certificates that the gateway issues to itself and renews, and everybody else outside.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { before, test } from 'node:test';
import { Authority, selfSigned } from './lib/certificates.mjs';
import { freePort, onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { FakeClock } from './lib/fake_clock.mjs';
import { Gateway, postern } from './lib/gateway.mjs';
import { Process, run } from './lib/process.mjs';
import { exchangeTls, refusalOf } from './lib/tls_client.mjs';
import { apply, certificateOf, status } from './lib/tls_gateway.mjs';
import { startCaddyWith, startHaproxyWith, startNginxWith, startTlsNode } from './lib/tls_origins.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const servers = ['nginx', 'haproxy', 'caddy', 'node'];
const ca = (directory, verb, ...args) => postern(['ca', verb, '--directory', directory, ...args]);
async function good(promise) {
  const result = await promise;
  assert.equal(result.code, 0, result.stdout + result.stderr);
  return result;
}
const json = async (promise) => JSON.parse((await good(promise)).stdout);

// A key of one's own and what `ca sign` makes of its request: options for Node.
async function sign(directory, use, ...args) {
  const at = temporaryDirectory();
  const [key, csr, out] = ['key', 'csr', 'pem'].map((name) => path.join(at, name));
  await good(run('openssl', ['req', '-new', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-subj', '/CN=ignored', '-addext', 'subjectAltName=DNS:ignored.test', '-keyout', key, '-out', csr]));
  await good(ca(directory, 'sign', '--use', use, '--csr', csr, '--out', out, ...args));
  chmodSync(key, 0o600);
  return { cert: readFileSync(out, 'utf8'), key: readFileSync(key, 'utf8'), files: { certificate: out, key } };
}

// The application behind the server: says that it was reached.
let application;
async function startApplication() {
  const server = http.createServer((req, res) => res.end('the application\n'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => { server.closeAllConnections(); server.close(); });
  return server.address().port;
}

// An origin NAME of the deployment in `directory`: its certificate, the exported configuration as it is, a port.
async function startOrigin(server, name, directory, { env = {} } = {}) {
  const at = temporaryDirectory();
  const port = await freePort();
  await good(ca(directory, 'issue-origin', name, '--ip', '127.0.0.1', '--dns', 'localhost', '--out', at));
  writeFileSync(path.join(at, 'client-ca.pem'), (await good(ca(directory, 'export'))).stdout);
  const { stdout: snippet } = await good(ca(directory, 'export', '--for', server, '--origin', name, '--files', at, '--port', String(port), '--backend', `127.0.0.1:${application}`));
  let origin;
  if (server === 'nginx') origin = await startNginxWith(snippet, { port, env });
  if (server === 'haproxy') {
    writeFileSync(path.join(at, `${name}.haproxy.pem`), readFileSync(path.join(at, `${name}.pem`), 'utf8') + readFileSync(path.join(at, `${name}.key`), 'utf8'), { mode: 0o600 });
    origin = await startHaproxyWith(snippet, { port });
  }
  if (server === 'caddy') origin = await startCaddyWith(snippet, { port });
  if (server === 'node') {
    writeFileSync(path.join(at, 'server.mjs'), snippet);
    origin = { port, url: `https://127.0.0.1:${port}`, process: new Process(process.execPath, [path.join(at, 'server.mjs')]) };
    await until('Node to listen', () => Wire.connect(port).then((wire) => { wire.close(); return true; }, () => false));
  }
  return Object.assign(origin, { name, files: at, authority: readFileSync(path.join(directory, 'server-ca.pem'), 'utf8') });
}
const managed = (origins) => ({
  origins: Object.fromEntries(Object.entries(origins).map(([name, { url }]) => [name, { url, trust: { ca: 'managed' }, identity: [{ mtls: { managed: true } }], retries: { attempts: 1 } }])),
  routes: Object.keys(origins).map((name) => ({ match: { path: `/${name}` }, origin: name, public: true })),
});
const nowhere = { url: 'https://127.0.0.1:9' };

let gateway;
let directory;
let origins;
before(async () => {
  application = await startApplication();
  gateway = new Gateway();
  await gateway.prepare(managed({ orders: nowhere }));
  directory = path.join(gateway.directory, 'state', 'ca');
  await good(gateway.postern('ca init'));
  origins = {};
  for (const server of servers) origins[server] = await startOrigin(server, server, directory);
  gateway.write(managed(origins));
  await gateway.launch();
});

test('through the gateway 200, directly not even a handshake', async (t) => {
  for (const server of servers) {
    const { port, authority } = origins[server];
    await t.test(server, async () => {
      const response = await exchange(gateway.port, request(`/${server}`));
      assert.equal(response.status, 200, response.text());
      assert.match(response.text(), server === 'node' ? /hello/ : /the application/);
      assert.equal((await gateway.logged(({ path: at }) => at === `/${server}`)).origin_certificate, 'presented');
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
        const refusal = await refusalOf(port, { ca: authority, servername: 'localhost', maxVersion });
        assert.match(refusal, /ALERT_HANDSHAKE_FAILURE|CERTIFICATE_REQUIRED|ALERT_BAD_CERTIFICATE/, maxVersion);
      }
      const curl = await run('curl', ['-sSk', `https://127.0.0.1:${port}/`]);
      assert.equal(curl.stdout, '');
      assert.notEqual(curl.code, 0, curl.stderr);
    });
  }
});

test('a certificate of somebody else does not open it', async (t) => {
  const elsewhere = path.join(temporaryDirectory(), 'ca');
  await good(ca(elsewhere, 'init'));
  const { deployment } = await json(ca(directory, 'show', '--json'));
  const uri = (name) => `postern://${deployment}/gateway/forged/origin/${name}`;
  for (const server of servers) {
    const { port, authority, files } = origins[server];
    const other = servers.find((name) => name !== server);
    const forger = Authority.root('Forger');
    const callers = {
      'the right one': await sign(directory, 'client', '--origin', server, '--gateway', 'test'),
      'that for another origin of the same deployment': await sign(directory, 'client', '--origin', other, '--gateway', 'test'),
      'that for an origin whose name begins alike': await sign(directory, 'client', '--origin', `${server}-2`, '--gateway', 'test'),
      'that of another deployment for an origin of this name': await sign(elsewhere, 'client', '--origin', server, '--gateway', 'test'),
      'that of the origin itself': { cert: readFileSync(path.join(files, `${server}.pem`)), key: readFileSync(path.join(files, `${server}.key`)) },
      'a server certificate with its name': await sign(directory, 'server', '--dns', server, '--origin', server),
      'signed by itself, with the right names': selfSigned({ subject: `CN=${server}`, use: 'client', uri: [uri(server)] }).tls,
      'of an authority of its own, with the right names': forger.issue({ subject: `CN=${server}`, use: 'client', uri: [uri(server)] }).tls,
    };
    for (const [what, caller] of Object.entries(callers)) {
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
        await t.test(`${server}: ${what}, ${maxVersion}`, async () => {
          const options = { ca: authority, servername: 'localhost', maxVersion, cert: caller.cert, key: caller.key };
          if (what === 'the right one') {
            assert.equal((await exchangeTls(port, request('/', { host: 'localhost' }), options)).status, 200);
            return;
          }
          if ((await refusalOf(port, options)) !== '') return;
          const response = await exchangeTls(port, request('/', { host: 'localhost' }), options);
          assert.ok([400, 403].includes(response.status), `${response.status}`);
          assert.doesNotMatch(response.text(), /the application|hello/);
        });
      }
    }
  }
});

test('Caddy answers for the host that the handshake named, as its snippet says', async () => {
  const { port } = origins.caddy;
  await apply(gateway, managed({ ...origins, addressed: { url: `https://127.0.0.1:${port}` } }));
  const response = await exchange(gateway.port, request('/addressed'));
  assert.equal(response.status, 421, response.text());
  await apply(gateway, managed(origins));
});

test('what the gateway shows: short-lived, for this origin, from this deployment', async () => {
  const { deployment, authorities } = await json(ca(directory, 'show', '--json'));
  const { certificates } = await status(gateway);
  for (const server of servers) {
    const entry = certificates.find(({ where }) => where === `origins.${server}.identity.mtls`);
    assert.equal(entry.subject, `CN=${server}`);
    const hours = (Date.parse(entry.not_after) - Date.now()) / 3_600_000;
    assert.ok(hours > 23 && hours <= 24, `${hours} hours`);
  }
  assert.equal(new Set(certificates.map(({ fingerprint }) => fingerprint)).size, certificates.length, 'one for each');
  for (const use of ['client', 'server']) {
    assert.equal(certificates.find(({ where }) => where === `ca.${use}`).fingerprint, authorities.find((authority) => authority.use === use).sha256);
    assert.ok((await gateway.metric('postern_certificate_days_left', { where: `ca.${use}` })) > 3600);
  }
  // What an origin can see of it.
  const { files } = origins.nginx;
  const read = (name) => readFileSync(path.join(files, name), 'utf8');
  const origin = await startTlsNode({ certificate: { tls: { cert: read('nginx.pem'), key: read('nginx.key') } }, clients: { pem: read('client-ca.pem') } });
  await apply(gateway, managed({ ...origins, spied: origin }));
  assert.equal((await exchange(gateway.port, request('/spied'))).status, 200);
  const seen = origin.requests[0].peer;
  assert.match(seen.subjectAltName, new RegExp(`^URI:postern://${deployment}/gateway/[^/]+/origin/spied$`));
  assert.equal(seen.ca, false);
  assert.deepEqual(seen.keyUsage, ['1.3.6.1.5.5.7.3.2'], 'for clients only');
  await apply(gateway, managed(origins));
});

test('postern origin test shows it', async () => {
  const tested = JSON.parse((await good(gateway.postern('origin test', 'nginx', '--json'))).stdout);
  assert.equal(tested.endpoints[0].status, 200);
  assert.equal(tested.endpoints[0].tls.client_certificate, 'presented');
  assert.equal(tested.endpoints[0].tls.verified, 'yes');
});

test('the certificate is renewed before it expires, and no request notices', async () => {
  const clock = new FakeClock();
  const renewing = new Gateway();
  await renewing.prepare(managed({ orders: nowhere }), { env: clock.env });
  const own = path.join(renewing.directory, 'state', 'ca');
  await good(ca(own, 'init'));
  const origin = await startOrigin('nginx', 'orders', own, { env: clock.env });
  renewing.write(managed({ orders: origin }));
  await renewing.launch();
  const where = 'origins.orders.identity.mtls';
  const fingerprints = [(await certificateOf(renewing, where)).fingerprint];
  for (const hours of [13, 26, 39, 52]) {
    clock.set(hours * 3600);
    let asked = 0;
    await until(`the renewal after ${hours} hours`, async () => {
      const response = await exchange(renewing.port, request('/orders'));
      assert.equal(response.status, 200, response.text());
      asked++;
      return (await certificateOf(renewing, where)).fingerprint !== fingerprints.at(-1);
    });
    assert.ok(asked > 0);
    const { fingerprint, not_after: end } = await certificateOf(renewing, where);
    fingerprints.push(fingerprint);
    assert.ok(Date.parse(end) - clock.now() > 23 * 3_600_000);
    assert.equal((await exchange(renewing.port, request('/orders'))).status, 200);
  }
  assert.equal(new Set(fingerprints).size, 5);
  // Less than half of its life gone: nothing happens.
  clock.set(52 * 3600 + 11 * 3600);
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  assert.equal((await certificateOf(renewing, where)).fingerprint, fingerprints.at(-1));
});

test('two gateways with one state directory are one deployment', async () => {
  const state = path.join(temporaryDirectory(), 'state');
  mkdirSync(state, { mode: 0o700 });
  const config = (all) => ({ state_directory: state, ...managed(all) });
  const pair = [new Gateway(), new Gateway()];
  for (const each of pair) await each.prepare(config({ orders: nowhere }));
  // Both at once: one makes the authorities, the other finds them.
  await Promise.all(pair.map((each) => each.launch()));
  const shared = path.join(state, 'ca');
  const origin = await startOrigin('nginx', 'orders', shared);
  for (const each of pair) await apply(each, config({ orders: origin }));
  for (const each of pair) {
    assert.equal((await exchange(each.port, request('/orders'))).text(), 'the application\n');
    const shown = (await status(each)).certificates;
    assert.equal(shown.find(({ where }) => where === 'ca.client').fingerprint, (await json(ca(shared, 'show', '--json'))).authorities[0].sha256);
  }
});

test('the key of the client CA may be kept elsewhere: certificates are signed there', async (t) => {
  const own = path.join(temporaryDirectory(), 'ca');
  const key = path.join(temporaryDirectory(), 'offline.key');
  await good(ca(own, 'init', '--offline-client-key', key));
  assert.ok(!existsSync(path.join(own, 'client-ca.key')));
  assert.equal(statSync(key).mode & 0o777, 0o600);
  assert.deepEqual((await json(ca(own, 'show', '--json'))).authorities.map((each) => [each.use, each.key]), [['client', false], ['server', true]]);
  const origin = await startOrigin('nginx', 'orders', own);
  await t.test('without the key nothing is signed', async () => {
    const at = temporaryDirectory();
    await run('openssl', ['req', '-new', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-subj', '/', '-keyout', path.join(at, 'k'), '-out', path.join(at, 'csr')]);
    const { code, stderr } = await ca(own, 'sign', '--use', 'client', '--csr', path.join(at, 'csr'), '--origin', 'orders');
    assert.equal(code, 1);
    assert.match(stderr, /--ca-key/);
    chmodSync(key, 0o644);
    const readable = await ca(own, 'sign', '--use', 'client', '--csr', path.join(at, 'csr'), '--origin', 'orders', '--ca-key', key);
    assert.equal(readable.code, 1, 'a key that others may read');
    chmodSync(key, 0o600);
    const wrong = await ca(own, 'sign', '--use', 'client', '--csr', path.join(at, 'csr'), '--origin', 'orders', '--ca-key', path.join(own, 'server-ca.key'));
    assert.equal(wrong.code, 1, 'the key of another authority');
  });
  await t.test('with it the gateway gets in, by files', async () => {
    const { files } = await sign(own, 'client', '--origin', 'orders', '--gateway', 'edge', '--ca-key', key, '--days', '7');
    const leaf = new X509Certificate(readFileSync(files.certificate));
    assert.match(leaf.subjectAltName, /\/gateway\/edge\/origin\/orders$/);
    assert.doesNotMatch(leaf.subjectAltName, /ignored/, 'of a request only the key is taken over');
    const each = await Gateway.start({
      origins: { orders: { url: origin.url, trust: { ca: path.join(own, 'server-ca.pem') }, identity: [{ mtls: files }] } },
      routes: [{ match: { path: '/*' }, origin: 'orders', public: true }],
    });
    assert.equal((await exchange(each.port, request('/'))).text(), 'the application\n');
  });
  await t.test('a gateway that is to issue to itself does not start, and says why', async () => {
    const each = new Gateway();
    await each.prepare({ ...managed({ orders: origin }), state_directory: path.dirname(own) }, { ready: false });
    chmodSync(path.dirname(own), 0o700);
    await each.launch();
    const { code } = await each.process.ended;
    assert.notEqual(code, 0);
    assert.match(each.output(), /key/);
  });
});

test('the directory of the authorities', async (t) => {
  const own = path.join(temporaryDirectory(), 'ca');
  await t.test('is made once, for its owner alone', async () => {
    assert.notEqual((await ca(own, 'show')).code, 0, 'there is none');
    await good(ca(own, 'init'));
    assert.equal(statSync(own).mode & 0o777, 0o700);
    for (const name of ['client-ca.key', 'server-ca.key']) assert.equal(statSync(path.join(own, name)).mode & 0o777, 0o600, name);
    const made = readFileSync(path.join(own, 'client-ca.pem'), 'utf8');
    const again = await ca(own, 'init');
    assert.equal(again.code, 1);
    assert.equal(readFileSync(path.join(own, 'client-ca.pem'), 'utf8'), made);
  });
  await t.test('holds two authorities that sign for one use only, and no further authorities', async () => {
    for (const [name, use] of [['client', '1.3.6.1.5.5.7.3.2'], ['server', '1.3.6.1.5.5.7.3.1']]) {
      const authority = new X509Certificate(readFileSync(path.join(own, `${name}-ca.pem`)));
      assert.ok(authority.ca);
      assert.deepEqual(authority.keyUsage, [use]);
      const { stdout } = await run('openssl', ['x509', '-noout', '-text', '-in', path.join(own, `${name}-ca.pem`)]);
      assert.match(stdout, /CA:TRUE, pathlen:0/);
      assert.match(stdout, /Certificate Sign/);
    }
  });
  await t.test('a key that others may read is not used', async () => {
    chmodSync(path.join(own, 'client-ca.key'), 0o640);
    const { code, stderr } = await ca(own, 'show');
    assert.equal(code, 1);
    assert.match(stderr, /client-ca\.key/);
    chmodSync(path.join(own, 'client-ca.key'), 0o600);
    await good(ca(own, 'show'));
  });
  await t.test('who holds its lock is waited for, but not for ever', async () => {
    const holder = new Process('flock', [path.join(own, 'lock'), 'sleep', '30']);
    await until('the lock to be held', async () => (await run('flock', ['-n', path.join(own, 'lock'), 'true'])).code !== 0);
    const waiting = ca(own, 'show');
    const { code, stderr } = await waiting;
    assert.equal(code, 1, stderr);
    assert.match(stderr, /lock/);
    await holder.stop();
    await run('flock', [path.join(own, 'lock'), 'true'], { timeout: 40_000 });
    await good(ca(own, 'show'));
  });
  await t.test('issue-origin replaces what it made before, and keeps the key private', async () => {
    const at = path.join(temporaryDirectory(), 'out');
    await good(ca(own, 'issue-origin', 'orders', '--dns', 'orders.internal', '--ip', '10.0.0.1', '--out', at));
    assert.deepEqual(readdirSync(at).sort(), ['orders.key', 'orders.pem']);
    assert.equal(statSync(path.join(at, 'orders.key')).mode & 0o777, 0o600);
    const first = new X509Certificate(readFileSync(path.join(at, 'orders.pem')));
    assert.equal(first.subjectAltName, 'DNS:orders.internal, IP Address:10.0.0.1');
    assert.deepEqual(first.keyUsage, ['1.3.6.1.5.5.7.3.1']);
    const days = (Date.parse(first.validTo) - Date.now()) / 86_400_000;
    assert.ok(days > 89 && days < 91);
    await good(ca(own, 'issue-origin', 'orders', '--dns', 'orders.internal', '--out', at));
    assert.notEqual(new X509Certificate(readFileSync(path.join(at, 'orders.pem'))).fingerprint256, first.fingerprint256);
  });
  await t.test('what makes no sense is said', async () => {
    for (const args of [
      ['issue-origin', 'orders', '--out', own], ['issue-origin', 'No/Name', '--dns', 'a', '--out', own], ['export', '--for', 'nginx'], ['export', '--for', 'apache', '--origin', 'orders'],
      ['sign', '--use', 'client', '--csr', '/dev/null'], ['sign', '--use', 'both', '--csr', '/dev/null'], ['sign', '--use', 'server', '--csr', '/dev/null', '--origin', 'orders'], ['nothing'],
    ]) {
      assert.equal((await ca(own, ...args)).code, 2, args.join(' '));
    }
  });
  await t.test('a request that is none is refused', async () => {
    const at = path.join(temporaryDirectory(), 'csr');
    for (const text of ['', 'nonsense', '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n', selfSigned().pem]) {
      writeFileSync(at, text);
      assert.equal((await ca(own, 'sign', '--use', 'client', '--csr', at, '--origin', 'orders')).code, 1, JSON.stringify(text.slice(0, 40)));
    }
  });
});
