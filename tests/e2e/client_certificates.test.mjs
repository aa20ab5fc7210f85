// Client certificates as a policy: the handshake proves possession, every request is judged. What comes in, what the
// origin is told, and that no resumption, header or name gets past it.
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import path from 'node:path';
import { before, test } from 'node:test';
import { Authority, rawName, selfSigned } from './lib/certificates.mjs';
import { freePort, onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { FakeClock } from './lib/fake_clock.mjs';
import { Gateway, identity, secretHeader } from './lib/gateway.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { run } from './lib/process.mjs';
import { connectTls, exchangeTls, sClient } from './lib/tls_client.mjs';
import { apply } from './lib/tls_gateway.mjs';
import { until, within } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

const versions = ['TLSv1.2', 'TLSv1.3'];
let ca;
let clients;
let foreign;
let server;
let origin;
let gateway;
const uri = 'spiffe://example.test/orders';
const client = (options = {}) => clients.issue({ subject: 'O=Example,CN=orders', use: 'client', uri: [uri], dns: ['orders.example.test'], email: ['orders@example.test'], ...options });
const policy = (options = {}) => ({ client_certificate: { ca: clients.leaf, ...options } });

// A gateway whose host api.test has a public and protected routes; other.test, served by the same certificate, has none.
async function protecting(routes, options = {}, more = {}) {
  return Gateway.start(({ port }) => ({
    listeners: [{ address: `127.0.0.1:${port}`, tls: server.files }],
    origins: { main: { url: origin.url, identity } },
    routes: [
      { match: { host: 'api.test', path: '/public' }, origin: 'main', public: true },
      ...routes.map(([where, policies]) => ({ match: { host: 'api.test', path: where }, origin: 'main', policies })),
      { match: { host: 'other.test', path: '/*' }, origin: 'main', public: true },
    ],
    ...more,
  }), options);
}
const connect = (at, pair, options = {}) => connectTls(at.port, { ca: ca.pem, ...pair?.tls, ...options });
async function ask(at, target, pair, { headers, ...options } = {}) {
  const wire = await connect(at, pair, options);
  const response = await wire.ask(target, { headers });
  wire.close();
  return response;
}
async function assertRefused(response, code) {
  assert.equal(response.status, 403, response.text());
  const problem = response.problem();
  assert.equal(problem.code, code);
  if (code === 'PST-P405') assert.equal(problem.detail, undefined, 'why is nobody\'s business but the operator\'s');
}

before(async () => {
  ca = Authority.root('Listener CA');
  clients = Authority.root('Client CA');
  foreign = Authority.root('Client CA');  // the same name, another key
  server = ca.issue({ dns: ['api.test', 'other.test'] });
  origin = await RecordingOrigin.start();
  gateway = await protecting([
    ['/private', [policy()]],
    ['/uri', [policy({ allow: { uri: [uri] } })]],
    ['/dns', [policy({ allow: { dns: ['orders.example.test'] } })]],
    ['/wildcard', [policy({ allow: { dns: ['*.example.test'] } })]],
    ['/email', [policy({ allow: { email: ['orders@example.test'] } })]],
    ['/subject', [policy({ allow: { subject: ['CN=orders,O=Example'] } })]],
    ['/silent', [policy({ forward: false })]],
    ['/limited', [policy(), { rate_limit: { requests: 3, per: '1h', by: 'consumer' } }]],
    ['/both', [policy(), 'api_key']],
  ]);
});

// ---- per request -------------------------------------------------------------------------------------------------

test('one connection, two routes: without a certificate one is open, the other is not', async () => {
  for (const maxVersion of versions) {
    const wire = await connect(gateway, null, { maxVersion });
    for (let n = 0; n < 2; n++) {
      assert.equal((await wire.ask('/public')).status, 200);
      await assertRefused(await wire.ask('/private'), 'PST-P404');
    }
    wire.close();
    const known = await connect(gateway, client(), { maxVersion });
    for (const target of ['/public', '/private', '/public', '/private']) assert.equal((await known.ask(target)).status, 200, target);
    known.close();
  }
});

test('over HTTP/2 as well, stream by stream', async () => {
  const asked = async (session, target) => within('the answer', new Promise((resolve, reject) => {
    const stream = session.request({ ':path': target, ':authority': 'api.test' });
    let status;
    stream.on('response', (headers) => { status = headers[':status']; }).on('end', () => resolve(status)).on('error', reject).resume();
  }));
  for (const [pair, expected] of [[null, [200, 403, 403]], [client(), [200, 200, 200]], [foreign.issue({ use: 'client', uri: [uri] }), [200, 403, 403]], [client({ uri: ['spiffe://example.test/other'] }), [200, 200, 403]]]) {
    const session = http2.connect(`https://127.0.0.1:${gateway.port}`, { ca: ca.pem, servername: 'api.test', ...pair?.tls });
    onCleanup(() => session.destroy());
    assert.deepEqual(await Promise.all(['/public', '/private', '/uri'].map((target) => asked(session, target))), expected);
    session.close();
  }
});

test('what a certificate must be', async (t) => {
  const intermediate = clients.intermediate('Client Intermediate', { pathLength: 0 });
  const short = intermediate.issue({ use: 'client', uri: [uri] });
  const good = client();
  const cases = [
    ['right', good, 200],
    ['for both uses', client({ use: 'both' }), 200],
    ['an RSA key', client({ key: 'rsa' }), 200],
    ['through an intermediate', short, 200],
    ['through an intermediate that is not shown', { tls: { cert: short.pem, key: short.keyPem } }, 403, /issuer/],
    ['none', null, 403, /no certificate/],
    ['of another authority with the same name', foreign.issue({ use: 'client', uri: [uri] }), 403, /signature|issuer|authority/],
    ['of the authority of the listener', ca.issue({ use: 'client', uri: [uri] }), 403, /issuer|authority/],
    ['expired', client({ from: -10, until: -1 }), 403, /expired/],
    ['not valid yet', client({ from: 1 }), 403, /not yet valid/],
    ['for servers', client({ use: 'server' }), 403, /purpose/],
    ['for code signing', client({ use: 'signing' }), 403, /purpose/],
    ['signed by itself', selfSigned({ subject: 'O=Example,CN=orders', use: 'client', uri: [uri] }), 403, /self-signed/i],
    ['signed by somebody\'s leaf', { tls: rogue(good) }, 403, /CA|issuer|purpose|path/i],
  ];
  for (const [what, pair, status, reason] of cases) {
    for (const maxVersion of versions) {
      await t.test(`${what}, ${maxVersion}`, async () => {
        const response = await ask(gateway, '/private', pair, { maxVersion });
        if (status === 200) {
          assert.equal(response.status, 200, response.text());
          return;
        }
        await assertRefused(response, pair ? 'PST-P405' : 'PST-P404');
        const id = response.problem().request_id;
        const record = await gateway.logged(({ request_id }) => request_id === id);
        assert.equal(record.error_code, pair ? 'PST-P405' : 'PST-P404');
        assert.match(record.error_detail, reason);
        assert.equal(record.consumer, undefined);
      });
    }
  }
});
// A leaf used as an authority: its holder signs a certificate for somebody else.
function rogue(leaf) {
  const pretender = new Authority({ ...leaf, leaf: leaf.leaf, key: leaf.key }, clients);
  const made = pretender.issue({ subject: 'O=Example,CN=orders', use: 'client', uri: [uri] });
  return made.tls;
}

test('`allow`: one name of the right type', async (t) => {
  const others = { subject: 'O=Example,CN=other', uri: [], dns: [], email: [] };
  const cases = [
    ['/uri', client({ ...others, uri: [uri] }), 200],
    ['/uri', client({ ...others, uri: ['spiffe://example.test/other', uri] }), 200],
    ['/uri', client({ ...others, uri: [`${uri}/more`] }), 403],
    ['/uri', client({ ...others, uri: [uri.toUpperCase()] }), 403],
    ['/uri', client({ ...others, raw: [rawName.dns(uri)] }), 403],  // a URI in the place of a DNS name
    ['/dns', client({ ...others, dns: ['orders.example.test'] }), 200],
    ['/dns', client({ ...others, dns: ['ORDERS.Example.Test'] }), 200],
    ['/dns', client({ ...others, dns: ['orders.example.test.evil.test'] }), 403],
    ['/dns', client({ ...others, dns: ['*.example.test'] }), 403],
    ['/dns', client({ ...others, raw: [rawName.dns('orders.example.test\0.evil.test')] }), 403],
    ['/dns', client({ ...others, raw: [rawName.uri('orders.example.test')] }), 403],
    ['/dns', client({ subject: 'CN=orders.example.test', uri: [], dns: [], email: [] }), 403],
    ['/wildcard', client({ ...others, dns: ['one.example.test'] }), 200],
    ['/wildcard', client({ ...others, dns: ['a.b.example.test'] }), 403],
    ['/wildcard', client({ ...others, dns: ['example.test'] }), 403],
    ['/wildcard', client({ ...others, dns: ['*.example.test'] }), 403],
    ['/email', client({ ...others, email: ['orders@example.test'] }), 200],
    ['/email', client({ ...others, email: ['Orders@example.test'] }), 403],
    ['/subject', client({ uri: [], dns: [], email: [] }), 200],
    ['/subject', client({ subject: 'O=Example,CN=orders2' }), 403],
    ['/subject', client({ subject: 'CN=orders' }), 403],
  ];
  for (const [target, pair, status] of cases) {
    await t.test(`${target}: ${pair.x509.subjectAltName ?? pair.x509.subject.replaceAll('\n', ',')}: ${status}`, async () => {
      const response = await ask(gateway, target, pair);
      if (status === 200) assert.equal(response.status, 200, response.text());
      else await assertRefused(response, 'PST-P405');
    });
  }
});

// ---- what the origin is told -------------------------------------------------------------------------------------

test('Client-Cert (RFC 9440) is the certificate, to the byte', async (t) => {
  const pair = client();
  const expected = `:${pair.der.toString('base64')}:`;
  const forged = ['Client-Cert: :Zm9yZ2Vk:', 'client-cert: :Zm9yZ2Vk:', 'Client_Cert: :Zm9yZ2Vk:', 'Client-Cert-Chain: :Zm9yZ2Vk:', 'CLIENT-CERT-CHAIN: :Zm9yZ2Vk:'];
  const aliases = (head) => head.headers.filter(([name]) => /^client[-_]cert/i.test(name));
  for (const headers of [[], forged]) {
    await t.test(headers.length ? 'with forged copies' : 'plain', async () => {
      origin.reset();
      assert.equal((await ask(gateway, '/private', pair, { headers })).status, 200);
      assert.deepEqual(aliases(origin.last().head), [['Client-Cert', expected]]);
    });
  }
  await t.test('forward: false', async () => {
    origin.reset();
    assert.equal((await ask(gateway, '/silent', pair, { headers: forged })).status, 200);
    assert.deepEqual(aliases(origin.last().head), []);
  });
  for (const [what, options] of [['a public route', {}], ['a public route, with a certificate', pair], ['a host that knows no certificates', null]]) {
    await t.test(`a forged one never arrives: ${what}`, async () => {
      origin.reset();
      const host = options ? 'api.test' : 'other.test';
      const wire = await connect(gateway, options?.tls ? options : null, { servername: host });
      assert.equal((await wire.ask('/public', { host, headers: forged })).status, 200);
      wire.close();
      assert.deepEqual(aliases(origin.last().head), []);
    });
  }
  await t.test('nor in trailers, nor by nomination', async () => {
    origin.reset();
    const wire = await connect(gateway, pair);
    await wire.send(request('/private', { method: 'POST', headers: ['Transfer-Encoding: chunked', 'Trailer: Client-Cert'], body: '1\r\nx\r\n0\r\nClient-Cert: :Zm9yZ2Vk:\r\nClient_Cert_Chain: x\r\n\r\n' }));
    assert.equal((await wire.read('POST')).status, 200);
    assert.deepEqual(origin.last().trailers ? aliases(origin.last().trailers) : [], []);
    const nominated = await wire.ask('/private', { headers: ['Connection: Client-Cert'] });
    if (nominated.status === 200) assert.deepEqual(aliases(origin.last().head), [['Client-Cert', expected]]);
    else assert.equal(nominated.problem().code, 'PST-R014');
    wire.close();
  });
});

test('the consumer is in the log, and the rate limit counts for it', async (t) => {
  const [one, two] = [client(), client({ uri: ['spiffe://example.test/payments'], dns: [] })];
  await t.test('the log', async () => {
    for (const [pair, consumer] of [[one, `certificate:uri:${uri}`], [two, 'certificate:uri:spiffe://example.test/payments'], [client({ uri: [], email: [] }), 'certificate:dns:orders.example.test'], [client({ uri: [], dns: [], email: [] }), 'certificate:subject:CN=orders,O=Example']]) {
      const response = await ask(gateway, '/private', pair);
      assert.equal((await gateway.logged(({ request_id }) => request_id === response.get('x-request-id') || request_id === origin.last().head.get('x-request-id'))).consumer, consumer);
    }
  });
  await t.test('the limit is its own, whatever the connection', async () => {
    const statuses = [];
    for (let n = 0; n < 4; n++) statuses.push((await ask(gateway, '/limited', one)).status);
    assert.deepEqual(statuses, [200, 200, 200, 429]);
    assert.equal((await ask(gateway, '/limited', client())).status, 429, 'another certificate of the same name');
    assert.equal((await ask(gateway, '/limited', two)).status, 200, 'another consumer');
  });
  await t.test('together with a key both must be right, and the key names the consumer', async () => {
    const key = await gateway.createKey('shop');
    const headers = [`X-API-Key: ${key}`];
    assert.equal((await ask(gateway, '/both', one)).status, 401);
    assert.equal((await ask(gateway, '/both', null, { headers })).status, 403);
    const count = origin.requests.length;
    assert.equal((await ask(gateway, '/both', one, { headers })).status, 200);
    const id = origin.requests[count].head.get('x-request-id');
    assert.equal((await gateway.logged(({ request_id }) => request_id === id)).consumer, 'shop');
  });
});

// ---- who is asked, and what is remembered ------------------------------------------------------------------------

test('only the host that has the policy asks for a certificate', async () => {
  for (const version of ['-tls1_2', '-tls1_3']) {
    const asked = await sClient(gateway.port, [version, '-servername', 'api.test']);
    assert.match(asked.text, /Acceptable client certificate CA names\nCN = Client CA\n/, 'and names its authority');
    for (const name of [['-servername', 'other.test'], ['-servername', 'unknown.test'], ['-noservername']]) {
      assert.match((await sClient(gateway.port, [version, ...name])).text, /No client certificate CA names sent/, name.join(' '));
    }
  }
});

test('a route of every host asks everybody', async () => {
  const all = await Gateway.start(({ port }) => ({
    listeners: [{ address: `127.0.0.1:${port}`, tls: server.files }], origins: { main: { url: origin.url, identity } },
    routes: [{ match: { path: '/private' }, origin: 'main', policies: [policy()] }, { match: { host: 'other.test', path: '/*' }, origin: 'main', public: true }],
  }));
  for (const name of [['-servername', 'api.test'], ['-servername', 'other.test'], ['-noservername']]) {
    assert.match((await sClient(all.port, name)).text, /Acceptable client certificate CA names/, name.join(' '));
  }
  assert.equal((await ask(all, '/private', client())).status, 200);
});

test('no session stands in for a certificate', async (t) => {
  for (const maxVersion of versions) {
    await t.test(maxVersion, async () => {
      const wire = await connect(gateway, client(), { maxVersion });
      assert.equal((await wire.ask('/private')).status, 200);
      // Sessions, if any were given, have come by now.
      const sessions = [...wire.sessions, wire.socket.getSession()].filter(Boolean);
      wire.close();
      for (const session of sessions) {
        const without = await connect(gateway, null, { maxVersion, session });
        await assertRefused(await without.ask('/private'), 'PST-P404');
        assert.equal(without.socket.isSessionReused(), false);
        without.close();
        const again = await connect(gateway, client(), { maxVersion, session });
        assert.equal((await again.ask('/private')).status, 200, 'who shows it again is let in again');
        assert.equal(again.socket.isSessionReused(), false);
        again.close();
        const other = await connect(gateway, foreign.issue({ use: 'client', uri: [uri] }), { maxVersion, session });
        await assertRefused(await other.ask('/private'), 'PST-P405');
        other.close();
      }
    });
    await t.test(`${maxVersion}: a session made without one does not become one with`, async () => {
      const bare = await connect(gateway, null, { maxVersion });
      assert.equal((await bare.ask('/public')).status, 200);
      await until('a session', () => bare.sessions.length || bare.socket.getSession());
      const session = bare.sessions.at(-1) ?? bare.socket.getSession();
      bare.close();
      const wire = await connect(gateway, client(), { maxVersion, session });
      const response = await wire.ask('/private');
      // Resumed, it has no certificate; not resumed, it has.
      if (wire.socket.isSessionReused()) await assertRefused(response, 'PST-P404');
      else assert.equal(response.status, 200);
      wire.close();
    });
  }
  const file = path.join(temporaryDirectory(), 'session');
  const pair = client();
  for (const version of ['-tls1_2', '-tls1_3']) {
    await t.test(`openssl, ${version}`, async () => {
      const input = request('/private', { headers: ['Connection: close'] });
      const common = [version, '-servername', 'api.test', '-ign_eof'];
      const first = await sClient(gateway.port, [...common, '-cert', pair.leaf, '-key', pair.key, '-sess_out', file], { input });
      assert.match(first.text, /HTTP\/1.1 200/);
      // A session, if there is one, is worth nothing.
      const second = await sClient(gateway.port, [...common, ...(existsSync(file) ? ['-sess_in', file] : [])], { input });
      assert.ok(!second.reused);
      assert.match(second.text, /PST-P404/);
    });
  }
});

test('a listener in clear has no certificates: the route is closed there', async () => {
  const clear = await freePort();
  const both = await protecting([['/private', [policy()]]], {}, { });
  const config = both.config;
  config.listeners.push({ address: `127.0.0.1:${clear}` });
  await apply(both, config);
  assert.equal((await ask(both, '/private', client())).status, 200);
  const response = await exchange(clear, request('/private', { headers: [`Client-Cert: :${client().der.toString('base64')}:`] }));
  await assertRefused(response, 'PST-P404');
  assert.equal((await exchange(clear, request('/public'))).status, 200);
});

test('a configuration in which nobody could ever be let in is refused', async () => {
  const { code, stdout, stderr } = await (async () => {
    const file = path.join(temporaryDirectory(), 'c.json');
    writeFileSync(file, JSON.stringify({ version: 1, listeners: [{ address: '127.0.0.1:1' }], origins: { o: { url: 'http://127.0.0.1:9', identity } }, routes: [{ match: { path: '/' }, origin: 'o', policies: [policy()] }] }));
    return run(process.env.POSTERN_BINARY ?? gateway.process.child.spawnfile, ['check', '--config', file], { env: { ORIGIN_SECRET: 'e2e-origin-secret-0123456789abcdef' } });
  })();
  assert.equal(code, 3, stdout + stderr);
  assert.match(stdout + stderr, /PST-C055/);
});

// ---- time and change on a connection that stands -----------------------------------------------------------------

test('a certificate that expires does so on a connection that stands', async () => {
  const clock = new FakeClock();
  const aging = await protecting([['/private', [policy()]]], { env: clock.env });
  const pair = client({ until: 5 });
  const wire = await connect(aging, pair);
  assert.equal((await wire.ask('/private')).status, 200);
  clock.days(4);
  assert.equal((await wire.ask('/private')).status, 200);
  clock.days(5.1);
  await assertRefused(await wire.ask('/private'), 'PST-P405');
  assert.equal((await wire.ask('/public')).status, 200, 'the connection itself goes on');
  wire.close();
});

test('an authority that a reload takes away counts no more, and connections of before are closed', async () => {
  const bundle = path.join(temporaryDirectory(), 'clients.pem');
  const old = Authority.root('Old Client CA');
  writeFileSync(bundle, old.pem + clients.pem);
  const changing = await protecting([['/private', [{ client_certificate: { ca: bundle } }]]]);
  const pair = old.issue({ subject: 'CN=old', use: 'client' });
  const wire = await connect(changing, pair);
  const kept = await connect(changing, client());
  assert.equal((await wire.ask('/private')).status, 200);
  assert.equal((await kept.ask('/private')).status, 200);
  writeFileSync(bundle, clients.pem);
  await apply(changing);
  // Connections under the old rule end with what they carry; these carry nothing.
  for (const each of [wire, kept]) {
    await each.closed();
    each.close();
  }
  await assertRefused(await ask(changing, '/private', pair), 'PST-P405');
  assert.equal((await ask(changing, '/private', client())).status, 200);
});

// ---- hostile names -----------------------------------------------------------------------------------------------

test('names with NUL, line ends and escapes do no harm', async (t) => {
  const evil = [
    ['NUL in a DNS name', { raw: [rawName.dns('orders.example.test\0.evil.test')] }],
    ['CRLF in a DNS name', { raw: [rawName.dns('a\r\nX-Injected: 1\r\n\r\n')] }],
    ['CRLF in a URI', { raw: [rawName.uri('spiffe://example.test/orders\r\nX-Injected: 1')] }],
    ['CRLF in an email address', { raw: [rawName.email('a@b\r\nX-Injected: 1')] }],
    ['bytes that are no text', { raw: [rawName.uri('\xff\xfe\x1b[31m')] }],
    ['quotes and braces for the log', { raw: [rawName.uri('x","consumer":"admin","y":"')] }],
    ['an IP address of three bytes', { raw: [rawName.ip([127, 0, 0])] }],
    ['a subject with line ends', { subject: 'CN=a\r\nX-Injected: 1', uri: [], dns: [], email: [] }],
    ['a subject of 60 characters of escape', { subject: `CN=${'\x1b'.repeat(60)}`, uri: [], dns: [], email: [] }],
  ];
  for (const [what, options] of evil) {
    await t.test(what, async () => {
      const pair = client({ subject: 'CN=evil', ...options });
      for (const target of ['/private', '/uri', '/dns', '/subject', '/limited']) {
        const before = origin.requests.length;
        const response = await ask(gateway, target, pair);
        assert.ok([200, 403, 429].includes(response.status), `${response.status}`);
        if (target === '/uri' || target === '/dns' || target === '/subject') assert.equal(response.status, 403, 'it is not the one that is allowed');
        const received = origin.requests.slice(before);
        assert.equal(received.length, response.status === 200 ? 1 : 0);
        for (const { head } of received) {
          assert.ok(!head.has('x-injected'));
          assert.equal(head.get('client-cert'), `:${pair.der.toString('base64')}:`);
          assert.ok(head.has(secretHeader));
        }
      }
      assert.deepEqual(origin.errors, []);
    });
  }
  for (const line of gateway.process.stdout.split('\n').filter(Boolean)) {
    const record = JSON.parse(line);
    assert.doesNotMatch(record.consumer ?? '', /[\0-\x1f\x7f]/);
    assert.notEqual(record.consumer, 'admin');
  }
  assert.doesNotMatch(gateway.process.stderr, /\x1b|\0/);
});
