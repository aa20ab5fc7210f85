// Session tickets: a client that comes again is spared the handshake, whichever worker it meets and whatever was reloaded
// in between, but never past what has changed about whom the listener trusts.
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { Authority } from './lib/certificates.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { Gateway } from './lib/gateway.mjs';
import { connectTls, sClient } from './lib/tls_client.mjs';
import { apply } from './lib/tls_gateway.mjs';
import { until } from './lib/wait.mjs';
import { request } from './lib/wire.mjs';

const versions = ['TLSv1.2', 'TLSv1.3'];
let ca;
let clients;
let pairs;
const everywhere = { match: { path: '/*' }, respond: { status: 200, body: 'hello' }, public: true };
const config = (tls, routes = []) => ({ port }) => ({
  listeners: [{ address: `127.0.0.1:${port}`, tls: { certificates: [pairs.api.files, pairs.other.files], ...tls } }], routes: [everywhere, ...routes],
});

before(() => {
  ca = Authority.root('Listener CA');
  clients = { one: Authority.root('Clients one'), two: Authority.root('Clients two') };
  pairs = { api: ca.issue({ dns: ['api.test'] }), other: ca.issue({ dns: ['other.test'] }) };
});

// Connects, asks once, and returns whether that was resumed, with the newest session for the next time.
async function visit(port, options = {}) {
  const wire = await connectTls(port, { ca: ca.pem, ...options });
  const response = await wire.ask('/', { host: options.servername ?? 'api.test' });
  assert.equal(response?.status, 200, response?.text());
  // Tickets of TLS 1.3 come with or after the answer.
  if (options.expectTicket !== false) await until('a session', () => wire.sessions.length > 0 || wire.socket.getSession());
  const result = { resumed: wire.socket.isSessionReused(), session: wire.sessions.at(-1) ?? wire.socket.getSession(), ticket: wire.socket.getTLSTicket(), protocol: wire.socket.getProtocol() };
  wire.close();
  return result;
}

test('s_client resumes: -reconnect, and from a file', async (t) => {
  const gateway = await Gateway.start(config());
  await t.test('TLS 1.2, -reconnect', async () => {
    const { code, text } = await sClient(gateway.port, ['-tls1_2', '-servername', 'api.test', '-reconnect'], { input: 'Q\n' });
    assert.equal(code, 0, text);
    assert.deepEqual([...text.matchAll(/^(New|Reused), /mg)].map(([, kind]) => kind), ['New', 'Reused', 'Reused', 'Reused', 'Reused', 'Reused']);
  });
  const file = path.join(temporaryDirectory(), 'session');
  const input = request('/', { headers: ['Connection: close'] });
  for (const version of ['-tls1_2', '-tls1_3']) {
    await t.test(`${version}, -sess_out and -sess_in`, async () => {
      const common = [version, '-servername', 'api.test', '-CAfile', ca.leaf, '-verify_return_error', '-ign_eof'];
      const first = await sClient(gateway.port, [...common, '-sess_out', file], { input });
      assert.ok(first.fresh && !first.reused, first.text);
      assert.match(first.text, /hello/);
      if (version === '-tls1_3') assert.match(first.text, /Max Early Data: 0/, 'no request may be replayed');
      const second = await sClient(gateway.port, [...common, '-sess_in', file], { input });
      assert.ok(second.reused, second.text);
      assert.match(second.text, /hello/);
    });
  }
  assert.ok((await gateway.metric('postern_tls_handshakes_total', { kind: 'resumed' })) >= 7);
});

test('on every worker, over and over', async () => {
  const gateway = await Gateway.start((own) => ({ ...config()(own), workers: 3 }));
  for (const version of versions) {
    let { session } = await visit(gateway.port, { maxVersion: version });
    for (let n = 0; n < 24; n++) {
      const next = await visit(gateway.port, { maxVersion: version, session });
      assert.ok(next.resumed, `${version}, visit ${n}`);
      assert.equal(next.protocol, version);
      session = next.session;
    }
  }
});

test('across a reload that has nothing to do with trust, and across a new certificate', async () => {
  const gateway = await Gateway.start(config());
  const sessions = {};
  for (const version of versions) sessions[version] = (await visit(gateway.port, { maxVersion: version })).session;
  await apply(gateway, config({}, [{ match: { path: '/new' }, respond: { status: 204 }, public: true }]));
  for (const version of versions) assert.ok((await visit(gateway.port, { maxVersion: version, session: sessions[version] })).resumed, version);
  pairs.renewed = ca.issue({ dns: ['api.test'] });
  await apply(gateway, config({ certificates: [pairs.renewed.files, pairs.other.files] }));
  for (const version of versions) assert.ok((await visit(gateway.port, { maxVersion: version, session: sessions[version] })).resumed, `${version}, renewed`);
});

test('not under other rules about client certificates', async (t) => {
  const withPolicy = (host, authority) => ({ match: { host, path: '/*' }, respond: { status: 200, body: 'known' }, policies: [{ client_certificate: { ca: authority.leaf } }] });
  const gateway = await Gateway.start(config({}, [withPolicy('mtls.test', clients.one)]));
  const changes = [
    ['another authority', [withPolicy('mtls.test', clients.two)]],
    ['no rule any more', []],
    ['one for the host itself', [withPolicy('api.test', clients.one)]],
  ];
  for (const [what, routes] of changes) {
    await t.test(what, async () => {
      const sessions = {};
      for (const version of versions) sessions[version] = (await visit(gateway.port, { maxVersion: version })).session;
      await apply(gateway, config({}, routes));
      for (const version of versions) {
        const wire = await connectTls(gateway.port, { ca: ca.pem, maxVersion: version, session: sessions[version] });
        assert.equal(wire.socket.isSessionReused(), false, version);
        const expected = what === 'one for the host itself' ? 403 : 200;
        assert.equal((await wire.ask('/')).status, expected, 'a full handshake takes its place');
        wire.close();
      }
    });
  }
});

test('not under another name: a session of one certificate opens no connection of the other', async () => {
  const gateway = await Gateway.start(config());
  for (const version of versions) {
    const { session } = await visit(gateway.port, { maxVersion: version });
    assert.equal((await visit(gateway.port, { maxVersion: version, session, servername: 'other.test' })).resumed, false, version);
    assert.equal((await visit(gateway.port, { maxVersion: version, session })).resumed, true, 'it was good');
  }
});

test('not under another minimum version', async () => {
  const gateway = await Gateway.start(config());
  const { session } = await visit(gateway.port, { maxVersion: 'TLSv1.2' });
  const modern = (await visit(gateway.port)).session;
  await apply(gateway, config({ min_version: '1.3' }));
  const wire = await connectTls(gateway.port, { ca: ca.pem, maxVersion: 'TLSv1.2', session }).catch((error) => error.code);
  assert.equal(wire, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
  assert.equal((await visit(gateway.port, { session: modern })).protocol, 'TLSv1.3');
});

test('session_tickets: false', async () => {
  const gateway = await Gateway.start(config({ session_tickets: false }));
  for (const version of versions) {
    const { session, ticket } = await visit(gateway.port, { maxVersion: version, expectTicket: version === 'TLSv1.2' });
    assert.equal(ticket, undefined, version);
    if (session) assert.equal((await visit(gateway.port, { maxVersion: version, session, expectTicket: false })).resumed, false, version);
  }
  const { text } = await sClient(gateway.port, ['-tls1_3', '-servername', 'api.test', '-ign_eof'], { input: request('/', { headers: ['Connection: close'] }) });
  assert.match(text, /hello/);
  assert.doesNotMatch(text, /Post-Handshake New Session Ticket/);
  assert.equal(await gateway.metric('postern_tls_handshakes_total', { kind: 'resumed' }) ?? 0, 0);
  // The same text appears where there are tickets.
  const usual = await Gateway.start(config());
  assert.match((await sClient(usual.port, ['-tls1_3', '-servername', 'api.test', '-ign_eof'], { input: request('/', { headers: ['Connection: close'] }) })).text, /Post-Handshake New Session Ticket/);
});

test('a ticket that was tampered with, or comes from another gateway, is no reason to fail', async () => {
  const gateway = await Gateway.start(config());
  const stranger = await Gateway.start(config());
  for (const version of versions) {
    const { session, ticket } = await visit(gateway.port, { maxVersion: version });
    assert.ok(ticket.length > 48, version);
    const at = session.indexOf(ticket);
    assert.ok(at > 0);
    // The name of its key, the initialisation vector, the encrypted state, the MAC.
    for (const offset of [0, 20, Math.floor(ticket.length / 2), ticket.length - 1]) {
      const forged = Buffer.from(session);
      forged[at + offset] ^= 1;
      assert.equal((await visit(gateway.port, { maxVersion: version, session: forged })).resumed, false, `${version}, byte ${offset}`);
    }
    assert.equal((await visit(stranger.port, { maxVersion: version, session })).resumed, false);
    assert.equal((await visit(gateway.port, { maxVersion: version, session })).resumed, true, 'the right one was good');
  }
});
