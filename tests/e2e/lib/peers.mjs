// Other people's HTTP/2, gRPC, WebSocket and SSE programs, as clients and as origins: the npm packages of tests/peers
// (installed by ./dev setup), Node's http2, curl, and nghttp2's nghttp, h2load and nghttpd.
import { EventEmitter } from 'node:events';
import http2 from 'node:http2';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { Authority } from './certificates.mjs';
import { freePort, onCleanup } from './cleanup.mjs';
import { Http2Tap } from './http2_tap.mjs';
import { root } from './gateway.mjs';
import { Process, run } from './process.mjs';
import { until, within } from './wait.mjs';

const require = createRequire(path.join(root, 'build/peers/node_modules/'));
export const peer = (name) => require(name);

// ---- certificates ----------------------------------------------------------------------------------------------

// One authority for a test file, and a leaf of it for every name that the tests use.
let shared = null;
export function testPki() {
  shared ??= (() => {
    const authority = Authority.root('Tests of HTTP 2');
    const pair = authority.issue({ subject: 'CN=api.test', dns: ['api.test', 'localhost', 'origin.test'], ip: ['127.0.0.1'] });
    return { authority, pair, ca: authority.pem, caFile: authority.leaf };
  })();
  return shared;
}

// Node resets streams beyond this many MB in its own buffers; the default is 10.
const maxSessionMemory = 1000;

// ---- Node's http2 as a client -----------------------------------------------------------------------------------

// A session to the gateway on `port`; secure: with TLS as api.test. tap: client.tap says what went out (http2_tap.mjs).
// Options are Node's.
export async function connectHttp2(port, { secure = false, tap = false, settings, ...options } = {}) {
  const authority = `${secure ? 'https' : 'http'}://api.test:${port}`;
  const socket = secure
    ? tls.connect({ port, host: '127.0.0.1', servername: 'api.test', ca: testPki().ca, ALPNProtocols: ['h2'], ...options.tls })
    : net.connect(port, '127.0.0.1');
  await within('a connection', new Promise((resolve, reject) => socket.once(secure ? 'secureConnect' : 'connect', resolve).once('error', reject)));
  const wire = tap ? new Http2Tap(socket) : socket;
  const client = Object.assign(http2.connect(authority, { settings, maxSessionMemory, ...options, createConnection: () => wire }), { tap: tap ? wire : null });
  client.on('error', () => {});
  onCleanup(() => client.destroy());
  await within('an HTTP/2 session', new Promise((resolve, reject) => client.once('remoteSettings', resolve).once('error', reject)));
  return client;
}

// One exchange: {status, headers, interim, body, trailers, reset}. `headers` may name pseudo-headers. `body`: text, a
// Buffer, or a function that writes to the stream.
export async function ask(client, target, { method = 'GET', headers = {}, body, trailers, timeout = 60_000, onStream } = {}) {
  const stream = client.request({ ':method': method, ':path': target, ...headers }, { endStream: body === undefined && !trailers, waitForTrailers: Boolean(trailers) });
  const answer = { interim: [], trailers: null, reset: null, stream };
  stream.on('error', () => {});
  onStream?.(stream);
  if (trailers) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.on('headers', (fields) => answer.interim.push(fields));
  stream.on('trailers', (fields) => { answer.trailers = fields; });
  stream.on('response', (fields) => { answer.status = fields[':status']; answer.headers = fields; });
  const chunks = [];
  answer.bytes = 0;
  stream.on('data', (chunk) => { answer.bytes += chunk.length; if (answer.bytes < 2 ** 20) chunks.push(chunk); });
  if (typeof body === 'function') body(stream);
  else if (body !== undefined || trailers) stream.end(body ?? '');
  await within(`${method} ${target}`, new Promise((resolve) => stream.once('close', resolve)), timeout);
  answer.body = Buffer.concat(chunks).toString();
  answer.reset = stream.rstCode;
  answer.json = () => JSON.parse(answer.body);
  return answer;
}

// A load that counts: `connections` sessions with `streams` requests at a time each, until stop() is called. A session
// that says GOAWAY gets no new request and is replaced (unless `replace` is false). `failures` lists every request that
// was begun and not answered with 200; `unsent` counts those that never left the client.
export class Http2Load {
  constructor(port, { connections = 2, streams = 16, secure = false, target = '/load', body, method = 'GET', replace = true, headers = {} } = {}) {
    Object.assign(this, { port, streams, secure, target, body, method, replace, headers });
    this.served = 0;
    this.failures = [];
    this.goaways = 0;
    this.unsent = 0;
    this.stopped = false;
    this.lanes = Array.from({ length: connections }, () => this.lane());
  }
  note(what) { if (this.failures.length < 20) this.failures.push(what); }
  async lane() {
    while (!this.stopped) {
      const client = await connectHttp2(this.port, { secure: this.secure, tap: true }).catch((error) => { if (this.replace) this.note(`connect: ${error.message}`); return null; });
      if (!client) return;
      let leaving = false;
      client.on('goaway', (error) => { leaving = true; this.goaways++; if (error !== 0) this.note(`GOAWAY ${error}`); });
      client.on('close', () => { leaving = true; });
      await Promise.all(Array.from({ length: this.streams }, async () => {
        while (!this.stopped && !leaving && !client.closed && !client.destroyed) {
          const answer = await ask(client, this.target, { method: this.method, body: this.body, headers: this.headers }).catch((error) => ({ status: error.message }));
          if (answer.status === 200) { this.served++; continue; }
          // Node's engine refuses what it is asked to send after a GOAWAY, before the program hears of that.
          if (answer.reset === http2.constants.NGHTTP2_REFUSED_STREAM && !client.tap.opened.has(answer.stream.id)) {
            this.unsent++;
            await new Promise((resolve) => setTimeout(resolve, 1));
            continue;
          }
          this.note(`status ${answer.status}, reset ${answer.reset}, ${answer.body ?? ''}`);
        }
      }));
      client.close();
      if (!this.replace) return;
    }
  }
  async stop() {
    this.stopped = true;
    await Promise.all(this.lanes);
  }
}

// ---- Node's http2 as an origin ----------------------------------------------------------------------------------

// `events`: 'session' and 'stream' as Node gives them, and `sessions`, those that are open. secure: TLS with ALPN h2 (and
// http/1.1 if allowHTTP1). handler(request, response) is Node's compatibility API; onStream(stream, headers) its own.
export async function startHttp2Origin({ secure = false, handler, onStream, allowHTTP1 = false, settings, path: socketPath, tls: tlsOptions = {} } = {}) {
  const { pair } = testPki();
  const server = secure ? http2.createSecureServer({ ...pair.tls, allowHTTP1, settings, maxSessionMemory, ...tlsOptions }) : http2.createServer({ settings, maxSessionMemory });
  const origin = Object.assign(new EventEmitter(), { server, sessions: new Set(), connections: 0, requests: [] });
  server.on('session', (session) => {
    origin.connections++;
    origin.sessions.add(session);
    session.on('error', () => {});
    session.once('close', () => origin.sessions.delete(session));
    origin.emit('session', session);
  });
  server.on('sessionError', () => {});
  if (onStream) server.on('stream', (stream, headers) => { stream.on('error', () => {}); origin.requests.push(headers); onStream(stream, headers); });
  else server.on('request', (request, response) => { request.on('error', () => {}); response.on('error', () => {}); origin.requests.push(request.headers); (handler ?? echo)(request, response); });
  await new Promise((resolve) => (socketPath ? server.listen(socketPath, resolve) : server.listen(0, '127.0.0.1', resolve)));
  origin.port = socketPath ? 0 : server.address().port;
  origin.url = socketPath ? `unix://${socketPath}` : `${secure ? 'https' : 'http'}://127.0.0.1:${origin.port}`;
  origin.stop = () => { for (const session of origin.sessions) session.destroy(); server.close(); };
  onCleanup(origin.stop);
  return origin;
}
// Answers with what it understood, as JSON.
export async function echo(request, response) {
  let size = 0;
  for await (const chunk of request) size += chunk.length;
  const { ...headers } = request.headers;
  delete headers['x-backend-secret'];
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ version: request.httpVersion, method: request.method, url: request.url, headers, bodySize: size, trailers: request.trailers }));
}

// ---- programs --------------------------------------------------------------------------------------------------

// curl to the gateway as api.test: {code, version, status, stdout, stderr}. `secure` takes https.
export async function curl(port, target, args = [], { secure = false } = {}) {
  const url = `${secure ? 'https' : 'http'}://api.test:${port}${target}`;
  const result = await run('curl', ['-sS', '--max-time', '20', '--resolve', `api.test:${port}:127.0.0.1`, ...(secure ? ['--cacert', testPki().caFile] : []),
    '-w', '\n%{http_version} %{http_code}', ...args, url], { timeout: 30_000 });
  const [, text, version, status] = /^([^]*)\n(\S+) (\d+)$/.exec(result.stdout) ?? [null, result.stdout, '', '0'];
  return { ...result, text, version, status: Number(status) };
}

// h2load's own count: {total, started, done, succeeded, failed, errored, timeout, codes: {'2xx': n...}}.
export async function h2load(url, args, { timeout = 120_000 } = {}) {
  const result = await run('h2load', [...args, url], { timeout });
  return { ...result, ...parseH2load(result.stdout) };
}
export function parseH2load(text) {
  const counts = Object.fromEntries([...(/^requests: (.*)$/m.exec(text)?.[1] ?? '').matchAll(/(\d+) (\w+)/g)].map(([, count, name]) => [name, Number(count)]));
  const codes = Object.fromEntries([...(/^status codes: (.*)$/m.exec(text)?.[1] ?? '').matchAll(/(\d+) (\dxx)/g)].map(([, count, name]) => [name, Number(count)]));
  return { ...counts, codes };
}

// nghttpd serving a folder, in clear (h2c) or with TLS.
export async function startNghttpd(directory, { secure = false } = {}) {
  const port = await freePort();
  const { pair } = testPki();
  const child = new Process('nghttpd', ['-a', '127.0.0.1', '-d', directory, ...(secure ? [] : ['--no-tls']), String(port), ...(secure ? [pair.key, pair.certificate] : [])]);
  await until('nghttpd', async () => {
    if (child.exit) throw new Error(`nghttpd ended: ${child.stderr}`);
    return (await run('curl', ['-s', '-o', '/dev/null', '-k', '--http2-prior-knowledge', `${secure ? 'https' : 'http'}://127.0.0.1:${port}/`])).code === 0;
  });
  return { port, url: `${secure ? 'https' : 'http'}://127.0.0.1:${port}`, process: child };
}
