// Keeps two pages in step with the code. docs/errors.md: codes from src/base/error_codes.inc and
// src/config/problems.inc; only the last column of the first tables is written by hand, and may not be empty.
// docs/configuration.md: everything below its marker comes from the JSON Schemas. As a program with --write it rewrites
// both pages.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const read = (name) => readFileSync(path.join(root, name), 'utf8');

// ---- docs/errors.md --------------------------------------------------------------------------------------------

const groups = [
  ['R', 'The request cannot be accepted', 'The client sent something that the gateway does not pass on.'],
  ['P', 'A policy refuses the request', 'The request is well formed; a policy of the gateway, the origin or the route says no.'],
  ['U', 'The origin failed', 'The request was accepted, the origin (upstream) did not answer it properly.'],
  ['G', 'The gateway itself', 'Neither the client nor the origin is at fault.'],
];

function errorCodes() {
  return [...read('src/base/error_codes.inc').matchAll(/^POSTERN_ERROR\((\w+),\s*"(PST-(\w)\d+)",\s*(\d+),\s*"([^"]+)"\)/gm)]
    .map(([, , id, group, status, title]) => ({ id, group, status, title }));
}
function writtenRemarks() {
  const remarks = new Map();
  for (const [, id, remark] of read('docs/errors.md').matchAll(/^\| `(PST-[RPUG]\d+)` \|.*?\|.*?\| *(.*?) *\|$/gm)) remarks.set(id, remark);
  return remarks;
}
function errorsPage() {
  const page = read('docs/errors.md');
  const remarks = writtenRemarks();
  const sections = groups.map(([letter, title, text]) => {
    const rows = errorCodes().filter(({ group }) => group === letter)
      .map(({ id, status, title: name }) => `| \`${id}\` | ${status} | ${name} | ${remarks.get(id) ?? ''} |`);
    return `## ${letter}: ${title}\n${text}\n\n| code | status | title | what it means, what to do |\n|---|---|---|---|\n${rows.join('\n')}\n`;
  });
  const problems = [...read('src/config/problems.inc').matchAll(/^POSTERN_PROBLEM\((\w+),\s*"(PST-C\d+)",\s*"([^"]+)"\)/gm)]
    .map(([, name, id, why]) => `| \`${id}\` | ${name.replaceAll('_', ' ')} | ${why} |`);
  sections.push('## C: The configuration is refused\nPrinted by `postern check`, `run` and `reload` with file, line, column and the way to mend it; exit code 3.\n\n' +
    `| code | about | why it is an error |\n|---|---|---|\n${problems.join('\n')}\n`);
  return `${page.slice(0, page.indexOf('\n## '))}\n${sections.join('\n')}`;
}

// ---- docs/configuration.md -------------------------------------------------------------------------------------

const marker = '<!-- From here on generated from the JSON Schemas: ./dev docs -->\n';
const isPlanned = (schema) => schema.not && Object.keys(schema.not).length === 0;

function schemas() {
  const main = JSON.parse(read('src/config/postern.schema.json'));
  const parts = (kind) => (existsSync(path.join(root, 'src', kind)) ? readdirSync(path.join(root, 'src', kind), { withFileTypes: true }) : [])
    .filter((entry) => entry.isDirectory() && existsSync(path.join(root, 'src', kind, entry.name, 'schema.json')))
    .map(({ name }) => [name, JSON.parse(read(`src/${kind}/${name}/schema.json`))]).sort(([a], [b]) => (a < b ? -1 : 1));
  return { main, policies: parts('policies'), identities: parts('identity') };
}

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const link = (name) => `[${name}](#${name})`;

class Tables {
  constructor(main) {
    this.main = main;
    this.sections = [];
    this.seen = new Set();
  }
  resolve(schema) {
    const name = schema.$ref?.replace('#/$defs/', '');
    return name ? { ...this.defs[name], ...schema, definition: name } : schema;
  }
  typeOf(schema) {
    const s = this.resolve(schema);
    if (/^policy_/.test(s.definition ?? '')) return link(s.definition.slice(7));
    if (s.definition === 'policies') return `list of [policies](#policies)`;
    if (s.definition === 'identity') return '[identity](#identity)';
    if (s.enum) return s.enum.map((value) => `\`${value}\``).join(', ');
    if (s.const !== undefined) return `\`${s.const}\``;
    if (s.oneOf) return s.oneOf.map((option) => this.typeOf(option)).join(' or ');
    if (s.type === 'array') return s.items ? `list of ${this.typeOf(s.items)}` : 'list';
    if (s.type === 'object') return s.definition && s.properties ? link(s.definition) : s.additionalProperties ? `names to ${this.typeOf(s.additionalProperties)}` : 'mapping';
    if (s['x-postern-format'] === 'secret') return 'secret reference';
    if (s['x-postern-format'] && s['x-postern-format'] !== 'header_name') return s['x-postern-format'];
    return s['x-postern-format'] ? 'header name' : s.type ?? 'any';
  }
  // The table of one mapping, and those of the mappings that it leads to.
  add(title, schema, level = '##', intro = '') {
    this.defs = { ...this.main.$defs, ...schema.$defs };
    const later = [];
    const rows = [];
    const visit = (properties, required, prefix) => {
      for (const [key, property] of Object.entries(properties ?? {})) {
        if (isPlanned(property)) continue;
        const s = this.resolve(property);
        const missing = required?.includes(key) ? 'required' : s.default !== undefined ? `\`${s.default}\`` : '';
        rows.push(`| \`${prefix}${key}\` | ${cell(this.typeOf(property))} | ${missing} | ${cell(s.description ?? '')} |`);
        const inner = s.type === 'array' && s.items ? this.resolve(s.items) : s.additionalProperties ? this.resolve(s.additionalProperties) : s;
        if (inner.properties && inner.definition && !/^policy_|^identity$|^policies$/.test(inner.definition)) later.push(inner);
        else if (inner.properties && !inner.definition) visit(inner.properties, inner.required, `${prefix}${key}${s.type === 'array' ? '[]' : ''}.`);
      }
    };
    visit(schema.properties, schema.required, '');
    const table = rows.length ? `\n\n| key | value | default | meaning |\n|---|---|---|---|\n${rows.join('\n')}` : '';
    this.sections.push(`${level} ${title}\n${[schema.description, intro].filter(Boolean).join('. ')}${table}\n`);
    for (const next of later) {
      if (this.seen.has(next.definition)) continue;
      this.seen.add(next.definition);
      this.add(next.definition, next);
    }
  }
}

function configurationPage() {
  const page = read('docs/configuration.md');
  const { main, policies, identities } = schemas();
  const tables = new Tables(main);
  tables.add('The file', main);
  tables.sections.push('## policies\nEach is `- name` or `- name: {options}`; the folder of the policy under `src/policies/` has its README.\n');
  for (const [name, schema] of policies) tables.add(name, schema, '###');
  tables.sections.push('## identity\nHow an origin knows that a request comes from the gateway.\n');
  for (const [name, schema] of identities) tables.add(name, schema, '###');
  return page.slice(0, page.indexOf(marker)) + marker + '\n' + tables.sections.join('\n');
}

// ----------------------------------------------------------------------------------------------------------------

export function checkDocs() {
  const problems = [];
  if (errorsPage() !== read('docs/errors.md')) problems.push('docs/errors.md differs from the code: run ./dev docs');
  if (configurationPage() !== read('docs/configuration.md')) problems.push('docs/configuration.md differs from the schemas: run ./dev docs');
  for (const [id, remark] of writtenRemarks()) if (!remark) problems.push(`docs/errors.md: ${id} has no explanation`);
  return problems;
}

if (process.argv[2] === '--write') {
  writeFileSync(path.join(root, 'docs/errors.md'), errorsPage());
  writeFileSync(path.join(root, 'docs/configuration.md'), configurationPage());
}
