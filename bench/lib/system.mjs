// Processes, cores and /proc: what the runner starts it also ends, whatever happens.
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const read = (file) => { try { return readFileSync(file, 'utf8'); } catch { return ''; } };

// The first two cores that we may use: the proxy's, and the one for load and origin.
export function chooseCores() {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(read('/proc/self/status'))?.[1] ?? '0';
  const cores = list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
  if (cores.length < 2) throw new Error('two cores are needed: one for the proxy, one for load and origin');
  return { proxy: cores[0], load: cores[1] };
}

export function pinSelf(core) {
  execFileSync('taskset', ['-acp', String(core), String(process.pid)], { stdio: 'ignore' });
}

export const cpuModel = () => /^model name\s*:\s*(.*)$/m.exec(read('/proc/cpuinfo'))?.[1] ?? 'unknown CPU';

export const openFileLimit = () => Number(/^Max open files\s+(\d+)/m.exec(read('/proc/self/limits'))?.[1] ?? 1024);

export async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject).listen(0, '127.0.0.1', () => resolve(server));
  })));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

// The process and its descendants.
export function processTree(pid) {
  const children = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = read(`/proc/${name}/stat`);
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(Number(name));
  }
  const found = [pid];
  for (const next of found) found.push(...(children.get(next) ?? []));
  return found;
}

// utime + stime of all threads, nanoseconds. From schedstat, which counts the same time without rounding it to ticks.
export function cpuTime(pids) {
  let total = 0;
  for (const pid of pids) {
    let threads = [];
    try { threads = readdirSync(`/proc/${pid}/task`); } catch { continue; }
    for (const thread of threads) {
      const exact = Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0] || NaN);
      if (!Number.isNaN(exact)) { total += exact; continue; }
      const stat = read(`/proc/${pid}/task/${thread}/stat`);
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      total += (Number(fields[11]) + Number(fields[12])) * 1e7;
    }
  }
  return total;
}

// Busy time of one core, nanoseconds, with what the hypervisor took.
export function coreBusyTime(core) {
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(read('/proc/stat'))?.[1] ?? '';
  const [user, nice, system, , , irq, softirq, steal] = line.split(' ').map(Number);
  return (user + nice + system + irq + softirq + steal) * 1e7;
}

// Proportional set size, bytes.
export function memory(pids) {
  return pids.reduce((sum, pid) => sum + Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0), 0) * 1024;
}

// Owns a temporary directory and every process started through it.
export class Sandbox {
  #running = new Set();

  constructor() {
    this.directory = mkdtempSync(path.join(os.tmpdir(), 'postern-bench-'));
  }

  // `output`, `errors`: files to append to; without `output` standard output is a pipe.
  start(core, command, args, { output, errors, input = 'ignore' } = {}) {
    const files = [output, errors].filter(Boolean).map((file) => openSync(file, 'a', 0o600));
    const child = spawn('taskset', ['-c', String(core), command, ...args],
      { stdio: [input, output ? files[0] : 'pipe', errors ? files.at(-1) : 'inherit'] });
    for (const file of files) closeSync(file);
    child.ended = new Promise((resolve) => {
      child.on('error', () => resolve(-1));
      child.on('close', (code, signal) => resolve(signal ? -1 : code));
    }).finally(() => this.#running.delete(child));
    this.#running.add(child);
    return child;
  }

  // Runs a program to its end and returns its standard output. Fails if it does, or takes longer than `seconds`.
  async run(core, command, args, seconds) {
    const child = this.start(core, command, args);
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => { text += part; });
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    const code = await child.ended;
    clearTimeout(timer);
    if (code !== 0) throw new Error(`${path.basename(command)} failed or ran longer than ${seconds} s`);
    return text;
  }

  // Asks the process to stop, then ends what is left of it and its children.
  async stop(child, signal = 'SIGTERM') {
    if (!this.#running.has(child)) return;
    const family = processTree(child.pid);
    child.kill(signal);
    const timer = setTimeout(() => killAll([...family, ...processTree(child.pid)]), 2000);
    await child.ended;
    clearTimeout(timer);
    killAll(family.slice(1));
  }

  // For exit handlers: synchronous.
  close() {
    for (const child of this.#running) killAll(processTree(child.pid));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function killAll(pids) {
  for (const pid of pids) { try { process.kill(pid, 'SIGKILL'); } catch { /* gone */ } }
}
