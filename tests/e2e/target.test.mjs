// One canonical target for matching, policy, log and forwarding: every spelling of a protected path is either the
// protected path or refused.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { assertRefused as assertRefusedAnywhere, smuggled } from './lib/refusal.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

const assertRefused = (t, options) => assertRefusedAnywhere(t, { ...options, neighbourPath: '/open/neighbour' });

let gateway;
let origin;
before(async () => {
  origin = await RecordingOrigin.start();
  gateway = await Gateway.start({
    origins: { main: { url: origin.url, identity } },
    routes: [
      { name: 'admin', match: { path: '/admin/*' }, respond: { status: 403 }, public: true },
      { name: 'admin-exact', match: { path: '/admin' }, respond: { status: 403 }, public: true },
      { name: 'host', match: { host: 'one.test', path: '/who' }, respond: { status: 200, body: 'one' }, public: true },
      { name: 'wildcard', match: { host: '*.wild.test', path: '/who' }, respond: { status: 200, body: 'wild' }, public: true },
      { name: 'parameter', match: { path: '/orders/{id}', methods: ['GET'] }, origin: 'main', public: true },
      { name: 'parameter-post', match: { path: '/orders/{id}', methods: ['POST'] }, respond: { status: 200, body: 'posted' }, public: true },
      { name: 'special', match: { path: '/orders/special' }, respond: { status: 200, body: 'special' }, public: true },
      { name: 'files', match: { path: '/files/*' }, origin: 'main', public: true },
      { name: 'rest', match: { path: '/open/*' }, origin: 'main', public: true },
      { name: 'dots', match: { path: '/a.b' }, respond: { status: 200, body: 'dot' }, public: true },
    ],
  });
});

const bad = { status: 400, code: 'PST-R004', closes: false };

test('targets that two readers could read differently are refused', async (t) => {
  const targets = [
    ['encoded slash', '/open%2fx'], ['encoded slash, capital', '/open/..%2Fadmin'], ['encoded backslash', '/open/%5cadmin'],
    ['backslash', '/open\\admin'], ['backslash at the start', '\\admin'], ['fragment', '/open/x#y'], ['fragment before query', '/open#?x'],
    ['encoded NUL', '/open/%00'], ['encoded NUL in the query is for the origin', null],
    ['encoded CR', '/open/%0d'], ['encoded LF', '/open/%0aX-Injected:%201'], ['truncated percent', '/open/%'], ['truncated percent, one digit', '/open/%4'],
    ['percent with other letters', '/open/%zz'], ['double encoding', '/open/%2561dmin'], ['double-encoded dot segment', '/open/%252e%252e/admin'],
    ['double-encoded slash', '/open/%252fadmin'], ['overlong UTF-8 slash', '/open/%c0%af'], ['overlong UTF-8 dot', '/open/%c0%ae%c0%ae/admin'],
    ['bad UTF-8', '/open/%ff'], ['lone continuation byte', '/open/%80'], ['surrogate', '/open/%ed%a0%80'], ['truncated UTF-8', '/open/%e2%82'],
    ['raw high byte', '/open/\xff'], ['out of the root', '/../admin'], ['far out of the root', '/open/../../../admin'],
    ['out of the root, encoded', '/%2e%2e/admin'], ['no leading slash', 'open/x'], ['only a question mark', '?x'], ['dot segment with parameter', '/open/..;/admin'],
    ['asterisk with GET', '*'], ['raw control byte', '/open/\x01'], ['raw DEL', '/open/\x7f'],
  ].filter(([, target]) => target);
  for (const [name, target] of targets) {
    await assertRefused(t, { gateway, origin, name: `${name}: ${JSON.stringify(target)}`, bytes: request(target),
      expected: { ...bad, status: [400], code: ['PST-R004', 'PST-R001'], silent: false, closes: false } });
  }
});

test('spellings of /admin are /admin', async (t) => {
  const spellings = ['/admin', '/admin/', '/admin/x', '/%61dmin', '/%61%64%6d%69%6e/x', '/./admin', '/open/../admin', '/open/./../admin/x',
    '/open/%2e%2e/admin', '/open/%2E./admin', '/admin/.', '/admin/x/..', '/admin?x', '/admin/?a=/open/', '/open/..//admin', '//admin', '///admin/x', '/admin//x'];
  for (const target of spellings) {
    await t.test(target, async () => {
      origin.reset();
      const response = await exchange(gateway.port, request(target));
      assert.ok([400, 403].includes(response.status), `${response.status}`);
      assert.deepEqual(origin.requests.map((r) => r.target), []);
    });
  }
});

test('what is matched is what is forwarded', async (t) => {
  const cases = [
    ['/open/a', '/open/a'], ['/open/%61', '/open/a'], ['/open/%7Euser', '/open/~user'], ['/open/a%20b', '/open/a%20b'], ['/open/%c3%a9', '/open/%C3%A9'],
    ['/open/./a', '/open/a'], ['/open/b/../a', '/open/a'], ['/open/a?q=%2F&r=..%2f', '/open/a?q=%2F&r=..%2f'], ['/open/a?', '/open/a?'], ['/open/a;b=c', '/open/a;b=c'],
    ['/open/a?x=?y', '/open/a?x=?y'], ['/open/a/', '/open/a/'], ['/open/a%3Fb', '/open/a%3Fb'], ["/open/!$&'()*+,;=:@", "/open/!$&'()*+,;=:@"],
  ];
  for (const [sent, forwarded] of cases) {
    await t.test(sent, async () => {
      origin.reset();
      const response = await exchange(gateway.port, request(sent));
      assert.equal(response.status, 200, response.text());
      assert.equal(origin.last().target, forwarded);
      const record = await gateway.logged(({ request_id: id }) => id === origin.last().head.get('x-request-id'));
      assert.equal(record.path, forwarded.split('?')[0]);
    });
  }
});

test('the most specific route wins', async (t) => {
  const cases = [
    ['literal before parameter', request('/orders/special'), 200, 'special'],
    ['parameter', request('/orders/7'), 200, 'ok'],
    ['method', request('/orders/7', { method: 'POST' }), 200, 'posted'],
    ['a parameter is one segment', request('/orders/7/x'), 404],
    ['a parameter is not empty', request('/orders/'), 404],
    ['star is the rest', request('/files/a/b/c'), 200, 'ok'],
    ['paths are case-sensitive', request('/Orders/7'), 404],
    ['a dot is a dot', request('/axb'), 404],
    ['a dot is a dot, indeed', request('/a.b'), 200, 'dot'],
    ['exact host', request('/who', { host: 'one.test' }), 200, 'one'],
    ['exact host in capitals', request('/who', { host: 'ONE.Test' }), 200, 'one'],
    ['exact host with port', request('/who', { host: 'one.test:8080' }), 200, 'one'],
    ['wildcard host', request('/who', { host: 'a.wild.test' }), 200, 'wild'],
    ['wildcard needs a label', request('/who', { host: 'wild.test' }), 404],
    ['another host', request('/who', { host: 'two.test' }), 404],
    ['a suffix is not the host', request('/who', { host: 'evilone.test' }), 404],
  ];
  for (const [name, bytes, status, body] of cases) {
    await t.test(name, async () => {
      const response = await exchange(gateway.port, bytes);
      assert.equal(response.status, status, response.text());
      if (body) assert.equal(response.text(), body);
      else assert.equal(response.problem().code, 'PST-R404');
    });
  }
  await t.test('405 lists the methods', async () => {
    const response = await exchange(gateway.port, request('/orders/7', { method: 'DELETE' }));
    assert.equal(response.status, 405);
    assert.equal(response.problem().code, 'PST-R405');
    const allowed = response.get('allow').split(/, */).sort();
    for (const method of ['GET', 'POST']) assert.ok(allowed.includes(method), `${allowed}`);
    assert.ok(!allowed.includes('DELETE'));
  });
});

test('the asterisk is for OPTIONS, and no route is behind it', async (t) => {
  for (const [name, headers] of [['plain', []], ['with a preflight of a browser', ['Origin: https://app.test', 'Access-Control-Request-Method: GET']]]) {
    await t.test(name, async () => {
      origin.reset();
      const wire = await Wire.connect(gateway.port);
      await wire.send(request('*', { method: 'OPTIONS', headers }) + request('/open/next'));
      const response = await wire.read('OPTIONS');
      assert.equal(response.status, 404);
      assert.equal(response.problem().code, 'PST-R404');
      assert.equal((await wire.read()).status, 200, 'the next one');
      wire.close();
      assert.deepEqual(origin.requests.map(({ target }) => target), ['/open/next']);
    });
  }
  for (const target of ['*x', '/*', '*/open/x', '**']) {
    await t.test(`OPTIONS ${target} is no asterisk`, async () => {
      const response = await exchange(gateway.port, request(target, { method: 'OPTIONS' }));
      assert.equal(response.problem().code, target === '/*' ? 'PST-R404' : 'PST-R004');
    });
  }
});

test('one host has one name', async (t) => {
  for (const host of ['one.test', 'one.test.', 'ONE.TEST', 'ONE.Test.', 'one.test.:8080', 'OnE.tEsT:80']) {
    await t.test(host, async () => {
      const response = await exchange(gateway.port, request('/who', { host }));
      assert.equal(response.status, 200, response.text());
      assert.equal(response.text(), 'one');
    });
  }
  for (const host of ['one.test..', '.one.test', 'one.test.evil.test', 'xone.test.']) {
    await t.test(`${host} is another, or none`, async () => {
      const response = await exchange(gateway.port, request('/who', { host }));
      assert.match(response.problem().code, /^PST-R(404|005)$/);
    });
  }
});

test('Host', async (t) => {
  const get = (lines) => `GET /open/x HTTP/1.1\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n${smuggled}`;
  const refused = [
    ['none', []], ['empty', ['Host:']], ['two that differ', ['Host: api.test', 'Host: evil.test']], ['two that agree', ['Host: api.test', 'Host: api.test']],
    ['two in one', ['Host: api.test, evil.test']], ['userinfo', ['Host: user@api.test']], ['space inside', ['Host: api test']], ['path', ['Host: api.test/x']],
    ['port too large', ['Host: api.test:65536']], ['port not a number', ['Host: api.test:http']], ['negative port', ['Host: api.test:-1']], ['two ports', ['Host: api.test:1:2']],
    ['high byte', ['Host: \xe4pi.test']], ['NUL', ['Host: api\0.test']], ['open bracket', ['Host: [::1']], ['brackets around a name', ['Host: [api.test]']],
    ['IPv6 without brackets', ['Host: ::1']], ['IPv6 with zone', ['Host: [fe80::1%25eth0]']], ['percent', ['Host: api%2etest']], ['backslash', ['Host: api\\test']],
    ['quote', ['Host: "api.test"']], ['empty label', ['Host: api..test']], ['only a port', ['Host: :80']],
  ];
  for (const [name, lines] of refused) {
    await assertRefused(t, { gateway, origin, name, bytes: get(lines).replace(smuggled, ''), expected: { status: 400, code: ['PST-R005', 'PST-R002'], closes: false } });
  }
  const accepted = ['api.test', 'api.test:80', 'API.TEST', '127.0.0.1', '127.0.0.1:8080', '[::1]', '[::1]:8080', 'a-b.test', 'xn--bcher-kva.test', 'api.test.'];
  for (const host of accepted) {
    await t.test(`${host} is fine`, async () => {
      assert.equal((await exchange(gateway.port, request('/open/x', { host }))).status, 200);
    });
  }
  await t.test('HTTP/1.0 without Host', async () => {
    const response = await exchange(gateway.port, 'GET /open/x HTTP/1.0\r\n\r\n');
    assert.ok([200, 400].includes(response.status));
    if (response.status === 200) assert.ok(origin.last().head.has('host'));
  });
});

test('the absolute form', async (t) => {
  const to = (target, host) => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  await t.test('that agrees with Host is taken apart', async () => {
    origin.reset();
    assert.equal((await exchange(gateway.port, to('http://api.test/open/x?y', 'api.test'))).status, 200);
    assert.equal(origin.last().target, '/open/x?y');
  });
  const refused = [
    ['another host', 'http://evil.test/open/x', 'api.test'], ['another port', 'http://api.test:81/open/x', 'api.test'], ['userinfo', 'http://u@api.test/open/x', 'api.test'],
    ['another scheme', 'ftp://api.test/open/x', 'api.test'], ['file', 'file:///open/x', 'api.test'], ['no host', 'http:///open/x', 'api.test'],
    ['two slashes only', '//', 'api.test'], ['fragment', 'http://api.test/open/x#y', 'api.test'], ['no path, encoded', 'http://api.test%2fopen/x', 'api.test'],
    ['authority form with GET', 'api.test:80', 'api.test'],
  ].filter(([name]) => name !== 'two slashes only');
  for (const [name, target, host] of refused) {
    await assertRefused(t, { gateway, origin, name, bytes: to(target, host), expected: { status: 400, code: ['PST-R004', 'PST-R005', 'PST-R001'], closes: false } });
  }
});

test('the log cannot be forged through the target', async () => {
  const response = await exchange(gateway.port, request('/open/%22%7d%0a'));
  assert.equal(response.status, 400);
  await exchange(gateway.port, request('/open/%22%7D?a="b"'));
  for (const line of gateway.process.stdout.split('\n').filter(Boolean)) JSON.parse(line);
});
