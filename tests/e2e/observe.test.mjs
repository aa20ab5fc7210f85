// Seen from outside: access log, metrics, health and readiness, the admin socket. None of them tells a secret, and no
// client can write what it likes into them.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { before, test } from 'node:test';
import { Gateway, identity, secret, secretHeader } from './lib/gateway.mjs';
import { RecordingOrigin, reply } from './lib/recording_origin.mjs';
import { until } from './lib/wait.mjs';
import { exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
before(async () => {
  origin = await RecordingOrigin.start({ answer: () => reply(201, 'created') });
  gateway = await Gateway.start({
    origins: { main: { url: origin.url, identity }, gone: { url: 'http://127.0.0.1:1', identity, retries: { attempts: 1 } } },
    routes: [
      { name: 'everything', match: { path: '/*' }, origin: 'main', public: true },
      { name: 'gone', match: { path: '/gone' }, origin: 'gone', public: true },
    ],
  });
});
const recordOf = async (response) => {
  const id = response.status >= 400 && response.get('content-type') === 'application/problem+json' ? response.json().request_id : origin.last().head.get('x-request-id');
  return gateway.logged(({ request_id: logged }) => logged === id);
};

test('the access log has one record per request', async (t) => {
  await t.test('with everything that is known', async () => {
    const response = await exchange(gateway.port, request('/a/b?token=abc&plain', { method: 'POST', body: 'hello', headers: ['User-Agent: tester/1'] }));
    const record = await recordOf(response);
    assert.match(record.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
    const { method, host, path, protocol, status, route, bytes_in: bytesIn, bytes_out: bytesOut, attempts, client, origin: name } = record;
    assert.deepEqual({ method, host, path, protocol, status, route, bytesIn, bytesOut, attempts, client, name },
      { method: 'POST', host: 'api.test', path: '/a/b', protocol: 'HTTP/1.1', status: 201, route: 'everything', bytesIn: 5, bytesOut: 7, attempts: 1, client: '127.0.0.1', name: 'main' });
    assert.equal(record.user_agent, 'tester/1');
    assert.ok(record.duration_ms >= 0 && record.first_byte_ms >= 0);
    assert.ok(!('error_code' in record));
  });
  await t.test('with the values of the query redacted', async () => {
    const record = await recordOf(await exchange(gateway.port, request('/q?api_key=s3cret&b=2&flag')));
    assert.ok(!JSON.stringify(record).includes('s3cret'), JSON.stringify(record));
    assert.match(record.query, /api_key=.*&b=.*&flag/);
  });
  await t.test('with code and side of an error', async () => {
    const client = await recordOf(await exchange(gateway.port, request('/%00')));
    assert.deepEqual([client.status, client.error_code, client.error_side], [400, 'PST-R004', 'client']);
    const failed = await exchange(gateway.port, request('/gone'));
    assert.equal(failed.problem().code, 'PST-U001');
    const upstream = await recordOf(failed);
    assert.deepEqual([upstream.status, upstream.error_code, upstream.error_side, upstream.origin], [502, 'PST-U001', 'origin', 'gone']);
    assert.ok(!failed.text().includes('127.0.0.1'), 'the address of the origin in the answer');
  });
  await t.test('which no client can forge', async () => {
    const headers = ['User-Agent: x","status":200,"route":"forged', 'Referer: https://user:pw@ref.test/p?token=abc#frag'];
    const record = await recordOf(await exchange(gateway.port, request('/forge', { headers })));
    assert.equal(record.route, 'everything');
    assert.equal(record.user_agent, 'x","status":200,"route":"forged');
    assert.ok(!/pw@|token=abc|frag/.test(JSON.stringify(record)));
  });
  await t.test('and no credentials', async () => {
    await exchange(gateway.port, request('/c', { headers: ['Authorization: Bearer very-secret-token', 'Cookie: session=very-secret-cookie', 'X-API-Key: very-secret-key'] }));
    await gateway.logged(({ path }) => path === '/c');
    assert.ok(!/very-secret/.test(gateway.output()));
    assert.ok(!gateway.output().includes(secret));
  });
});

test('the observe listener', async (t) => {
  await t.test('is healthy and ready', async () => {
    for (const target of ['/healthz', '/readyz']) assert.equal((await gateway.observe(target)).status, 200, target);
  });
  await t.test('speaks Prometheus', async () => {
    const { text, headers } = await gateway.observe('/metrics');
    assert.match(headers['content-type'], /^text\/plain; version=0\.0\.4/);
    for (const line of text.trimEnd().split('\n')) {
      assert.match(line, /^(# (HELP|TYPE) [a-zA-Z_:][\w:]* .*|[a-zA-Z_:][\w:]*(\{([a-zA-Z_]\w*="([^"\\]|\\.)*",?)*\})? (-?[\d.]+(e[+-]?\d+)?|\+Inf|NaN))$/);
    }
  });
  await t.test('counts', async () => {
    const before = await gateway.metric('postern_requests_total', { route: 'everything', status: '2xx' });
    for (let n = 0; n < 7; n++) await exchange(gateway.port, request('/count'));
    await until('seven more', async () => await gateway.metric('postern_requests_total', { route: 'everything', status: '2xx' }) === before + 7);
    assert.ok(await gateway.metric('postern_errors_total', { code: 'PST-U001', side: 'origin' }) >= 1);
    const strips = () => gateway.metric('postern_header_strips_total', { reason: 'reserved' });
    const stripped = await strips();
    await exchange(gateway.port, request('/strip', { headers: [`${secretHeader}: forged`, `${secretHeader.replaceAll('-', '_')}: forged`] }));
    await until('two fields', async () => await strips() === stripped + 2);
    assert.equal(await gateway.metric('postern_insecure_options'), 0);
  });
  await t.test('shows the status, the less private half of it', async () => {
    const { status, text } = await gateway.observe('/status');
    assert.equal(status, 200);
    assert.match(text, /\bmain\b/);
    const asJson = await exchange(gateway.observePort, request('/status', { headers: ['Accept: application/json'] }));
    const { generation, origins } = asJson.json();
    assert.ok(generation >= 1);
    assert.deepEqual(origins.map(({ name }) => name), ['main', 'gone']);
    for (const shown of [text, asJson.text()]) assert.ok(!shown.includes(gateway.directory), 'a path');
  });
  await t.test('names no address of an origin', async () => {
    for (const target of ['/metrics', '/status']) {
      const { text } = await gateway.observe(target);
      assert.ok(!text.includes(String(origin.port)), target);
      assert.ok(!text.includes(secret), target);
    }
  });
  await t.test('serves nothing else, and changes nothing', async () => {
    for (const [method, target] of [['GET', '/'], ['GET', '/admin'], ['GET', '/metrics/../admin'], ['POST', '/metrics'], ['DELETE', '/healthz'], ['POST', '/reload']]) {
      const response = await exchange(gateway.observePort, request(target, { method }));
      assert.ok(response.status >= 400 && response.status < 500, `${method} ${target}: ${response.status}`);
    }
  });
  await t.test('does not serve traffic, nor the traffic listener metrics', async () => {
    origin.reset();
    await exchange(gateway.port, request('/metrics'));
    assert.equal(origin.last().target, '/metrics', 'it is the origin\'s path there');
  });
});

test('the admin socket', async (t) => {
  await t.test('belongs to its owner alone', () => {
    assert.equal(statSync(gateway.adminSocket).mode & 0o777, 0o600);
  });
  await t.test('shows the status', async () => {
    const { code, stdout, stderr } = await gateway.postern('status');
    assert.equal(code, 0, stderr);
    assert.ok(!stdout.includes(secret));
    const json = await gateway.postern('status', '--json');
    assert.equal(json.code, 0);
    JSON.parse(json.stdout);
  });
  await t.test('refuses requests that a browser could be made to send', async () => {
    const cases = [
      request('/reload', { method: 'POST', host: 'evil.test', headers: ['Origin: https://evil.test'], body: '{}' }),
      request('/reload', { method: 'POST', host: 'localhost', headers: ['Origin: https://evil.test', 'Content-Type: text/plain'], body: '{}' }),
      request('/v1/reload', { method: 'POST', host: 'evil.test', headers: ['Origin: https://evil.test'], body: '{}' }),
    ];
    const before = await gateway.metric('postern_config_generation');
    for (const bytes of cases) {
      const response = await exchange(gateway.adminSocket, bytes).catch(() => null);
      assert.ok(!response || response.status >= 400, `${response?.status}`);
    }
    assert.equal(await gateway.metric('postern_config_generation'), before);
  });
});
