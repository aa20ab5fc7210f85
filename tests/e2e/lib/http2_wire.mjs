// Raw HTTP/2 (RFC 9113) over a socket, for both roles: any frame in any order, sent exactly as a test says, and a record
// of what came back. It behaves well only in what a test does not switch off: it acknowledges SETTINGS and PING, and
// gives back the window of what it received.
import assert from 'node:assert/strict';
import net from 'node:net';
import tls from 'node:tls';
import { onCleanup } from './cleanup.mjs';
import { Decoder, encode } from './hpack.mjs';
import { hangGuard, until, within } from './wait.mjs';

export const type = { data: 0, headers: 1, priority: 2, rst: 3, settings: 4, push: 5, ping: 6, goaway: 7, windowUpdate: 8, continuation: 9, priorityUpdate: 16 };
export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 };
export const code = {
  NO_ERROR: 0, PROTOCOL_ERROR: 1, INTERNAL_ERROR: 2, FLOW_CONTROL_ERROR: 3, SETTINGS_TIMEOUT: 4, STREAM_CLOSED: 5, FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7, CANCEL: 8, COMPRESSION_ERROR: 9, CONNECT_ERROR: 10, ENHANCE_YOUR_CALM: 11, INADEQUATE_SECURITY: 12, HTTP_1_1_REQUIRED: 13,
};
export const codeName = (value) => Object.keys(code).find((name) => code[name] === value) ?? String(value);
export const setting = { headerTableSize: 1, enablePush: 2, maxConcurrentStreams: 3, initialWindowSize: 4, maxFrameSize: 5, maxHeaderListSize: 6, enableConnectProtocol: 8 };
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

const word = (value) => { const bytes = Buffer.alloc(4); bytes.writeUInt32BE(value >>> 0); return bytes; };
// `length` may lie.
export function frame(kind, flags, stream, payload = Buffer.alloc(0), length = payload.length) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head[3] = kind;
  head[4] = flags;
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, Buffer.isBuffer(payload) ? payload : Buffer.from(payload, 'latin1')]);
}
export const frames = {
  settings: (pairs = [], flags = 0) => frame(type.settings, flags, 0, Buffer.concat(pairs.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), word(value)])))),
  headers: (stream, fields, { end = true, endHeaders = true } = {}) => frame(type.headers, (end ? flag.endStream : 0) | (endHeaders ? flag.endHeaders : 0), stream, Buffer.isBuffer(fields) ? fields : encode(fields)),
  continuation: (stream, fields, { endHeaders = false } = {}) => frame(type.continuation, endHeaders ? flag.endHeaders : 0, stream, Buffer.isBuffer(fields) ? fields : encode(fields)),
  data: (stream, payload = '', end = false) => frame(type.data, end ? flag.endStream : 0, stream, Buffer.from(payload)),
  rst: (stream, error = code.CANCEL) => frame(type.rst, 0, stream, word(error)),
  ping: (payload = Buffer.alloc(8), flags = 0) => frame(type.ping, flags, 0, payload),
  goaway: (last, error, debug = '') => frame(type.goaway, 0, 0, Buffer.concat([word(last), word(error), Buffer.from(debug)])),
  windowUpdate: (stream, amount) => frame(type.windowUpdate, 0, stream, word(amount)),
  priority: (stream, on = 0, weight = 15) => frame(type.priority, 0, stream, Buffer.concat([word(on), Buffer.from([weight])])),
};
// The four pseudo-headers of an honest request, then `headers`.
export const requestFields = (path, { method = 'GET', authority = 'api.test', scheme = 'http', headers = [] } = {}) =>
  [[':method', method], [':scheme', scheme], [':authority', authority], [':path', path], ...headers];

export class H2Stream {
  constructor(wire, id) {
    Object.assign(this, { wire, id });
  }
  fields = null;     // [[name, value]] of the request, or of the final response
  interim = [];      // field lists of 1xx responses
  trailers = null;
  chunks = [];
  bytes = 0;         // of the body
  ended = false;     // END_STREAM came
  reset = null;      // the code of RST_STREAM
  consume = true;    // gives back the window of this stream
  sendWindow = 65_535;

  all(name) { return (this.fields ?? []).filter(([key]) => key === name).map(([, value]) => value); }
  get(name) {
    const values = this.all(name);
    assert.ok(values.length < 2, `${name} came ${values.length} times`);
    return values[0];
  }
  get status() { return this.fields ? Number(this.get(':status')) : undefined; }
  text() { return Buffer.concat(this.chunks).toString(); }
  problem() {
    assert.equal(this.get('content-type'), 'application/problem+json', this.text());
    const problem = JSON.parse(this.text());
    assert.equal(problem.status, this.status);
    assert.match(problem.code, /^PST-[RPUG]\d{3}$/);
    return problem;
  }
  // Answered whole, reset, or the connection is over.
  get done() { return this.ended || this.reset !== null || this.wire.ended; }
  // What became of it, in a word: a status, "RST CODE", "GOAWAY CODE" or "closed".
  get outcome() {
    if (this.reset !== null && !(this.ended && this.reset === code.NO_ERROR)) return `RST ${codeName(this.reset)}`;
    if (this.ended && this.fields) return String(this.status);
    if (this.wire.goaway) return `GOAWAY ${codeName(this.wire.goaway.code)}`;
    return this.wire.ended ? 'closed' : 'open';
  }
  async finished(timeout = hangGuard) {
    await until(`stream ${this.id} to end`, () => this.done, timeout);
    return this;
  }
  // Body bytes as flow control lets them pass.
  async send(bytes, end = false) {
    let rest = Buffer.from(bytes);
    while (rest.length > 0) {
      while (Math.min(this.sendWindow, this.wire.sendWindow) <= 0 && !this.done) await this.wire.news();
      if (this.reset !== null || this.wire.ended) return false;
      const size = Math.min(rest.length, this.sendWindow, this.wire.sendWindow, 16_384);
      this.sendWindow -= size;
      this.wire.sendWindow -= size;
      const last = end && size === rest.length;
      if (!this.wire.write(frames.data(this.id, rest.subarray(0, size), last))) await this.wire.drained();
      rest = rest.subarray(size);
    }
    return true;
  }
}

export class H2Wire {
  // `target`: a port, or the path of a Unix socket. options.tls: Node's options for tls.connect (ca, servername), with h2 by
  // ALPN; settings: pairs of our SETTINGS; silent: not even preface and SETTINGS are sent.
  static async connect(target, options = {}) {
    const where = typeof target === 'string' ? { path: target } : { port: target, host: '127.0.0.1' };
    const socket = options.tls ? tls.connect({ ...where, ALPNProtocols: ['h2'], ...options.tls }) : net.connect(where);
    await within('connect', new Promise((resolve, reject) => socket.once(options.tls ? 'secureConnect' : 'connect', resolve).once('error', reject)));
    const wire = new H2Wire(socket, 'client', options);
    onCleanup(() => socket.destroy());
    if (!options.silent) {
      wire.write(Buffer.concat([preface, frames.settings(options.settings ?? [])]));
      await until('the SETTINGS of the peer', () => wire.settings || wire.ended);
    }
    return wire;
  }

  constructor(socket, role, { acknowledge = true, consume = true, settings = [], onRequest = null } = {}) {
    Object.assign(this, { socket, role, acknowledge, consume, onRequest });
    this.nextStream = role === 'client' ? 1 : 2;
    this.initialSend = 65_535;
    socket.setNoDelay?.(true);
    socket.on('data', (bytes) => this.receive(bytes));
    socket.on('end', () => this.over());
    socket.on('error', (error) => { this.error = error; this.over(); });
    socket.on('close', () => this.over());
    this.own = settings;
  }
  buffer = Buffer.alloc(0);
  decoder = new Decoder();
  streams = new Map();
  counts = {};        // received frames by type
  resets = [];        // {stream, code} received
  settings = null;    // the peer's, by number
  goaway = null;      // the last one: {last, code, debug}
  ended = false;
  sendWindow = 65_535;
  acks = 0;           // of SETTINGS
  pongs = 0;
  block = null;       // a header block under way
  prefaced = false;

  waiters = [];
  // Resolves when something has come from the peer.
  news() { return within('a frame', new Promise((resolve) => this.waiters.push(resolve))); }
  tell() { for (const waiter of this.waiters.splice(0)) waiter(); }

  over() {
    if (this.ended) return;
    this.ended = true;
    this.tell();
    if (this.role === 'client') this.socket.end();
  }
  write(bytes) { return this.socket.writable ? this.socket.write(bytes) : true; }
  async drained() { await until('the socket to drain', () => this.socket.writableLength === 0 || this.ended, 60_000); }
  close() { this.socket.destroy(); }
  stream(id) {
    let stream = this.streams.get(id);
    if (!stream) {
      stream = new H2Stream(this, id);
      stream.sendWindow = this.initialSend;
      this.streams.set(id, stream);
    }
    return stream;
  }

  receive(bytes) {
    this.buffer = this.buffer.length ? Buffer.concat([this.buffer, bytes]) : bytes;
    if (this.role === 'server' && !this.prefaced) {
      if (this.buffer.length < preface.length) return;
      assert.ok(this.buffer.subarray(0, preface.length).equals(preface), `no preface: ${this.buffer.subarray(0, 40).toString('latin1')}`);
      this.prefaced = true;
      this.buffer = this.buffer.subarray(preface.length);
    }
    while (this.buffer.length >= 9) {
      const length = this.buffer.readUIntBE(0, 3);
      if (this.buffer.length < 9 + length) break;
      const [kind, flags, id] = [this.buffer[3], this.buffer[4], this.buffer.readUInt32BE(5) & 0x7fffffff];
      const payload = this.buffer.subarray(9, 9 + length);
      this.buffer = this.buffer.subarray(9 + length);
      this.counts[kind] = (this.counts[kind] ?? 0) + 1;
      this.handle(kind, flags, id, payload);
    }
    this.tell();
  }
  handle(kind, flags, id, payload) {
    switch (kind) {
      case type.settings: return this.onSettings(flags, payload);
      case type.ping:
        if (flags & flag.ack) this.pongs++;
        else if (this.acknowledge) this.write(frames.ping(payload, flag.ack));
        return undefined;
      case type.goaway:
        this.goaway = { last: payload.readUInt32BE(0) & 0x7fffffff, code: payload.readUInt32BE(4), debug: payload.subarray(8).toString('latin1') };
        return undefined;
      case type.windowUpdate:
        if (id === 0) this.sendWindow += payload.readUInt32BE(0);
        else this.stream(id).sendWindow += payload.readUInt32BE(0);
        return undefined;
      case type.rst:
        this.resets.push({ stream: id, code: payload.readUInt32BE(0) });
        this.stream(id).reset = payload.readUInt32BE(0);
        return undefined;
      case type.data: return this.onData(flags, id, payload);
      case type.headers: {
        const from = (flags & flag.padded ? 1 : 0) + (flags & flag.priority ? 5 : 0);
        const to = payload.length - (flags & flag.padded ? payload[0] : 0);
        this.block = { id, end: (flags & flag.endStream) !== 0, parts: [payload.subarray(from, to)] };
        if (flags & flag.endHeaders) this.onHeaders();
        return undefined;
      }
      case type.continuation:
        this.block.parts.push(payload);
        if (flags & flag.endHeaders) this.onHeaders();
        return undefined;
      default: return undefined;
    }
  }
  onSettings(flags, payload) {
    if (flags & flag.ack) { this.acks++; return; }
    this.settings ??= {};
    for (let at = 0; at < payload.length; at += 6) this.settings[payload.readUInt16BE(at)] = payload.readUInt32BE(at + 2);
    const window = this.settings[setting.initialWindowSize];
    if (window !== undefined && window !== this.initialSend) {
      for (const stream of this.streams.values()) stream.sendWindow += window - this.initialSend;
      this.initialSend = window;
    }
    if (this.acknowledge) this.write(frames.settings([], flag.ack));
  }
  onData(flags, id, payload) {
    const stream = this.stream(id);
    const body = flags & flag.padded ? payload.subarray(1, payload.length - payload[0]) : payload;
    stream.bytes += body.length;
    if (stream.bytes < 2 ** 20) stream.chunks.push(Buffer.from(body));
    if (payload.length > 0 && this.consume) {
      const updates = [frames.windowUpdate(0, payload.length)];
      if (stream.consume && !(flags & flag.endStream)) updates.push(frames.windowUpdate(id, payload.length));
      this.write(Buffer.concat(updates));
    }
    if (flags & flag.endStream) { stream.ended = true; this.onEnd?.(stream); }
  }
  onHeaders() {
    const { id, end, parts } = this.block;
    this.block = null;
    const stream = this.stream(id);
    const fields = this.decoder.decode(Buffer.concat(parts));
    const status = Number(fields.find(([name]) => name === ':status')?.[1] ?? 0);
    if (status >= 100 && status < 200) stream.interim.push(fields);
    else if (stream.fields) stream.trailers = fields;
    else stream.fields = fields;
    if (end) stream.ended = true;
    if (this.role === 'server' && stream.fields === fields) this.onRequest?.(stream, this);
    if (end) this.onEnd?.(stream);
  }

  // ---- as a client ---------------------------------------------------------------------------------------------

  // Opens a stream with these fields, or with a header block.
  open(fields, options = {}) {
    const stream = this.stream(this.nextStream);
    this.nextStream += 2;
    this.write(frames.headers(stream.id, fields, options));
    return stream;
  }
  request(path, options = {}) { return this.open(requestFields(path, options), { end: options.end ?? true }); }
  // A whole exchange of an honest client.
  async ask(path, options = {}) { return this.request(path, options).finished(); }
  // Whether the peer still answers on this connection.
  async alive() {
    if (this.ended) return false;
    const before = this.pongs;
    this.write(frames.ping());
    await until('a PING to be answered', () => this.pongs > before || this.ended);
    return this.pongs > before;
  }
  // The code of the GOAWAY with which the connection was ended.
  async refused(timeout = hangGuard) {
    await until('the connection to end', () => this.ended, timeout);
    return this.goaway ? codeName(this.goaway.code) : 'closed';
  }

  // ---- as a server ---------------------------------------------------------------------------------------------

  respond(stream, status, { headers = [], body = '', end = true, trailers = null } = {}) {
    const endNow = end && !body && !trailers;
    const parts = [frames.headers(stream.id, [[':status', String(status)], ...headers], { end: endNow })];
    if (body) parts.push(frames.data(stream.id, body, end && !trailers));
    if (trailers) parts.push(frames.headers(stream.id, trailers));
    this.write(Buffer.concat(parts));
  }
}

// An HTTP/2 origin of raw frames, in clear (prior knowledge) or with options.tls (cert and key) by ALPN. onRequest(stream,
// wire) answers; without it 200 "ok". onConnection(wire) may speak first; options.settings are our SETTINGS.
export async function startRawH2Origin({ onRequest = (stream, wire) => wire.respond(stream, 200, { body: 'ok' }), onConnection = null, path = null, ...options } = {}) {
  const origin = { wires: [], requests: [], onRequest, onConnection, settings: options.settings ?? [] };
  const accept = (socket) => {
    const wire = new H2Wire(socket, 'server', { ...options, onRequest: (stream) => { origin.requests.push(stream); return origin.onRequest(stream, wire); } });
    origin.wires.push(wire);
    if (origin.onConnection?.(wire) === 'silent') return;
    wire.write(frames.settings(origin.settings));
  };
  const server = options.tls ? tls.createServer({ ALPNProtocols: ['h2'], ...options.tls }, accept) : net.createServer(accept);
  server.on('tlsClientError', () => {});
  await new Promise((resolve) => (path ? server.listen(path, resolve) : server.listen(0, '127.0.0.1', resolve)));
  origin.port = path ? 0 : server.address().port;
  origin.url = path ? `unix://${path}` : `${options.tls ? 'https' : 'http'}://127.0.0.1:${origin.port}`;
  origin.live = () => origin.wires.filter((wire) => !wire.ended);
  origin.stop = () => { server.close(); for (const wire of origin.wires) wire.close(); };
  onCleanup(origin.stop);
  return origin;
}
