// The policies as a client and an origin see them, inherited and dropped.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Gateway, identity, secretHeader, secret } from './lib/gateway.mjs';
import { RecordingOrigin, reply } from './lib/recording_origin.mjs';
import { exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
const route = (path, policies, extra = {}) => ({ name: path.slice(1).replaceAll('/', '-').replace('-*', '') || 'root', match: { path }, origin: 'main', public: true, policies, ...extra });
before(async () => {
  origin = await RecordingOrigin.start({ answer: () => reply(200, 'ok', ['Server: secretive/1', 'X-Inner: 1']) });
  gateway = await Gateway.start({
    trusted_proxies: ['127.0.0.1/32'],
    policies: [{ response_headers: { set: { 'X-Everywhere': 'yes' }, remove: ['Server'] } }],
    origins: { main: { url: origin.url, identity } },
    routes: [
      route('/limited', [{ rate_limit: { requests: 3, per: '1h', by: 'address' } }]),
      route('/limited-header', [{ rate_limit: { requests: 2, per: '1h', by: { header: 'X-Tenant' } } }]),
      route('/burst', [{ rate_limit: { requests: 100, per: '1h', burst: 100, by: 'address' } }]),
      route('/allow', [{ ip_filter: { allow: ['10.0.0.0/8', '2001:db8::/32'], deny: ['10.9.0.0/16'] } }]),
      route('/deny', [{ ip_filter: { deny: ['203.0.113.0/24'] } }]),
      route('/small', [{ body_limit: { max: '10B' } }]),
      route('/set', [{ request_headers: { set: { 'X-Set': '${request_id}', 'X-Client': '${client_address}' }, add: { 'X-Add': 'added' }, remove: ['X-Remove'] } }]),
      route('/rewrite/*', [{ rewrite: { strip_prefix: '/rewrite', add_prefix: '/v2' } }]),
      route('/fixed', [{ rewrite: { path: '/other' } }]),
      route('/cors', [{ cors: { origins: ['https://app.test', 'https://*.wild.test'], methods: ['GET', 'PUT'], headers: ['X-API-Key'], expose: ['X-Inner'], credentials: true, max_age: '10m' } }]),
      { ...route('/cors-methods', [{ cors: { origins: ['https://app.test'], methods: ['GET', 'PUT'] } }]), match: { path: '/cors-methods', methods: ['GET', 'PUT'] } },
      { ...route('/no-cors', []), match: { path: '/no-cors', methods: ['GET', 'PUT'] } },
      route('/cors-any', [{ cors: { origins: ['*'] } }]),
      { match: { path: '/respond' }, respond: { status: 418, body: '{"tea":true}', content_type: 'application/json', headers: { 'X-Tea': 'yes' } }, public: true },
      { match: { path: '/redirect/*' }, redirect: { to: 'https://new.test${path}${query}', strip_prefix: '/redirect', status: 308 }, public: true },
      route('/without', [], { without: ['response_headers'], reason: 'the partner wants it raw' }),
    ],
  });
});
const send = (target, options) => exchange(gateway.port, request(target, options));

test('rate_limit', async (t) => {
  const from = (address) => ({ headers: [`X-Forwarded-For: ${address}`] });
  await t.test('so many and no more, and says when', async () => {
    for (let n = 0; n < 3; n++) assert.equal((await send('/limited', from('198.51.100.1'))).status, 200);
    const response = await send('/limited', from('198.51.100.1'));
    assert.equal(response.status, 429);
    assert.equal(response.problem().code, 'PST-P429');
    const wait = Number(response.get('retry-after'));
    assert.ok(Number.isInteger(wait) && wait >= 1 && wait <= 3600, `${wait}`);
    assert.ok(response.has('ratelimit'), response.head.text);
    assert.ok(response.has('ratelimit-policy'), response.head.text);
  });
  await t.test('everybody has a limit of their own', async () => assert.equal((await send('/limited', from('198.51.100.2'))).status, 200));
  await t.test('an IPv6 network of 64 bits is one client', async () => {
    for (let n = 0; n < 3; n++) assert.equal((await send('/limited', from(`2001:db8:1:1::${n + 1}`))).status, 200);
    assert.equal((await send('/limited', from('2001:db8:1:1:ffff::9'))).status, 429);
    assert.equal((await send('/limited', from('2001:db8:1:2::1'))).status, 200);
  });
  await t.test('by header', async () => {
    const tenant = (name) => ({ headers: [`X-Tenant: ${name}`] });
    for (let n = 0; n < 2; n++) assert.equal((await send('/limited-header', tenant('a'))).status, 200);
    assert.equal((await send('/limited-header', tenant('a'))).status, 429);
    assert.equal((await send('/limited-header', tenant('b'))).status, 200);
  });
  await t.test('exact across loops and connections', async () => {
    const answers = await Promise.all(Array.from({ length: 300 }, () => send('/burst', from('198.51.100.77')).then(({ status }) => status)));
    assert.equal(answers.filter((status) => status === 200).length, 100);
    assert.equal(answers.filter((status) => status === 429).length, 200);
  });
});

test('ip_filter', async (t) => {
  const cases = [
    ['/allow', '10.1.2.3', 200], ['/allow', '10.9.1.1', 403], ['/allow', '192.0.2.1', 403], ['/allow', '2001:db8::1', 200], ['/allow', '2001:db9::1', 403], ['/allow', '::ffff:10.1.2.3', 200],
    ['/allow', '10.1.2.3:4711', 200], ['/allow', '[2001:db8::1]:99', 200], ['/allow', '192.0.2.1:4711', 403], ['/allow', 'unknown', 403], ['/allow', '_hidden', 403],
    ['/deny', '203.0.113.9:80', 403], ['/deny', 'unknown', 403], ['/deny', '203.0.113.200', 403], ['/deny', '203.0.114.1', 200], ['/deny', '::ffff:203.0.113.1', 403],
  ];
  for (const [target, address, status] of cases) {
    await t.test(`${target} from ${address}`, async () => {
      const response = await send(target, { headers: [`X-Forwarded-For: ${address}`] });
      assert.equal(response.status, status);
      if (status === 403) assert.equal(response.problem().code, 'PST-P403');
    });
  }
});

test('body_limit', async (t) => {
  await t.test('by Content-Length', async () => {
    assert.equal((await send('/small', { method: 'POST', body: '0123456789' })).status, 200);
    const response = await send('/small', { method: 'POST', body: '0123456789a' });
    assert.equal(response.status, 413);
    assert.equal(response.problem().code, 'PST-P413');
  });
  await t.test('chunked, where it passes the limit', async () => {
    origin.reset();
    const response = await exchange(gateway.port, request('/small', { method: 'POST', headers: ['Transfer-Encoding: chunked'] }) + '5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n');
    assert.equal(response.status, 413);
    assert.deepEqual(origin.requests, []);
  });
});

test('request_headers and response_headers', async (t) => {
  await t.test('set, add and remove on the way to the origin', async () => {
    origin.reset();
    await send('/set', { headers: ['X-Set: client', 'X-Add: client', 'X-Remove: client', 'X-Remove: again'] });
    const { head } = origin.last();
    assert.equal(head.get('x-set'), head.get('x-request-id'));
    assert.equal(head.get('x-client'), '127.0.0.1');
    assert.deepEqual(head.all('x-add'), ['client', 'added']);
    assert.ok(!head.has('x-remove'));
    assert.equal(head.get(secretHeader), secret);
  });
  await t.test('on every answer, errors included', async () => {
    for (const [target, status] of [['/deny', 200], ['/respond', 418], ['/allow', 403]]) {
      const response = await send(target);
      assert.equal(response.status, status);
      assert.equal(response.get('x-everywhere'), 'yes', target);
      assert.ok(!response.has('server') || response.get('server') !== 'secretive/1');
    }
  });
  await t.test('in trailers, too', async () => {
    const { answer } = origin;
    origin.answer = () => 'HTTP/1.1 200 OK\r\nTrailer: Server, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nServer: secretive/1\r\nX-Everywhere: no\r\nX-Sum: abc\r\n\r\n';
    try {
      const trailers = async (target) => {
        const { trailers: fields } = await send(target, { headers: ['TE: trailers', 'Connection: TE'] });
        return ['server', 'x-everywhere', 'x-sum'].map((name) => fields?.get(name));
      };
      assert.deepEqual(await trailers('/set'), [undefined, undefined, 'abc']);
      assert.deepEqual(await trailers('/without'), ['secretive/1', 'no', 'abc']);
    } finally { origin.answer = answer; }
  });
  await t.test('unless a route does without, and says why', async () => {
    const response = await send('/without');
    assert.ok(!response.has('x-everywhere'));
    assert.equal(response.get('server'), 'secretive/1');
  });
});

test('rewrite', async (t) => {
  const cases = [['/rewrite/a/b?c=d', '/v2/a/b?c=d'], ['/rewrite/', '/v2/'], ['/fixed?x', '/other?x'], ['/rewrite/%2e%2e/rewrite/x', '/v2/x']];
  for (const [sent, received] of cases) {
    await t.test(sent, async () => {
      origin.reset();
      assert.equal((await send(sent)).status, 200);
      assert.equal(origin.last().target, received);
      assert.equal(origin.last().head.get(secretHeader), secret);
    });
  }
});

test('cors', async (t) => {
  const preflight = (target, from, method, headers) => send(target, { method: 'OPTIONS', headers: [`Origin: ${from}`, `Access-Control-Request-Method: ${method}`, ...(headers ? [`Access-Control-Request-Headers: ${headers}`] : [])] });
  await t.test('a preflight is answered by the gateway', async () => {
    origin.reset();
    const response = await preflight('/cors', 'https://app.test', 'PUT', 'x-api-key');
    assert.ok([200, 204].includes(response.status));
    assert.equal(response.get('access-control-allow-origin'), 'https://app.test');
    assert.match(response.get('access-control-allow-methods'), /PUT/);
    assert.match(response.get('access-control-allow-headers'), /x-api-key/i);
    assert.equal(response.get('access-control-allow-credentials'), 'true');
    assert.equal(response.get('access-control-max-age'), '600');
    assert.match(response.all('vary').join(','), /origin/i);
    assert.deepEqual(origin.requests, []);
  });
  await t.test('also where the route lists its methods and OPTIONS is none of them', async () => {
    const allowed = await preflight('/cors-methods', 'https://app.test', 'PUT');
    assert.equal(allowed.status, 204);
    assert.equal(allowed.get('access-control-allow-origin'), 'https://app.test');
    assert.equal((await preflight('/cors-methods', 'https://evil.test', 'PUT')).status, 403);
    // What is no preflight, asks about another method, or has no cors policy is an ordinary OPTIONS.
    origin.reset();
    assert.equal((await send('/cors-methods', { method: 'OPTIONS' })).status, 405);
    assert.equal((await send('/cors-methods', { method: 'OPTIONS', headers: ['Access-Control-Request-Method: PUT'] })).status, 405);
    assert.equal((await preflight('/cors-methods', 'https://app.test', 'DELETE')).status, 405);
    assert.equal((await preflight('/no-cors', 'https://app.test', 'PUT')).status, 405);
    assert.deepEqual(origin.requests, []);
  });
  const foreign = ['https://evil.test', 'https://app.test.evil.test', 'https://evilapp.test', 'http://app.test', 'https://app.test:8443', 'null', 'https://wild.test', 'https://a.wild.test.evil.test', 'https://APP.test/'];
  for (const from of foreign) {
    await t.test(`${from} is not allowed`, async () => {
      assert.ok(!(await preflight('/cors', from, 'PUT')).has('access-control-allow-origin'));
      assert.ok(!(await send('/cors', { headers: [`Origin: ${from}`] })).has('access-control-allow-origin'));
    });
  }
  await t.test('a subdomain is', async () => assert.equal((await send('/cors', { headers: ['Origin: https://a.wild.test'] })).get('access-control-allow-origin'), 'https://a.wild.test'));
  await t.test('a plain request is marked', async () => {
    const response = await send('/cors', { headers: ['Origin: https://app.test'] });
    assert.equal(response.get('access-control-allow-origin'), 'https://app.test');
    assert.match(response.get('access-control-expose-headers'), /x-inner/i);
    assert.match(response.all('vary').join(','), /origin/i);
  });
  await t.test('everybody, without credentials', async () => {
    const response = await send('/cors-any', { headers: ['Origin: https://any.test'] });
    assert.equal(response.get('access-control-allow-origin'), '*');
    assert.ok(!response.has('access-control-allow-credentials'));
  });
});

test('respond and redirect', async (t) => {
  await t.test('a fixed answer', async () => {
    const response = await send('/respond');
    assert.equal(response.status, 418);
    assert.deepEqual(response.json(), { tea: true });
    assert.equal(response.get('content-type'), 'application/json');
    assert.equal(response.get('x-tea'), 'yes');
  });
  await t.test('a redirect', async () => {
    const response = await send('/redirect/a/b?c=d');
    assert.equal(response.status, 308);
    assert.equal(response.get('location'), 'https://new.test/a/b?c=d');
  });
  for (const target of ['/redirect//evil.test', '/redirect/%0d%0aX-Injected:1', '/redirect/\\evil.test', '/redirect/@evil.test', '/redirect/.evil.test']) {
    await t.test(`no way out: ${target}`, async () => {
      const response = await send(target);
      if (response.status === 308) assert.equal(new URL(response.get('location')).host, 'new.test');
      else assert.equal(response.status, 400);
      assert.ok(!response.has('x-injected'));
    });
  }
});
