// Wire: a client that sends exact bytes and reads what comes back, for everything that a well-behaved client would never
// send. exchange() is the short form for one request on a connection of its own.
import assert from 'node:assert/strict';
import net from 'node:net';
import { MessageReader } from './message.mjs';
import { hangGuard, until, within } from './wait.mjs';

export class Response {
  constructor(reader, interim) {
    this.head = reader.head;
    this.status = reader.status;
    this.body = reader.bodyBytes();
    this.trailers = reader.trailers;
    this.interim = interim;  // 1xx heads that came before
  }
  get(name) { return this.head.get(name); }
  all(name) { return this.head.all(name); }
  has(name) { return this.head.has(name); }
  text() { return this.body.toString(); }
  json() { return JSON.parse(this.text()); }
  // The refusal in its standard form (RFC 9457), complete and consistent.
  problem() {
    assert.equal(this.get('content-type'), 'application/problem+json', this.text());
    const problem = this.json();
    for (const member of ['type', 'title', 'status', 'code', 'request_id']) assert.ok(member in problem, `no ${member} in ${this.text()}`);
    assert.equal(problem.status, this.status);
    assert.match(problem.code, /^PST-[RPUG]\d{3}$/);
    assert.match(problem.request_id, /^[\x21-\x7e]{8,}$/);
    return problem;
  }
}

export class Wire {
  // `target`: a port on 127.0.0.1, or the path of a Unix socket.
  static async connect(target, options = {}) {
    const socket = typeof target === 'string' ? net.connect(target) : net.connect({ port: target, host: '127.0.0.1', ...options });
    await within('connect', new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject)));
    return new Wire(socket);
  }

  constructor(socket) {
    socket.setNoDelay(true);
    socket.allowHalfOpen = true;
    this.socket = socket;
    this.received = Buffer.alloc(0);  // not yet read
    this.ended = false;               // the peer will send no more
    this.error = null;
    socket.on('data', (bytes) => { this.received = Buffer.concat([this.received, bytes]); });
    socket.on('end', () => { this.ended = true; });
    socket.on('error', (error) => { this.error = error; this.ended = true; });
    socket.on('close', () => { this.ended = true; });
  }

  // Writes the bytes as they are; `fragment: n` sends them n at a time, each in its own segment as far as the kernel
  // lets us.
  async send(bytes, { fragment = 0 } = {}) {
    const data = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    if (!fragment) {
      this.socket.write(data);
      return this;
    }
    for (let at = 0; at < data.length && !this.ended; at += fragment) {
      this.socket.write(data.subarray(at, at + fragment));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return this;
  }
  finish() { this.socket.end(); return this; }   // half-close
  reset() { this.socket.resetAndDestroy(); }
  close() { this.socket.destroy(); }

  // The next message of the peer, 1xx included; null if the connection ended before its first byte.
  async readMessage(method = 'GET', timeout = hangGuard) {
    const reader = new MessageReader('response', method);
    await until('a complete response', () => {
      const bytes = this.received;
      this.received = Buffer.alloc(0);
      if (bytes.length && reader.feed(bytes)) return true;
      return this.ended && !this.received.length ? (reader.end(), true) : false;
    }, timeout);
    this.received = Buffer.concat([reader.rest, this.received]);
    if (reader.state === 'done') return reader;
    if (!reader.head && this.received.length === 0) return null;
    throw new Error(`the connection ended within a response: ${JSON.stringify(reader.head?.text ?? this.received.toString('latin1'))}`);
  }
  // The next final response; null if the connection was closed instead.
  async read(method = 'GET', timeout = hangGuard) {
    const interim = [];
    for (;;) {
      const reader = await this.readMessage(method, timeout);
      if (!reader) return null;
      if (reader.status >= 200 || reader.status === 101) return new Response(reader, interim);
      interim.push(reader.head);
    }
  }
  async readToClose(timeout = hangGuard) {
    await this.closed(timeout);
    const bytes = this.received;
    this.received = Buffer.alloc(0);
    return bytes;
  }
  async bytes(count) {
    await until(`${count} bytes`, () => this.received.length >= count || this.ended);
    const taken = this.received.subarray(0, count);
    this.received = this.received.subarray(count);
    return taken;
  }
  // Resolves when the peer has closed (or reset) its side.
  closed(timeout = hangGuard) { return until('the peer to close', () => this.ended, timeout); }
}

// Sends `bytes` on a new connection and returns the first final response, or null if the peer just closed.
export async function exchange(target, bytes, { method, fragment, keep = false } = {}) {
  const wire = await Wire.connect(target);
  try {
    await wire.send(bytes, { fragment });
    const response = await wire.read(method ?? (/^[A-Z]+/.exec(bytes.toString('latin1', 0, 16))?.[0] || 'GET'));
    if (response) response.wire = wire;
    return response;
  } finally {
    if (!keep) wire.close();
  }
}

// "GET /x HTTP/1.1\r\nHost: a\r\n...\r\n\r\nbody" from its parts; headers are lines, sent as written.
export function request(target, { method = 'GET', host = 'api.test', headers = [], body = '' } = {}) {
  const lines = [`${method} ${target} HTTP/1.1`, ...(host === null ? [] : [`Host: ${host}`]), ...headers];
  if (body && !headers.some((line) => /^(content-length|transfer-encoding):/i.test(line))) lines.push(`Content-Length: ${Buffer.byteLength(body, 'latin1')}`);
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
