// Every command of README.md runs as written: the two commands in the checkout, everything else in one shell session in
// an empty folder, with the files that the page shows.
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { binary, root } from './lib/gateway.mjs';
import { onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { Session, readPage } from './lib/page.mjs';
import { PlainUser } from './lib/plain_user.mjs';
import { Process, run } from './lib/process.mjs';
import { until, within } from './lib/wait.mjs';

const { text: page, fences, files, scripts } = readPage('README.md');
// What is typed in the checkout, and what is typed in the empty folder.
const ofCheckout = scripts.filter((text) => text.startsWith('./dev')).map((text) => text.trim());
const ofFolder = scripts.filter((text) => !text.startsWith('./dev'));
// Where a user who is not root finds programs on Debian.
const usersPath = '/usr/local/bin:/usr/bin:/bin';

test('the page shows commands and files', () => {
  assert.ok(scripts.length >= 7 && files.length >= 4);
  for (const { language, file, text } of fences) assert.ok(language === 'sh' || file, `neither run nor written: ${text}`);
});

test('the two commands', async () => {
  assert.deepEqual(ofCheckout[0].split('\n').map((line) => line.split('#')[0].trim()), ['./dev run', './dev test']);
  // This is ./dev test; the other one is stopped as the page says, with Ctrl-C, once it shows something.
  const child = new Process(path.join(root, 'dev'), ['run'], { cwd: root });
  await until('./dev run to show the curl lines', () => {
    if (child.exit) throw new Error(`./dev run ended: ${child.stdout}${child.stderr}`);
    return /curl .*http:\/\/127\.0\.0\.1/.test(child.stdout + child.stderr);
  }, 300_000);
  child.signal('SIGINT');
  await within('./dev run to end', child.ended, 30_000);
  assert.ok(child.exit.signal === 'SIGINT' || child.exit.code === 0 || child.exit.code === 130, JSON.stringify(child.exit));
});

async function fiveMinutes(t, cwd, options) {
  assert.deepEqual(readdirSync(cwd), []);
  for (const { file, text } of files) writeFileSync(path.join(cwd, file), text);
  const session = new Session(cwd, options);
  const stop = async () => {
    if (session.shell.exit) return;
    await session.run('kill $(jobs -p) $(cat nginx.pid haproxy.pid 2>/dev/null) 2>/dev/null; wait; true').catch(() => {});
    session.shell.child.stdin.end();
    await session.shell.ended;
  };
  onCleanup(stop);

  const outputs = [];
  for (const script of ofFolder) {
    await t.test(script.trim().split('\n')[0], async () => { outputs.push(await session.run(script)); });
  }
  await t.test('prints what the page says', async () => {
    const tries = outputs[ofFolder.findIndex((script) => script.includes('a guess'))];
    assert.match(tries, /^hello from the backend\n\{.*"PST-P401".*\}\n?not from the gateway\nnot from the gateway\n$/);
  });
  await t.test('nginx needs no place of root', () => {
    assert.equal(outputs[ofFolder.findIndex((script) => script.startsWith('nginx'))].replace(/^.*: ok: .*$/m, '').trim(), '', 'no complaint');
    for (const name of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']) assert.ok(statSync(path.join(cwd, `temp-${name}`)).isDirectory(), name);
  });
  await t.test('the schema is there for the editor that the configuration names', async () => {
    const schema = JSON.parse(readFileSync(path.join(cwd, 'postern.schema.json'), 'utf8'));
    assert.equal(schema.properties.$schema.type, 'string');
    writeFileSync(path.join(cwd, 'edited.yaml'), `$schema: ./postern.schema.json\n${readFileSync(path.join(cwd, 'postern.yaml'), 'utf8')}`);
    await session.run('postern check --config edited.yaml');
  });
  await t.test('a key is known and then not', async () => {
    assert.match(await session.run('curl -sS -o /dev/null -w "%{http_code}" -H "X-API-Key: $KEY" http://127.0.0.1:8080/orders/8'), /200/);
  });
  for (const [name, start, port] of [['haproxy', 'haproxy -D -p haproxy.pid -f haproxy.cfg', 9001], ['node', `${process.execPath} backend.mjs &`, 9002]]) {
    await t.test(`the backend of ${name} refuses everyone else`, async () => {
      await session.run(start);
      const status = (extra) => session.run(`curl -s --retry 20 --retry-connrefused --retry-delay 1 -o /dev/null -w "%{http_code}" ${extra} http://127.0.0.1:${port}/orders/7`);
      assert.equal(await status(''), '401');
      assert.equal(await status('-H "X-Backend-Secret: a guess"'), '401');
      assert.equal(await status('-H "X-Backend-Secret: $BACKEND_SECRET"'), '200');
      if (name === 'haproxy') assert.equal(await status('-H "X-Backend-Secret: $BACKEND_SECRET" -H "X-Backend-Secret: $BACKEND_SECRET"'), '401');
    });
  }
  await stop();
}

// Who is root keeps state below /var and /run: those of this machine are not for a test.
test('five minutes of whoever runs the tests', async (t) => {
  const places = temporaryDirectory();
  for (const name of ['state', 'run']) mkdirSync(path.join(places, name), { mode: 0o700 });
  await fiveMinutes(t, temporaryDirectory(), { env: { PATH: `${path.dirname(binary)}:${usersPath}`, STATE_DIRECTORY: path.join(places, 'state'), RUNTIME_DIRECTORY: path.join(places, 'run'),
    XDG_STATE_HOME: path.join(places, 'state'), XDG_RUNTIME_DIR: path.join(places, 'run') } });
});

test('five minutes of a user with nothing but PATH and HOME', async (t) => {
  const user = new PlainUser();
  const cwd = path.join(user.home, 'empty');
  mkdirSync(cwd);
  chownSync(cwd, statSync(user.home).uid, statSync(user.home).gid);
  await fiveMinutes(t, cwd, { as: (...words) => user.command(...words) });
});

// After ./dev run everything is made, and ./dev build is quick.
test('what is typed in the checkout', async (t) => {
  for (const block of ofCheckout.slice(1)) {
    await t.test(block.split('\n')[0], async () => {
      const { code, stdout, stderr } = await run('bash', ['-ec', `${block}\ncommand -v postern || true`], { cwd: root, timeout: 300_000 });
      assert.equal(code, 0, stdout + stderr);
      if (block.startsWith('./dev build')) assert.match(stdout, /\/build\/release\/postern\n$/);
    });
  }
});

test('./dev help lists every command of the page', async () => {
  const { stdout } = await run(path.join(root, 'dev'), ['help']);
  for (const [, name] of page.matchAll(/\.\/dev (\w+)/g)) assert.match(stdout + ' help', new RegExp(`\\b${name}\\b`), name);
});
