// TLS for clients: versions and ciphers as sslscan sees them, certificates by name, ALPN, redirects, and that a request
// stays on the connection that was made for its host. Judged by openssl, sslscan, curl and Node.
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import { before, test } from 'node:test';
import { freePort, onCleanup } from './lib/cleanup.mjs';
import { Authority } from './lib/certificates.mjs';
import { Gateway } from './lib/gateway.mjs';
import { run } from './lib/process.mjs';
import { byteByByte, connectTls, exchangeTls, recordsOf, refusalOf, sClient, startCutter } from './lib/tls_client.mjs';
import { startTlsNginx, startTlsNode } from './lib/tls_origins.mjs';
import { until, within } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

let ca;
let clients;
let certificates;
let gateway;
const everywhere = [{ match: { path: '/*' }, respond: { status: 200, body: 'hello' }, public: true }];
// A gateway with a TLS listener of these options, and `more` of the configuration.
const listening = (tls, listener = {}, more = {}) => ({ port }) => ({ listeners: [{ address: `127.0.0.1:${port}`, tls, ...listener }], routes: everywhere, ...more });

before(async () => {
  ca = Authority.root('Listener CA');
  clients = Authority.root('Client CA');
  const made = (name, options) => ca.issue({ subject: `CN=${name}`, ...options });
  certificates = {
    default: made('default', { dns: ['default.test'], ip: ['127.0.0.1'] }),
    ec: made('api EC', { dns: ['api.test', 'www.api.test'] }),
    rsa: made('api RSA', { dns: ['api.test', 'www.api.test'], key: 'rsa' }),
    wild: made('wild', { dns: ['*.wild.test'] }),
    exact: made('exact', { dns: ['exact.wild.test'] }),
  };
  gateway = await Gateway.start(listening({ certificates: Object.values(certificates).map(({ files }) => files) }, {}, {
    routes: [...everywhere, { match: { host: 'mtls.test', path: '/*' }, respond: { status: 200, body: 'known' }, policies: [{ client_certificate: { ca: clients.leaf } }] }],
  }));
});

// ---- versions and ciphers ----------------------------------------------------------------------------------------

const anything = ['-cipher', 'ALL:@SECLEVEL=0'];

test('TLS 1.2 and 1.3, and nothing older', async (t) => {
  const old = await startTlsNode({ certificate: certificates.default, minVersion: 'TLSv1', maxVersion: 'TLSv1.3', ciphers: 'ALL:@SECLEVEL=0' });
  for (const [version, spoken] of [['-tls1', false], ['-tls1_1', false], ['-tls1_2', true], ['-tls1_3', true]]) {
    await t.test(version, async () => {
      assert.equal((await sClient(old.port, [version, ...anything])).code, 0, 'this client can speak it');
      const { code, text } = await sClient(gateway.port, [version, ...anything, '-CAfile', ca.leaf, '-verify_return_error']);
      assert.equal(code, spoken ? 0 : 1, text);
      if (!spoken) assert.match(text, /alert protocol version/);
    });
  }
});

// What sslscan finds that has no place in a modern server.
async function findings(port, name) {
  const { code, stdout, stderr } = await run('sslscan', ['--xml=-', '--no-colour', `--sni-name=${name}`, `127.0.0.1:${port}`], { timeout: 60_000 });
  assert.equal(code, 0, stderr);
  const elements = (tag) => [...stdout.matchAll(new RegExp(`<${tag} ([^>]*?)/?>`, 'g'))].map(([, attributes]) => Object.fromEntries([...attributes.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, key, value]) => [key, value])));
  const found = [];
  const protocols = elements('protocol');
  assert.ok(protocols.length >= 6, `sslscan looked at nothing: ${stdout}`);
  for (const { type, version, enabled } of protocols) if (enabled === '1' && !(type === 'tls' && ['1.2', '1.3'].includes(version))) found.push(`protocol ${type} ${version}`);
  for (const { supported } of elements('renegotiation')) if (supported === '1') found.push('renegotiation by the client');
  for (const { supported } of elements('compression')) if (supported === '1') found.push('compression');
  for (const { vulnerable, sslversion } of elements('heartbleed')) if (vulnerable === '1') found.push(`heartbleed ${sslversion}`);
  const ciphers = elements('cipher');
  for (const { sslversion, cipher, bits, strength } of ciphers) {
    const modern = sslversion === 'TLSv1.3' || /^ECDHE-(ECDSA|RSA)-(AES(128|256)-GCM-SHA(256|384)|CHACHA20-POLY1305)$/.test(cipher);
    if (!modern || Number(bits) < 128 || ['null', 'anonymous', 'weak'].includes(strength)) found.push(`cipher ${sslversion} ${cipher}`);
  }
  for (const { name: group, bits } of elements('group')) if (Number(bits) < 120) found.push(`group ${group}`);
  if (/<signature-algorithm>(md5|sha1)/i.test(stdout)) found.push('weak signature');
  return { found, protocols: protocols.filter(({ enabled }) => enabled === '1').map(({ version }) => version), ciphers: ciphers.map(({ cipher }) => cipher), xml: stdout };
}

test('sslscan finds nothing weak', async (t) => {
  await t.test('where there is something it is found', async () => {
    const { found } = await findings((await startTlsNginx({ certificate: certificates.ec })).port, 'api.test');
    assert.ok(found.some((text) => /^cipher TLSv1.2 ECDHE-ECDSA-AES256-SHA/.test(text)), found.join('\n'));
    const old = await startTlsNode({ certificate: certificates.ec, minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' });
    assert.ok((await findings(old.port, 'api.test')).found.includes('protocol tls 1.0'));
  });
  for (const name of ['api.test', 'default.test', 'mtls.test']) {
    await t.test(name, async () => {
      const { found, protocols, ciphers, xml } = await findings(gateway.port, name);
      assert.deepEqual(found, [], xml);
      assert.deepEqual(protocols, ['1.2', '1.3']);
      for (const cipher of ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305', 'TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']) assert.ok(ciphers.includes(cipher), `${cipher} is missing`);
      if (name === 'api.test') assert.ok(ciphers.includes('ECDHE-RSA-AES128-GCM-SHA256'), 'RSA beside ECDSA');
    });
  }
});

test('a client that asks for renegotiation or a heartbeat gets none', async () => {
  const { text } = await sClient(gateway.port, ['-tls1_2', '-servername', 'api.test'], { input: 'R\n' });
  assert.match(text, /Secure Renegotiation IS supported/);  // RFC 5746 says so without doing it
  assert.match(text, /no renegotiation/);
});

test('min_version: "1.3" turns TLS 1.2 off', async () => {
  const modern = await Gateway.start(listening({ ...certificates.default.files, min_version: '1.3' }));
  assert.equal((await exchangeTls(modern.port, request('/'), { ca: ca.pem, servername: 'default.test' })).protocol, 'TLSv1.3');
  assert.equal(await refusalOf(modern.port, { ca: ca.pem, servername: 'default.test', maxVersion: 'TLSv1.2' }), 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
  assert.deepEqual((await findings(modern.port, 'default.test')).protocols, ['1.3']);
  assert.equal((await exchangeTls(gateway.port, request('/'), { ca: ca.pem, maxVersion: 'TLSv1.2' })).protocol, 'TLSv1.2', 'the default');
});

// ---- certificates by name ----------------------------------------------------------------------------------------

const served = [
  ['exact', 'default.test', 'default'],
  ['exact, of several', 'www.api.test', 'api EC'],
  ['any case', 'wWw.API.tesT', 'api EC'],
  ['a trailing dot', 'api.test.', 'api EC'],
  ['a wildcard', 'any.wild.test', 'wild'],
  ['a wildcard in any case', 'ANY.Wild.Test', 'wild'],
  ['exact before wildcard', 'exact.wild.test', 'exact'],
  ['a wildcard stands for one label', 'a.b.wild.test', 'default'],
  ['a wildcard does not stand for none', 'wild.test', 'default'],
  ['unknown', 'unknown.test', 'default'],
  ['none', null, 'default'],
];
test('the certificate is chosen by the name that is asked for', async (t) => {
  for (const [what, name, subject] of served) {
    await t.test(`${what}: ${name}`, async () => {
      for (const version of ['-tls1_2', '-tls1_3']) {
        const { code, text, subject: seen } = await sClient(gateway.port, [version, ...(name ? ['-servername', name] : ['-noservername']), '-CAfile', ca.leaf, '-verify_return_error']);
        assert.equal(code, 0, text);
        assert.equal(seen, `CN = ${subject}`, version);
      }
      const wire = await connectTls(gateway.port, { ca: ca.pem, servername: name ?? '', checkServerIdentity: () => undefined });
      assert.equal(wire.socket.getPeerX509Certificate().subject, `CN=${subject}`, 'Node');
      wire.close();
    });
  }
});

test('RSA and ECDSA side by side: what the client can verify', async () => {
  for (const version of ['-tls1_2', '-tls1_3']) {
    for (const [algorithms, subject] of [['rsa_pss_rsae_sha256:rsa_pkcs1_sha256', 'api RSA'], ['ecdsa_secp256r1_sha256', 'api EC'], ['ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256', 'api EC']]) {
      const result = await sClient(gateway.port, [version, '-servername', 'api.test', '-sigalgs', algorithms, '-CAfile', ca.leaf]);
      assert.equal(result.subject, `CN = ${subject}`, `${version} ${algorithms}\n${result.text}`);
    }
  }
  const { code, text } = await sClient(gateway.port, ['-servername', 'any.wild.test', '-sigalgs', 'rsa_pss_rsae_sha256:rsa_pkcs1_sha256']);
  assert.equal(code, 1, `there is only ECDSA for this name\n${text}`);
});

test('`names` says which certificate serves a name', async () => {
  const broad = ca.issue({ subject: 'CN=broad', dns: ['a.test', 'b.test'] });
  const other = ca.issue({ subject: 'CN=other', dns: ['b.test', 'c.test'] });
  const narrowed = await Gateway.start(listening({ certificates: [broad.files, { ...other.files, names: ['c.test'] }] }));
  for (const [name, subject] of [['a.test', 'broad'], ['b.test', 'broad'], ['c.test', 'other']]) {
    assert.equal((await sClient(narrowed.port, ['-servername', name])).subject, `CN = ${subject}`, name);
  }
});

test('RSA and ECDSA whose names overlap in part', async () => {
  const wide = ca.issue({ subject: 'CN=wide RSA', dns: ['a.test', 'b.test'], key: 'rsa' });
  const slim = ca.issue({ subject: 'CN=slim EC', dns: ['a.test'] });
  const both = await Gateway.start(listening({ certificates: [wide.files, slim.files] }));
  const subject = async (name, algorithms) => (await sClient(both.port, ['-servername', name, '-sigalgs', algorithms])).subject;
  assert.equal(await subject('a.test', 'ecdsa_secp256r1_sha256'), 'CN = slim EC');
  assert.equal(await subject('a.test', 'rsa_pss_rsae_sha256'), 'CN = wide RSA');
  assert.equal(await subject('b.test', 'rsa_pss_rsae_sha256'), 'CN = wide RSA');
});

test('a chain goes out with its intermediates', async () => {
  const leaf = ca.intermediate('Listener Intermediate', { pathLength: 0 }).issue({ subject: 'CN=deep', dns: ['deep.test'] });
  const deep = await Gateway.start(listening(leaf.files));
  const { code, text } = await sClient(deep.port, ['-servername', 'deep.test', '-CAfile', ca.leaf, '-verify_return_error', '-verify_hostname', 'deep.test']);
  assert.equal(code, 0, text);
  assert.equal((await exchangeTls(deep.port, request('/'), { ca: ca.pem, servername: 'deep.test' })).text(), 'hello');
});

test('a ClientHello in pieces is the same ClientHello', async (t) => {
  const cuts = [
    ['one byte per segment', byteByByte],
    ['records of one byte, each in a segment', recordsOf(1)],
    ['records of one byte, all at once', recordsOf(1, { segments: false })],
    ['records of 40 bytes', recordsOf(40)],
  ];
  for (const [what, cut] of cuts) {
    await t.test(what, async () => {
      const port = await startCutter(gateway.port, cut);
      for (const [, name, subject] of served) {
        const result = await sClient(port, [...(name ? ['-servername', name] : ['-noservername']), '-alpn', 'http/1.1', '-CAfile', ca.leaf]);
        assert.equal(result.subject, `CN = ${subject}`, `${name}\n${result.text}`);
        assert.equal(result.alpn, 'http/1.1');
      }
      assert.equal((await exchangeTls(port, request('/'), { ca: ca.pem })).text(), 'hello');
      assert.equal((await exchangeTls(port, request('/'), { ca: ca.pem, maxVersion: 'TLSv1.2' })).text(), 'hello');
    });
  }
});

// ---- ALPN ---------------------------------------------------------------------------------------------------------

test('ALPN: h2 where both want it, http/1.1 else, and no guess where nothing fits', async (t) => {
  const h1 = await Gateway.start(listening(certificates.default.files, { http2: 'never' }));
  const cases = [
    [gateway, ['h2', 'http/1.1'], 'h2'],
    [gateway, ['http/1.1', 'h2'], 'h2'],
    [gateway, ['http/1.1'], 'http/1.1'],
    [gateway, ['spdy/3', 'http/1.1'], 'http/1.1'],
    [gateway, undefined, false],
    [gateway, ['imap'], null],
    [h1, ['h2', 'http/1.1'], 'http/1.1'],
    [h1, ['h2'], null],
    [h1, undefined, false],
  ];
  for (const [at, offered, chosen] of cases) {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      await t.test(`${at === h1 ? 'http2: never' : 'http2: auto'}, ${offered ?? 'nothing'} offered, ${maxVersion}`, async () => {
        const options = { ca: ca.pem, servername: 'default.test', maxVersion, ALPNProtocols: offered };
        if (chosen === null) {
          assert.equal(await refusalOf(at.port, options), 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
          return;
        }
        const wire = await connectTls(at.port, options);
        assert.equal(wire.socket.alpnProtocol, chosen);
        if (chosen !== 'h2') assert.equal((await wire.ask('/', { host: 'default.test' })).text(), 'hello');
        wire.close();
      });
    }
  }
});

test('curl, over both', async () => {
  for (const version of ['1.1', '2']) {
    const { stdout, stderr } = await run('curl', ['-sS', `--http${version}`, '--cacert', ca.leaf, '--resolve', `www.api.test:${gateway.port}:127.0.0.1`, '-w', ' %{http_version}', `https://www.api.test:${gateway.port}/`]);
    assert.equal(stdout, `hello ${version}`, stderr);
  }
});

// ---- a request on the connection that was made for its host ------------------------------------------------------

const misplaced = [
  ['its own host', 'api.test', 'api.test', 200],
  ['in another spelling, with a port', 'api.test', 'API.Test.:8443', 200],
  ['another name of the same certificate', 'api.test', 'www.api.test', 200],
  ['a name under the same wildcard', 'a.wild.test', 'b.wild.test', 200],
  ['an exact name on a connection of the wildcard', 'a.wild.test', 'exact.wild.test', 421],
  ['a name of another certificate', 'api.test', 'a.wild.test', 421],
  ['an unknown name on a connection for another', 'api.test', 'unknown.test', 421],
  ['an unknown name on a connection for none', '', 'unknown.test', 200],
  ['a known name on a connection for none', '', 'api.test', 421],
  ['a host that wants a client certificate, on one that was not asked for any', 'default.test', 'mtls.test', 421],
  ['a host that wants none, on one that was asked', 'mtls.test', 'default.test', 421],
];
test('a host of another certificate or rule gets 421, over HTTP/1.1 and HTTP/2', async (t) => {
  for (const [what, servername, host, expected] of misplaced) {
    await t.test(what, async () => {
      const options = { ca: ca.pem, servername, checkServerIdentity: () => undefined };
      const wire = await connectTls(gateway.port, options);
      const response = await wire.ask('/', { host });
      assert.equal(response.status, expected, response.text());
      if (expected === 421) assert.equal(response.problem().code, 'PST-R016');
      // The connection goes on with what it was made for.
      const own = await wire.ask('/', { host: servername || 'unknown.test' });
      assert.equal(own.status, servername === 'mtls.test' ? 403 : 200);
      wire.close();

      const session = http2.connect(`https://127.0.0.1:${gateway.port}`, options);
      onCleanup(() => session.destroy());
      session.on('error', () => {});
      const answer = await within('the answer over HTTP/2', new Promise((resolve, reject) => {
        const stream = session.request({ ':path': '/', ':authority': host });
        let text = '';
        stream.setEncoding('utf8').on('data', (part) => { text += part; });
        let status;
        stream.on('response', (headers) => { status = headers[':status']; }).on('end', () => resolve({ status, text })).on('error', reject);
      }));
      assert.equal(answer.status, expected, answer.text);
      if (expected === 421) assert.equal(JSON.parse(answer.text).code, 'PST-R016');
      session.close();
    });
  }
});

// ---- not TLS, or not yet ------------------------------------------------------------------------------------------

test('what is not TLS on the TLS port gets no HTTP, and counts', async (t) => {
  const before = await gateway.metric('postern_errors_total', { code: 'PST-R020' }) ?? 0;
  const cases = [
    ['plaintext HTTP', request('/')],
    ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['an SSLv2 hello', Buffer.from('801c0100020003000000100100800600400200800000000000000000', 'hex')],
    ['garbage', Buffer.from(Array.from({ length: 600 }, (_, i) => (i * 37) & 255))],
    ['a record longer than any may be', Buffer.from([22, 3, 1, 255, 255, ...new Uint8Array(70_000)])],
    ['application data before a handshake', Buffer.from([23, 3, 3, 0, 5, 1, 2, 3, 4, 5])],
  ];
  for (const [what, bytes] of cases) {
    await t.test(what, async () => {
      const wire = await Wire.connect(gateway.port);
      await wire.send(bytes);
      const answer = (await wire.readToClose()).toString('latin1');
      assert.doesNotMatch(answer, /HTTP\/|hello/);
      assert.ok(answer.length < 64, 'an alert at most');
      wire.close();
    });
  }
  assert.ok((await gateway.metric('postern_errors_total', { code: 'PST-R020' })) >= before + cases.length);
  assert.equal((await exchangeTls(gateway.port, request('/'), { ca: ca.pem })).text(), 'hello', 'others are served');
});

test('a handshake that does not go on is given up', async () => {
  const impatient = await Gateway.start(listening(certificates.default.files, { limits: { header_timeout: '500ms' } }));
  const wires = [];
  for (const bytes of ['', Buffer.from([22, 3, 1, 1, 0, 1])]) {
    const wire = await Wire.connect(impatient.port);
    await wire.send(bytes);
    wires.push(wire);
  }
  for (const wire of wires) await wire.closed(5_000);
  assert.equal((await exchangeTls(impatient.port, request('/'), { ca: ca.pem, servername: 'default.test' })).text(), 'hello');
});

test('redirect_to_https sends everything to its https URL', async (t) => {
  const clear = await freePort();
  const standard = await freePort();
  const redirecting = await Gateway.start(({ port }) => ({
    listeners: [
      { address: `127.0.0.1:${port}`, tls: certificates.default.files },
      { address: `127.0.0.1:${clear}`, redirect_to_https: { port } },
      { address: `127.0.0.1:${standard}`, redirect_to_https: true },
    ],
    routes: [...everywhere, { match: { path: '/only', methods: ['GET'] }, respond: { status: 200 }, public: true }],
  }));
  await t.test('path, query and method are kept', async () => {
    for (const [method, target] of [['GET', '/a/b?c=d&e=%20'], ['POST', '/a'], ['HEAD', '/'], ['DELETE', '/only'], ['OPTIONS', '/x']]) {
      const response = await exchange(clear, request(target, { method, host: `default.test:${clear}` }));
      assert.equal(response.status, 308, method);
      assert.equal(response.get('location'), `https://default.test:${redirecting.port}${target}`);
    }
  });
  await t.test('to the standard port', async () => {
    assert.equal((await exchange(standard, request('/a?b', { host: `default.test:${standard}` }))).get('location'), 'https://default.test/a?b');
  });
  await t.test('a target that is no target is none here either', async () => {
    assert.equal((await exchange(clear, request('/a/../../b\\', { host: 'default.test' }))).status, 400);
    assert.equal((await exchange(clear, request('/', { host: 'a b' }))).status, 400);
  });
  await t.test('curl follows it to the answer', async () => {
    const { stdout, stderr } = await run('curl', ['-sSL', '--cacert', ca.leaf, '--resolve', `default.test:${clear}:127.0.0.1`, '--resolve', `default.test:${redirecting.port}:127.0.0.1`, `http://default.test:${clear}/x`]);
    assert.equal(stdout, 'hello', stderr);
  });
});

test('self_signed is for development: it works, and says what it is', async () => {
  const development = await Gateway.start(listening({ self_signed: ['localhost', '127.0.0.1'] }));
  const url = `https://localhost:${development.port}/`;
  const resolve = ['--resolve', `localhost:${development.port}:127.0.0.1`];
  assert.equal((await run('curl', ['-sSk', ...resolve, url])).stdout, 'hello');
  assert.equal((await run('curl', ['-sS', ...resolve, url])).code, 60, 'nobody vouches for it');
  await until('the warning', () => /PST-C053/.test(development.output()));
  const checked = await development.postern('check');
  assert.equal(checked.code, 0, checked.stderr);
  assert.match(checked.stdout + checked.stderr, /clients cannot know whom they speak to[^]*PST-C053/);
  // A person who trusts it for the moment can: it is one certificate with these names.
  const wire = await connectTls(development.port, { servername: 'localhost', rejectUnauthorized: false });
  const made = wire.socket.getPeerX509Certificate();
  wire.close();
  assert.equal((await exchangeTls(development.port, request('/'), { ca: made.toString(), servername: 'localhost' })).text(), 'hello');
  assert.match(made.subjectAltName, /DNS:localhost, IP Address:127\.0\.0\.1/);
});

test('what a request came over is said: protocol, scheme, secure', async () => {
  await exchangeTls(gateway.port, request('/said', { host: 'api.test' }), { ca: ca.pem, maxVersion: 'TLSv1.2' });
  assert.equal((await gateway.logged(({ path }) => path === '/said')).tls, 'TLSv1.2');
  const listener = JSON.parse((await gateway.postern('status', '--json')).stdout).listeners[0];
  assert.equal(listener.kind, 'https');
  assert.ok((await gateway.metric('postern_tls_handshakes_total')) > 0);
});
