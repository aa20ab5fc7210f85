// Child processes with their output collected, killed at the end of the test file.
import { spawn } from 'node:child_process';
import { onCleanup } from './cleanup.mjs';
import { hangGuard, within } from './wait.mjs';

export class Process {
  constructor(command, args, { env = {}, cwd, input } = {}) {
    this.name = command.split('/').pop();
    this.child = spawn(command, args, { env: { ...process.env, ...env }, cwd, stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
    if (typeof input === 'string') this.child.stdin.end(input);  // null: the caller writes
    this.stdout = '';
    this.stderr = '';
    this.child.stdout.setEncoding('utf8').on('data', (text) => { this.stdout += text; });
    this.child.stderr.setEncoding('utf8').on('data', (text) => { this.stderr += text; });
    this.exit = null;  // {code, signal} once ended
    this.ended = new Promise((resolve) => {
      this.child.on('error', (error) => { this.stderr += error.message; resolve(this.exit = { code: 127, signal: null }); });
      this.child.on('close', (code, signal) => resolve(this.exit = { code, signal }));
    });
    const cleanup = () => this.stop();
    cleanup.kill = () => this.child.kill('SIGKILL');
    onCleanup(cleanup);
  }
  get pid() { return this.child.pid; }
  signal(name) { this.child.kill(name); }
  async stop(signal = 'SIGTERM', grace = 8_000) {
    if (this.exit) return this.exit;
    this.signal(signal);
    const timer = setTimeout(() => this.signal('SIGKILL'), grace);
    await this.ended;
    clearTimeout(timer);
    return this.exit;
  }
}

// The command line for a process that may not read, write or listen where only root may; people are such anyway.
export function unprivileged(command, args) {
  if (process.getuid() !== 0) return [command, args];
  return ['setpriv', ['--bounding-set=-dac_override,-dac_read_search,-net_bind_service', '--inh-caps=-all', '--', command, ...args]];
}

// Runs a command to its end: {code, stdout, stderr}.
export async function run(command, args, options = {}) {
  const child = new Process(command, args, options);
  await within(`${child.name} ${args.join(' ')}`, child.ended, options.timeout ?? hangGuard).catch((error) => {
    child.signal('SIGKILL');
    throw error;
  });
  return { code: child.exit.code, stdout: child.stdout, stderr: child.stderr };
}
