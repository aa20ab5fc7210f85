// What the renewal of a managed client certificate touches and what it does not: whatever runs goes on, over HTTP/1.1 and
// HTTP/2, as a response and as a WebSocket; only a change of trust ends it. And what happens when the authority itself
// comes to its end: nothing is issued beyond it, and nothing takes its place.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Authority, place } from './lib/certificates.mjs';
import { freePort, temporaryDirectory } from './lib/cleanup.mjs';
import { FakeClock } from './lib/fake_clock.mjs';
import { Gateway, identity, postern } from './lib/gateway.mjs';
import { H2Wire } from './lib/http2_wire.mjs';
import { apply, certificateOf, status } from './lib/tls_gateway.mjs';
import { startTlsNode } from './lib/tls_origins.mjs';
import { until } from './lib/wait.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const hour = 3600;
async function good(promise) {
  const result = await promise;
  assert.equal(result.code, 0, result.stdout + result.stderr);
  return result;
}

// An origin `name` with a certificate of the deployment. It asks for certificates and takes every one, because it lives
// by the clock of this machine: what it was shown is looked at here. Each connection with its requests is kept.
async function startOrigin(directory, name, env = {}) {
  const at = temporaryDirectory();
  await good(postern(['ca', 'issue-origin', name, '--ip', '127.0.0.1', '--directory', directory, '--out', at], { env }));
  const read = (file) => readFileSync(path.join(at, file), 'utf8');
  const talks = {};  // by path: {write(text), end(), closed}
  const origin = await startTlsNode({
    certificate: { tls: { cert: read(`${name}.pem`), key: read(`${name}.key`) } }, clients: { pem: readFileSync(path.join(directory, 'client-ca.pem'), 'utf8') }, demand: false,
    http2: true, settings: { enableConnectProtocol: true },
    handler: (req, res) => {
      if (req.url === '/quick') { res.end('quick\n'); return; }
      res.writeHead(200);
      const talk = talks[req.url] = { write: (text) => res.write(text), end: () => res.end(), closed: false };
      res.on('close', () => { talk.closed = true; });
    },
  });
  const talkOver = (target, duplex) => {
    const talk = talks[target] = { write: (text) => duplex.write(text), end: () => duplex.end(), closed: false, heard: '' };
    duplex.on('error', () => {});
    duplex.on('data', (bytes) => { talk.heard += bytes; });
    duplex.on('close', () => { talk.closed = true; });
  };
  origin.server.on('upgrade', (req, socket) => {
    const accept = createHash('sha1').update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    talkOver(req.url, socket);
  });
  origin.server.on('connect', (req, res) => {
    res.stream.respond({ ':status': 200 });
    talkOver(req.url, res.stream);
  });
  return Object.assign(origin, { name, talks });
}
const serial = ({ peer }) => peer.serialNumber;

// What runs: a response and a WebSocket, whose other ends are talks['/response'] and talks['/websocket'] of the origin.
const handshake = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
async function begin(gateway, origin) {
  const response = await H2Wire.connect(gateway.port);
  const stream = response.request(`/${origin.name}/response`);
  const socket = await Wire.connect(gateway.port);
  await socket.send(request(`/${origin.name}/websocket`, { headers: handshake }));
  assert.equal((await socket.read()).status, 101);
  await until('both at the origin', () => origin.talks['/response'] && origin.talks['/websocket']);
  return {
    // Each way that there is.
    async goesOn(text) {
      origin.talks['/response'].write(`${text} `);
      origin.talks['/websocket'].write(`${text} `);
      await socket.send(`${text} `);
      await until(`"${text}" to arrive`, () => stream.text().endsWith(`${text} `) && socket.received.toString().endsWith(`${text} `) && origin.talks['/websocket'].heard.endsWith(`${text} `));
    },
    async ends() {
      origin.talks['/response'].end();
      await stream.finished();
      assert.equal(stream.outcome, '200');
      origin.talks['/websocket'].end();
      await socket.closed();
      this.close();
    },
    // Cut off, not ended: a part must not look like the whole.
    async isCutOff() {
      await until('the response to be cut off', () => stream.done);
      assert.match(stream.outcome, /^RST |^closed|^GOAWAY /, 'the response');
      await socket.closed();
      const talks = ['/response', '/websocket'].map((target) => origin.talks[target]);
      await until('it to be over at the origin, too', () => talks.every(({ closed }) => closed));
      this.close();
    },
    close() { response.close(); socket.close(); delete origin.talks['/response']; delete origin.talks['/websocket']; },
  };
}

let clock;
let gateway;
let origins;
const config = (own, trust = {}) => ({
  workers: 1, drain: '1s',
  listeners: [{ address: `127.0.0.1:${own.port}`, http2: 'h2c' }],
  origins: Object.fromEntries(Object.entries(origins ?? {}).map(([name, { url }]) => [name, { url, trust: { ca: 'managed', ...trust }, identity: [{ mtls: { managed: true } }], http2: name === 'classic' ? 'never' : 'always', timeouts: { idle: '300s' } }])),
  routes: Object.keys(origins ?? {}).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true, policies: [{ rewrite: { strip_prefix: `/${name}` } }] })),
});
before(async () => {
  clock = new FakeClock();
  gateway = new Gateway();
  await gateway.prepare({}, { env: clock.env });
  const directory = path.join(gateway.directory, 'state', 'ca');
  await good(postern(['ca', 'init', '--directory', directory]));
  origins = {};
  for (const name of ['classic', 'modern']) origins[name] = await startOrigin(directory, name);
  gateway.write(config(gateway));
  await gateway.launch();
});

const quick = async (name) => assert.equal((await exchange(gateway.port, request(`/${name}/quick`))).text(), 'quick\n');
const originStatus = async (name) => (await status(gateway)).origins.find((each) => each.name === name);
const draining = async () => (await status(gateway)).loops.reduce((sum, loop) => sum + loop.draining, 0);
const shownAs = (name) => certificateOf(gateway, `origins.${name}.identity.mtls`);

for (const name of ['classic', 'modern']) {
  test(`a renewed certificate leaves alone what runs: origin with HTTP/${name === 'classic' ? '1.1' : '2'}`, async () => {
    const origin = origins[name];
    const running = await begin(gateway, origin);
    await running.goesOn('first');
    await quick(name);
    const { generation } = await originStatus(name);
    const old = [...origin.connections];
    assert.equal(old.length, name === 'classic' ? 3 : 1, 'HTTP/1.1: one each, and one idle; HTTP/2: one');
    let serials = new Set(old.map(serial));
    assert.equal(serials.size, 1);
    for (const text of ['second', 'third']) {
      const { fingerprint } = await shownAs(name);
      clock.set(clock.ahead + 13 * hour);
      await until('the renewal', async () => (await shownAs(name)).fingerprint !== fingerprint);
      if (name === 'classic') await until('the idle connection to close', () => old[2].closed);
      await quick(name);
      const fresh = origin.connections.at(-1);
      assert.ok(!old.includes(fresh), 'a new request takes a new connection');
      assert.ok(!serials.has(serial(fresh)), 'under the new certificate');
      serials = serials.add(serial(fresh));
      // Longer than the drain time, in which what belongs to another generation would end.
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      await running.goesOn(text);
      assert.deepEqual(old.slice(0, name === 'classic' ? 2 : 1).map(({ closed }) => closed), name === 'classic' ? [false, false] : [false]);
      assert.equal(await draining(), 0, 'nothing is to end');
    }
    assert.equal((await originStatus(name)).generation, generation, 'the same trust and identity');
    await running.ends();
    await until('the connections of the first certificate to close', () => old.every(({ closed }) => closed));
    await quick(name);
  });
}

test('a change of trust ends idle connections at once, and what runs within the drain time', async () => {
  const running = [];
  for (const name of ['classic', 'modern']) {
    await quick(name);
    running.push(await begin(gateway, origins[name]));
    await running.at(-1).goesOn('before');
    await quick(name);
  }
  const idle = origins.classic.connections.filter(({ closed }) => !closed).at(-1);
  const before = await Promise.all(['classic', 'modern'].map(originStatus));
  await apply(gateway, config(gateway, { min_version: '1.3' }));
  const started = Date.now();
  await until('the idle connection to close', () => idle.closed);
  for (const [n, name] of ['classic', 'modern'].entries()) {
    assert.ok((await originStatus(name)).generation > before[n].generation, name);
    await quick(name);
  }
  for (const each of running) await each.isCutOff();
  assert.ok(Date.now() - started < 12_000, 'far beyond the drain time of 1 s');
  await until('the drain to end', async () => (await draining()) === 0);
  for (const name of ['classic', 'modern']) await quick(name);
});

// ---- the end of the authority ------------------------------------------------------------------------------------

test('near the end of the CA nothing is issued beyond it, and after it nothing takes its place', async (t) => {
  const own = new FakeClock();
  const each = new Gateway();
  await each.prepare({}, { env: own.env });
  const directory = path.join(each.directory, 'state', 'ca');
  await good(postern(['ca', 'init', '--directory', directory]));
  const { authorities } = JSON.parse((await good(postern(['ca', 'show', '--json', '--directory', directory]))).stdout);
  const end = Date.parse(authorities[0].not_after);
  const left = (hours) => own.set((end - hours * hour * 1000 - Date.now()) / 1000);
  left(6);
  const origin = await startOrigin(directory, 'orders', own.env);
  const other = await startOrigin(directory, 'other', own.env);
  const all = {
    orders: { url: origin.url, trust: { ca: 'managed' }, identity: [{ mtls: { managed: true } }], retries: { attempts: 1 } },
    other: { url: other.url, trust: { ca: 'managed' }, identity, retries: { attempts: 1 }, ejection: { consecutive_failures: 0 } },
  };
  // A listener whose certificate is renewed by its files, in the midst of it.
  const files = temporaryDirectory();
  const pair = () => Authority.root('Listener CA').issue({ dns: ['api.test'], until: 5000 });
  const port = await freePort();
  const listeners = [{ address: `127.0.0.1:${each.port}` }, { address: `127.0.0.1:${port}`, tls: place(pair(), files) }];
  const complete = (extra = []) => ({ listeners, origins: all, routes: [{ match: { path: '/*' }, origin: 'orders', public: true }, { match: { path: '/other/*' }, origin: 'other', public: true }, ...extra] });
  each.write(complete());
  await each.launch();
  const ask = (target) => exchange(each.port, request(target));
  const where = 'origins.orders.identity.mtls';

  await t.test('what is issued ends with it, and status and metrics say when', async () => {
    assert.equal((await ask('/quick')).status, 200);
    const shown = await certificateOf(each, where);
    assert.equal(Date.parse(shown.not_after), end);
    assert.equal(Date.parse(origin.connections.at(-1).peer.validTo), end);
    assert.equal(shown.state, 'in_force');
    assert.equal(await each.metric('postern_certificate_days_left', { where }), 0);
    for (const use of ['client', 'server']) {
      assert.equal(await each.metric('postern_certificate_days_left', { where: `ca.${use}` }), 0);
      assert.equal(Date.parse((await certificateOf(each, `ca.${use}`)).not_after), end);
    }
  });
  await t.test('half of the rest later it stays, because another one would not last longer', async () => {
    const { fingerprint } = await certificateOf(each, where);
    left(2);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    assert.equal((await ask('/quick')).status, 200);
    assert.equal((await certificateOf(each, where)).fingerprint, fingerprint);
    assert.notEqual((await status(each)).reload.state, 'rejected');
  });
  await t.test('the origin of a certificate by hand cannot outlive it either', async () => {
    const at = temporaryDirectory();
    await good(postern(['ca', 'issue-origin', 'late', '--dns', 'late.test', '--directory', directory, '--out', at], { env: own.env }));
    const { X509Certificate } = await import('node:crypto');
    assert.equal(Date.parse(new X509Certificate(readFileSync(path.join(at, 'late.pem'))).validTo), end);
  });
  await t.test('after its end nothing is sent, neither with what has expired nor without', async () => {
    left(-0.5);
    const before = [origin.requests.length, origin.connections.length, other.requests.length];
    for (let n = 0; n < 3; n++) {
      assert.equal((await ask('/quick')).problem().code, 'PST-U011');
      assert.match((await ask('/other/quick')).problem().code, /^PST-U01[12]$/, 'its certificate, too, is one of this CA');
    }
    assert.deepEqual([origin.requests.length, origin.connections.length, other.requests.length], before);
  });
  await t.test('status, log and metrics say so', async () => {
    for (const each_of of [where, 'ca.client', 'ca.server']) assert.equal((await certificateOf(each, each_of)).state, 'expired', each_of);
    assert.ok((await each.metric('postern_certificate_days_left', { where: 'ca.client' })) < 0);
    await until('the alarm', async () => (await status(each)).reload.state === 'rejected');
    assert.match((await status(each)).reload.message, /authority/);
    assert.match(each.process.stderr, /authority/);
  });
  await t.test('files are renewed as before, and the alarm goes on', async () => {
    const next = pair();
    place(next, files);
    await until('the new one', async () => (await certificateOf(each, 'listeners[1].tls.certificates[0]')).fingerprint === next.fingerprint);
    assert.equal((await status(each)).reload.state, 'rejected');
    assert.equal((await ask('/quick')).problem().code, 'PST-U011');
  });
  await t.test('a gateway does not start with it', async () => {
    const late = new Gateway();
    await late.prepare((self) => ({ ...complete(), listeners: [{ address: `127.0.0.1:${self.port}` }], state_directory: path.join(each.directory, 'state') }), { env: own.env, ready: false });
    await late.launch();
    const { code } = await late.process.ended;
    assert.notEqual(code, 0);
    assert.match(late.output(), /authority/);
  });
});
