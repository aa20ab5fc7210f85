// Tables for the terminal and for RESULTS.md: the same Markdown.
import { judge, median, medianInterval, pairedRatio } from './statistics.mjs';

const digits = (value) => (value >= 1000 ? value.toFixed(0) : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const mebibytes = (bytes) => digits(bytes / 1024 / 1024);
const percent = (share) => `${(share * 100).toFixed(0)} %`;

export function table(head, rows) {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i].length)));
  // Numbers to the right, words to the left.
  const numeric = head.map((_, i) => rows.every((row) => /^(\**\d|–|±)/.test(row[i]) && !/[a-z]{3}/.test(row[i].replace(/\(range of \d+\)/, ''))));
  const line = (cells) => `| ${cells.map((cell, i) => (numeric[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (numeric[i] ? `${'-'.repeat(width + 1)}:` : '-'.repeat(width + 2))).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

// Valid cells of one contestant: those without failures.
const valid = (cells) => cells.filter((cell) => cell.failures.length === 0);
const byRound = (cells, measure) => new Map(valid(cells).map((cell) => [cell.round, cell[measure]]));

// "all 15 rounds" or what went wrong, each kind once.
function failures(cells) {
  const broken = cells.filter((cell) => cell.failures.length > 0);
  if (broken.length === 0) return '0';
  return `**${broken.length} of ${cells.length} invalid**: ${[...new Set(broken.flatMap((cell) => cell.failures))].slice(0, 3).join(', ')}`;
}

function loadTable(result) {
  const head = ['', 'CPU µs/request', '[min]', '95 % interval', 'req/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'proxy core', 'PSS MiB', 'logged', 'invalid'];
  const rows = result.contestants.map(({ label, cells, logs }) => {
    const good = valid(cells);
    if (good.length === 0) return [label, ...Array(head.length - 2).fill('–'), failures(cells)];
    const of = (name) => good.map((cell) => cell[name]);
    const interval = medianInterval(of('cpu'));
    return [label, `**${digits(median(of('cpu')))}**`, digits(Math.min(...of('cpu'))), `${digits(interval.low)} – ${digits(interval.high)}`,
      median(of('perSecond')).toFixed(0), digits(median(of('p50'))), digits(median(of('p99'))), digits(median(of('p999'))),
      percent(median(of('busy'))), mebibytes(median(of('memory'))), logs ? percent(Math.min(1, median(of('logged')))) : '–', failures(cells)];
  });
  return table(head, rows);
}

function idleTable(result) {
  const head = ['', 'KiB/connection', 'PSS before MiB', 'PSS after MiB', 'invalid'];
  return table(head, result.contestants.map(({ label, cells }) => {
    const good = valid(cells);
    if (good.length === 0) return [label, '–', '–', '–', failures(cells)];
    return [label, `**${digits(median(good.map((cell) => cell.kibPerConnection)))}**`, mebibytes(median(good.map((cell) => cell.before))),
      mebibytes(median(good.map((cell) => cell.memory))), failures(cells)];
  }));
}

function reloadTable(result) {
  const head = ['', 'connections', 'reloads', 'requests', 'failed', 'what', 'invalid'];
  return table(head, result.contestants.flatMap(({ label, cells }) => cells.map((cell) => [label, cell.mode,
    ...(cell.reloads ? [String(cell.reloads), String(cell.requests), `**${cell.failed}**`, cell.kinds.join(', ') || '–'] : ['–', '–', '–', '–']),
    failures([cell])])));
}

function inprocessTable(result) {
  if (result.benchmarks.length === 0) return 'No program *_bench is built.';
  return table(['benchmark', 'ns', 'spread'], result.benchmarks.map(({ name, nanoseconds, spread }) => [name, digits(nanoseconds), spread]));
}

const range = (ratio) => (ratio.confidence >= 0.9 ? `${ratio.low.toFixed(2)} – ${ratio.high.toFixed(2)}`
  : `${ratio.low.toFixed(2)} – ${ratio.high.toFixed(2)} (range of ${ratio.rounds})`);

// Postern beside every peer; without Postern, every contestant beside the first.
function ratioTable(result) {
  const [subject, ...others] = result.contestants;
  const rows = others.flatMap(({ label, cells }) => {
    const cpu = pairedRatio(byRound(subject.cells, 'cpu'), byRound(cells, 'cpu'));
    if (!cpu) return [];
    const rate = pairedRatio(byRound(subject.cells, 'perSecond'), byRound(cells, 'perSecond'));
    const tail = pairedRatio(byRound(subject.cells, 'p99'), byRound(cells, 'p99'));
    return [[`${subject.label} / ${label}`, `**${cpu.median.toFixed(2)}**`, range(cpu), rate.median.toFixed(2), range(rate), tail.median.toFixed(2)]];
  });
  return rows.length === 0 ? '' : table(['paired ratio', 'CPU/request', '95 % interval', 'req/s', '95 % interval', 'p99'], rows);
}

const tables = { load: loadTable, idle: idleTable, reload: reloadTable, inprocess: inprocessTable };

export function caseReport(result) {
  const parts = [`### ${result.title}`, tables[result.kind](result)];
  if (result.kind === 'load') {
    parts.push(ratioTable(result));
    parts.push(result.contestants.map((one) => one.note).filter(Boolean).join(' '));
    const cells = result.contestants.flatMap((one) => valid(one.cells));
    const disturbed = cells.filter((cell) => cell.foreign > 0.1).length;
    if (disturbed > 0) parts.push(`In ${disturbed} of ${cells.length} cells more than 10 % of the proxy's core went to others (kernel threads included).`);
  }
  return parts.filter(Boolean).join('\n\n');
}

// Which contestant a target means: of several, the one with the lowest median.
function reference(result, against) {
  const candidates = result.contestants.filter((one) => one.name !== 'postern' &&
    (against === 'best' ? !one.floor : against.includes(one.name)) && valid(one.cells).length > 0);
  const cost = (one) => median(valid(one.cells).map((cell) => cell.cpu));
  return candidates.sort((a, b) => cost(a) - cost(b))[0];
}

function absoluteTarget(result, target) {
  const cells = result.contestants.find((one) => one.name === 'postern')?.cells ?? [];
  const what = { kibPerConnection: 'KiB per idle connection', failed: 'requests lost by reloads' }[target.measure];
  const text = `${what} ≤ ${target.absolute}`;
  if (cells.length === 0 || valid(cells).length < cells.length) return [result.id, text, '–', 'not measured'];
  const value = target.measure === 'failed' ? cells.reduce((sum, cell) => sum + cell.failed, 0) : median(cells.map((cell) => cell[target.measure]));
  return [result.id, text, target.measure === 'failed' ? String(value) : digits(value), value <= target.absolute ? 'met' : '**not met**'];
}

// The targets of the cases that ran, with what was found.
export function targetTable(results) {
  const rows = results.flatMap((result) => result.targets.map((target) => {
    if (target.measure) return absoluteTarget(result, target);
    const subject = result.contestants.find((one) => one.name === 'postern');
    const peer = reference(result, target.against);
    const name = target.against === 'best' ? 'the best peer' : target.against.length > 1 ? 'the better of nginx and HAProxy' : (peer?.label ?? target.against[0]);
    const text = `CPU/request ≤ ${target.bound.toFixed(2)} × ${name}`;
    const ratio = subject && peer && pairedRatio(byRound(subject.cells, 'cpu'), byRound(peer.cells, 'cpu'));
    if (!ratio) return [result.id, text, '–', 'not measured'];
    const found = `${ratio.median.toFixed(2)} × ${peer.label} (${range(ratio)})`;
    const verdict = judge(ratio, target.bound);
    const leaning = ratio.median <= target.bound ? 'median meets it' : 'median misses it';
    return [result.id, text, found, { met: 'met', 'not met': '**not met**', undecided: `undecided, ${leaning}` }[verdict]];
  }));
  return table(['case', 'target', 'found', 'verdict'], rows);
}

export const analysisHeading = '## Where it falls short, and why';

// `run`: { date, cpu, versions, command, rounds, seconds, idle }; `analysis`: text kept from the file that is replaced.
export function document(run, results, analysis) {
  return `# Results of ./dev bench

Written by \`bench/run\`; what the columns mean and how the cells are made is in [README.md](README.md).

- CPU: ${run.cpu}; the proxy has one core, load and origin another
- Date: ${run.date}
- ${run.versions}
- ${run.rounds} rounds, ${run.seconds} s per cell, contestants interleaved and restarted for each cell
- Repeat: \`${run.command}\`

Compare only within one run: the same machine differed by 45 % within an hour. Differences under 20 % between two rows
mean nothing unless the interval of their paired ratio says so.

## Targets

${targetTable(results)}

"Met" and "not met" need the whole 95 % interval on one side.

## Measurements

${results.map(caseReport).join('\n\n')}

${analysisHeading}

${analysis}
`;
}
