// Every command of docs/gateway_jwt.md runs as written, in one shell session in an empty folder with the files that the
// page shows. The packages that it says to install are those of tests/peers.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { binary, root } from './lib/gateway.mjs';
import { onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { Session, readPage } from './lib/page.mjs';

const read = (name) => readFileSync(path.join(root, name), 'utf8');
const { text: page, fences, files, scripts } = readPage('docs/gateway_jwt.md');
const expected = {
  'openid-configuration\ncurl': /^\{"issuer":"http:\/\/127\.0\.0\.1:8211\/postern","jwks_uri":"http:\/\/127\.0\.0\.1:8211\/postern\/\.well-known\/jwks\.json"[^]*\}\s*\{"keys":\[\{/,
  'of.a.client': /^token: hello, gateway: GET \/orders\/7\?full=1\ntoken: hello, gateway: GET \/orders\/7\ntoken: not from the gateway\n$/,
  'postern origin test': /"iss":"http:\/\/127\.0\.0\.1:8211\/postern","sub":"postern\/origins\/orders","aud":"orders"[^]*answer {4}200/,
  '8313/stock/7': /stock: hello, gateway\nstock: not from the gateway\n$/,
  '8314/reports/7': /hello from Apache\n401\n$/,
  'haproxy -db': /^401\n[^]*hello from HAProxy\n/m,
  'amount=10': /token: hello, gateway: GET \/payments\/7\?to=me\ntoken: hello, gateway: POST \/payments\/7\ntoken: not from the gateway\n$/,
  'issuer status': /RS256[^]*ES256/,
  'wc -l': /^4\ntoken: hello, gateway: GET \/orders\/7\n$/m,
  '--now': /token: hello, gateway: GET \/orders\/8\n$/,
  'issuer remove': /token: hello, gateway: GET \/orders\/9\n$/,
  'issuer export': /public\/postern\/\.well-known\/jwks\.json\npublic\/postern\/\.well-known\/openid-configuration\n$/,
};

test('everything on the page is run, written, an example, or what is printed', () => {
  assert.deepEqual(files.map(({ file }) => file), ['postern.yaml', 'origin.mjs', 'express.mjs', 'apache.conf', 'haproxy.cfg']);
  for (const { language, file } of fences) assert.ok(file || ['sh', 'yaml', 'console'].includes(language), language);
  const { dependencies } = JSON.parse(read('tests/peers/package.json'));
  for (const [, line] of page.matchAll(/^npm install (.*)$/gm)) {
    for (const each of line.split(' ')) assert.equal(dependencies[each.slice(0, each.lastIndexOf('@'))], each.slice(each.lastIndexOf('@') + 1), each);
  }
  for (const [, code] of page.matchAll(/`(PST-[A-Z]\d+)`/g)) assert.ok(read('docs/errors.md').includes(code), code);
});

test('the origin of the page is that of the example', () => {
  assert.equal(files.find(({ file }) => file === 'origin.mjs').text, read('examples/five-ways/gateway_jwt/origin.mjs'));
});

test('its commands, in an empty folder', async (t) => {
  const places = temporaryDirectory();
  for (const each of ['state', 'run']) mkdirSync(path.join(places, each), { mode: 0o700 });
  const cwd = temporaryDirectory();
  assert.deepEqual(readdirSync(cwd), []);
  for (const { file, text } of files) writeFileSync(path.join(cwd, file), text);
  symlinkSync(path.join(root, 'build/peers/node_modules'), path.join(cwd, 'node_modules'));
  const session = new Session(cwd, { env: {
    PATH: `${path.dirname(binary)}:${path.dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin:/usr/sbin`,
    STATE_DIRECTORY: path.join(places, 'state'), RUNTIME_DIRECTORY: path.join(places, 'run'), XDG_STATE_HOME: path.join(places, 'state'), XDG_RUNTIME_DIR: path.join(places, 'run'),
  } });
  onCleanup(async () => {
    await session.run('kill $(jobs -p) 2>/dev/null; wait; true').catch(() => {});
    session.shell.child.stdin.end();
    await session.shell.ended;
  });
  const printed = [];
  for (const script of scripts) {
    await t.test(script.trim().split('\n')[0], async () => { printed.push(await session.run(script)); });
  }
  await t.test('prints what the page says', () => {
    for (const [part, pattern] of Object.entries(expected)) {
      const at = scripts.findIndex((script) => script.includes(part));
      assert.notEqual(at, -1, part);
      assert.match(printed[at], pattern, scripts[at]);
    }
  });
  await t.test('who was refused was refused for the reason that the page gives', () => {
    for (const log of ['origin.log', 'bound.log']) assert.match(readFileSync(path.join(cwd, log), 'utf8'), /refused: no token/, log);
  });
});
