// Gateway: build/release/postern run with a configuration of the test's own on free ports, ready when start() returns.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, temporaryDirectory } from './cleanup.mjs';
import { Process, run } from './process.mjs';
import { until } from './wait.mjs';
import { toYaml } from './yaml.mjs';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
export const binary = process.env.POSTERN_BINARY ?? path.join(root, 'build/release/postern');
export const long = process.env.POSTERN_LONG === '1';

export const secret = 'e2e-origin-secret-0123456789abcdef';
export const secretHeader = 'X-Backend-Secret';
// The identity that every origin of the tests has, unless a test says otherwise.
export const identity = [{ shared_secret: { header: secretHeader, value: '${env:ORIGIN_SECRET}' } }];

export const postern = (args, options = {}) => run(binary, args, { ...options, env: { ORIGIN_SECRET: secret, ...options.env } });

export class Gateway {
  // `config` is what is particular to the test: origins, routes, policies... Ports, paths and the observe and admin
  // listeners are added. As a function it receives {port, directory}.
  static async start(config, options = {}) {
    const gateway = new Gateway();
    await gateway.prepare(config, options);
    await gateway.launch();
    return gateway;
  }

  async prepare(config, { env = {}, ready = true } = {}) {
    this.directory = temporaryDirectory();
    this.port = await freePort();
    this.observePort = await freePort();
    this.file = path.join(this.directory, 'postern.yaml');
    this.adminSocket = path.join(this.directory, 'admin.sock');
    this.env = { ORIGIN_SECRET: secret, ...env };
    this.waitReady = ready;
    mkdirSync(path.join(this.directory, 'state'), { mode: 0o700 });
    this.write(config);
  }
  complete(config) {
    const own = typeof config === 'function' ? config(this) : config;
    return {
      version: 1,
      listeners: [{ address: `127.0.0.1:${this.port}` }],
      observe: { address: `127.0.0.1:${this.observePort}` },
      admin: { socket: this.adminSocket },
      state_directory: path.join(this.directory, 'state'),
      workers: 2,
      ...own,
    };
  }
  // Replaces the configuration file; reload() or a start makes it count.
  write(config) {
    this.config = this.complete(config);
    // In one step, as a deployment does: nobody reads half of it.
    writeFileSync(`${this.file}.new`, typeof config === 'string' ? config : `${toYaml(this.config).trimStart()}\n`, { mode: 0o600 });
    renameSync(`${this.file}.new`, this.file);
  }
  async launch() {
    this.process = new Process(binary, ['run', '--config', this.file], { env: this.env, cwd: this.directory });
    if (!this.waitReady) return;
    await until('the gateway to be ready', async () => {
      if (this.process.exit) throw new Error(`postern ended with ${JSON.stringify(this.process.exit)}:\n${this.process.stderr}\n${readFileSync(this.file)}`);
      return (await this.observe('/readyz').catch(() => null))?.status === 200;
    });
  }

  get url() { return `http://127.0.0.1:${this.port}`; }
  get pid() { return this.process.pid; }
  signal(name) { this.process.signal(name); }
  stop(signal) { return this.process.stop(signal); }

  // GET on the observe listener: {status, text}.
  observe(target) {
    return new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port: this.observePort, path: target, agent: false }, async (response) => {
        let text = '';
        for await (const chunk of response.setEncoding('utf8')) text += chunk;
        resolve({ status: response.statusCode, text, headers: response.headers });
      }).on('error', reject);
    });
  }
  // The sum of all series of one metric whose labels contain `labels`.
  async metric(name, labels = {}) {
    const { text } = await this.observe('/metrics');
    let sum = 0;
    let found = false;
    for (const line of text.split('\n')) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (!match || match[1] !== name) continue;
      if (!Object.entries(labels).every(([key, value]) => (match[2] ?? '').includes(`${key}="${value}"`))) continue;
      sum += Number(match[3]);
      found = true;
    }
    return found ? sum : undefined;
  }

  // `postern VERB --config FILE ARGS...`
  postern(verb, ...args) {
    return postern([...verb.split(' '), '--config', this.file, ...args], { env: this.env, cwd: this.directory });
  }
  // A new API key for `consumer`, as `postern keys create` prints it.
  async createKey(consumer, ...args) {
    const { code, stdout, stderr } = await this.postern('keys create', consumer, ...args);
    const key = /pst_[0-9A-Za-z]{36}/.exec(stdout)?.[0];
    if (code !== 0 || !key) throw new Error(`keys create: ${code}\n${stdout}${stderr}`);
    return key;
  }
  // Access log records so far.
  log() {
    // The last line may be half of one.
    return this.process.stdout.split('\n').slice(0, -1).filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  }
  // The access log record of a request, as soon as it is written.
  logged(condition) {
    return until('an access log record', () => this.log().find(condition));
  }
  // Everything the process has printed: a secret must never be in it.
  output() { return this.process.stdout + this.process.stderr; }
  residentBytes() {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))[1]) * 1024;
  }
}
