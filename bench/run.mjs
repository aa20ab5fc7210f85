// ./dev bench: Postern beside nginx, HAProxy and a bare relay. See README.md.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cases } from './lib/cases.mjs';
import { makeCertificates } from './lib/certificates.mjs';
import { contestants, makeKeys } from './lib/contestants.mjs';
import { Bench } from './lib/measure.mjs';
import { analysisHeading, caseReport, document, targetTable } from './lib/report.mjs';
import { chooseCores, cpuModel, openFileLimit, pinSelf, Sandbox } from './lib/system.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.dirname(here);

const usage = `usage: bench/run [OPTIONS]

  --quick               3 rounds of 1 s instead of 15 of 2 s, 5 reloads instead of 100; for a look, not for a claim
  --rounds N            rounds per case
  --seconds N           length of a cell, whole seconds
  --reloads N           reloads in each cell of the case "reload"
  --cases A,B           only these cases; --list names them
  --contestants A,B     only these; --list names them
  --binary FILE         Postern (default: build/bench/postern, else build/release/postern)
  --relay FILE          the bare relay; the other tools and *_bench programs lie beside it (default: build/bench/relay)
  --output FILE         where the results go (default: bench/RESULTS.md; with --quick or a selection: bench/out/RESULTS.md)
  --list                names of cases and contestants
`;

function readOptions() {
  const names = { rounds: 'string', seconds: 'string', reloads: 'string', cases: 'string', contestants: 'string', binary: 'string',
    relay: 'string', output: 'string', quick: 'boolean', list: 'boolean', help: 'boolean' };
  let values;
  try {
    ({ values } = parseArgs({ options: Object.fromEntries(Object.entries(names).map(([name, type]) => [name, { type }])) }));
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${usage}`);
    process.exit(2);
  }
  const count = (name, missing) => {
    const value = Number(values[name] ?? missing);
    if (Number.isInteger(value) && value >= 1 && value <= 10000) return value;
    process.stderr.write(`--${name} needs a whole number from 1 on\n`);
    return process.exit(2);
  };
  const built = (name) => path.join(root, 'build', name);
  const relay = path.resolve(values.relay ?? built('bench/relay'));
  const binary = values.binary ? path.resolve(values.binary)
    : [built('bench/postern'), built('release/postern')].find(existsSync) ?? built('bench/postern');
  if (values.binary && !existsSync(binary)) throw new Error(`there is no ${values.binary}`);
  const partial = values.quick || values.cases || values.contestants;
  return {
    ...values, relay, binary, tools: path.dirname(relay),
    rounds: count('rounds', values.quick ? 3 : 15), seconds: count('seconds', values.quick ? 1 : 2), reloads: count('reloads', values.quick ? 5 : 100),
    output: path.resolve(values.output ?? path.join(here, partial ? 'out/RESULTS.md' : 'RESULTS.md')),
  };
}

function pick(all, key, names, what) {
  if (!names) return all;
  const wanted = names.split(',');
  for (const name of wanted) {
    if (!all.some((one) => one[key] === name)) throw new Error(`no ${what} '${name}': ${all.map((one) => one[key]).join(', ')}`);
  }
  return all.filter((one) => wanted.includes(one[key]));
}

// A different order each round, so that nobody always comes after the same neighbour.
function order(list, round) {
  const turned = list.map((_, i) => list[(i + round) % list.length]);
  return Math.floor(round / list.length) % 2 === 0 ? turned : turned.reverse();
}

const note = (text) => process.stderr.write(`${text}\n`);

class Runner {
  constructor(options, everybody, bench) { Object.assign(this, { options, everybody, bench }); }

  // A cell that fails in any way is an invalid cell, not the end of the run.
  async cell(label, work) {
    try {
      return await work();
    } catch (error) {
      note(`  ${label}: ${error.message}`);
      return { failures: [error.message.split('\n')[0]] };
    }
  }

  participants(one) {
    const peers = one.peers ?? ['nginx', 'haproxy', 'relay'];
    const list = this.everybody.filter(({ name, variant, reload }) =>
      (one.kind !== 'reload' || reload) && (name === 'postern' || peers.includes(name) || (variant && one.variants)));
    return list.map(({ name, label, floor, logs, note }) => ({ name, label, floor, logs, note, cells: [] }));
  }

  async check(one, rows) {
    for (const row of rows) {
      const contestant = this.everybody.find((candidate) => candidate.name === row.name);
      const outcome = await this.cell(row.label, () => this.bench.check(contestant, one).then(() => ({ failures: [] })));
      if (outcome.failures.length > 0) row.refused = outcome.failures;
    }
  }

  async loadOrIdle(one) {
    const rows = this.participants(one);
    await this.check(one, rows);
    const rounds = one.kind === 'idle' ? Math.min(this.options.rounds, 3) : this.options.rounds;
    for (let round = 0; round < rounds; ++round) {
      for (const row of order(rows, round)) {
        const contestant = this.everybody.find((candidate) => candidate.name === row.name);
        const cell = row.refused ? { failures: row.refused } : await this.cell(row.label, () => this.bench[one.kind](contestant, one));
        row.cells.push({ ...cell, round });
        if (cell.failures.length > 0 && !row.refused) note(`  round ${round + 1}: ${row.label}: ${cell.failures.join(', ')}`);
      }
      note(`  ${one.id}: round ${round + 1} of ${rounds}`);
    }
    return { ...one, contestants: rows };
  }

  async reload(one) {
    const rows = this.participants(one);
    for (const row of rows) {
      const contestant = this.everybody.find((candidate) => candidate.name === row.name);
      for (const [mode, close] of [['keep-alive', false], ['closed', true]]) {
        const cell = await this.cell(row.label, () => this.bench.reload(contestant, { ...one, close }, this.options.reloads));
        row.cells.push({ ...cell, mode, round: 0 });
        note(`  ${one.id}: ${row.label}, ${mode}: ${cell.failed ?? '–'} failed`);
      }
    }
    return { ...one, contestants: rows };
  }

  async inprocess(one) {
    const programs = existsSync(this.options.tools) ? readdirSync(this.options.tools).filter((name) => name.endsWith('_bench')).sort() : [];
    const benchmarks = [];
    for (const name of programs) {
      await this.cell(name, async () => {
        const text = await this.bench.sandbox.run(this.bench.cores.proxy, path.join(this.options.tools, name),
          ['--benchmark_format=json', '--benchmark_repetitions=5', `--benchmark_min_time=${this.options.quick ? 0.02 : 0.2}`,
            '--benchmark_report_aggregates_only=true'], 300);
        benchmarks.push(...summarize(name.replace(/_bench$/, ''), JSON.parse(text).benchmarks));
        return { failures: [] };
      });
    }
    return { ...one, contestants: [], benchmarks };
  }

  run(one) {
    return { load: () => this.loadOrIdle(one), idle: () => this.loadOrIdle(one), reload: () => this.reload(one), inprocess: () => this.inprocess(one) }[one.kind]();
  }
}

// Google Benchmark's aggregates → one row per benchmark: the median of five repetitions and their spread.
function summarize(program, aggregates) {
  const unit = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 };
  const rows = new Map();
  for (const entry of aggregates) {
    const row = rows.get(entry.run_name) ?? { name: `${program}: ${entry.run_name}` };
    if (entry.aggregate_name === 'median') row.nanoseconds = entry.cpu_time * unit[entry.time_unit];
    if (entry.aggregate_name === 'cv') row.spread = `± ${(entry.cpu_time * 100).toFixed(0)} %`;
    rows.set(entry.run_name, row);
  }
  return [...rows.values()].filter((row) => row.nanoseconds !== undefined).map((row) => ({ spread: '', ...row }));
}

// What people wrote below the heading stays when the file is written anew.
function keptAnalysis(file) {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const at = text.indexOf(analysisHeading);
  return at < 0 ? 'Nothing written yet.' : text.slice(at + analysisHeading.length).trim();
}

function describe(options, everybody) {
  const versions = everybody.map((one) => [one.label, one.version()]).filter(([, text]) => text).map(([label, text]) => `${label} ${text}`);
  versions.push(execFileSync('openssl', ['version'], { encoding: 'utf8' }).split(' ').slice(0, 2).join(' '));
  const flags = process.argv.slice(2).filter((_, i, all) => !/^--(binary|relay|output)$/.test(all[i]) && !/^--(binary|relay|output)$/.test(all[i - 1] ?? '') && !/^--(binary|relay|output)=/.test(all[i]));
  let commit = '';
  try { commit = ` (commit ${execFileSync('git', ['-c', 'safe.directory=*', 'rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()})`; } catch { /* an archive */ }
  return { date: new Date().toISOString().slice(0, 10), cpu: cpuModel(), versions: `${versions.join(', ')}${commit}`,
    command: ['./dev bench', ...flags].join(' '), rounds: options.rounds, seconds: options.seconds };
}

async function main() {
  process.env.PATH = `${process.env.PATH}:/usr/sbin`;
  const options = readOptions();
  if (options.help) return process.stdout.write(usage);
  const known = contestants({ postern: options.binary, relay: options.relay });
  if (options.list) return process.stdout.write(`cases: ${cases.map((one) => one.id).join(' ')}\ncontestants: ${known.map((one) => one.name).join(' ')}\n`);
  for (const tool of ['origin', 'h2_origin', 'hold', 'handshake', 'relay']) {
    if (!existsSync(path.join(options.tools, tool))) throw new Error(`${tool} is not built: ./dev bench builds it`);
  }
  const everybody = pick(known, 'name', options.contestants, 'contestant');
  if (!known.some((one) => one.name === 'postern')) note('Postern is not built: only its peers are measured');
  const capacity = Math.min(9500, Math.floor((openFileLimit() - 1000) / 2));  // two files per connection, and some more
  if (capacity < 1100) throw new Error('not enough open files are allowed: ulimit -Hn must be 3200 at least');
  const chosen = pick(cases, 'id', options.cases, 'case').map((one) => {
    if (one.kind !== 'idle') return one;
    const connections = Math.min(one.connections, capacity - 500);
    return { ...one, connections, title: `${connections} ${one.title}${connections < one.connections ? ' (as many as open files allow)' : ''}` };
  });

  const cores = chooseCores();
  pinSelf(cores.load);
  const sandbox = new Sandbox();
  process.on('exit', () => sandbox.close());
  for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) process.on(signal, () => process.exit(code));

  const keys = makeKeys(1000);
  const keyFile = path.join(sandbox.directory, 'keys');
  writeFileSync(keyFile, `${keys.join('\n')}\n`, { mode: 0o600 });
  const bench = new Bench({ sandbox, cores, tools: options.tools, keys, keyFile, secret: randomBytes(24).toString('base64url'),
    certificates: makeCertificates(path.join(sandbox.directory, 'certificates')), capacity, seconds: options.seconds });

  const runner = new Runner(options, everybody, bench);
  const results = [];
  for (const one of chosen) {
    note(`${one.title}`);
    if (one.kind !== 'inprocess') await bench.startOrigin(one.origin ?? 'plain');
    const result = await runner.run(one);
    results.push(result);
    process.stdout.write(`${caseReport(result)}\n\n`);
  }
  process.stdout.write(`### Targets\n\n${targetTable(results)}\n`);
  mkdirSync(path.dirname(options.output), { recursive: true });
  writeFileSync(options.output, document(describe(options, everybody), results, keptAnalysis(options.output)));
  note(`written: ${path.relative(process.cwd(), options.output)}`);
  await bench.stopOrigins();
  return process.exit(0);
}

main().catch((error) => {
  note(`bench: ${error.message}`);
  process.exit(1);
});
