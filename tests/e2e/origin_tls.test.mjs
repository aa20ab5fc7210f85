// Whom the gateway believes: an origin is verified before one byte of HTTP goes to it or is taken from it, every failure
// names its reason in the log, and there is one way to do without, with an end.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { before, test } from 'node:test';
import { Authority, rawName, selfSigned } from './lib/certificates.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { FakeClock } from './lib/fake_clock.mjs';
import { Gateway, identity, postern, secret } from './lib/gateway.mjs';
import { apply, status } from './lib/tls_gateway.mjs';
import { startTlsNginx, startTlsNode, startTlsRecorder } from './lib/tls_origins.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const name = 'orders.internal';
let ca;
let foreign;
let good;
before(() => {
  ca = Authority.root('Origin CA');
  foreign = Authority.root('Origin CA');  // the same name, another key
  good = ca.issue({ subject: 'CN=good', dns: [name], ip: ['127.0.0.1'] });
});
const trusting = (options = {}) => ({ ca: ca.leaf, names: [name], ...options });
// A gateway with one route /NAME for each origin.
const fronting = (origins, options) => Gateway.start({
  origins: Object.fromEntries(Object.entries(origins).map(([key, origin]) => [key, { identity, retries: { attempts: 1 }, ...origin }])),
  routes: Object.keys(origins).map((key) => ({ match: { path: `/${key}` }, origin: key, public: true })),
}, options);
const day = (days, from = Date.now()) => new Date(from + days * 86_400_000).toISOString().slice(0, 10);
const post = (target) => request(target, { method: 'POST', body: 'a body that must not leak' });

// The request is refused with U012 and `reason` stands in the log, not in the answer.
async function assertUntrusted(gateway, target, reason) {
  const response = await exchange(gateway.port, post(target));
  assert.equal(response.status, 502, response.text());
  const problem = response.problem();
  assert.equal(problem.code, 'PST-U012');
  assert.equal(problem.detail, undefined);
  const record = await gateway.logged(({ request_id }) => request_id === problem.request_id);
  assert.equal(record.error_code, 'PST-U012');
  assert.equal(record.error_side, 'origin');
  assert.match(record.error_detail, reason);
  return record.error_detail;
}

// ---- every failure, by its reason --------------------------------------------------------------------------------

function failures() {
  const leaf = (options = {}) => ca.issue({ dns: [name], ...options });
  const constrained = (constraints) => ca.intermediate('Constrained', { constraints });
  const another = `sha256/${Buffer.alloc(32, 7).toString('base64')}`;
  const rogue = new Authority({ ...leaf() }, ca);
  return [
    // what, certificate, reason, trust, TLS of the origin
    ['wrong-ca', foreign.issue({ dns: [name] }), /authority|issuer|signature/i],
    ['no-intermediate', (() => { const { pem, keyPem } = ca.intermediate('Hidden').issue({ dns: [name] }); return { tls: { cert: pem, key: keyPem } }; })(), /issuer/i],
    ['wrong-name', leaf({ dns: ['payments.internal'] }), /orders\.internal.*payments\.internal/],
    ['cn-only', ca.issue({ subject: `CN=${name}` }), /orders\.internal/],
    ['nul-in-san', ca.issue({ subject: `CN=${name}`, raw: [rawName.dns(`${name}\0.evil.test`)] }), /orders\.internal/],
    ['nul-after-san', ca.issue({ raw: [rawName.dns(`${name}\0`)] }), /orders\.internal/],
    ['name-as-uri', ca.issue({ raw: [rawName.uri(name)] }), /orders\.internal/],
    ['wildcard-too-deep', leaf({ dns: ['*.orders.internal'] }), /a\.b\.orders\.internal/, { names: ['a.b.orders.internal'] }],
    ['wildcard-for-none', leaf({ dns: ['*.orders.internal'] }), /orders\.internal/],
    ['wildcard-of-everything-internal', leaf({ dns: ['*.internal'] }), /orders\.internal/],
    ['wildcard-partial', leaf({ dns: ['ord*.internal'] }), /orders\.internal/],
    ['wildcard-all', leaf({ dns: ['*'] }), /orders\.internal/],
    ['ip-wrong', leaf({ ip: ['127.0.0.2'] }), /address is not among/, { names: undefined }],
    ['ip-as-dns', leaf({ dns: ['127.0.0.1'] }), /127\.0\.0\.1/, { names: undefined }],
    ['ip-missing', leaf(), /address is not among/, { names: undefined }],
    ['expired', leaf({ from: -10, until: -1 }), /expired/],
    ['not-yet-valid', leaf({ from: 1 }), /not yet valid/],
    ['wrong-eku', leaf({ use: 'client' }), /purpose/],
    ['eku-signing', leaf({ use: 'signing' }), /purpose/],
    ['self-signed', selfSigned({ dns: [name] }), /self-signed/i],
    ['a-leaf-as-ca', rogue.issue({ dns: [name] }), /CA|path|purpose|key usage/i],
    ['name-constraint', constrained('permitted;DNS:allowed.test').issue({ dns: [name] }), /permitted subtree|constraint/i],
    ['name-excluded', constrained('excluded;DNS:internal').issue({ dns: [name] }), /excluded subtree|constraint/i],
    ['path-too-long', ca.intermediate('No further', { pathLength: 0 }).intermediate('Further').issue({ dns: [name] }), /path length/i],
    ['weak-key', leaf({ key: 'rsa-1024' }), /weak|too small|key/i, {}, { ciphers: 'DEFAULT:@SECLEVEL=0' }],
    ['weak-signature', ca.intermediate('SHA-1', { digest: 'sha1' }).issue({ dns: [name] }), /weak|digest|md/i, {}, { ciphers: 'DEFAULT:@SECLEVEL=0' }],
    ['wrong-pin', leaf(), /pin/, { pins: [another, `sha256/${Buffer.alloc(32, 8).toString('base64')}`] }],
    ['tls-1-1', leaf(), /version|protocol/i, {}, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }],
    ['min-version', leaf(), /version|protocol/i, { min_version: '1.3' }, { maxVersion: 'TLSv1.2' }],
    ['weak-cipher', leaf({ key: 'rsa' }), /handshake failure|cipher/i, {}, { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' }],
    ['no-roots', leaf(), /authority|issuer|signature|self-signed/i, { ca: 'system' }],
  ];
}

test('every failure ends in 502 PST-U012, names its reason, and not one byte of HTTP has gone', async (t) => {
  const all = failures();
  const recorders = new Map();
  const origins = {};
  for (const [what, certificate, , trust, options] of all) {
    for (const maxVersion of options?.maxVersion ? [options.maxVersion] : ['TLSv1.2', 'TLSv1.3']) {
      const key = `${what}-${maxVersion.toLowerCase().replaceAll(/[^\w]/g, '-')}`;
      const recorder = await startTlsRecorder({ certificate, maxVersion, ...options });
      recorders.set(key, recorder);
      origins[key] = { url: recorder.url, trust: trusting(trust) };
    }
  }
  const fine = { 'fine-1-2': await startTlsRecorder({ certificate: good, maxVersion: 'TLSv1.2' }), 'fine-1-3': await startTlsRecorder({ certificate: good }) };
  for (const [key, { url }] of Object.entries(fine)) origins[key] = { url, trust: trusting() };
  const gateway = await fronting(origins);
  for (const [what, , reason] of all) {
    for (const [key, recorder] of [...recorders].filter(([key]) => key.replace(/-tlsv1-\d$/, '') === what)) {
      await t.test(key, async () => {
        const detail = await assertUntrusted(gateway, `/${key}`, reason);
        assert.doesNotMatch(detail, new RegExp(`${recorder.port}|BEGIN|${secret}`), 'no address, no secret');
        assert.ok(recorder.accepted > 0, 'it was asked');
        assert.equal(recorder.bytes, '', 'what the origin could read');
      });
    }
  }
  for (const [key, recorder] of Object.entries(fine)) {
    await t.test(key, async () => {
      const response = await exchange(gateway.port, post(`/${key}`));
      assert.equal(response.text(), 'recorded\n');
      assert.match(recorder.bytes, new RegExp(`^POST /${key} HTTP/1.1\r\n[^]*${secret}`), 'the recorder does record');
    });
  }
  // From the logs of a whole run an operator can tell them apart.
  assert.equal(await gateway.metric('postern_origin_requests_total', { outcome: 'connect_failed' }), recorders.size);
});

test('what is right is right', async (t) => {
  const wildcard = ca.issue({ dns: ['*.orders.internal'] });
  const deep = ca.intermediate('Deep', { constraints: 'permitted;DNS:internal' }).issue({ dns: [name] });
  const rsa = ca.issue({ dns: ['other.internal', name], key: 'rsa' });
  const open = ca.issue({ dns: [name], use: 'none' });
  const recorders = {};
  const origins = {};
  for (const [key, certificate, trust] of [
    ['exact', good, {}], ['one-of-several-names', good, { names: ['other.test', name] }], ['any-case', good, { names: ['Orders.INTERNAL'] }], ['wildcard', wildcard, { names: ['a.orders.internal'] }],
    ['intermediate-within-its-constraints', deep, {}], ['rsa', rsa, {}], ['no-eku', open, {}],
    ['ip', good, { names: undefined }], ['ip-by-name', good, { names: ['127.0.0.1'] }],
    ['version', good, { min_version: '1.3' }], ['leaf-pin', good, { pins: [good.pin, foreign.pin] }], ['ca-pin', good, { pins: [foreign.pin, ca.pin] }],
  ]) {
    recorders[key] = await startTlsRecorder({ certificate });
    origins[key] = { url: recorders[key].url, trust: trusting(trust) };
  }
  const gateway = await fronting(origins);
  for (const key of Object.keys(origins)) await t.test(key, async () => assert.equal((await exchange(gateway.port, request(`/${key}`))).text(), 'recorded\n'));
});

test('system roots: those of the operating system, as OpenSSL finds them', async () => {
  const recorder = await startTlsRecorder({ certificate: good });
  const origins = { main: { url: recorder.url, trust: { names: [name] } }, said: { url: recorder.url, trust: { ca: 'system', names: [name] } } };
  const plain = await fronting(origins);
  const taught = await fronting(origins, { env: { SSL_CERT_FILE: ca.leaf } });
  for (const target of ['/main', '/said']) {
    await assertUntrusted(plain, target, /authority|issuer|self-signed/i);
    assert.equal((await exchange(taught.port, request(target))).text(), 'recorded\n');
  }
});

// ---- what is no TLS, or is more than TLS -------------------------------------------------------------------------

test('an origin that answers in clear on its TLS port is not believed', async (t) => {
  const injected = 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ninjected';
  const real = await startTlsRecorder({ certificate: good });
  const cases = {
    'before-the-hello': (socket) => socket.write(injected),
    'after-the-hello': (socket) => socket.once('data', () => socket.write(injected)),
    'and-closes': (socket) => socket.end(injected),
    // Bytes in clear, and then the handshake of the real origin (CVE-2026-1642).
    'then-the-real-handshake': (socket) => {
      socket.write(injected);
      const onward = net.connect(real.port, '127.0.0.1');
      for (const each of [socket, onward]) each.on('error', () => { socket.destroy(); onward.destroy(); });
      socket.pipe(onward).pipe(socket);
    },
    'closes-at-once': (socket) => socket.end(),
    'an-alert': (socket) => socket.end(Buffer.from([21, 3, 3, 0, 2, 2, 40])),
  };
  const recorders = {};
  for (const [key, clear] of Object.entries(cases)) recorders[key] = await startTlsRecorder({ clear });
  const gateway = await fronting(Object.fromEntries(Object.entries(recorders).map(([key, { url }]) => [key, { url, trust: trusting() }])));
  const reasons = { 'closes-at-once': /closed/i, 'an-alert': /alert.*handshake failure|handshake failure/i };
  for (const [key, recorder] of Object.entries(recorders)) {
    await t.test(key, async () => {
      const said = await exchange(gateway.port, post(`/${key}`));
      assert.doesNotMatch(said.text(), /injected/);
      await assertUntrusted(gateway, `/${key}`, reasons[key] ?? /not TLS|in clear/i);
      assert.doesNotMatch(recorder.bytes, /POST|HTTP|secret|body/, 'nothing but a hello was sent');
      assert.ok(recorder.bytes.startsWith('\x16\x03'), 'a hello was');
    });
  }
  assert.equal(real.bytes, '');
});

test('an origin that says nothing is given up in time', async () => {
  const silent = await startTlsRecorder({ clear: () => {} });
  const gateway = await fronting({ silent: { url: silent.url, trust: trusting(), timeouts: { connect: '300ms' } } });
  const response = await exchange(gateway.port, request('/silent'));
  assert.equal(response.status, 504);
  assert.equal(response.problem().code, 'PST-U002');
});

test('an end without close_notify is not the end of a response', async () => {
  let cut = false;
  const origin = await startTlsNode({ certificate: good, handler: (req) => {
    const { socket } = req;
    socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it');
    setTimeout(() => (cut ? socket.destroy() : socket.end()), 100);
  } });
  const gateway = await fronting({ main: { url: origin.url, trust: trusting(), http2: 'never' } });
  assert.equal((await exchange(gateway.port, request('/main'))).text(), 'half of it', 'an end with it is');
  cut = true;
  const wire = await Wire.connect(gateway.port);
  await wire.send(request('/main'));
  await assert.rejects(wire.read(), /ended within a response/);
  const record = await gateway.logged(({ error_code: code, path: at }) => at === '/main' && code);
  assert.match(record.error_code, /PST-U00[45]/);
  assert.equal(record.error_side, 'origin');
});

// ---- the only way to do without ----------------------------------------------------------------------------------

test('`insecure` is the only way off: it shows, it does not turn pins off, and it ends', async (t) => {
  const certificate = foreign.issue({ dns: ['somebody.else'], until: 300 });
  const recorder = await startTlsRecorder({ certificate });
  const clock = new FakeClock();
  const insecure = { reason: 'its certificate comes next week', until: day(10) };
  const wrong = [good.pin, ca.pin];
  const gateway = await fronting({
    strict: { url: recorder.url, trust: trusting() },
    open: { url: recorder.url, insecure },
    pinned: { url: recorder.url, insecure, trust: { pins: [certificate.pin, ...wrong] } },
    mispinned: { url: recorder.url, insecure, trust: { pins: wrong } },
  }, { env: clock.env });
  const ask = async (target) => (await exchange(gateway.port, request(target))).status;
  await t.test('while it lasts', async () => {
    await assertUntrusted(gateway, '/strict', /authority|issuer|signature/i);
    assert.equal(await ask('/open'), 200);
    assert.equal(await ask('/pinned'), 200);
    await assertUntrusted(gateway, '/mispinned', /pin/);
    assert.equal(await gateway.metric('postern_insecure_options'), 3);
    const shown = (await status(gateway)).insecure;
    assert.deepEqual(shown.map(({ where, state }) => [where, state]), ['open', 'pinned', 'mispinned'].map((origin) => [`origins.${origin}`, 'in_force']));
    const { stdout } = await gateway.postern('explain', 'GET http://api.test/open');
    assert.match(stdout, /UNVERIFIED/);
  });
  await t.test('on its last day it still works, after it no more', async () => {
    clock.set((Date.parse(`${day(10)}T23:58:00Z`) - Date.now()) / 1000);
    assert.equal(await ask('/open'), 200);
    clock.set((Date.parse(`${day(11)}T00:00:10Z`) - Date.now()) / 1000);
    const before = recorder.bytes.length;
    for (const target of ['/open', '/pinned', '/mispinned']) {
      const response = await exchange(gateway.port, request(target));
      assert.equal(response.status, 503);
      assert.equal(response.problem().code, 'PST-U010');
    }
    assert.equal(recorder.bytes.length, before, 'nothing is sent any more');
    assert.equal((await status(gateway)).insecure[0].state, 'expired');
  });
  await t.test('postern origin test refuses then as traffic does, and speaks to the others', async () => {
    const [bytes, accepted] = [recorder.bytes.length, recorder.accepted];
    for (const origin of ['open', 'pinned', 'mispinned']) {
      for (const args of [[], ['--json']]) {
        const { code, stdout, stderr } = await gateway.postern('origin test', origin, ...args);
        assert.equal(code, 3, `${origin}: ${stdout}${stderr}`);
        assert.match(stderr, /`insecure`.* has expired/);
        assert.equal(stdout, '');
      }
    }
    assert.deepEqual([recorder.bytes.length, recorder.accepted], [bytes, accepted], 'not even a connection');
    const strict = await gateway.postern('origin test', 'strict');
    assert.equal(strict.code, 5, strict.stdout + strict.stderr);
    assert.equal(recorder.accepted, accepted + 1);
    // The day before it still spoke, and said how.
    clock.set((Date.parse(`${day(10)}T23:58:00Z`) - Date.now()) / 1000);
    const { code, stdout, stderr } = await gateway.postern('origin test', 'open');
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /verified +NO/);
    assert.ok(recorder.bytes.length > bytes);
  });
  await t.test('what contradicts it is refused', async () => {
    const check = async (origin) => {
      const file = path.join(temporaryDirectory(), 'c.json');
      writeFileSync(file, JSON.stringify({ version: 1, listeners: [{ address: '127.0.0.1:1' }], origins: { o: { url: recorder.url, identity, ...origin } }, routes: [{ match: { path: '/' }, origin: 'o', public: true }] }));
      return postern(['check', '--config', file]);
    };
    for (const [what, origin, code] of [
      ['alone', { insecure }, 0],
      ['with pins', { insecure, trust: { pins: [good.pin, ca.pin] } }, 0],
      ['with an authority', { insecure, trust: { ca: ca.leaf } }, 3],
      ['with names', { insecure, trust: { names: [name] } }, 3],
      ['without an end', { insecure: { reason: insecure.reason } }, 3],
      ['without a reason', { insecure: { until: insecure.until } }, 3],
      ['with an end that is over', { insecure: { ...insecure, until: day(-2) } }, 3],
      ['with an end far away', { insecure: { ...insecure, until: day(400) } }, 3],
      ['another word for it', { trust: { verify: false } }, 3],
      ['one pin alone', { trust: { pins: [good.pin] } }, 3],
      ['the same pin twice', { trust: { pins: [good.pin, good.pin] } }, 3],
      ['a pin that is none', { trust: { pins: [good.pin, 'sha256/AAAA'] } }, 3],
      ['trust without TLS', { url: 'http://127.0.0.1:9', trust: { ca: ca.leaf } }, 3],
      ['TLS and clear mixed', { url: undefined, endpoints: ['https://127.0.0.1:9', 'http://127.0.0.1:9'] }, 3],
    ]) {
      const result = await check(origin);
      assert.equal(result.code, code, `${what}\n${result.stdout}${result.stderr}`);
    }
  });
});

test('a CA file that is missing, empty or garbled refuses the start, and a reload keeps the old one', async (t) => {
  const recorder = await startTlsRecorder({ certificate: good });
  const file = path.join(temporaryDirectory(), 'ca.pem');
  const config = { origins: { main: { url: recorder.url, identity, trust: { ca: file, names: [name] } } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }] };
  const bad = [
    ['missing', null], ['empty', ''], ['only white space', '\n\n'], ['no PEM', 'trust me'], ['half of it', ca.pem.slice(0, 300)], ['one and a half', ca.pem + ca.pem.slice(0, 300)],
    ['a leaf', good.pem], ['a key', good.keyPem], ['an authority and a key', ca.pem + ca.keyPem], ['broken base64', ca.pem.replace(/[A-Za-z]{8}/, '!!!!!!!!')],
  ];
  for (const [what, text] of bad) {
    await t.test(what, async () => {
      if (text !== null) writeFileSync(file, text);
      const gateway = await Gateway.start(config, { ready: false });
      const { code } = await gateway.process.ended;
      assert.equal(code, 3, gateway.output());
      assert.match(gateway.output(), /PST-C054/);
      assert.doesNotMatch(gateway.output(), /PRIVATE/);
    });
  }
  writeFileSync(file, ca.pem);
  const gateway = await Gateway.start(config);
  assert.equal((await exchange(gateway.port, request('/'))).status, 200);
  for (const [what, text] of bad.slice(1)) {
    await t.test(`${what}, at a reload`, async () => {
      writeFileSync(file, text);
      const { code, stdout, stderr } = await gateway.postern('reload');
      assert.equal(code, 3, stdout + stderr);
      assert.match(stdout + stderr, /PST-C054/);
      assert.equal((await exchange(gateway.port, request('/'))).status, 200);
    });
  }
});

// ---- pins, names, sessions, generations --------------------------------------------------------------------------

test('a pin may be of a key that is not in use yet: the origin changes to it without a word', async () => {
  const backup = ca.issue({ dns: [name] });
  const origin = await startTlsNode({ certificate: good });
  const gateway = await fronting({ main: { url: origin.url, trust: trusting({ pins: [good.pin, backup.pin] }) } });
  const shows = async (certificate) => {
    origin.server.setSecureContext({ ...certificate.tls });
    for (const socket of origin.open) socket.destroy();
    await until('the old connections to be gone', () => origin.open.size === 0);
  };
  for (const certificate of [good, backup]) {
    await shows(certificate);
    assert.equal((await exchange(gateway.port, request('/main'))).text(), 'node\n');
  }
  await shows(ca.issue({ dns: [name] }));
  await assertUntrusted(gateway, '/main', /pin/);
});

test('what is asked for (SNI) and what is verified are two things', async (t) => {
  const origin = await startTlsNode({ certificate: ca.issue({ dns: [name, 'localhost'], ip: ['127.0.0.1'] }), handler: (req, res) => res.end(req.socket.servername || 'none') });
  const byName = `https://localhost:${origin.port}`;
  const gateway = await fronting({
    address: { url: origin.url, trust: { ca: ca.leaf } },
    named: { url: origin.url, trust: trusting() },
    localhost: { url: byName, trust: { ca: ca.leaf } },
    apart: { url: byName, trust: trusting({ server_name: 'front.internal' }) },
    upper: { url: origin.url, trust: trusting({ server_name: 'Front.INTERNAL' }) },
    mistaken: { url: origin.url, trust: { ca: ca.leaf, names: ['front.internal'], server_name: name } },
  });
  for (const [key, sni] of [['address', 'none'], ['named', 'none'], ['localhost', 'localhost'], ['apart', 'front.internal'], ['upper', 'front.internal']]) {
    await t.test(key, async () => assert.equal((await exchange(gateway.port, request(`/${key}`))).text(), sni));
  }
  await t.test('the name that is asked for decides nothing', () => assertUntrusted(gateway, '/mistaken', /front\.internal/));
});

test('sessions to the origin are resumed, under the same trust and identity only', async (t) => {
  const clients = Authority.root('Client CA');
  const pair = () => clients.issue({ subject: 'CN=gateway', use: 'client' });
  for (const protocols of ['TLSv1.2', 'TLSv1.3']) {
    await t.test(protocols, async () => {
      const origin = await startTlsNginx({ certificate: good, clients, verify: 'optional', protocols, extra: 'keepalive_timeout 0; ssl_session_cache none; ssl_session_tickets on;' });
      const config = (trust, mtls) => ({
        workers: 1, origins: { main: { url: origin.url, identity: mtls ? [...identity, { mtls: mtls.files }] : identity, trust: trusting(trust) } },
        routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
      });
      const gateway = await Gateway.start(config());
      const reused = async () => (await exchange(gateway.port, request('/'))).json().reused === 'r';
      const series = async () => { const all = []; for (let n = 0; n < 4; n++) all.push(await reused()); return all; };
      assert.deepEqual(await series(), [false, true, true, true]);
      for (const [what, next] of [['pins', config({ pins: [good.pin, ca.pin] })], ['names', config({ names: [name, 'more.internal'] })], ['a certificate', config({}, pair())], ['another certificate', config({}, pair())], ['none again', config()]]) {
        await apply(gateway, next);
        assert.equal(await reused(), false, `after a change of ${what}`);
        assert.equal(await reused(), true, `and then again, with ${what}`);
      }
      await apply(gateway, { ...config(), routes: [{ match: { path: '/*' }, origin: 'main', public: true }, { match: { path: '/new' }, respond: { status: 204 }, public: true }] });
      assert.equal(await reused(), true, 'a reload that changes no trust');
    });
  }
});

test('health checks come with the same trust and the same certificate', async () => {
  const clients = Authority.root('Client CA');
  const identityOf = { mtls: clients.issue({ subject: 'CN=gateway', use: 'client' }).files };
  const origin = await startTlsNode({ certificate: good, clients });
  const health = { path: '/health', interval: '200ms', timeout: '200ms', healthy_threshold: 1, unhealthy_threshold: 1 };
  const gateway = await fronting({
    right: { url: origin.url, trust: trusting(), identity: [identityOf], health },
    anonymous: { url: origin.url, trust: trusting(), health },
    mistaken: { url: origin.url, trust: { ca: foreign.leaf, names: [name] }, identity: [identityOf], health },
  });
  const states = async () => Object.fromEntries((await status(gateway)).origins.map(({ name: key, endpoints }) => [key, endpoints[0].state]));
  await until('the checks to have come back', async () => { const all = await states(); return all.anonymous === 'unhealthy' && all.mistaken === 'unhealthy' && all.right === 'healthy'; });
  await until('a check at the origin', () => origin.requests.some(({ url }) => url === '/health'));
  for (const { url, authorized, peer } of origin.requests) {
    assert.equal(url, '/health');
    assert.ok(authorized);
    assert.equal(peer.subject, 'CN=gateway');
  }
  assert.equal((await exchange(gateway.port, request('/right'))).status, 200);
  assert.equal((await exchange(gateway.port, request('/mistaken'))).status, 503);
});

test('after a change of trust or identity idle connections close and streams drain; status shows the generations', async (t) => {
  const clients = Authority.root('Client CA');
  const pairs = [clients.issue({ subject: 'CN=one', use: 'client' }), clients.issue({ subject: 'CN=two', use: 'client' })];
  let release;
  const origin = await startTlsNode({ certificate: good, clients, handler: (req, res) => {
    if (req.url !== '/slow') { res.end('quick'); return; }
    res.write('first ');
    release = () => res.end('last');
  } });
  const config = (pair, trust) => ({ workers: 1, origins: { main: { url: origin.url, http2: 'never', identity: [{ mtls: pair.files }], trust: trusting(trust) } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }] });
  const gateway = await Gateway.start(config(pairs[0]));
  const generation = async () => (await status(gateway)).origins[0].generation;
  const draining = async () => (await status(gateway)).loops.reduce((sum, loop) => sum + loop.draining, 0);
  for (const [what, next] of [['identity', config(pairs[1])], ['trust', config(pairs[1], { pins: [good.pin, ca.pin] })]]) {
    await t.test(what, async () => {
      const before = await generation();
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('/slow'));
      await until('the slow response to begin', () => wire.received.includes('first'));
      assert.equal((await exchange(gateway.port, request('/quick'))).text(), 'quick');
      const idle = origin.connections.at(-1);
      const busy = origin.requests.find(({ url }) => url === '/slow').connection;
      assert.equal(await draining(), 0);
      await apply(gateway, next);
      await until('the idle connection to close', () => idle.closed);
      assert.equal(busy.destroyed, false);
      assert.ok((await generation()) > before);
      await until('the stream to be shown as draining', async () => (await draining()) === 1);
      const count = origin.connections.length;
      assert.equal((await exchange(gateway.port, request('/quick'))).text(), 'quick');
      assert.equal(origin.connections.length, count + 1, 'under the new terms a connection of its own');
      release();
      assert.equal((await wire.read()).text(), 'first last');
      wire.close();
      await until('the old connection to close', () => busy.destroyed);
      await until('the drain to end', async () => (await draining()) === 0);
      origin.requests.length = 0;
    });
  }
  await t.test('a reload that changes neither keeps the connections', async () => {
    assert.equal((await exchange(gateway.port, request('/quick'))).text(), 'quick');
    const [before, count] = [await generation(), origin.connections.length];
    await apply(gateway, { ...config(pairs[1], { pins: [good.pin, ca.pin] }), routes: [{ match: { path: '/*' }, origin: 'main', public: true }, { match: { path: '/new' }, respond: { status: 204 }, public: true }] });
    assert.equal((await exchange(gateway.port, request('/quick'))).text(), 'quick');
    assert.equal(origin.connections.length, count);
    assert.equal(await generation(), before);
  });
});
