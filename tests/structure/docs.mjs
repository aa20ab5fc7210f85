// Keeps docs/errors.md in step with src/base/error_codes.inc: the first three columns come from the code, the last is
// written by hand and may not be empty. As a program with --write it rewrites the page and keeps the hand-written
// column.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const errorsPage = path.join(root, 'docs/errors.md');

const groups = [
  ['R', 'The request cannot be accepted', 'The client sent something that the gateway does not pass on.'],
  ['P', 'A policy refuses the request', 'The request is well formed; a policy of the gateway, the origin or the route says no.'],
  ['U', 'The origin failed', 'The request was accepted, the origin (upstream) did not answer it properly.'],
  ['G', 'The gateway itself', 'Neither the client nor the origin is at fault.'],
];

function codes() {
  const source = readFileSync(path.join(root, 'src/base/error_codes.inc'), 'utf8');
  return [...source.matchAll(/^POSTERN_ERROR\((\w+),\s*"(PST-(\w)\d+)",\s*(\d+),\s*"([^"]+)"\)/gm)]
    .map(([, , id, group, status, title]) => ({ id, group, status, title }));
}

function writtenRemarks() {
  const remarks = new Map();
  for (const [, id, remark] of readFileSync(errorsPage, 'utf8').matchAll(/^\| `(PST-\w+)` \|.*?\|.*?\| *(.*?) *\|$/gm)) {
    remarks.set(id, remark);
  }
  return remarks;
}

function errorsText() {
  const page = readFileSync(errorsPage, 'utf8');
  const head = page.slice(0, page.indexOf('\n## '));
  const remarks = writtenRemarks();
  const sections = groups.map(([letter, title, text]) => {
    const rows = codes().filter(({ group }) => group === letter)
      .map(({ id, status, title: name }) => `| \`${id}\` | ${status} | ${name} | ${remarks.get(id) ?? ''} |`);
    return `## ${letter}: ${title}\n${text}\n\n| code | status | title | what it means, what to do |\n|---|---|---|---|\n${rows.join('\n')}\n`;
  });
  return `${head}\n${sections.join('\n')}`;
}

export function checkDocs() {
  const problems = [];
  if (errorsText() !== readFileSync(errorsPage, 'utf8')) problems.push('docs/errors.md differs from src/base/error_codes.inc: run ./dev docs');
  for (const [id, remark] of writtenRemarks()) if (!remark) problems.push(`docs/errors.md: ${id} has no explanation`);
  return problems;
}

if (process.argv[2] === '--write') writeFileSync(errorsPage, errorsText());
