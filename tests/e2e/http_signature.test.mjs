// http_signature against two verifiers that are not ours: every request through the gateway verifies, whatever its path,
// query, body, protocol and attempt; what did not come through it, or is not what came, is refused.
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway } from './lib/gateway.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { ask, connectHttp2, peer } from './lib/peers.mjs';
import { resend, signatureJudge, signedComponents, startVerifyingOrigin } from './lib/signature_origins.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const directory = temporaryDirectory();
const kinds = {
  ed25519: generateKeyPairSync('ed25519'),
  'ecdsa-p256-sha256': generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'ecdsa-p384-sha384': generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'rsa-pss-sha512': generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
const secret = randomBytes(32).toString('hex');
const file = (name, content) => {
  const full = path.join(directory, name);
  writeFileSync(full, content, { mode: 0o600 });
  return `\${file:${full}}`;
};
const pem = (pair) => pair.privateKey.export({ type: 'pkcs8', format: 'pem' });
const publicPem = (pair) => pair.publicKey.export({ type: 'spki', format: 'pem' });
const edKey = file('ed.pem', pem(kinds.ed25519));
const ed = (more = {}) => [{ http_signature: { key: edKey, keyid: 'gateway-2026', ...more } }];
const judgeEd = (more = {}) => signatureJudge({ key: publicPem(kinds.ed25519), keyid: 'gateway-2026', algorithm: 'ed25519', ...more });

let gateway;
const origins = {};
let failures = 0;  // how often `flaky` still breaks off
before(async () => {
  origins.h1 = await startVerifyingOrigin(judgeEd());
  origins.h2 = await startVerifyingOrigin(judgeEd(), { h2: true });
  origins.covering = await startVerifyingOrigin(judgeEd({ required: [...signedComponents, 'content-type', 'x-request-id'] }));
  origins.unsigned = await startVerifyingOrigin(judgeEd({ required: ['@method', '@authority', '@path', '@query'] }));
  origins.flaky = await startVerifyingOrigin(judgeEd(), { before: (it, incoming) => failures-- > 0 && (incoming.socket.destroy(), true) });
  for (const [algorithm, pair] of Object.entries(kinds)) {
    origins[algorithm] = await startVerifyingOrigin(signatureJudge({ key: publicPem(pair), keyid: algorithm, algorithm }));
  }
  origins['hmac-sha256'] = await startVerifyingOrigin(signatureJudge({ key: secret, keyid: 'shared', algorithm: 'hmac-sha256' }));
  const identities = {
    h1: ed(), h2: ed(), flaky: ed(),
    covering: ed({ cover: ['Content-Type', 'X-Request-Id'] }),
    unsigned: ed({ unsigned_body: { reason: 'this origin takes files of any size' } }),
    'hmac-sha256': [{ http_signature: { secret: file('shared', secret), keyid: 'shared' } }],
    ...Object.fromEntries(Object.entries(kinds).map(([algorithm, pair]) => [algorithm, [{ http_signature: { key: file(`${algorithm}.pem`, pem(pair)), keyid: algorithm } }]])),
  };
  gateway = await Gateway.start(({ port }) => ({
    listeners: [{ address: `127.0.0.1:${port}`, http2: 'h2c' }],
    origins: Object.fromEntries(Object.entries(origins).map(([name, { url }]) => [name, {
      url, identity: identities[name], ...(name === 'h2' ? { http2: 'always' } : {}), ...(name === 'flaky' ? { retries: { attempts: 3 } } : {}), ...(name === 'covering' ? { host: 'api.internal:8443' } : {}),
    }])),
    routes: Object.keys(origins).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true })),
  }));
});

const targets = ['/x', '/x/', '/', '/a%20b', '/%E2%82%AC', '/a+b', '/a;p=1/b', '/a,b', "/it's", '/a!$&*()=:@~_-.', '/x?', '/x?a=1', '/x?a=1&a=2&b', '/x?&&', '/x?a=%20+%2B&b=', '/x?%61=b',
  '/x?q=a?b/c', "/x?q='quoted'", '/x?q=%22&%E2%82%AC=1', `/x?${'long=1&'.repeat(500)}`];

for (const name of ['h1', 'h2']) {
  test(`every target, to an origin that speaks ${name}`, async (t) => {
    for (const target of targets) {
      await t.test(target.slice(0, 60), async () => {
        const response = await exchange(gateway.port, request(`/${name}${target}`));
        assert.equal(response.status, 200, `${response.text()} ${JSON.stringify(origins[name].last())}`);
      });
    }
  });
  test(`every body, to an origin that speaks ${name}`, async (t) => {
    const bodies = { none: '', one: 'x', json: '{"a": 1}', bytes: Buffer.from([0, 255, 13, 10, 0]), 'exactly the limit': Buffer.alloc(2 ** 20, 'y'), large: randomBytes(700_000) };
    for (const [what, body] of Object.entries(bodies)) {
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
        const response = await fetch(`${gateway.url}/${name}/x`, { method, body });
        assert.equal(response.status, 200, `${method} ${what}: ${await response.text()}`);
        assert.ok(origins[name].last().body.equals(Buffer.from(body)), what);
      }
    }
    await t.test('in chunks', async () => {
      const wire = await Wire.connect(gateway.port);
      await wire.send(`POST /${name}/x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`);
      await new Promise((resolve) => setTimeout(resolve, 50));
      await wire.send('1\r\n!\r\n0\r\n\r\n');
      assert.equal((await wire.readMessage()).status, 200);
      assert.equal(String(origins[name].last().body), 'hello!');
      wire.close();
    });
    await t.test('with trailers', async () => {
      const response = await exchange(gateway.port, `POST /${name}/x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\nSignature: forged=:AA==:\r\nContent-Digest: sha-256=:AA==:\r\n\r\n`);
      assert.equal(response.status, 200, response.text());
      assert.deepEqual(Object.entries(origins[name].last().trailers), [['x-sum', '5']]);
    });
    await t.test('over HTTP/2', async () => {
      const client = await connectHttp2(gateway.port);
      for (const body of [undefined, '', 'hello', Buffer.alloc(300_000, 'z')]) {
        const answer = await ask(client, `/${name}/x?a=1`, { method: body === undefined ? 'GET' : 'POST', body });
        assert.equal(answer.status, 200, answer.body);
      }
      // Without a length, piece by piece.
      const answer = await ask(client, `/${name}/x`, { method: 'POST', body: (stream) => { stream.write('one '); setTimeout(() => stream.end('two'), 50); } });
      assert.equal(answer.status, 200, answer.body);
      assert.equal(String(origins[name].last().body), 'one two');
      client.close();
    });
    await t.test('many at once', async () => {
      const statuses = await Promise.all(Array.from({ length: 64 }, (_, n) => fetch(`${gateway.url}/${name}/many?n=${n}`, { method: 'POST', body: 'b'.repeat(n * 1000) }).then((response) => response.status)));
      assert.deepEqual([...new Set(statuses)], [200]);
    });
  });
}

test('every kind of key', async (t) => {
  for (const name of [...Object.keys(kinds), 'hmac-sha256']) {
    await t.test(name, async () => {
      for (const init of [{}, { method: 'POST', body: 'hello' }]) {
        const response = await fetch(`${gateway.url}/${name}/x?a=1`, init);
        assert.equal(response.status, 200, await response.text());
      }
    });
  }
});

test('more fields, and a host of its own', async () => {
  const response = await fetch(`${gateway.url}/covering/x`, { method: 'POST', body: 'a=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } });
  assert.equal(response.status, 200, await response.text());
  assert.equal(origins.covering.last().authority, 'api.internal:8443');
  const it = origins.covering.last();
  assert.equal((await resend(origins.covering, it, { fields: { 'content-type': 'text/plain' } })).status, 401);
});

test('what clients say in those fields does not survive', async () => {
  const forged = ['Signature: gateway=:AAAA:', 'Signature-Input: gateway=("@method");created=1', 'Content-Digest: sha-256=:AAAA:', 'signature_input: x=()', 'content_digest: md5=:AA==:'];
  const response = await exchange(gateway.port, request('/h1/x', { headers: forged }));
  assert.equal(response.status, 200, response.text());
  const names = origins.h1.last().raw.map(({ name }) => name);
  for (const name of ['signature', 'signature-input', 'content-digest']) assert.equal(names.filter((each) => each === name).length, 1, name);
  assert.ok(!names.some((name) => name.includes('_')));
  assert.equal((await exchange(gateway.port, request('/h1/x', { headers: ['Connection: Signature'] }))).status, 400, 'nor may they be nominated away');
});

test('around the gateway nobody gets in', async (t) => {
  await fetch(`${gateway.url}/h1/pay?to=alice`, { method: 'POST', body: 'amount=10' });
  const fresh = async () => {
    // Not through the origin's own memory of nonces: a request that it has never judged.
    let taken;
    const thief = await startVerifyingOrigin(() => { throw new Error('stolen'); });
    const other = await Gateway.start({
      origins: { thief: { url: thief.url, host: `127.0.0.1:${origins.h1.port}`, identity: ed() } },
      routes: [{ match: { path: '/*' }, origin: 'thief', public: true }],
    });
    await fetch(`${other.url}/h1/pay?to=alice`, { method: 'POST', body: 'amount=10' });
    taken = thief.last();
    await other.stop();
    return taken;
  };
  await t.test('unsigned', async () => assert.equal((await fetch(`${origins.h1.url}/h1/x`)).status, 401));
  await t.test('as it was, a second time', async () => {
    const it = await fresh();
    assert.equal((await resend(origins.h1, it)).status, 200, 'once: that is why an origin must not be reachable for others');
    assert.deepEqual(await resend(origins.h1, it), { status: 401, text: 'a replay' });
  });
  const changes = {
    method: { method: 'PUT' }, path: { target: '/h1/other?to=alice' }, query: { target: '/h1/pay?to=mallory' }, 'no query': { target: '/h1/pay' },
    body: { body: Buffer.from('amount=99') }, 'no body': { body: Buffer.alloc(0) },
    'body and digest': { body: Buffer.from('amount=99'), fields: { 'content-digest': 'sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:' } },
    host: { fields: { host: 'other.internal' } }, 'no digest': { drop: ['content-digest'] }, 'no signature': { drop: ['signature'] }, 'no input': { drop: ['signature-input'] },
  };
  for (const [name, change] of Object.entries(changes)) {
    await t.test(`with another ${name}`, async () => assert.equal((await resend(origins.h1, await fresh(), change)).status, 401));
  }
  await t.test('late', async () => {
    const it = await fresh();
    const input = it.headers['signature-input'];
    const later = input.replace(/created=(\d+);expires=(\d+)/, (_, created, expires) => `created=${created - 120};expires=${expires - 120}`);
    assert.equal((await resend(origins.h1, it, { fields: { 'signature-input': later } })).status, 401, 'times are signed');
    const patient = await startVerifyingOrigin(judgeEd({ clock: () => Date.now() / 1000 + 61 }));
    assert.deepEqual(await resend(patient, { ...it, headers: { ...it.headers, host: it.headers.host } }), { status: 401, text: 'late' });
  });
});

test('every attempt has a signature of its own, and the whole body again', async () => {
  failures = 2;
  const before = origins.flaky.seen.length;
  const response = await fetch(`${gateway.url}/flaky/x`, { method: 'PUT', body: 'x'.repeat(100_000) });
  assert.equal(response.status, 200, await response.text());
  const attempts = origins.flaky.seen.slice(before);
  assert.equal(attempts.length, 3);
  assert.equal(new Set(attempts.map(({ headers }) => /nonce="([^"]+)"/.exec(headers['signature-input'])[1])).size, 3);
  for (const { body } of attempts) assert.equal(body.length, 100_000);
});

test('over the limit 413, and the origin hears nothing of it', async () => {
  const before = origins.h1.seen.length;
  for (const init of [{ method: 'POST', body: Buffer.alloc(2 ** 20 + 1) }, { method: 'POST', body: new Blob([Buffer.alloc(2 ** 20 + 1)]).stream(), duplex: 'half' }]) {
    const response = await fetch(`${gateway.url}/h1/x`, init);
    assert.equal(response.status, 413);
    assert.equal((await response.json()).code, 'PST-R413');
  }
  assert.equal(origins.h1.seen.length, before);
});

test('unsigned bodies stream, and everything else is still signed', async () => {
  const response = await fetch(`${gateway.url}/unsigned/x?a=1`, { method: 'POST', body: Buffer.alloc(3 * 2 ** 20) });
  assert.equal(response.status, 200, await response.text());
  assert.ok(!('content-digest' in origins.unsigned.last().headers));
});

test('gRPC to an origin that needs its body signed is refused with a status of its own', async () => {
  const grpc = peer('@grpc/grpc-js');
  const same = (bytes) => bytes;
  const Client = grpc.makeGenericClientConstructor({ Unary: { path: '/h2/Unary', requestStream: false, responseStream: false, requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same } }, 'Echo');
  const client = new Client(`127.0.0.1:${gateway.port}`, grpc.credentials.createInsecure());
  const error = await new Promise((resolve) => client.Unary(Buffer.from('hello'), resolve));
  client.close();
  assert.equal(error.code, grpc.status.UNIMPLEMENTED, error.message);
  assert.match(error.details, /PST-R501/);
});

test('health checks are signed, too', async () => {
  const origin = await startVerifyingOrigin(judgeEd());
  const checking = await Gateway.start({
    origins: { main: { url: origin.url, identity: ed(), health: { path: '/health?full', interval: '200ms', timeout: '200ms' } } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  });
  const response = await fetch(`${checking.url}/x`);
  assert.equal(response.status, 200);
  assert.ok(origin.seen.some(({ target }) => target === '/health?full'));
  await checking.stop();
});

test('origin test shows what is signed', async () => {
  const { code, stdout, stderr } = await gateway.postern('origin test', 'h1', '--path', '/h1/x?a=1');
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /signature base \(RFC 9421 2\.5\)\n {4}\| "@method": GET\n {4}\| "@authority": 127\.0\.0\.1:\d+\n {4}\| "@path": \/h1\/x\n {4}\| "@query": \?a=1\n {4}\| "content-digest": sha-256=:/);
  assert.match(stdout, /answer {4}200/);
  const json = JSON.parse((await gateway.postern('origin test', 'h1', '--path', '/h1/x', '--json')).stdout);
  assert.equal(json.endpoints[0].status, 200);
  assert.match(json.endpoints[0].signed[0].text, /^"@method": GET\n/);
});

test('an answer that repeats the signature loses the field', async () => {
  const origin = await startVerifyingOrigin(() => {}, { before: (it, _, response) => { response.writeHead(200, { 'x-echo': it.headers.signature, 'x-other': 'stays' }); response.end('ok'); return true; } });
  const leaking = await Gateway.start({ origins: { main: { url: origin.url, identity: ed() } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }] });
  const response = await fetch(`${leaking.url}/x`);
  assert.equal(response.headers.get('x-echo'), null);
  assert.equal(response.headers.get('x-other'), 'stays');
  await leaking.stop();
});

test('another key counts without a restart', async () => {
  const next = generateKeyPairSync('ed25519');
  const name = path.join(directory, 'rotating.pem');
  writeFileSync(name, pem(kinds.ed25519), { mode: 0o600 });
  const both = [judgeEd(), signatureJudge({ key: publicPem(next), keyid: 'gateway-2026', algorithm: 'ed25519' })];
  let verifiedBy;
  const origin = await startVerifyingOrigin(async (it) => {
    verifiedBy = null;
    for (const [n, judge] of both.entries()) await judge(it).then(() => { verifiedBy = n; }).catch(() => {});
    if (verifiedBy === null) throw new Error('neither');
  });
  const rotating = await Gateway.start({ origins: { main: { url: origin.url, identity: [{ http_signature: { key: `\${file:${name}}`, keyid: 'gateway-2026' } }] } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }] });
  assert.equal((await fetch(rotating.url)).status, 200);
  assert.equal(verifiedBy, 0);
  writeFileSync(name, pem(next), { mode: 0o600 });
  const deadline = Date.now() + 15_000;
  while (verifiedBy !== 1 && Date.now() < deadline) {
    assert.equal((await fetch(rotating.url)).status, 200);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.equal(verifiedBy, 1);
  assert.ok(!rotating.output().includes('PRIVATE KEY'));
  await rotating.stop();
});
