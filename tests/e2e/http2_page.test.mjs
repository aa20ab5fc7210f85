// Every command of docs/http2.md runs as written, in one shell session in an empty folder; its table of gRPC statuses is
// that of the code.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { binary, root } from './lib/gateway.mjs';
import { onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { Session, readPage } from './lib/page.mjs';

const page = readPage('docs/http2.md');

test('the commands of the page', async (t) => {
  const cwd = temporaryDirectory();
  const places = temporaryDirectory();
  for (const name of ['state', 'run']) mkdirSync(path.join(places, name), { mode: 0o700 });
  for (const { file, text } of page.files) writeFileSync(path.join(cwd, file), text, { mode: 0o600 });
  const session = new Session(cwd, { env: { PATH: `${path.dirname(binary)}:/usr/local/bin:/usr/bin:/bin:/usr/sbin`, STATE_DIRECTORY: path.join(places, 'state'), RUNTIME_DIRECTORY: path.join(places, 'run') } });
  onCleanup(async () => {
    if (session.shell.exit) return;
    await session.run('kill $(jobs -p) 2>/dev/null; wait; true').catch(() => {});
    session.shell.child.stdin.end();
    await session.shell.ended;
  });
  const outputs = new Map();
  for (const script of page.scripts) {
    await t.test(script.trim().split('\n').at(-1), async () => { outputs.set(script, await session.run(script)); });
  }
  const output = (word) => outputs.get(page.scripts.find((script) => script.includes(word)));
  await t.test('print what the page says', () => {
    assert.equal(output('--http1.1'), ['2', '1.1', '2'].map((version) => `hello over HTTP/2\nHTTP/${version} 200\n`).join(''));
    assert.match(output('h2load'), /1000 succeeded, 0 failed, 0 errored/);
    assert.ok(Number(/^(\d+)$/m.exec(output('h2load'))[1]) >= 1, output('h2load'));
    assert.match(output('origin test'), /HTTP\/2/);
    const [first, second] = output('shop.Stock').split(/(?=HTTP\/2 200)/);
    assert.match(first, /grpc-status: 16\b[^]*grpc-message: PST-P401/);
    assert.match(second, /grpc-status: 12\b[^]*grpc-message: PST-R404/);
  });
});

test('the table of gRPC statuses is that of the code', () => {
  const code = readFileSync(path.join(root, 'src/gateway/grpc.cc'), 'utf8');
  const numbers = Object.fromEntries([...code.matchAll(/^ {2}(\w+) = (\d+),$/gm)].map(([, name, number]) => [name, Number(number)]));
  const inCode = {};
  let pending = [];
  for (const [, status, result] of code.matchAll(/case (\d+):(?: return Status::(\w+);)?/g)) {
    pending.push(status);
    if (result) { for (const one of pending) inCode[one] = numbers[result]; pending = []; }
  }
  const inPage = {};
  const named = {};
  for (const [, statuses, name, number] of page.text.matchAll(/^\| ([\d, ]+) \| `([A-Z_]+)` \((\d+)\) \|$/gm)) {
    for (const one of statuses.split(', ')) inPage[one] = Number(number);
    named[name.toLowerCase()] = Number(number);
  }
  // No response has 499: its client is gone.
  delete inCode['499'];
  assert.ok(Object.keys(inPage).length >= 10);
  assert.deepEqual(inPage, inCode);
  for (const [name, number] of Object.entries(named)) assert.equal(numbers[name], number, name);
});
