// The configuration as a user meets it: errors that say where, what, why and how to fix, with a stable code; nothing
// accepted and ignored; explain, schema and version.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { postern, root, secret } from './lib/gateway.mjs';

const directory = temporaryDirectory();
let number = 0;
async function check(text, { name = 'postern.yaml', args = [] } = {}) {
  const file = path.join(directory, `${++number}-${name}`);
  writeFileSync(file, text);
  const result = await postern(['check', '--config', file, ...args]);
  return { ...result, text: result.stdout + result.stderr, file };
}
const good = `version: 1
listeners:
  - address: 127.0.0.1:8080
origins:
  orders:
    url: http://127.0.0.1:9000
    identity:
      - shared_secret: {header: X-Backend-Secret, value: "\${env:ORIGIN_SECRET}"}
routes:
  - match: {path: "/orders/{id}", methods: [GET, POST]}
    origin: orders
    public: true
`;
const replaced = (from, to) => {
  assert.ok(good.includes(from), from);
  return good.replace(from, to);
};

before(async () => {
  const result = await check(good);
  assert.equal(result.code, 0, result.text);
});

test('what is wrong is named with file, line and column, code and fix', async (t) => {
  const cases = [
    ['unknown key', replaced('    url:', '    ulr: x\n    url:'), 6, 'PST-C010', /url/],
    ['unknown key at the top', `${good}listner: x\n`, 13, 'PST-C010', /listeners/],
    ['a key that is not built yet', replaced('address: 127.0.0.1:8080', 'address: 127.0.0.1:8080\ntunnel: {}'), 4, 'PST-C014', /later version/],
    ['a method that there is not', replaced('- shared_secret: {header: X-Backend-Secret, value: "${env:ORIGIN_SECRET}"}', '- kerberos: {key: /x}'), 8, 'PST-C01', /known here|did you mean/],
    ['an issuer without a URL', replaced('address: 127.0.0.1:8080', 'address: 127.0.0.1:8080\nissuer: {}'), 4, 'PST-C013', /url/],
    ['a scheme that is not built yet', replaced('http://127', 'service://127'), 6, 'PST-C014', /later version/],
    ['a duplicate key', replaced('    url:', '    url: http://127.0.0.1:1\n    url:'), 7, 'PST-C005', /url/],
    ['an anchor', replaced('  orders:', '  orders: &a'), 5, 'PST-C006', /./],
    ['an alias', replaced('origin: orders', 'origin: *a'), 11, 'PST-C00[46]', /./],
    ['a merge key', replaced('    url:', '    <<: {}\n    url:'), 6, 'PST-C006', /./],
    ['a tag', replaced('origin: orders', 'origin: !!str orders'), 11, 'PST-C006', /./],
    ['broken syntax', replaced('  - address', '  - address: [\n  - address'), 0, 'PST-C004', /./],
    ['a wrong type', replaced('public: true', 'public: "true"'), 12, 'PST-C011', /./],
    ['the Norway problem', replaced('public: true', 'public: yes'), 12, 'PST-C011', /true/],
    ['a number without unit', replaced('    url:', '    timeouts: {connect: 5}\n    url:'), 6, 'PST-C01[12]', /5s|unit/],
    ['an unknown unit', replaced('    url:', '    timeouts: {connect: 5x}\n    url:'), 6, 'PST-C012', /./],
    ['an octal number', replaced('version: 1', 'version: 01'), 1, 'PST-C01[12]', /./],
    ['a missing key', replaced('version: 1\n', ''), 0, 'PST-C013', /version/],
    ['no routes', good.slice(0, good.indexOf('routes:')), 0, 'PST-C013', /routes/],
    ['an unknown origin', replaced('origin: orders', 'origin: order'), 11, 'PST-C030', /orders/],
    ['a route without a target', replaced('    origin: orders\n', ''), 10, 'PST-C03[0-9]', /./],
    ['two targets', replaced('    origin: orders\n', '    origin: orders\n    respond: {status: 204}\n'), 0, 'PST-C015', /./],
    ['two routes that are the same', `${good}  - match: {path: "/orders/{other}", methods: [GET]}\n    origin: orders\n    public: true\n`, 13, 'PST-C032', /./],
    ['a route that authenticates nobody', replaced('    public: true\n', ''), 10, 'PST-C034', /public/],
    ['a secret in the file', replaced('"${env:ORIGIN_SECRET}"', 'literal-secret-0123456789abcdef'), 8, 'PST-C020', /env|file/],
    ['a default for a secret', replaced('ORIGIN_SECRET', 'ORIGIN_SECRET:-default-0123456789'), 8, 'PST-C02[12]', /./],
    ['an unknown reference', replaced('${env:', '${vault:'), 8, 'PST-C021', /./],
    ['a secret that is not set', replaced('ORIGIN_SECRET', 'NOT_SET_ANYWHERE'), 8, 'PST-C022', /NOT_SET_ANYWHERE/],
    ['a secret file that is not there', replaced('env:ORIGIN_SECRET', 'file:/nonexistent/secret'), 8, 'PST-C022', /nonexistent/],
    ['a reference where there is no secret', replaced('/orders/{id}', '/orders/${env:X}'), 10, 'PST-C0(12|21)', /./],
    ['dropping a policy without a reason', replaced('    public: true\n', '    public: true\n    without: [rate_limit]\n'), 0, 'PST-C036', /./],
    ['a policy that does not exist', replaced('    public: true\n', '    public: true\n    policies: [rate_limt]\n'), 13, 'PST-C01[02]', /rate_limit/],
    ['a header name that cannot be sent', replaced('X-Backend-Secret', '"X Backend"'), 8, 'PST-C012', /./],
    ['an identity on Host', replaced('X-Backend-Secret', 'Host'), 8, 'PST-C0(12|26)', /./],
    ['an identity on Content-Length', replaced('X-Backend-Secret', 'Content-Length'), 8, 'PST-C0(12|26)', /./],
    ['a policy that writes the identity header', replaced('    public: true\n', '    public: true\n    policies: [{request_headers: {set: {x_backend_secret: v}}}]\n'), 13, 'PST-C0(26|40)', /./],
    ['a policy that vouches for the identity header', replaced('    public: true\n', '    policies: [{api_key: {headers: {id: X.Backend.Secret}}}]\n'), 12, 'PST-C026', /another name/],
    ['a key in the identity header', replaced('    public: true\n', '    policies: [{api_key: {header: x-backend-secret}}]\n'), 12, 'PST-C026', /another name/],
    ['a limit by the identity header', replaced('    public: true\n', '    public: true\n    policies: [{rate_limit: {requests: 1, per: 1s, by: {header: X-Backend-Secret}}}]\n'), 13, 'PST-C026', /another name/],
    ['an identity on Origin', replaced('X-Backend-Secret', 'Origin'), 8, 'PST-C0(12|26)', /./],
    ['an identity on the WebSocket handshake', replaced('X-Backend-Secret', 'Sec-WebSocket-Key'), 8, 'PST-C0(12|26)', /./],
    ['a path without slash', replaced('"/orders/{id}"', 'orders'), 10, 'PST-C012', /./],
    ['a path that is not canonical', replaced('"/orders/{id}"', '"/orders/../x"'), 10, 'PST-C0(12|15)', /./],
    ['an address without port', replaced('127.0.0.1:8080', '127.0.0.1'), 3, 'PST-C012', /./],
    ['a port that does not exist', replaced('127.0.0.1:8080', '127.0.0.1:70000'), 3, 'PST-C012', /./],
    ['a URL with a path', replaced('http://127.0.0.1:9000', 'http://127.0.0.1:9000/base'), 6, 'PST-C012', /./],
    ['a URL with credentials', replaced('http://127', 'http://u:p@127'), 6, 'PST-C012', /./],
    ['NUL bytes', `${good}\0`, 0, 'PST-C00[24]', /./],
    ['an empty file', '', 0, 'PST-C0', /./],
    ['another version', replaced('version: 1', 'version: 2'), 1, 'PST-C012', /version: 1/],
  ];
  for (const [name, text, line, code, fix] of cases) {
    await t.test(name, async () => {
      const result = await check(text);
      assert.equal(result.code, 3, result.text);
      const where = line ? `${line}:\\d+` : '\\d+:\\d+';
      assert.match(result.text, new RegExp(`${path.basename(result.file)}:${where}`), result.text);
      assert.match(result.text, new RegExp(`\\b${code}`));
      assert.match(result.text, fix);
      assert.ok(!result.text.includes(secret));
      assert.ok(!result.text.includes('literal-secret'), 'a secret is repeated');
    });
  }
});

test('all errors at once, and as JSON', async () => {
  const text = replaced('    url:', '    ulr: x\n    url:').replace('public: true', 'public: 7');
  const result = await check(text, { args: ['--json'] });
  assert.equal(result.code, 3);
  const { errors, diagnostics } = JSON.parse(result.stdout);
  assert.ok(errors >= 2);
  for (const item of diagnostics) for (const member of ['severity', 'code', 'file', 'line', 'column', 'what', 'why']) assert.ok(member in item, member);
});

test('JSON is the same configuration', async (t) => {
  const json = { version: 1, listeners: [{ address: '127.0.0.1:8080' }], origins: { orders: { url: 'http://127.0.0.1:9000', identity: [{ shared_secret: { header: 'X-Backend-Secret', value: '${env:ORIGIN_SECRET}' } }] } },
    routes: [{ match: { path: '/orders/{id}' }, origin: 'orders', public: true }] };
  await t.test('good', async () => assert.equal((await check(JSON.stringify(json, null, 2), { name: 'postern.json' })).code, 0));
  await t.test('with the $schema of editors, at the top only', async () => {
    assert.equal((await check(JSON.stringify({ $schema: './postern.schema.json', ...json }), { name: 'postern.json' })).code, 0);
    for (const wrong of [{ ...json, $schema: 7 }, { ...json, listeners: [{ $schema: 'x', ...json.listeners[0] }] }]) {
      assert.equal((await check(JSON.stringify(wrong), { name: 'postern.json' })).code, 3);
    }
  });
  await t.test('duplicate keys (CVE-2022-25757)', async () => {
    const result = await check(JSON.stringify(json).replace('"version":1', '"version":1,"version":1'), { name: 'postern.json' });
    assert.equal(result.code, 3);
    assert.match(result.text, /PST-C005/);
  });
});

test('hostile files end quickly', async (t) => {
  const cases = [
    ['ten thousand levels', `version: ${'['.repeat(10_000)}`],
    ['a bomb of aliases', `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`],
    ['a hundred thousand unknown keys', Array.from({ length: 100_000 }, (_, i) => `k${i}: 1`).join('\n')],
    ['a giant scalar', `version: "${'x'.repeat(5_000_000)}"`],
    ['binary', Buffer.from(Array.from({ length: 4096 }, (_, i) => i % 256)).toString('latin1')],
  ];
  for (const [name, text] of cases) await t.test(name, async () => assert.equal((await check(text)).code, 3));
});

test('explain shows what will happen to one request', async (t) => {
  const file = path.join(directory, 'explain.yaml');
  writeFileSync(file, good);
  await t.test('a route', async () => {
    const { code, stdout, stderr } = await postern(['explain', '--config', file, 'GET http://api.test/orders/7?x=1']);
    assert.equal(code, 0, stderr);
    for (const word of [/orders/, /X-Backend-Secret/i, /public/i, /shared_secret/, /assurance/i, /127\.0\.0\.1:9000/]) assert.match(stdout, word);
    assert.ok(!stdout.includes(secret));
  });
  await t.test('as JSON', async () => {
    const { code, stdout } = await postern(['explain', '--config', file, '--json', 'GET http://api.test/orders/7']);
    assert.equal(code, 0);
    JSON.parse(stdout);
  });
  await t.test('no route', async () => {
    const { stdout, stderr } = await postern(['explain', '--config', file, 'GET http://api.test/nothing']);
    assert.match(stdout + stderr, /PST-R404|no route/i);
  });
});

test('schema and version', async () => {
  const schema = await postern(['schema']);
  assert.equal(schema.code, 0);
  const parsed = JSON.parse(schema.stdout);
  assert.equal(parsed.properties.version.const, 1);
  assert.ok(JSON.stringify(parsed).includes('rate_limit'));
  // Embedded when it was compiled: an object out of a cache must not have the schema of another day.
  assert.deepEqual(parsed.properties, JSON.parse(readFileSync(path.join(root, 'src/config/postern.schema.json'), 'utf8')).properties);
  assert.equal((await postern(['schema', '--json'])).stdout, schema.stdout);
  const version = await postern(['version']);
  assert.equal(version.code, 0);
  assert.match(version.stdout, /postern \d+\.\d+\.\d+/);
  JSON.parse((await postern(['version', '--json'])).stdout);
});
