// Who may say what in a header: the gateway's own fields cannot be forged, removed or doubled by a client, and nothing
// that a stranger says about itself is passed on as a fact.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Gateway, identity, secret, secretHeader } from './lib/gateway.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { assertRefused } from './lib/refusal.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const fold = (name) => name.toLowerCase().replaceAll(/[_.]/g, '-');

let gateway;
let behindProxy;
let origin;
before(async () => {
  origin = await RecordingOrigin.start();
  const config = {
    origins: {
      main: { url: origin.url, identity },
      lenient: { url: origin.url, identity, allow_headers: ['X-HTTP-Method-Override'] },
    },
    routes: [
      { match: { path: '/lenient/*' }, origin: 'lenient', public: true },
      { match: { path: '/*' }, origin: 'main', public: true },
    ],
  };
  gateway = await Gateway.start(config);
  behindProxy = await Gateway.start({ ...config, trusted_proxies: ['127.0.0.1/32', '10.0.0.0/8'] });
});

// Sends headers through a gateway and returns what the origin got.
async function passed(headers, { through = gateway, target = '/x', status = 200, ...rest } = {}) {
  origin.reset();
  const response = await exchange(through.port, request(target, { headers, ...rest }));
  assert.equal(response?.status, status, response?.text());
  return origin.last()?.head;
}
function assertOneSecret(head) {
  const copies = head.headers.filter(([name]) => fold(name) === fold(secretHeader));
  assert.deepEqual(copies.map(([, value]) => value), [secret], head.text.replaceAll(secret, '<secret>'));
}

test('the secret is set once, whatever the client sends under its name', async (t) => {
  const forged = 'forged-by-the-client-0123456789';
  const names = ['X-Backend-Secret', 'x-backend-secret', 'X-BACKEND-SECRET', 'X_Backend_Secret', 'x_backend_secret', 'X.Backend.Secret',
    'X-Backend_Secret', 'X_Backend-Secret', 'X.Backend-Secret', 'X_Backend.Secret'];
  for (const name of names) {
    await t.test(name, async () => assertOneSecret(await passed([`${name}: ${forged}`])));
    await t.test(`${name}, three times`, async () => assertOneSecret(await passed([`${name}: ${forged}`, `A: b`, `${name}: ${secret}`, `${name}:`])));
  }
  await t.test('all aliases at once', async () => assertOneSecret(await passed(names.map((name) => `${name}: ${forged}`))));
  await t.test('in trailers', async () => {
    origin.reset();
    for (const name of names) {
      const response = await exchange(gateway.port, request('/t', { method: 'POST', headers: ['Transfer-Encoding: chunked', `Trailer: ${name}`] }) +
        `2\r\nhi\r\n0\r\n${name}: ${forged}\r\nX-Fine: 1\r\n\r\n`);
      assert.equal(response.status, 200, name);
      assertOneSecret(origin.last().head);
      const trailers = (origin.last().trailers?.headers ?? []).map(([field]) => fold(field));
      assert.ok(!trailers.includes(fold(secretHeader)), name);
    }
    assert.ok(!origin.connections.some(({ bytes }) => bytes.includes(forged)));
  });
  await t.test('in a WebSocket handshake', async () => {
    origin.reset();
    await exchange(gateway.port, request('/ws', { headers: ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', `X_Backend_Secret: ${forged}`] }));
    assertOneSecret((await origin.request()).head);
  });
});

test('Connection cannot remove what the gateway sets', async (t) => {
  for (const name of ['X-Backend-Secret', 'x_backend_secret', 'X.Backend.Secret']) {
    for (const value of [name, `close, ${name}`, `${name}, close`, `keep-alive,${name.toUpperCase()}`]) {
      await assertRefused(t, { gateway, origin, name: `Connection: ${value}`, bytes: request('/x', { headers: [`Connection: ${value}`] }),
        expected: { status: 400, code: 'PST-R014', closes: false } });
    }
  }
  // What old proxies took for Connection is not weaker than it.
  for (const value of ['X-Backend-Secret', 'close, x_backend_secret']) {
    await assertRefused(t, { gateway, origin, name: `Proxy-Connection: ${value}`, bytes: request('/x', { headers: [`Proxy-Connection: ${value}`] }),
      expected: { status: 400, code: 'PST-R014', closes: false } });
  }
  for (const value of ['X-Backend-Secret', 'timeout=5, X-Backend-Secret']) {
    await t.test(`Keep-Alive: ${value} nominates nothing`, async () => {
      const head = await passed([`Keep-Alive: ${value}`]);
      assertOneSecret(head);
      assert.ok(!head.has('keep-alive'), head.text);
    });
  }
  // RFC 9110 7.6.1: what the client nominates is removed, but never what the gateway itself adds.
  for (const name of ['X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'Via', 'Forwarded', 'Host', 'Content-Length', 'X-Request-Id']) {
    await t.test(`Connection: ${name}`, async () => {
      origin.reset();
      const response = await exchange(gateway.port, request('/x', { method: 'POST', body: 'hello', headers: [`Connection: ${name}`] }));
      if (response.status === 400) {
        assert.match(response.problem().code, /^PST-R0(14|03|02)$/);
        return;
      }
      const { head, body } = origin.last();
      assert.equal(body.toString(), 'hello');
      assert.ok(head.has('host') && head.has('x-forwarded-for') && head.has('x-forwarded-proto'), head.text);
      assertOneSecret(head);
    });
  }
});

test('hop-by-hop fields end here', async (t) => {
  const cases = [
    ['what Connection names', ['Connection: X-Hop, close', 'X-Hop: 1'], ['x-hop']],
    ['what Connection names, in another case', ['Connection: x-hOP', 'X-Hop: 1'], ['x-hop']],
    ['Keep-Alive', ['Keep-Alive: timeout=5'], ['keep-alive']],
    ['Proxy-Connection', ['Proxy-Connection: keep-alive'], ['proxy-connection']],
    ['Proxy-Authorization', ['Proxy-Authorization: Basic Zm9vOmJhcg=='], ['proxy-authorization']],
    ['TE', ['TE: gzip'], ['te']],
    ['Upgrade without Connection', ['Upgrade: websocket'], ['upgrade']],
  ];
  for (const [name, headers, gone] of cases) {
    await t.test(name, async () => {
      const head = await passed(headers);
      for (const field of gone) assert.ok(!head.has(field), head.text);
    });
  }
});

test('headers that override the request are removed unless an origin allows them', async (t) => {
  const overrides = ['X-Original-URL', 'X-Rewrite-URL', 'X-HTTP-Method', 'X-HTTP-Method-Override', 'X-Method-Override', 'x_original_url', 'X.Rewrite.Url'];
  for (const name of overrides) {
    await t.test(name, async () => {
      const head = await passed([`${name}: /admin`]);
      assert.ok(!head.names().map(fold).includes(fold(name)), head.text);
    });
  }
  await t.test('allowed by name', async () => {
    const head = await passed(['X-HTTP-Method-Override: PATCH', 'X-Original-URL: /admin'], { target: '/lenient/x' });
    assert.equal(head.get('x-http-method-override'), 'PATCH');
    assert.ok(!head.has('x-original-url'));
  });
});

test('forwarding fields of strangers are not believed', async (t) => {
  const claims = ['X-Forwarded-For: 203.0.113.9', 'X-Forwarded-Proto: https', 'X-Forwarded-Host: evil.test', 'X-Forwarded-Port: 443',
    'X-Forwarded-Prefix: /evil', 'X-Forwarded-Server: evil', 'X-Forwarded-Uri: /evil', 'X-Forwarded-Ssl: on', 'X-Real-IP: 203.0.113.9',
    'Forwarded: for=203.0.113.9;host=evil.test;proto=https', 'X_Forwarded_For: 203.0.113.9', 'X.Forwarded.Host: evil.test', 'X_Real_Ip: 203.0.113.9',
    'True-Client-IP: 203.0.113.9', 'X-Client-IP: 203.0.113.9', 'X-Cluster-Client-IP: 203.0.113.9', 'CF-Connecting-IP: 203.0.113.9'];
  for (const claim of claims) {
    await t.test(claim, async () => {
      const head = await passed([claim]);
      assert.equal(head.get('x-forwarded-for'), '127.0.0.1');
      assert.equal(head.get('x-forwarded-proto'), 'http');
      assert.equal(head.get('x-forwarded-host'), 'api.test');
      if (/forwarded|real/i.test(claim)) assert.ok(!/203\.0\.113\.9|evil/.test(head.text), head.text);
    });
  }
  await t.test('Via names the gateway after what came before', async () => {
    assert.match((await passed([])).get('via'), /^1\.1 \S+$/);
    const withPrevious = (await passed(['Via: 1.0 fred'])).all('via').join(', ');
    assert.match(withPrevious, /^1\.0 fred, 1\.1 \S+$/);
  });
});

test('forwarding fields of trusted proxies are believed, as far as the chain is trusted', async (t) => {
  const through = { through: behindProxy };
  const cases = [
    ['one hop', '203.0.113.9', '203.0.113.9'],
    ['the nearest untrusted address counts', '198.51.100.1, 203.0.113.9', '203.0.113.9'],
    ['trusted hops are skipped', '203.0.113.9, 10.1.2.3', '203.0.113.9'],
    ['IPv6', '2001:db8::1', '2001:db8::1'],
  ];
  for (const [name, value, effective] of cases) {
    await t.test(name, async () => {
      const before = behindProxy.log().length;
      await passed([`X-Forwarded-For: ${value}`], through);
      const record = await behindProxy.logged((_, index) => index >= before);
      assert.equal(record.client, effective);
    });
  }
  for (const value of ['not an address', '203.0.113.9:x', ',,', '203.0.113.9, unknown', '"']) {
    await t.test(`malformed: ${value}`, async () => {
      const before = behindProxy.log().length;
      origin.reset();
      const response = await exchange(behindProxy.port, request('/x', { headers: [`X-Forwarded-For: ${value}`] }));
      assert.ok([200, 400].includes(response.status));
      const record = await behindProxy.logged((_, index) => index >= before);
      assert.notEqual(record.client, '203.0.113.9');
    });
  }
});

test('the request id is ours', async () => {
  for (const value of ['client-chosen-id', 'x'.repeat(4000), '"};drop']) {
    const head = await passed([`X-Request-Id: ${value}`]);
    assert.notEqual(head.get('x-request-id'), value);
  }
});

test('security headers that came twice are refused', async (t) => {
  for (const lines of [['Authorization: Bearer a', 'Authorization: Bearer b'], ['Authorization: Bearer a', 'authorization: Bearer a']]) {
    await assertRefused(t, { gateway, origin, name: lines.join(' | '), bytes: request('/x', { headers: lines }),
      expected: { status: 400, code: ['PST-R015', 'PST-R002'], closes: false } });
  }
});

test('the response carries none of the connection to the origin', async () => {
  origin.answer = () => 'HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nContent-Length: 2\r\n\r\nok';
  const response = await exchange(gateway.port, request('/x'));
  assert.equal(response.text(), 'ok');
  for (const name of ['x-hop', 'keep-alive', 'proxy-connection']) assert.ok(!response.has(name), response.head.text);
});

test('PROXY protocol version 2', async (t) => {
  const proxied = await Gateway.start(({ port }) => ({
    listeners: [{ address: `127.0.0.1:${port}`, proxy_protocol: 'v2' }],
    trusted_proxies: ['127.0.0.1/32'],
    origins: { main: { url: origin.url, identity } },
    routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
  }));
  const { ok } = await import('./lib/recording_origin.mjs');
  origin.answer = ok();
  const signature = '0d0a0d0a000d0a515549540a';
  const address = 'cb007109' + '7f000001' + '1234' + '0050';  // 203.0.113.9 -> 127.0.0.1
  const headerBytes = (hex) => Buffer.from(hex, 'hex').toString('latin1');
  const good = headerBytes(`${signature}2111000c${address}`);
  await t.test('gives the address of the client', async () => {
    for (const fragment of [0, 1]) {
      origin.reset();
      const response = await exchange(proxied.port, good + request('/x'), { method: 'GET', fragment });
      assert.equal(response.status, 200);
      assert.equal(origin.last().head.get('x-forwarded-for'), '203.0.113.9');
    }
  });
  await t.test('TLVs are skipped by their length', async () => {
    const response = await exchange(proxied.port, headerBytes(`${signature}21110012${address}040003aabbcc`) + request('/x'), { method: 'GET' });
    assert.equal(response.status, 200);
  });
  await t.test('LOCAL keeps the address of the connection', async () => {
    origin.reset();
    const response = await exchange(proxied.port, headerBytes(`${signature}20000000`) + request('/x'), { method: 'GET' });
    assert.equal(response.status, 200);
    assert.equal(origin.last().head.get('x-forwarded-for'), '127.0.0.1');
  });
  const bad = [
    ['no header', request('/x')],
    ['version 1', `PROXY TCP4 203.0.113.9 127.0.0.1 1 80\r\n${request('/x')}`],
    ['wrong version', headerBytes(`${signature}1111000c${address}`) + request('/x')],
    ['wrong command', headerBytes(`${signature}2211000c${address}`) + request('/x')],
    ['length too short for the family', headerBytes(`${signature}21110004cb007109`) + request('/x')],
    ['giant length', headerBytes(`${signature}2111ffff${address}`) + request('/x') + 'x'.repeat(70_000)],
    ['TLV longer than the header', headerBytes(`${signature}21110010${address}0400ffaa`) + request('/x')],
  ];
  for (const [name, bytes] of bad) {
    await t.test(name, async () => {
      origin.reset();
      const wire = await Wire.connect(proxied.port);
      await wire.send(bytes);
      const response = await wire.read().catch(() => null);
      if (response) assert.equal(response.problem().code, 'PST-R017');
      await wire.closed();
      assert.deepEqual(origin.requests.map(({ target }) => target), []);
    });
  }
  await t.test('and each of them is counted and said', async () => {
    assert.equal(await proxied.metric('postern_errors_total', { code: 'PST-R017' }), bad.length);
    assert.match(proxied.process.stderr, /PST-R017/);
  });
});
