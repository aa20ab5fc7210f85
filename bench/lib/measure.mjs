// One cell: a contestant freshly started, checked, loaded and stopped.
import { createReadStream, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { coreBusyTime, cpuTime, freePorts, memory, processTree, sleep } from './system.mjs';

const scripts = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../load');
const requestLimit = 10000;  // per key and second: counted on every request, reached by none

// { status, body }; status 0 if nobody answers.
function get(port, target, headers = {}) {
  return new Promise((resolve) => {
    const request = http.get({ host: '127.0.0.1', port, path: target, headers, agent: false, timeout: 5000 }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part)).on('error', () => resolve({ status: 0, body: '' }))
        .on('end', () => resolve({ status: response.statusCode, body: Buffer.concat(parts).toString('latin1') }));
    });
    request.on('timeout', () => request.destroy()).on('error', () => resolve({ status: 0, body: '' }));
  });
}

async function countLines(file) {
  if (!existsSync(file)) return 0;
  let lines = 0;
  for await (const part of createReadStream(file, { highWaterMark: 1 << 20 })) {
    for (let at = part.indexOf(10); at >= 0; at = part.indexOf(10, at + 1)) ++lines;
  }
  return lines;
}

export class Bench {
  // `context`: { sandbox, cores, tools, keys, keyFile, secret, capacity, seconds }; `capacity`: connections
  // that every proxy is configured for, whatever the case (HAProxy keeps idle connections only while few files are open)
  constructor(context) { Object.assign(this, context); }

  async startOrigin() {
    [this.originPort] = await freePorts(1);
    this.origin = this.sandbox.start(this.cores.load, path.join(this.tools, 'origin'), ['--listen', this.originPort]);
    for (let i = 0; (await get(this.originPort, '/64')).status !== 200; ++i) {
      if (i > 100) throw new Error('the origin does not answer');
      await sleep(20);
    }
  }

  // Starts a contestant for a case and waits until it answers; `use` gets { child, setup }.
  async withProxy(contestant, one, use) {
    const directory = path.join(this.sandbox.directory, 'cell');
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { mode: 0o700 });
    const [port, observePort] = await freePorts(2);
    const setup = { directory, port, observePort, originPort: this.originPort, secret: this.secret, keys: this.keys,
      key: Boolean(one.key), limit: requestLimit, connections: this.capacity };
    const [command, args] = contestant.prepare(setup);
    const errors = path.join(directory, 'errors.log');
    // HAProxy's access log is its standard output.
    const output = path.join(directory, contestant.name.startsWith('haproxy') ? 'access.log' : 'output.log');
    const child = this.sandbox.start(this.cores.proxy, command, args, { output, errors });
    try {
      let over = false;
      child.ended.then(() => { over = true; });
      const headers = setup.key ? { 'X-API-Key': this.keys[0] } : {};
      for (let i = 0; (await get(port, '/64', headers)).status !== 200; ++i) {
        if (over || i > 500) throw new Error(`${contestant.label} does not serve\n${readFileSync(errors, 'utf8').slice(-2000)}`);
        await sleep(20);
      }
      return await use({ child, setup, logFile: path.join(directory, 'access.log') });
    } finally {
      await this.sandbox.stop(child, contestant.stop);
    }
  }

  // That a contestant does the work it is measured for. Throws if not.
  async check(contestant, one) {
    const wrong = (what) => { throw new Error(`${contestant.label}: ${what}`); };
    await this.withProxy(contestant, one, async ({ setup }) => {
      const key = setup.key ? { 'X-API-Key': this.keys[7] } : {};
      const { status, body } = await get(setup.port, '/echo', key);
      const lines = body.split('\r\n');
      if (status !== 200) wrong(`status ${status} for a good request`);
      const secrets = (text) => text.split('\r\n').filter((line) => /^x[-_.]backend[-_.]secret:/i.test(line))
        .map((line) => line.replace(/^[^:]*/, (name) => name.toLowerCase()));
      if (secrets(body).join() !== `x-backend-secret: ${this.secret}`) wrong('the origin does not see the secret, once');
      if (contestant.floor) return;
      const forged = await get(setup.port, '/echo', { ...key, 'X-Backend-Secret': 'forged', X_Backend_Secret: 'forged' });
      if (forged.status === 200 && secrets(forged.body).length !== 1) wrong('a client copy of the secret arrives');
      if (/forged/.test(forged.body)) wrong('a forged secret arrives');
      if (!lines.some((line) => /^x-forwarded-for: 127\.0\.0\.1$/i.test(line))) wrong('no X-Forwarded-For');
      if (!lines.some((line) => /^x-request-id: \S+/i.test(line))) wrong('no X-Request-Id');
      if (setup.key) {
        if ((await get(setup.port, '/64')).status !== 401) wrong('a request without a key is let in');
        const unknown = (await get(setup.port, '/64', { 'X-API-Key': this.keys[7].replace(/.$/, (c) => (c === 'A' ? 'B' : 'A')) })).status;
        if (unknown !== 401) wrong('a request with an unknown key is let in');
      }
      if (contestant.metrics && (await get(setup.observePort, '/metrics')).status !== 200) wrong('no /metrics');
    });
  }

  wrkArguments(one, port, seconds, extra = []) {
    const key = one.key ? ['--', this.keyFile] : [];
    return ['-t1', `-c${one.connections}`, `-d${seconds}s`, '-s', path.join(scripts, one.script ?? 'report.lua'),
      ...(one.close ? ['-H', 'Connection: close'] : []), ...extra, `http://127.0.0.1:${port}${one.path}`, ...key];
  }

  async wrk(one, port, seconds) {
    const text = await this.sandbox.run(this.cores.load, 'wrk', this.wrkArguments(one, port, seconds), seconds + 15);
    const line = /^RESULT (.*)$/m.exec(text)?.[1];
    if (!line) throw new Error('wrk printed no result');
    const result = JSON.parse(line);
    const failures = Object.entries(result.errors).filter(([, count]) => count > 0).map(([kind, count]) => `${count} ${kind}`);
    return { ...result, failures, failed: Object.values(result.errors).reduce((a, b) => a + b, 0) };
  }

  warmUp(one, port) {
    return this.sandbox.run(this.cores.load, path.join(this.tools, 'hold'),
      ['--port', port, '--connections', one.connections, '--rounds', 20, ...(one.key ? ['--key-file', this.keyFile] : [])], 20);
  }

  // Cells of kind 'load'.
  async load(contestant, one) {
    let logFile;
    const cell = await this.withProxy(contestant, one, async (proxy) => {
      logFile = proxy.logFile;
      await this.warmUp({ ...one, connections: 64 }, proxy.setup.port);
      const family = processTree(proxy.child.pid);
      const before = { time: process.hrtime.bigint(), cpu: cpuTime(family), core: coreBusyTime(this.cores.proxy) };
      const result = await this.wrk(one, proxy.setup.port, this.seconds);
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
      cell.logged = (await countLines(logFile)) / cell.requests;
      // Whoever leaves lines out has done less.
      if (cell.logged < 0.999) cell.failures.push(`only ${(cell.logged * 100).toFixed(1)} % of the requests logged`);
    }
    return cell;
  }

  // Cells of kind 'idle': user-space memory that each idle connection holds.
  async idle(contestant, one) {
    return this.withProxy(contestant, one, async ({ child, setup }) => {
      await this.warmUp({ ...one, connections: 64 }, setup.port);
      const before = memory(processTree(child.pid));
      const holder = this.sandbox.start(this.cores.load, path.join(this.tools, 'hold'),
        ['--port', setup.port, '--connections', one.connections, '--stay', 'yes'], { input: 'pipe' });
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
        const metrics = (await get(setup.observePort, '/metrics')).body;
        const applied = Number(/^postern_config_reloads_total\{outcome="applied"\} (\d+)/m.exec(metrics)?.[1] ?? 0);
        if (applied < count) failures.push(`only ${applied} reloads applied`);
      } else if (processTree(child.pid).filter((pid) => !old.includes(pid)).length === 0) {
        failures.push('no new worker: the reload did not happen');
      }
      return { requests: result.requests, reloads: count, failed: result.failed, kinds: result.failures, failures };
    });
  }
}
