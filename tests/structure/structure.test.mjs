// Rules about the repository itself. Each test names the rule; the message names the file that breaks it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { checkDocs } from './docs.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const read = (name) => readFileSync(path.join(root, name), 'utf8');
const files = execFileSync('git', ['-c', 'safe.directory=*', 'ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' })
  .split('\n').filter((name) => name && existsSync(path.join(root, name)));
const isCode = (name) => /\.(cc|h|inc)$/.test(name);
const folders = (name) => (existsSync(path.join(root, name)) ? readdirSync(path.join(root, name)) : [])
  .filter((entry) => statSync(path.join(root, name, entry)).isDirectory());

// The order of the rooms stands once, in CMakeLists.txt: a room may include itself and the rooms before it.
const rooms = /^set\(POSTERN_ROOMS (.*)\)$/m.exec(read('CMakeLists.txt'))[1].split(/\s+/);

// The rooms of a rule, or fail: a rule over nothing proves nothing.
const some = (list, what) => {
  assert.ok(list.length > 0, `found no ${what}: the rule would check nothing`);
  return list;
};

test('every folder of src is a room of CMakeLists.txt, and every room is a folder', () => {
  assert.deepEqual(folders('src').sort(), [...rooms].sort());
});

test('includes point downwards only', () => {
  const upward = [];
  for (const name of some(files.filter((f) => f.startsWith('src/') && isCode(f)), 'sources')) {
    const room = name.split('/')[1];
    const level = name.split('/').length === 2 ? rooms.length : rooms.indexOf(room);  // src/main.cc stands above all
    for (const [, target] of read(name).matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)) {
      const targetRoom = target.split('/')[0];
      if (!rooms.includes(targetRoom)) upward.push(`${name}: "${target}" is not written from src/`);
      else if (rooms.indexOf(targetRoom) > level) upward.push(`${name}: ${room} may not use ${targetRoom} ("${target}")`);
    }
  }
  assert.deepEqual(upward, []);
});

test('protocol cores do no input or output', () => {
  const system = /#\s*include\s+(<(sys\/(socket|epoll|uio|un)|netinet\/|arpa\/|unistd|fcntl|poll|netdb)[^>]*>|"platform\/(loop|socket|network|dns)[^"]*")/g;
  const found = [];
  for (const name of files.filter((f) => /^src\/(http\/(h1|h2)|jose|signature)\//.test(f) && isCode(f) && !f.endsWith('_test.cc'))) {
    for (const [text] of read(name).matchAll(system)) found.push(`${name}: ${text}`);
  }
  assert.deepEqual(found, []);
});

test('no file is longer than 700 lines', () => {
  const source = files.filter((f) => /\.(cc|h|inc|mjs|sh|py|cmake)$/.test(f) || ['dev', 'bench/run', 'CMakeLists.txt'].includes(f));
  const long = some(source, 'sources').map((f) => [f, read(f).split('\n').length - 1]).filter(([, lines]) => lines > 700);
  assert.deepEqual(long, []);
});

test('every folder of src has a README.md', () => {
  assert.deepEqual(folders('src').filter((room) => !existsSync(path.join(root, 'src', room, 'README.md'))), []);
});

test('every policy and identity method has code, test, schema and README', () => {
  const missing = [];
  for (const kind of ['policies', 'identity']) {
    for (const name of some(folders(`src/${kind}`), `folders in src/${kind}`)) {
      const entries = readdirSync(path.join(root, 'src', kind, name));
      const has = {
        code: entries.some((e) => e.endsWith('.cc') && !e.endsWith('_test.cc')),
        test: entries.some((e) => e.endsWith('_test.cc')),
        'schema.json': entries.includes('schema.json'),
        'README.md': entries.includes('README.md'),
      };
      for (const [what, present] of Object.entries(has)) if (!present) missing.push(`src/${kind}/${name}: no ${what}`);
      if (has['schema.json']) JSON.parse(read(`src/${kind}/${name}/schema.json`));
    }
  }
  assert.deepEqual(missing, []);
});

test('nothing in the repository names a machine path or a package registry', () => {
  // Written in pieces, so that this file does not find itself.
  const words = [['/wo', 'rk/'], ['/tmp/', 'bash_jobs'], ['registry.', 'npmjs'], ['deb.', 'debian.org'], ['"resol', 'ved":']];
  const found = [];
  for (const name of files.filter((f) => !f.startsWith('tests/fuzz/corpus/'))) {
    const text = read(name);
    for (const pieces of words) if (text.includes(pieces.join(''))) found.push(`${name}: ${pieces.join('')}`);
  }
  assert.deepEqual(found, []);
});

test('docs/life_of_a_request.md has the steps of handle_request.cc', () => {
  const inCode = [...read('src/gateway/handle_request.cc').matchAll(/^\s*\/\/ step (\d+): (.*?)\.?$/gm)]
    .map(([, number, text]) => `${number}. ${text}`);
  const inDocs = [...read('docs/life_of_a_request.md').matchAll(/^(?:#+ )?(\d+)\. (?:\*\*)?(.*?)\.?(?:\*\*.*)?$/gm)]
    .map(([, number, text]) => `${number}. ${text}`);
  some(inCode, 'step comments');
  assert.deepEqual(inDocs, inCode);
});

test('docs/errors.md and docs/configuration.md say what the code says', () => {
  assert.deepEqual(checkDocs(), []);
});

test('shell scripts parse', () => {
  const scripts = files.filter((f) => f.endsWith('.sh') || /^#!.*\b(ba)?sh\b/.test(read(f).slice(0, 64)));
  for (const name of some(scripts, 'scripts')) execFileSync('bash', ['-n', name], { cwd: root, stdio: 'pipe' });
});

test('fuzz targets have seeds', () => {
  const targets = files.filter((f) => /^tests\/fuzz\/\w+_fuzz\.cc$/.test(f)).map((f) => path.basename(f, '_fuzz.cc'));
  some(targets, 'fuzz targets');
  assert.deepEqual(targets.filter((name) => !files.some((f) => f.startsWith(`tests/fuzz/corpus/${name}/`))), []);
});

test('what comes from the wire is fuzzed with seeds beyond 64 KiB', () => {
  for (const name of ['h1_request', 'h1_response', 'h1_chunked', 'proxy_header']) {
    const seeds = some(files.filter((f) => f.startsWith(`tests/fuzz/corpus/${name}/`)), `seeds of ${name}`);
    assert.ok(seeds.some((f) => statSync(path.join(root, f)).size > 65_536), name);
  }
  const [, longest] = /h1_\*.*longest=\(-max_len=(\d+)\)/.exec(read('tests/run.sh'));
  assert.ok(Number(longest) >= 131_072);
});

test('.ci/run and README.md name the two commands', () => {
  assert.match(read('.ci/run'), /\.\/dev test/);
  assert.match(read('README.md'), /\.\/dev run/);
  assert.match(read('README.md'), /\.\/dev test/);
});
