// Certificates are renewed while the gateway runs: noticed by content, taken over only when whole and valid, visible in
// status, log and metrics, and without a failed request.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Authority, place } from './lib/certificates.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { Gateway } from './lib/gateway.mjs';
import { run } from './lib/process.mjs';
import { connectTls } from './lib/tls_client.mjs';
import { apply, certificateOf, generationOf, nextGeneration, status } from './lib/tls_gateway.mjs';
import { startTlsNode } from './lib/tls_origins.mjs';
import { until } from './lib/wait.mjs';

let ca;
let clientCa;
before(() => {
  ca = Authority.root('Listener CA');
  clientCa = Authority.root('Origin clients');
});
const listener = (options = {}) => ca.issue({ dns: ['api.test'], ...options });
const onListener = 'listeners[0].tls.certificates[0]';

// Which certificate a new connection is shown.
async function shown(gateway) {
  const wire = await connectTls(gateway.port, { ca: ca.pem });
  const { fingerprint256 } = wire.socket.getPeerX509Certificate();
  assert.equal((await wire.ask('/')).status, 200);
  wire.close();
  return fingerprint256.replaceAll(':', '').toLowerCase();
}
const untilShown = (gateway, pair) => until('the new certificate', async () => (await shown(gateway)) === pair.fingerprint);
const serving = (files) => ({ port }) => ({ listeners: [{ address: `127.0.0.1:${port}`, tls: files }], routes: [{ match: { path: '/*' }, respond: { status: 200, body: 'hello' }, public: true }] });

test('new content counts without anybody asking; a touched file is no change', async () => {
  const directory = temporaryDirectory();
  const first = listener({ until: 20 });
  const second = listener({ until: 50 });
  const files = place(first, directory);
  const gateway = await Gateway.start(serving(files));
  const standing = await connectTls(gateway.port, { ca: ca.pem });
  assert.equal(await shown(gateway), first.fingerprint);
  assert.equal((await certificateOf(gateway, onListener)).fingerprint, first.fingerprint);
  assert.equal(await gateway.metric('postern_certificate_days_left', { where: onListener }), 19);

  const generation = await generationOf(gateway);
  place(first, directory);
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  assert.equal(await generationOf(gateway), generation, 'nothing has changed');

  await nextGeneration(gateway, () => place(second, directory));
  assert.equal(await shown(gateway), second.fingerprint);
  assert.equal((await certificateOf(gateway, onListener)).fingerprint, second.fingerprint);
  assert.equal(await gateway.metric('postern_certificate_days_left', { where: onListener }), 49);
  assert.equal((await standing.ask('/')).text(), 'hello', 'a connection that stands goes on');
  standing.close();
});

test('what a reload says of it: old and new, and no content', async () => {
  const directory = temporaryDirectory();
  const [first, second] = [listener(), listener()];
  const gateway = await Gateway.start(serving(place(first, directory)));
  place(second, directory);
  const said = await apply(gateway);
  assert.match(said, new RegExp(first.fingerprint.slice(0, 8)));
  assert.match(said, new RegExp(second.fingerprint.slice(0, 8)));
  assert.doesNotMatch(said + gateway.output(), /BEGIN|PRIVATE/);
});

test('the swap of a link, as Kubernetes does', async () => {
  const directory = temporaryDirectory();
  const version = (name, pair) => {
    mkdirSync(path.join(directory, `..${name}`));
    place(pair, path.join(directory, `..${name}`));
    symlinkSync(`..${name}`, path.join(directory, '..data_tmp'));
    renameSync(path.join(directory, '..data_tmp'), path.join(directory, '..data'));
  };
  const pairs = [listener(), listener(), listener()];
  version('1', pairs[0]);
  for (const name of ['tls.crt', 'tls.key']) symlinkSync(`..data/${name}`, path.join(directory, name));
  const gateway = await Gateway.start(serving({ certificate: path.join(directory, 'tls.crt'), key: path.join(directory, 'tls.key') }));
  assert.equal(await shown(gateway), pairs[0].fingerprint);
  for (const n of [1, 2]) {
    version(`${n + 1}`, pairs[n]);
    rmSync(path.join(directory, `..${n}`), { recursive: true });
    await untilShown(gateway, pairs[n]);
  }
});

test('a file that is just being written is not taken for a broken one', async () => {
  const first = listener();
  const files = place(first, temporaryDirectory());
  const gateway = await Gateway.start(serving(files));
  const rejected = async () => (await gateway.metric('postern_config_reloads_total', { outcome: 'rejected' })) ?? 0;
  for (let n = 0; n < 4; n++) {
    const next = listener();
    // The gateway has just looked, and does so every second: what it sees next is half of the file, and then the whole.
    await new Promise((resolve) => setTimeout(resolve, 700));
    writeFileSync(files.certificate, next.chainPem.slice(0, next.chainPem.length / 2));
    await new Promise((resolve) => setTimeout(resolve, 600));
    writeFileSync(files.certificate, next.chainPem);
    writeFileSync(files.key, next.keyPem);
    await untilShown(gateway, next);
  }
  assert.equal(await rejected(), 0);
});

// Each leaves in place what is not to be used; `mends` makes it the pair that is to come next.
const encrypted = (key) => run('openssl', ['pkey', '-aes256', '-passout', 'pass:secret'], { input: key }).then(({ stdout }) => stdout);
const spoilt = [
  ['half of the chain', 'PST-C050', ({ certificate }, next) => writeFileSync(certificate, next.chainPem.slice(0, next.chainPem.length / 2))],
  ['half of the key', 'PST-C050', ({ certificate, key }, next) => { writeFileSync(certificate, next.chainPem); writeFileSync(key, next.keyPem.slice(0, next.keyPem.length / 2)); }],
  ['the key of another', 'PST-C050', ({ key }, next) => writeFileSync(key, next.keyPem)],
  ['the certificate of another', 'PST-C050', ({ certificate }, next) => writeFileSync(certificate, next.chainPem)],
  ['an empty file', 'PST-C050', ({ certificate }) => writeFileSync(certificate, '')],
  ['a file that is gone', 'PST-C050', ({ key }) => rmSync(key)],
  ['an encrypted key', 'PST-C050', async ({ certificate, key }, next) => { writeFileSync(certificate, next.chainPem); writeFileSync(key, await encrypted(next.keyPem)); }],
  ['the two files exchanged', 'PST-C050', ({ certificate, key }, next) => { writeFileSync(certificate, next.keyPem); writeFileSync(key, next.chainPem); }],
  ['an expired pair', 'PST-C051', (files, next, other) => { const old = other({ from: -20, until: -1 }); writeFileSync(files.certificate, old.chainPem); writeFileSync(files.key, old.keyPem); }],
  ['one that is not valid yet', 'PST-C051', (files, next, other) => { const early = other({ from: 1 }); writeFileSync(files.certificate, early.chainPem); writeFileSync(files.key, early.keyPem); }],
  ['one for another use', 'PST-C050', (files, next, other, use) => { const wrong = other({ use: use === 'server' ? 'client' : 'server' }); writeFileSync(files.certificate, wrong.chainPem); writeFileSync(files.key, wrong.keyPem); }],
  ['a weak key', 'PST-C050', (files, next, other) => { const weak = other({ key: 'rsa-1024' }); writeFileSync(files.certificate, weak.chainPem); writeFileSync(files.key, weak.keyPem); }],
  ['a key that others may write', 'PST-C017', ({ key }, next) => { writeFileSync(key, next.keyPem); chmodSync(key, 0o622); }],
];

// `inUse()`: fingerprint of the certificate that the other side is shown now.
async function keepsTheOldOne(t, gateway, { files, make, where, inUse, first, use }) {
  let current = first;
  let count = 0;
  for (const [what, code, spoil] of spoilt) {
    await t.test(what, async () => {
      const next = make();
      const rejected = await gateway.metric('postern_config_reloads_total', { outcome: 'rejected' });
      const said = gateway.process.stderr.length;
      await spoil(files, next, make, use);
      // Some are noticed by the gateway itself, the others are asked for: both must refuse alike.
      if (count++ % 4 === 0) {
        await until('the refusal', async () => (await gateway.metric('postern_config_reloads_total', { outcome: 'rejected' })) > rejected);
      } else {
        const { code: exit, stdout, stderr } = await gateway.postern('reload');
        assert.equal(exit, 3, stdout + stderr);
        assert.match(stdout + stderr, new RegExp(code));
      }
      const { reload } = await status(gateway);
      assert.equal(reload.state, 'rejected');
      assert.match(reload.message, new RegExp(code));
      // The log holds back what repeats too often.
      if (count <= 4) await until('the log', () => gateway.process.stderr.slice(said).includes(code));
      assert.equal(await inUse(), current.fingerprint, 'the one before stays in force');
      assert.equal((await certificateOf(gateway, where)).fingerprint, current.fingerprint);
      assert.ok((await gateway.metric('postern_config_reloads_total', { outcome: 'rejected' })) > rejected);
      rmSync(files.key, { force: true });
      writeFileSync(files.certificate, next.chainPem);
      writeFileSync(files.key, next.keyPem, { mode: 0o600 });
      await until('the next one', async () => { await gateway.postern('reload'); return (await inUse()) === next.fingerprint; });
      assert.notEqual((await status(gateway)).reload.state, 'rejected');
      current = next;
    });
  }
  assert.doesNotMatch(gateway.output(), /PRIVATE KEY/);
}

test('a listener keeps its certificate as long as the new one is not whole, right and in force', async (t) => {
  const first = listener();
  const files = place(first, temporaryDirectory());
  const gateway = await Gateway.start(serving(files));
  await keepsTheOldOne(t, gateway, { files, make: listener, where: onListener, inUse: () => shown(gateway), first, use: 'server' });
});

test('so does the certificate that an origin is shown', async (t) => {
  const origin = await startTlsNode({ certificate: ca.issue({ dns: ['origin.test'], ip: ['127.0.0.1'] }), clients: clientCa });
  const make = (options = {}) => clientCa.issue({ subject: 'CN=gateway', use: 'client', ...options });
  const first = make();
  const files = place(first, temporaryDirectory());
  const gateway = await Gateway.start({
    origins: { main: { url: origin.url, trust: { ca: ca.leaf }, identity: [{ mtls: files }] } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
  const inUse = async () => {
    assert.equal((await fetch(`${gateway.url}/x`)).status, 200);
    return origin.requests.at(-1).peer.fingerprint256.replaceAll(':', '').toLowerCase();
  };
  await keepsTheOldOne(t, gateway, { files, make, where: 'origins.main.identity.mtls', inUse, first, use: 'client' });
});

test('one pair that cannot be used does not keep the others from being renewed', async () => {
  const origin = await startTlsNode({ certificate: ca.issue({ ip: ['127.0.0.1'] }), clients: clientCa });
  const shownToOrigin = (options = {}) => clientCa.issue({ subject: 'CN=gateway', use: 'client', ...options });
  const directory = temporaryDirectory();
  const [other, client] = [(options) => ca.issue({ dns: ['other.test'], ...options }), shownToOrigin];
  let current = { api: listener(), other: other(), client: client() };
  const files = Object.fromEntries(Object.entries(current).map(([name, pair]) => [name, place(pair, directory, name)]));
  const config = (extra = []) => ({ port }) => ({
    listeners: [{ address: `127.0.0.1:${port}`, tls: { certificates: [files.api, files.other] } }],
    origins: { main: { url: origin.url, trust: { ca: ca.leaf }, identity: [{ mtls: files.client }] } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }, ...extra],
  });
  const gateway = await Gateway.start(config());
  const where = { api: onListener, other: 'listeners[0].tls.certificates[1]', client: 'origins.main.identity.mtls' };
  const inForce = async () => { const { certificates } = await status(gateway); return Object.fromEntries(Object.entries(where).map(([name, at]) => [name, certificates.find((entry) => entry.where === at).fingerprint])); };
  const expected = (pairs) => Object.fromEntries(Object.entries(pairs).map(([name, { fingerprint }]) => [name, fingerprint]));
  const rejected = () => gateway.metric('postern_config_reloads_total', { outcome: 'rejected' });
  writeFileSync(files.api.certificate, listener().chainPem.slice(0, 200));
  place(shownToOrigin({ from: -20, until: -1 }), directory, 'client');
  await until('the alarm', async () => (await rejected()) > 0);
  assert.deepEqual(await inForce(), expected(current));
  const { reload: alarm } = await status(gateway);
  assert.equal(alarm.state, 'rejected');
  assert.match(alarm.message, /PST-C050[^]*PST-C051/);
  assert.match(gateway.process.stderr, /the one before stays/);

  const generation = await generationOf(gateway);
  for (let n = 0; n < 2; n++) {
    const [next, before] = [other(), await rejected()];
    place(next, directory, 'other');
    current = { ...current, other: next };
    await until('the other one to be renewed', async () => (await inForce()).other === next.fingerprint);
    assert.deepEqual(await inForce(), expected(current), 'the bad ones stay what they were');
    assert.ok((await rejected()) > before, 'and the alarm goes on');
    assert.equal((await status(gateway)).reload.state, 'rejected');
  }
  assert.equal(await generationOf(gateway), generation + 2);
  assert.equal(await shown(gateway), current.api.fingerprint);
  // Whoever writes another configuration is told, and nothing of it counts.
  gateway.write(config([{ match: { path: '/new' }, respond: { status: 204 }, public: true }]));
  const { code, stdout, stderr } = await gateway.postern('reload');
  assert.equal(code, 3, stdout + stderr);
  assert.match(stdout + stderr, /PST-C050/);
  assert.equal(await generationOf(gateway), generation + 2);
  gateway.write(config());
  // A half that becomes whole counts at once, beside one that is still bad; then the alarm ends with the last one.
  current = { ...current, api: listener() };
  place(current.api, directory, 'api');
  await until('the mended one', async () => (await inForce()).api === current.api.fingerprint);
  assert.equal((await status(gateway)).reload.state, 'rejected');
  current = { ...current, client: client() };
  place(current.client, directory, 'client');
  await until('the last one', async () => (await inForce()).client === current.client.fingerprint);
  assert.equal((await status(gateway)).reload.state, 'applied');
  assert.deepEqual(await inForce(), expected(current));
});

test('what does not start', async (t) => {
  const good = listener();
  const cases = [
    ['a certificate that is not there', { certificate: '/nonexistent/tls.crt', key: good.key }, 'PST-C050'],
    ['a certificate without its key', { certificate: good.certificate, key: listener().key }, 'PST-C050'],
    ['a certificate for clients', listener({ use: 'client' }).files, 'PST-C050'],
    ['a weak key', listener({ key: 'rsa-1024' }).files, 'PST-C050'],
    ['no certificate', {}, 'PST-C0'],
    ['two kinds of certificate', { ...good.files, self_signed: ['localhost'] }, 'PST-C0'],
    ['one name, twice, of one kind', { certificates: [good.files, listener().files] }, 'PST-C0'],
    ['a name that the certificate does not bear', { certificates: [{ ...good.files, names: ['other.test'] }] }, 'PST-C052'],
  ];
  for (const [what, tls, code] of cases) {
    await t.test(what, async () => {
      const gateway = await Gateway.start(serving(tls), { ready: false });
      const { code: exit } = await gateway.process.ended;
      assert.equal(exit, 3, gateway.output());
      assert.match(gateway.output(), new RegExp(code));
      assert.equal((await gateway.postern('check')).code, 3);
    });
  }
  await t.test('an expired one starts with a warning, because others may be on the same listener; `check` refuses it', async () => {
    const gateway = await Gateway.start(serving(listener({ from: -20, until: -1 }).files));
    await until('the warning', () => /PST-C051/.test(gateway.output()));
    assert.ok((await gateway.metric('postern_certificate_days_left', { where: onListener })) < 0);
    assert.equal((await certificateOf(gateway, onListener)).state, 'expired');
    assert.equal((await gateway.postern('check')).code, 3);
  });
  await t.test('one that expires soon is said to', async () => {
    const gateway = await Gateway.start(serving(listener({ from: -60, until: 5.5 }).files));
    const { stdout, stderr } = await gateway.postern('check');
    assert.match(stdout + stderr, /expires in 5 days[^]*PST-C051/);
    assert.equal(await gateway.metric('postern_certificate_days_left', { where: onListener }), 5);
  });
});

test('50 rotations on both sides under load: no request fails', async () => {
  const origin = await startTlsNode({ certificate: ca.issue({ ip: ['127.0.0.1'] }), clients: clientCa, handler: (req, res) => { req.resume().on('end', () => res.end('fine')); } });
  const rotations = 50;
  const pairs = Array.from({ length: rotations + 1 }, () => ({ front: listener(), back: clientCa.issue({ subject: 'CN=gateway', use: 'client' }) }));
  const directory = temporaryDirectory();
  const put = ({ front, back }) => ({ front: place(front, directory, 'front'), back: place(back, directory, 'back') });
  const files = put(pairs[0]);
  const gateway = await Gateway.start(({ port }) => ({
    listeners: [{ address: `127.0.0.1:${port}`, tls: files.front }],
    origins: { main: { url: origin.url, trust: { ca: ca.leaf }, identity: [{ mtls: files.back }] } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  }));

  let stop = false;
  let served = 0;
  const failures = [];
  const fronts = new Set();
  const note = (what) => { if (failures.length < 5) failures.push(what); };
  const connect = async () => {
    const wire = await connectTls(gateway.port, { ca: ca.pem });
    fronts.add(wire.socket.getPeerX509Certificate().fingerprint256);
    return wire;
  };
  const ask = async (wire, ...args) => {
    const response = await wire.ask(...args);
    if (!response) note('closed without an answer');
    else if (response.status !== 200 || response.text() !== 'fine') note(`${response.status} ${response.text()}`);
    served++;
    return response;
  };
  const forever = async (round) => {
    while (!stop) await round().catch((error) => note(error.stack));
  };
  const upload = { method: 'POST', body: 'x'.repeat(100_000) };
  const loops = [
    // Connections that live on until they are told to end,
    ...Array.from({ length: 4 }, () => forever(async () => {
      const wire = await connect();
      for (let response; !stop;) {
        response = await ask(wire, '/live');
        if (!response || response.get('connection') === 'close') break;
      }
      wire.close();
    })),
    // new ones,
    ...Array.from({ length: 2 }, () => forever(async () => {
      const wire = await connect();
      await ask(wire, '/new');
      wire.close();
    })),
    // and uploads.
    forever(async () => {
      const wire = await connect();
      await ask(wire, '/upload', upload);
      wire.close();
    }),
  ];
  for (let n = 1; n <= rotations; n++) {
    put(pairs[n]);
    const before = served;
    if (n % 10 !== 0) await apply(gateway);  // the others it notices by itself
    await until(`rotation ${n}`, async () => {
      const { certificates } = await status(gateway);
      const of = (where) => certificates.find((entry) => entry.where === where)?.fingerprint;
      return of(onListener) === pairs[n].front.fingerprint && of('origins.main.identity.mtls') === pairs[n].back.fingerprint;
    });
    await until('requests in between', () => served >= before + 20);
  }
  stop = true;
  await Promise.all(loops);
  assert.deepEqual(failures, []);
  assert.ok(served >= rotations * 20);
  assert.ok(fronts.size > rotations / 2, `clients saw ${fronts.size} certificates`);
  const backs = new Set(origin.requests.map(({ peer }) => peer.fingerprint256));
  assert.ok(backs.size > rotations / 2, `the origin saw ${backs.size} certificates`);
  assert.equal(origin.requests.at(-1).peer.fingerprint256.replaceAll(':', '').toLowerCase(), pairs[rotations].back.fingerprint);
  assert.deepEqual(origin.failures, []);
  // Connections under a certificate that is no longer in force are gone.
  await until('old connections to close', () => origin.connections.every(({ peer, closed }) => closed || peer.fingerprint256.replaceAll(':', '').toLowerCase() === pairs[rotations].back.fingerprint));
});
