// A page of documentation as a test runs it: its commands in one shell session, with the files that it shows.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './gateway.mjs';
import { Process } from './process.mjs';
import { until } from './wait.mjs';

// `name` in the checkout: {text, fences: [{file, language, text}], files, scripts}. A fence is a file of the reader's
// folder if `<!-- file: NAME -->` stands before it; what is marked `sh` is typed.
export function readPage(name) {
  const text = readFileSync(path.join(root, name), 'utf8');
  const fences = [...text.matchAll(/(?:<!-- file: (\S+) -->\n)?```(\w*)\n([^]*?)```\n/g)].map(([, file, language, content]) => ({ file, language, text: content }));
  return { text, fences, files: fences.filter(({ file }) => file), scripts: fences.filter(({ language, file }) => language === 'sh' && !file).map((fence) => fence.text) };
}

// One shell for the whole page; answers of a block are what it prints before the mark.
export class Session {
  constructor(cwd, { env, as = (...words) => [words[0], words.slice(1)] } = {}) {
    const [command, args] = as('bash', '-c', 'exec 2>&1; while IFS= read -r -d "" block; do eval "$block"; printf "\\n[exit %s]\\n" "$?"; done');
    this.shell = new Process(command, args, { cwd, env, input: null });
  }
  async run(block) {
    const from = this.shell.stdout.length;
    this.shell.child.stdin.write(`${block}\0`);
    await until(`the end of ${JSON.stringify(block)}`, () => /\n\[exit \d+\]\n/.test(this.shell.stdout.slice(from)) || this.shell.exit);
    const [, output, code] = /^([^]*?)\n\[exit (\d+)\]\n/.exec(this.shell.stdout.slice(from));
    assert.equal(code, '0', `${block}\n${output}`);
    return output;
  }
}
