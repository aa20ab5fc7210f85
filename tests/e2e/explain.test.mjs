// explain: what would happen to one request, held against what does happen to it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway, identity, postern, secretHeader } from './lib/gateway.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { RecordingOrigin } from './lib/recording_origin.mjs';
import { exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
before(async () => {
  origin = await RecordingOrigin.start();
  gateway = await Gateway.start({
    policies: [{ request_headers: { set: { 'X-Tenant': 'north' }, add: { 'X-Note': 'hello' }, remove: ['Cookie'] } }],
    origins: { main: { url: origin.url, identity } },
    routes: [
      { name: 'plain', match: { path: '/plain' }, origin: 'main', public: true },
      { name: 'moved', match: { path: '/old/*' }, origin: 'main', public: true, policies: [{ rewrite: { strip_prefix: '/old', add_prefix: '/new' } }] },
      { name: 'fixed', match: { path: '/fixed' }, origin: 'main', public: true, policies: [{ rewrite: { path: '/elsewhere' } }] },
      { name: 'answer', match: { path: '/health' }, respond: { status: 204 }, public: true },
    ],
  });
});
async function explain(target) {
  const url = `GET http://api.test${target}`;
  const text = await gateway.postern('explain', url);
  const json = await gateway.postern('explain', '--json', url);
  assert.equal(text.code, 0, text.stderr);
  assert.equal(json.code, 0, json.stderr);
  return { text: text.stdout, json: JSON.parse(json.stdout) };
}

test('a policy is listed as often as it runs', async () => {
  const { text, json } = await explain('/health');
  assert.deepEqual(json.policies.map(({ name }) => name), ['request_headers', 'respond']);
  assert.equal(text.match(/\brespond\b/g).length, 1, text);
});

test('the target that the origin sees', async (t) => {
  for (const [asked, sent] of [['/plain?a=1', '/plain?a=1'], ['/old/a/b?c=%2F', '/new/a/b?c=%2F'], ['/old/', '/new/'], ['/fixed?q', '/elsewhere?q']]) {
    await t.test(asked, async () => {
      const { text, json } = await explain(asked);
      assert.equal(json.origin.target, sent);
      assert.equal(json.path, asked.split('?')[0], 'what was asked for');
      assert.match(text, new RegExp(`^request +GET api\\.test${asked.replace('?', '\\?')}$`, 'm'));
      assert.equal(/^target +(\S+)(  \(rewritten\))?$/m.exec(text)?.[1], sent);
      assert.equal(/\(rewritten\)/.test(text), sent !== asked);
      origin.reset();
      assert.equal((await exchange(gateway.port, request(asked))).status, 200);
      assert.equal(origin.last().target, sent);
    });
  }
});

test('fields that are added, and fields that are removed', async () => {
  const { text, json } = await explain('/plain');
  const { headers_added: added, headers_removed: removed } = json.origin;
  for (const name of [secretHeader, 'X-Tenant', 'X-Note', 'X-Request-Id']) assert.ok(added.includes(name), `${name} in ${added}`);
  assert.ok(!added.includes('Cookie'), `${added}`);
  assert.ok(removed.includes('Cookie') && removed.includes(secretHeader.toLowerCase()), `${removed}`);
  assert.match(text, /^removed .*Cookie/m);
  assert.doesNotMatch(text, /^added .*Cookie/m);
  await exchange(gateway.port, request('/plain', { headers: ['Cookie: a=b'] }));
  assert.deepEqual(['cookie', 'x-tenant'].map((name) => origin.last().head.has(name)), [false, true]);
});

test('a route that no request can take is named with its place and a way out', async () => {
  const file = path.join(temporaryDirectory(), 'postern.yaml');
  writeFileSync(file, 'version: 1\nlisteners: [{address: "127.0.0.1:1"}]\nroutes:\n  - match: {path: "/a/{x}/{x}"}\n    respond: {status: 204}\n    public: true\n');
  const { code, stderr } = await postern(['explain', '--config', file, 'GET http://a/']);
  assert.equal(code, 3);
  assert.match(stderr, /postern\.yaml:4:5 routes\[0\]: .*twice\n.*\(PST-C012\)\n {2}fix: .*match/);
});

test('what cannot be explained is an error with its exit code', async () => {
  assert.equal((await gateway.postern('explain', 'orders')).code, 2);
  assert.equal((await postern(['explain', '--config', '/nonexistent/postern.yaml', 'GET http://a/'])).code, 3);
});
