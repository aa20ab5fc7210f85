// postern ca: the authorities of managed mTLS, and that what it prints for nginx, HAProxy and Node really locks them: in
// comes who has a certificate for this origin, and nobody else. The snippets run as they are but for paths and ports.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { X509Certificate } from 'node:crypto';
import { before, test } from 'node:test';
import { postern } from './lib/gateway.mjs';
import { freePort, onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { Process, run } from './lib/process.mjs';
import { until } from './lib/wait.mjs';

const root = temporaryDirectory();
const directory = path.join(root, 'state/ca');
const ca = (...args) => postern(['ca', ...args]);
const here = (...args) => ca(...args, '--directory', directory);
const read = (name) => readFileSync(path.join(directory, name), 'utf8');
const mode = (file) => (statSync(file).mode & 0o7777).toString(8);

const ok = (result) => {
  assert.equal(result.code, 0, result.stdout + result.stderr);
  return result.stdout;
};
const refused = (result, code, what) => {
  assert.equal(result.code, code, result.stdout + result.stderr);
  assert.match(result.stderr, what);
};

// A key and a request for it, made by somebody who has only openssl.
async function makeRequest(name) {
  const [key, csr] = [path.join(root, `${name}.key`), path.join(root, `${name}.csr`)];
  ok(await run('openssl', ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', csr, '-subj', '/CN=whatever']));
  return { csr, key: readFileSync(key, 'utf8') };
}
async function clientFor(origin, ...where) {
  const { csr, key } = await makeRequest(`client-${origin}`);
  return { key, cert: ok(await ca('sign', '--use', 'client', '--csr', csr, '--origin', origin, ...(where.length ? where : ['--directory', directory]))) };
}

before(async () => {
  ok(await here('init'));
});

test('init makes both authorities, once', async () => {
  assert.deepEqual(readdirSync(directory).sort(), ['client-ca.key', 'client-ca.pem', 'deployment', 'lock', 'server-ca.key', 'server-ca.pem']);
  assert.equal(mode(directory), '700');
  for (const key of ['client-ca.key', 'server-ca.key']) assert.equal(mode(path.join(directory, key)), '600');
  const before = read('client-ca.pem');
  refused(await here('init'), 1, /there are authorities already/);
  const error = JSON.parse((await here('init', '--json')).stdout).error;
  assert.match(error.what, /there are authorities already/);
  assert.match(error.code, /^PST-/);
  assert.equal(read('client-ca.pem'), before);
});

test('the directory is that of the configuration', async () => {
  const config = path.join(root, 'postern.yaml');
  writeFileSync(config, `version: 1\nstate_directory: ${path.join(root, 'other')}\n`);
  ok(await ca('init', '--config', config));
  assert.ok(existsSync(path.join(root, 'other/ca/client-ca.pem')));
  assert.match(ok(await ca('show', '--config', config)), /client CA[^]*server CA/);
  refused(await ca('show', '--config', path.join(root, 'missing.yaml')), 3, /--directory/);
});

test('show says what is there', async () => {
  const shown = JSON.parse(ok(await here('show', '--json')));
  assert.equal(shown.deployment, read('deployment').trim());
  for (const authority of shown.authorities) {
    const certificate = new X509Certificate(read(`${authority.use}-ca.pem`));
    assert.equal(authority.sha256, certificate.fingerprint256.replaceAll(':', '').toLowerCase());
    assert.equal(authority.serial, certificate.serialNumber.toLowerCase());
    assert.equal(Date.parse(authority.not_after), Date.parse(certificate.validTo));
    assert.ok(authority.days_left >= 3648 && authority.days_left <= 3650, String(authority.days_left));
    assert.equal(authority.key, true);
  }
  const text = ok(await here('show'));
  for (const authority of shown.authorities) assert.ok(text.includes(authority.sha256));
  refused(await ca('show', '--directory', path.join(root, 'nothing')), 1, /postern ca init/);
});

test('a key that others may read is refused', async () => {
  const key = path.join(directory, 'server-ca.key');
  chmodSync(key, 0o644);
  refused(await here('show'), 1, /server-ca\.key: others than its owner may read this key[^]*chmod 600/);
  chmodSync(key, 0o600);
  ok(await here('show'));
});

test('export prints what an origin must trust', async () => {
  assert.equal(ok(await here('export')), read('client-ca.pem'));
  assert.deepEqual(JSON.parse(ok(await here('export', '--json'))), { client_ca: read('client-ca.pem'), deployment: read('deployment').trim() });
  for (const server of ['nginx', 'haproxy', 'caddy', 'envoy', 'node']) {
    const text = ok(await here('export', '--for', server, '--origin', 'orders'));
    assert.doesNotMatch(text, /%[A-Z]+%|BEGIN/, server);
    assert.match(text, /orders/, server);
    const { snippet } = JSON.parse(ok(await here('export', '--for', server, '--origin', 'orders', '--json')));
    assert.equal(snippet, text);
    // For where that server has its files, and what it serves.
    const moved = ok(await here('export', '--for', server, '--origin', 'orders', '--files', '/srv/tls', '--port', '9443', '--backend', '[::1]:8081'));
    const behind = !['envoy', 'node'].includes(server);  // the others have a configuration of that, or are it
    assert.equal(moved, text.replaceAll('/etc/postern', '/srv/tls').replaceAll('8443', '9443').replaceAll('127.0.0.1:8080', '[::1]:8081'));
    assert.equal(text.includes('127.0.0.1:8080'), behind, server);
    if (server !== 'envoy') assert.match(text, /8443/, server);
  }
  for (const files of ['relative', '/a b', '/a";', '/a\n', '/${x}', '']) refused(await here('export', '--for', 'nginx', '--origin', 'orders', '--files', files), 2, /--files/);
  refused(await here('export', '--for', 'nginx', '--origin', 'orders', '--backend', 'a; b'), 2, /--backend/);
  refused(await here('export', '--for', 'nginx', '--origin', 'orders', '--port', '70000'), 2, /port/);
  refused(await here('export', '--port', '9443'), 2, /--for/);
  refused(await here('export', '--for', 'nginx'), 2, /--origin/);
  refused(await here('export', '--origin', 'orders'), 2, /--for/);
  refused(await here('export', '--for', 'iis', '--origin', 'orders'), 2, /iis/);
  refused(await here('export', '--for', 'nginx', '--origin', '"; evil'), 2, /no name of an origin/);
});

test('issue-origin makes a server certificate', async () => {
  const out = path.join(root, 'issued');
  const made = JSON.parse(ok(await here('issue-origin', 'orders', '--dns', 'orders.internal', '--dns', '*.orders.internal', '--ip', '10.0.0.7', '--out', out, '--json')));
  assert.deepEqual([made.dns, made.ip], [['orders.internal', '*.orders.internal'], ['10.0.0.7']]);
  assert.deepEqual(readdirSync(out).sort(), ['orders.key', 'orders.pem']);
  assert.equal(mode(path.join(out, 'orders.key')), '600');
  const certificate = new X509Certificate(readFileSync(made.certificate));
  assert.ok(certificate.verify(new X509Certificate(read('server-ca.pem')).publicKey));
  assert.equal(made.sha256, certificate.fingerprint256.replaceAll(':', '').toLowerCase());
  assert.ok(made.days_left >= 89 && made.days_left <= 90);
  const verify = (purpose) => run('openssl', ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', path.join(directory, 'server-ca.pem'), made.certificate]);
  assert.equal((await verify('sslserver')).code, 0);
  assert.notEqual((await verify('sslclient')).code, 0);

  ok(await here('issue-origin', 'orders', '--dns', 'orders.internal', '--out', out));
  assert.notEqual(new X509Certificate(readFileSync(made.certificate)).serialNumber, certificate.serialNumber, 'again: a new one in its place');
  refused(await here('issue-origin', 'orders', '--out', out), 2, /--dns or --ip/);
  refused(await here('issue-origin', 'orders', '--dns', 'a b', '--out', out), 2, /a b is no DNS name/);
  refused(await here('issue-origin', 'orders', '--ip', '10.0.0', '--out', out), 2, /10\.0\.0 is no IP address/);
  refused(await here('issue-origin', '../x', '--dns', 'a.example', '--out', out), 2, /no name of an origin/);
  refused(await here('issue-origin', 'orders', '--dns', 'a.example', '--out', made.certificate), 1, /Not a directory|cannot make/);
});

test('sign takes the key of a request and nothing else', async () => {
  const { csr, key } = await makeRequest('signed');
  const deployment = read('deployment').trim();
  const made = JSON.parse(ok(await here('sign', '--use', 'client', '--csr', csr, '--origin', 'orders', '--gateway', 'edge-1', '--days', '7', '--json')));
  assert.equal(made.subject, 'CN=orders');
  assert.deepEqual(made.uri, [`postern://${deployment}/gateway/edge-1/origin/orders`]);
  assert.ok(made.days_left >= 6 && made.days_left <= 7);
  const certificate = new X509Certificate(made.pem);
  assert.ok(certificate.checkPrivateKey((await import('node:crypto')).createPrivateKey(key)));
  assert.ok(certificate.verify(new X509Certificate(read('client-ca.pem')).publicKey));

  const file = path.join(root, 'signed.pem');
  ok(await here('sign', '--use', 'server', '--csr', csr, '--origin', 'orders', '--dns', 'orders.internal', '--out', file));
  assert.equal(new X509Certificate(readFileSync(file)).subjectAltName, 'DNS:orders.internal');

  refused(await here('sign', '--use', 'client', '--csr', csr), 2, /--origin/);
  refused(await here('sign', '--use', 'client', '--csr', csr, '--origin', 'orders', '--dns', 'a.example'), 2, /names of servers/);
  refused(await here('sign', '--use', 'client', '--csr', csr, '--origin', 'orders', '--gateway', 'Edge/1'), 2, /such as edge-1/);
  refused(await here('sign', '--use', 'server', '--csr', csr), 2, /--dns or --ip/);
  refused(await here('sign', '--use', 'both', '--csr', csr), 2, /both/);
  refused(await here('sign', '--use', 'server', '--csr', path.join(root, 'none'), '--dns', 'a.example'), 1, /No such file/);
  refused(await here('sign', '--use', 'server', '--csr', path.join(directory, 'client-ca.pem'), '--dns', 'a.example'), 1, /where one certificate request belongs/);
});

test('the key of the client CA may be kept elsewhere', async () => {
  const away = path.join(root, 'away');
  const key = path.join(root, 'usb-stick.key');
  const result = await ca('init', '--directory', away, '--offline-client-key', key);
  assert.match(ok(result), /not here, kept elsewhere/);
  assert.match(result.stderr, /usb-stick\.key alone/);
  assert.equal(mode(key), '600');
  assert.ok(!existsSync(path.join(away, 'client-ca.key')));
  const { csr } = await makeRequest('offline');
  const sign = (...args) => ca('sign', '--use', 'client', '--csr', csr, '--origin', 'orders', '--directory', away, ...args);
  refused(await sign(), 1, /--ca-key FILE/);
  refused(await sign('--ca-key', path.join(directory, 'client-ca.key')), 1, /not that of the certificate/);
  const certificate = new X509Certificate(ok(await sign('--ca-key', key)));
  assert.ok(certificate.verify(new X509Certificate(readFileSync(path.join(away, 'client-ca.pem'))).publicKey));
  chmodSync(key, 0o640);
  refused(await sign('--ca-key', key), 1, /others than its owner may read/);
  rmSync(away, { recursive: true });
  refused(await ca('init', '--directory', away, '--offline-client-key', key), 1, /File exists/);
});

// ---- the snippets ------------------------------------------------------------------------------------------------

const name = 'orders.internal';
const certificates = path.join(root, 'etc');
let app;

before(async () => {
  mkdirSync(certificates);
  ok(await here('issue-origin', 'orders', '--dns', name, '--out', certificates));
  writeFileSync(path.join(certificates, 'client-ca.pem'), ok(await here('export')));
  app = http.createServer((_, response) => response.end('hello\n'));
  await new Promise((resolve) => app.listen(0, '127.0.0.1', resolve));
  onCleanup(() => { app.closeAllConnections(); app.close(); });
});

// What a client with this certificate gets: {status, body}, or {error} if the handshake fails.
function ask(port, { servername = name, trust = read('server-ca.pem'), maxVersion, ...client }) {
  return new Promise((resolve) => {
    const request = https.get({ host: '127.0.0.1', port, servername, headers: { host: name }, ca: trust, agent: false, maxVersion, ...client }, async (response) => {
      let body = '';
      for await (const chunk of response) body += chunk;
      resolve({ status: response.statusCode, body });
    });
    request.on('error', (error) => resolve({ error: error.code ?? error.message }));
  });
}

// The snippet with the paths and ports of this test.
async function snippet(server, port, origin = 'orders') {
  return JSON.parse(ok(await here('export', '--for', server, '--origin', origin, '--json'))).snippet
    .replaceAll('/etc/postern', certificates).replaceAll('127.0.0.1:8080', `127.0.0.1:${app.address().port}`)
    .replace('listen 8443', `listen 127.0.0.1:${port}`).replace(':8443', server === 'caddy' ? `:${port}` : `127.0.0.1:${port}`).replace('(8443)', `(${port}, '127.0.0.1')`);
}
const start = {
  async nginx(text, work) {
    const file = path.join(work, 'nginx.conf');
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${work}/${kind};`).join('\n');
    writeFileSync(file, `daemon off;\npid ${work}/pid;\nerror_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n${temporary}\n${text}}\n`);
    return new Process('nginx', ['-p', work, '-c', file], { env: { PATH: `${process.env.PATH}:/usr/sbin` } });
  },
  async haproxy(text, work) {
    const [, command] = /as root:\n#\s+(.*)\n/.exec(text);
    ok(await run('sh', ['-c', command]));
    const file = path.join(work, 'haproxy.cfg');
    writeFileSync(file, `defaults\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n${text}`);
    return new Process('haproxy', ['-db', '-f', file], { env: { PATH: `${process.env.PATH}:/usr/sbin` } });
  },
  async caddy(text, work) {
    const file = path.join(work, 'Caddyfile');
    writeFileSync(file, `{\n  admin off\n  storage file_system ${work}/storage\n}\n${text}`);
    return new Process('caddy', ['run', '--adapter', 'caddyfile', '--config', file], { env: { HOME: work, XDG_CONFIG_HOME: work, XDG_DATA_HOME: work } });
  },
  async node(text, work) {
    const file = path.join(work, 'server.mjs');
    writeFileSync(file, text);
    return new Process(process.execPath, [file]);
  },
};

for (const server of Object.keys(start)) {
  test(`${server} lets in only who has a certificate for this origin`, async (t) => {
    const port = await freePort();
    const child = await start[server](await snippet(server, port), temporaryDirectory());
    const orders = await clientFor('orders');
    await until(`${server} listens`, async () => {
      if (child.exit) throw new Error(`${server} ended: ${child.stderr}`);
      return (await ask(port, orders)).status;
    });
    const foreign = path.join(temporaryDirectory(), 'ca');
    ok(await ca('init', '--directory', foreign));
    const origin = { cert: readFileSync(path.join(certificates, 'orders.pem')), key: readFileSync(path.join(certificates, 'orders.key')) };

    for (const maxVersion of ['TLSv1.3', 'TLSv1.2']) {
      await t.test(maxVersion, async () => {
        assert.deepEqual(await ask(port, { ...orders, maxVersion }), { status: 200, body: 'hello\n' });
        assert.equal((await ask(port, { ...await clientFor('billing'), maxVersion })).status, 403, 'for another origin');
        const shutOut = async (what, client) => {
          const answer = await ask(port, { ...client, maxVersion });
          assert.ok(answer.error || answer.status === 400, `${what}: ${JSON.stringify(answer)}`);
        };
        await shutOut('no certificate', {});
        await shutOut('of another deployment', await clientFor('orders', '--directory', foreign));
        await shutOut('the origin itself', origin);
      });
    }
    await t.test('and proves who it is', async () => {
      assert.match((await ask(port, { ...orders, servername: 'billing.internal' })).error, /ERR_TLS_CERT_ALTNAME_INVALID/);
      assert.ok((await ask(port, { ...orders, trust: read('client-ca.pem') })).error);
    });
  });
}

test('one nginx holds two origins, and each lets in only its own', async () => {
  ok(await here('issue-origin', 'orders-2', '--dns', name, '--out', certificates));
  const ports = { orders: await freePort(), 'orders-2': await freePort() };
  const texts = await Promise.all(Object.entries(ports).map(([origin, port]) => snippet('nginx', port, origin)));
  const child = await start.nginx(texts.join(''), temporaryDirectory());
  const client = { orders: await clientFor('orders'), 'orders-2': await clientFor('orders-2') };
  await until('nginx listens', async () => {
    if (child.exit) throw new Error(`nginx ended: ${child.stderr}`);
    return (await ask(ports['orders-2'], client['orders-2'])).status;
  });
  for (const [origin, port] of Object.entries(ports)) {
    for (const other of Object.keys(ports)) assert.equal((await ask(port, client[other])).status, other === origin ? 200 : 403, `${other} at ${origin}`);
  }
});
