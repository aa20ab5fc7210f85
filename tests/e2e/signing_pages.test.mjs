// Every command of the pages about signed requests runs as written, in one shell session for each page, in an empty folder
// with the files that the page shows. The packages that it says to install are those of tests/peers.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { binary, root } from './lib/gateway.mjs';
import { onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { Session, readPage } from './lib/page.mjs';

const read = (name) => readFileSync(path.join(root, name), 'utf8');
const expected = {
  http_signature: {
    'full=1"\ncurl': /^signature: hello, gateway: GET \/orders\/7\?full=1\nsignature: hello, gateway: POST \/orders\/7\nsignature: not from the gateway\nsignature: hello, gateway: GET \/orders\/7\n$/,
    'postern origin test': /signature base \(RFC 9421 2\.5\)\n {4}\| "@method": GET\n {4}\| "@authority": 127\.0\.0\.1:8301\n {4}\| "@path": \/orders\/7\n {4}\| "@query": \?full=1\n {4}\| "content-digest": sha-256=:47DEQpj8HBSa\+\/TImW\+5JCeuQeRkm5NMpJWZG3hSuFU=:\n {4}\| "@signature-params": \("@method" "@authority" "@path" "@query" "content-digest"\);created=[^]*answer {4}200/,
    'head -c 300000': /"code":"PST-R413"/,
    'mv next.pem': /^signature: hello, gateway: GET \/orders\/7$/m,
    'orders/8': /^signature: hello, gateway: GET \/orders\/8$/m,
  },
  hmac: {
    '"paid": 7': /^hmac: hello, gateway: POST \/hooks\/orders\nhmac: not from the gateway\nhmac: hello, gateway: POST \/hooks\/orders\n$/,
    'postern origin test': /what is signed\n {4}\| msg_[0-9a-f]{32}\.\d+\.<body of 0 bytes>\n {2}answer {4}200/,
    'openssl dgst': /[0-9a-f]{64}\n$/,
    'also: [': /hmac: hello, gateway/,
    'ORIGIN_SECRETS=next': /hmac: hello, gateway/,
  },
  oauth2_client_credentials: {
    'orders/7\ncurl': /^oauth2: hello, gateway: GET \/orders\/7\noauth2: not from the gateway\noauth2: hello, gateway: GET \/orders\/8\n$/,
    'postern origin test': /how long the token is good[^]*"client_id":"gateway"[^]*answer {4}200/,
    'postern status': /credential orders oauth2_client_credentials: expires[^]*postern_token_usable\{credential="origins\.orders\.identity\[0\]\.oauth2_client_credentials"\} 1/,
  },
  aws_sigv4: {
    'month=11&full"\ncurl': /^sigv4: hello, gateway: GET \/reports\/2026\?month=11&full\nsigv4: hello, gateway: POST \/reports\/2026\n\{"message":"Forbidden"\}\n$/,
    'postern origin test': /canonical request \(SigV4\)\n {4}\| GET\n {4}\| \/reports\/2026\n {4}\| full=&month=11\n[^]*answer {4}200/,
    AKIAI44QH8DHBEXAMPLE: /sigv4: hello, gateway: GET \/reports\/2026\n$/,
  },
};

for (const [name, outputs] of Object.entries(expected)) {
  const { text: page, fences, files, scripts } = readPage(`docs/${name}.md`);
  test(`${name}: everything on the page is run, written, an example of a configuration, or what is printed`, () => {
    assert.deepEqual(files.map(({ file }) => file).filter((file) => file !== 'server.mjs'), ['postern.yaml', 'origin.mjs']);
    for (const { language, file } of fences) assert.ok(file || ['sh', 'yaml', 'json', 'console'].includes(language), language);
    const { dependencies } = JSON.parse(read('tests/peers/package.json'));
    for (const [, line] of page.matchAll(/^npm install (.*)$/gm)) {
      for (const each of line.split(' ')) assert.equal(dependencies[each.slice(0, each.lastIndexOf('@'))], each.slice(each.lastIndexOf('@') + 1), each);
    }
    for (const [, code] of page.matchAll(/`(PST-[A-Z]\d+)`/g)) assert.ok(read('docs/errors.md').includes(code), code);
  });

  test(`${name}: its commands, in an empty folder`, async (t) => {
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
      for (const [part, pattern] of Object.entries(outputs)) {
        const at = scripts.findIndex((script) => script.includes(part));
        assert.notEqual(at, -1, part);
        assert.match(printed[at], pattern, scripts[at]);
      }
    });
  });
}

test('the origin of the page is that of the example', () => {
  const { files } = readPage('docs/http_signature.md');
  assert.equal(files.find(({ file }) => file === 'origin.mjs').text, read('examples/five-ways/http_signature/origin.mjs'));
});
