// Every command of docs/mtls.md runs as written, in one shell session in an empty folder, with the files that the page
// shows; and the configurations that it prints are those of the program.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { binary, postern } from './lib/gateway.mjs';
import { onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { Session, readPage } from './lib/page.mjs';

const { text: page, fences, files, scripts } = readPage('docs/mtls.md');
const printed = [...page.matchAll(/<!-- printed for: (\w+) -->\n```\w*\n([^]*?)```\n/g)].map(([, server, text]) => ({ server, text }));

test('everything on the page is run, written, compared, or an example', () => {
  assert.ok(scripts.length >= 12 && files.length >= 4);
  assert.deepEqual(printed.map(({ server }) => server), ['caddy', 'envoy']);
  for (const { language, file, text } of fences) assert.ok(language === 'sh' || file || printed.some((each) => each.text === text), text);
});

test('the configurations are those that the program prints', async () => {
  const directory = path.join(temporaryDirectory(), 'ca');
  assert.equal((await postern(['ca', 'init', '--directory', directory])).code, 0);
  const { deployment } = JSON.parse((await postern(['ca', 'show', '--directory', directory, '--json'])).stdout);
  for (const { server, text } of printed) {
    const { stdout } = await postern(['ca', 'export', '--directory', directory, '--for', server, '--origin', 'orders']);
    assert.equal(text, stdout.replaceAll(deployment, '0123456789abcdef'), server);
  }
});

test('its commands, in an empty folder', async (t) => {
  const places = temporaryDirectory();
  for (const name of ['state', 'run']) mkdirSync(path.join(places, name), { mode: 0o700 });
  const cwd = temporaryDirectory();
  assert.deepEqual(readdirSync(cwd), []);
  for (const { file, text } of files) writeFileSync(path.join(cwd, file), text);
  const session = new Session(cwd, { env: {
    PATH: `${path.dirname(binary)}:${path.dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin:/usr/sbin`,
    STATE_DIRECTORY: path.join(places, 'state'), RUNTIME_DIRECTORY: path.join(places, 'run'), XDG_STATE_HOME: path.join(places, 'state'), XDG_RUNTIME_DIR: path.join(places, 'run'),
  } });
  onCleanup(async () => {
    await session.run('kill $(jobs -p) $(cat nginx.pid own-nginx.pid haproxy.pid 2>/dev/null) 2>/dev/null; wait; true').catch(() => {});
    session.shell.child.stdin.end();
    await session.shell.ended;
  });
  const outputs = [];
  for (const script of scripts) {
    await t.test(script.trim().split('\n')[0], async () => { outputs.push(await session.run(script)); });
  }
  const output = (part) => outputs[scripts.findIndex((script) => script.includes(part))];
  await t.test('prints what the page says', () => {
    assert.match(output('127.0.0.1:8190/orders/7'), /^hello from the application\n[^]*refused\n$/);
    assert.match(output('postern origin test orders'), /our certificate: presented/);
    assert.match(output('haproxy.cfg'), /hello from the application\n[^]*refused\n$/);
    assert.match(output('8190/stock/7'), /hello\n?[^]*refused\n$/);
    assert.match(output('8191/orders/7'), /^hello from nginx\n[^]*refused\n400\n$/);
    assert.match(output('own/renewed.pem'), /fingerprint|certificate[^]*hello from nginx\n$/);
    assert.match(output('days_left'), /postern_certificate_days_left\{where="origins.orders.identity.mtls"\} 89/);
  });
  await t.test('the lock is seen in the log', () => {
    const records = readFileSync(path.join(cwd, 'access.log'), 'utf8').trim().split('\n').map((line) => JSON.parse(line));
    for (const origin of ['orders', 'payments', 'stock']) assert.ok(records.some((record) => record.origin === origin && record.status === 200 && record.origin_certificate === 'presented'), origin);
  });
});

test('the table of errors has words that are said', () => {
  for (const [, code] of page.matchAll(/`(PST-[A-Z]\d+)`/g)) {
    const { text } = readPage('docs/errors.md');
    assert.ok(text.includes(code), code);
  }
});
