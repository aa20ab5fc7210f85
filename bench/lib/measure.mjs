// One cell: a contestant freshly started, checked, loaded and stopped.
import { createReadStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { grpcMessage, request } from './client.mjs';
import { fill } from './contestants.mjs';
import { percentile } from './statistics.mjs';
import { coreBusyTime, cpuTime, freePorts, memory, processTree, sleep } from './system.mjs';

const scripts = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../load');
const requestLimit = 10000;  // per key and second: counted on every request, reached by none

async function countLines(file) {
  if (!existsSync(file)) return 0;
  let lines = 0;
  for await (const part of createReadStream(file, { highWaterMark: 1 << 20 })) {
    for (let at = part.indexOf(10); at >= 0; at = part.indexOf(10, at + 1)) ++lines;
  }
  return lines;
}

// How an origin of each kind is started: { command, args }, and how the runner asks it.
const origins = {
  plain: (bench, port) => ({ command: path.join(bench.tools, 'origin'), args: ['--listen', port], target: { port } }),
  h2c: (bench, port) => ({ command: path.join(bench.tools, 'h2_origin'), args: ['--listen', port], target: { port, http2: true } }),
  tls: (bench, port) => {
    const directory = path.join(bench.sandbox.directory, 'origin');
    mkdirSync(directory, { mode: 0o700 });
    const file = path.join(directory, 'nginx.conf');
    writeFileSync(file, fill('origin.nginx.conf.in', {
      DIR: directory, PORT: port, USER: process.getuid() === 0 ? 'user root;' : '', CERTIFICATE: bench.certificates.ecdsa.certificate,
      KEY: bench.certificates.ecdsa.key, AUTHORITY: bench.certificates.authority.certificate, BODY: 's'.repeat(64),
    }));
    return { command: 'nginx', args: ['-p', directory, '-c', file, '-e', 'stderr'], refuses: 400,
      target: { port, ca: readFileSync(bench.certificates.authority.certificate) } };
  },
};

export class Bench {
  // `context`: { sandbox, cores, tools, keys, keyFile, secret, certificates, capacity, seconds }; `capacity`: connections
  // that every proxy is configured for, whatever the case (HAProxy keeps idle connections only while few files are open)
  constructor(context) {
    Object.assign(this, context, { origins: new Map() });
    this.messageFile = path.join(this.sandbox.directory, 'message');
    writeFileSync(this.messageFile, grpcMessage(64));
  }

  // `kind` as in cases.mjs. An origin that demands a client certificate must refuse the runner, who has none.
  async startOrigin(kind) {
    if (this.origins.has(kind)) return;
    const [port] = await freePorts(1);
    const { command, args, target, refuses } = origins[kind](this, port);
    const child = this.sandbox.start(this.cores.load, command, args);
    for (let i = 0; (await request(target, '/64')).status !== (refuses ?? 200); ++i) {
      if (i > 100) throw new Error(`the origin '${kind}' does not answer`);
      await sleep(20);
    }
    this.origins.set(kind, { port, child });
  }

  async stopOrigins() {
    for (const { child } of this.origins.values()) await this.sandbox.stop(child);
  }

  // Starts a contestant for a case and waits until it answers; `use` gets { child, setup }.
  async withProxy(contestant, one, use) {
    const directory = path.join(this.sandbox.directory, 'cell');
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { mode: 0o700 });
    const [port, observePort] = await freePorts(2);
    const kind = one.origin ?? 'plain';
    const listener = { tls: one.clients?.tls ? this.certificates[one.clients.tls] : null, http2: Boolean(one.clients?.http2) };
    const upstream = { tls: kind === 'tls' ? this.certificates : null, http2: kind === 'h2c' || Boolean(one.multiplex), optional: Boolean(one.multiplex) };
    const setup = { directory, port, observePort, originPort: this.origins.get(kind).port, secret: this.secret, keys: this.keys,
      key: Boolean(one.key), limit: requestLimit, connections: this.capacity, listener, upstream, grpc: Boolean(one.grpc) };
    const target = { port, http2: listener.http2, ca: listener.tls ? readFileSync(this.certificates.authority.certificate) : undefined };
    const [command, args] = contestant.prepare(setup);
    const errors = path.join(directory, 'errors.log');
    // HAProxy's access log is its standard output.
    const output = path.join(directory, contestant.name.startsWith('haproxy') ? 'access.log' : 'output.log');
    const child = this.sandbox.start(this.cores.proxy, command, args, { output, errors });
    try {
      let over = false;
      child.ended.then(() => { over = true; });
      const headers = setup.key ? { 'X-API-Key': this.keys[0] } : {};
      for (let i = 0; (await request(target, '/64', headers)).status !== 200; ++i) {
        if (over || i > 500) throw new Error(`${contestant.label} does not serve\n${readFileSync(errors, 'utf8').slice(-2000)}`);
        await sleep(20);
      }
      return await use({ child, setup, target, logFile: path.join(directory, 'access.log') });
    } finally {
      await this.sandbox.stop(child, contestant.stop);
    }
  }

  // That a contestant does the work it is measured for. Throws if not.
  async check(contestant, one) {
    const wrong = (what) => { throw new Error(`${contestant.label}: ${what}`); };
    const lacks = contestant.lacks ?? [];
    await this.withProxy(contestant, one, async ({ setup, target }) => {
      const get = (file, headers) => request(target, file, headers);
      const key = setup.key ? { 'X-API-Key': this.keys[7] } : {};
      const { status, body } = await get('/echo', key);
      const lines = body.split('\r\n');
      if (status !== 200) wrong(`status ${status} for a good request`);
      const secrets = (text) => text.split('\r\n').filter((line) => /^x[-_.]backend[-_.]secret:/i.test(line))
        .map((line) => line.replace(/^[^:]*/, (name) => name.toLowerCase()));
      if (!lacks.includes('secret') && secrets(body).join() !== `x-backend-secret: ${this.secret}`) wrong('the origin does not see the secret, once');
      if (contestant.floor) return;
      if (!lacks.includes('secret') && !lacks.includes('forged')) {
        const forged = await get('/echo', { ...key, 'X-Backend-Secret': 'forged', X_Backend_Secret: 'forged' });
        if (forged.status === 200 && secrets(forged.body).length !== 1) wrong('a client copy of the secret arrives');
        if (/forged/.test(forged.body)) wrong('a forged secret arrives');
      }
      if (!lines.some((line) => /^x-forwarded-for: 127\.0\.0\.1$/i.test(line))) wrong('no X-Forwarded-For');
      if (!lacks.includes('requestId') && !lines.some((line) => /^x-request-id: \S+/i.test(line))) wrong('no X-Request-Id');
      if (setup.key) {
        if ((await get('/64')).status !== 401) wrong('a request without a key is let in');
        const unknown = (await get('/64', { 'X-API-Key': this.keys[7].replace(/.$/, (c) => (c === 'A' ? 'B' : 'A')) })).status;
        if (unknown !== 401) wrong('a request with an unknown key is let in');
      }
      if (one.grpc) {
        const message = grpcMessage(64);
        const answer = await request(target, one.path, {}, message);
        if (answer.status !== 200 || answer.body !== message.toString('latin1')) wrong(`no message comes back from a gRPC call (status ${answer.status})`);
        if (answer.trailers['grpc-status'] !== '0') wrong('no grpc-status comes back');
      }
      if (contestant.metrics && (await request({ port: setup.observePort }, '/metrics')).status !== 200) wrong('no /metrics');
    });
  }

  url(one, port) {
    return `${one.clients?.tls ? 'https' : 'http'}://${one.clients?.tls || one.clients?.http2 ? 'localhost' : '127.0.0.1'}:${port}${one.path}`;
  }

  // The line that a tool prints as its result: { requests, duration, p50, p99, p999, errors, ... }, microseconds.
  parseResult(tool, text) {
    const line = /^RESULT (.*)$/m.exec(text)?.[1];
    if (!line) throw new Error(`${tool} printed no result`);
    const result = JSON.parse(line);
    const failures = Object.entries(result.errors).filter(([, count]) => count > 0).map(([kind, count]) => `${count} ${kind}`);
    return { ...result, failures, failed: Object.values(result.errors).reduce((a, b) => a + b, 0) };
  }

  async wrk(one, port, seconds) {
    const key = one.key ? ['--', this.keyFile] : [];
    const args = ['-t1', `-c${one.connections}`, `-d${seconds}s`, '-s', path.join(scripts, one.script ?? 'report.lua'),
      ...(one.close ? ['-H', 'Connection: close'] : []), this.url(one, port), ...key];
    return this.parseResult('wrk', await this.sandbox.run(this.cores.load, 'wrk', args, seconds + 15));
  }

  async handshake(one, port, seconds) {
    const args = ['--port', port, '--seconds', seconds, '--concurrency', one.connections, ...(one.resume ? ['--resume', 'yes'] : [])];
    const result = this.parseResult('handshake', await this.sandbox.run(this.cores.load, path.join(this.tools, 'handshake'), args, seconds + 15));
    const { full, resumed } = result.handshakes;
    if (one.resume ? full > 0.01 * resumed : resumed > 0) result.failures.push(`${full} full and ${resumed} resumed handshakes`);
    return result;
  }

  h2loadArguments(one, port) {
    const call = one.grpc ? ['-d', this.messageFile, '-H', 'content-type: application/grpc', '-H', 'te: trailers'] : [];
    return ['-t1', `-c${one.connections}`, `-m${one.streams}`, `--connect-to=127.0.0.1:${port}`, ...call, this.url(one, port)];
  }

  async h2load(one, port, seconds) {
    const log = path.join(this.sandbox.directory, 'h2load.log');
    rmSync(log, { force: true });
    const text = await this.sandbox.run(this.cores.load, 'h2load', ['-D', seconds, '--log-file', log, ...this.h2loadArguments(one, port)], seconds + 15);
    const counts = /^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/m.exec(text)?.slice(1).map(Number);
    if (!counts) throw new Error('h2load printed no result');
    const [requests, failed] = counts;  // "failed" includes the other two
    const latencies = Float64Array.from(readFileSync(log, 'utf8').split('\n'), (line) => Number(line.split('\t')[2] ?? NaN)).filter((value) => value >= 0).sort();
    return { requests, duration: seconds * 1e6, p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99), p999: percentile(latencies, 0.999),
      failures: failed > 0 ? [`${failed} failed`] : [], failed };
  }

  generate(one, port, seconds) { return this[one.generator ?? 'wrk'](one, port, seconds); }

  // Returns the number of requests.
  async warmUp(one, port) {
    if (one.generator === 'h2load') {
      const count = one.connections * one.streams * 10;
      await this.sandbox.run(this.cores.load, 'h2load', ['-n', count, ...this.h2loadArguments(one, port)], 20);
      return count;
    }
    const [connections, rounds] = [64, 20];
    await this.sandbox.run(this.cores.load, path.join(this.tools, 'hold'), ['--port', port, '--connections', connections, '--rounds', rounds,
      ...(one.clients?.tls ? ['--tls', 'yes'] : []), ...(one.key ? ['--key-file', this.keyFile] : [])], 20);
    return connections * rounds;
  }

  // Cells of kind 'load'.
  async load(contestant, one) {
    let logFile;
    let warmed;
    const cell = await this.withProxy(contestant, one, async (proxy) => {
      logFile = proxy.logFile;
      warmed = await this.warmUp(one, proxy.setup.port);
      const family = processTree(proxy.child.pid);
      const before = { time: process.hrtime.bigint(), cpu: cpuTime(family), core: coreBusyTime(this.cores.proxy) };
      const result = await this.generate(one, proxy.setup.port, this.seconds);
      const cpu = cpuTime(family) - before.cpu;
      const elapsed = Number(process.hrtime.bigint() - before.time);
      return {
        requests: result.requests,
        perSecond: result.requests / (result.duration / 1e6),
        cpu: cpu / 1000 / result.requests,
        busy: cpu / elapsed,
        foreign: Math.max(0, coreBusyTime(this.cores.proxy) - before.core - cpu) / elapsed,
        p50: result.p50 / 1000, p99: result.p99 / 1000, p999: result.p999 / 1000,
        memory: memory(processTree(proxy.child.pid)),
        failures: result.requests > 0 ? result.failures : [...result.failures, 'no request'],
      };
    });
    if (contestant.logs) {
      cell.logged = ((await countLines(logFile)) - warmed) / cell.requests;
      // Whoever leaves lines out has done less.
      if (cell.logged < 0.999) cell.failures.push(`only ${(cell.logged * 100).toFixed(1)} % of the requests logged`);
    }
    return cell;
  }

  // Cells of kind 'idle': user-space memory that each idle connection holds.
  async idle(contestant, one) {
    return this.withProxy(contestant, one, async ({ child, setup }) => {
      await this.warmUp(one, setup.port);
      const before = memory(processTree(child.pid));
      const holder = this.sandbox.start(this.cores.load, path.join(this.tools, 'hold'),
        ['--port', setup.port, '--connections', one.connections, '--stay', 'yes', ...(one.clients?.tls ? ['--tls', 'yes'] : [])], { input: 'pipe' });
      let text = '';
      holder.stdout.setEncoding('utf8').on('data', (part) => { text += part; });
      const said = async (pattern, seconds) => {
        for (let waited = 0; !pattern.test(text) && waited < seconds * 50; ++waited) await sleep(20);
        return pattern.exec(text);
      };
      try {
        const failures = [];
        if (!await said(/^ready /m, 60)) failures.push('not all connections were served');
        await sleep(500);
        const after = memory(processTree(child.pid));
        holder.stdin.on('error', () => {}).write('probe\n');
        const alive = Number((await said(/^alive (\d+)/m, 15))?.[1] ?? 0);
        if (alive < 20) failures.push(`${20 - alive} of 20 probes failed`);
        return { before, memory: after, kibPerConnection: (after - before) / 1024 / one.connections, failures };
      } finally {
        await this.sandbox.stop(holder, 'SIGKILL');
      }
    });
  }

  // Cells of kind 'reload': requests lost while the configuration changes `count` times.
  async reload(contestant, one, count) {
    const pause = 250;
    return this.withProxy(contestant, one, async ({ child, setup }) => {
      await this.warmUp(one, setup.port);
      const old = processTree(child.pid);
      const load = this.wrk(one, setup.port, Math.ceil((count * pause) / 1000) + 2);
      await sleep(500);
      for (let i = 0; i < count; ++i) {
        contestant.prepare({ ...setup, limit: requestLimit + 1 + (i % 2) });
        child.kill(contestant.reload);
        await sleep(pause);
      }
      const result = await load;
      const failures = [];
      // A reload that did not happen loses nothing: so see that it did.
      if (contestant.name === 'postern') {
        const metrics = (await request({ port: setup.observePort }, '/metrics')).body;
        const applied = Number(/^postern_config_reloads_total\{outcome="applied"\} (\d+)/m.exec(metrics)?.[1] ?? 0);
        if (applied < count) failures.push(`only ${applied} reloads applied`);
      } else if (processTree(child.pid).filter((pid) => !old.includes(pid)).length === 0) {
        failures.push('no new worker: the reload did not happen');
      }
      return { requests: result.requests, reloads: count, failed: result.failed, kinds: result.failures, failures };
    });
  }
}
