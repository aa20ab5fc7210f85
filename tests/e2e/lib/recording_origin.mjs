// RecordingOrigin: a backend that keeps exactly the bytes it received and answers with exactly the bytes a test tells it
// to, well-formed or not.
import net from 'node:net';
import { onCleanup } from './cleanup.mjs';
import { MessageReader } from './message.mjs';
import { until } from './wait.mjs';

export class RecordingOrigin {
  // answer(request, socket): the bytes to send when the request is complete; a Promise of them; or undefined if it wrote
  // to the socket itself. onHead(request, socket): called as soon as the head is there, before the body.
  // onConnection(socket, connection): called first; returning true takes the connection over altogether.
  static async start({ answer = ok(), onHead = null, onConnection = null, path = null } = {}) {
    const origin = new RecordingOrigin();
    Object.assign(origin, { answer, onHead, onConnection });
    origin.server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => origin.accept(socket));
    await new Promise((resolve, reject) => {
      origin.server.once('error', reject);
      if (path) origin.server.listen(path, resolve);
      else origin.server.listen(0, '127.0.0.1', resolve);
    });
    origin.port = path ? 0 : origin.server.address().port;
    origin.url = path ? `unix://${path}` : `http://127.0.0.1:${origin.port}`;
    onCleanup(() => origin.stop());
    return origin;
  }

  connections = [];  // {bytes, requests, socket, closed}
  requests = [];     // {head, method, target, body, trailers, connection}, complete ones, in order of completion
  errors = [];       // requests that a strict reader does not accept: the gateway must never send one

  accept(socket) {
    const connection = { chunks: [], requests: [], socket, closed: false, get bytes() { return Buffer.concat(this.chunks); } };
    this.connections.push(connection);
    socket.on('error', () => {});
    socket.on('close', () => { connection.closed = true; });
    if (this.onConnection?.(socket, connection)) return;
    let reader = null;
    let current = null;
    let busy = Promise.resolve();
    const consume = (bytes) => {
      reader ??= new MessageReader('request');
      const complete = reader.feed(bytes);
      if (reader.head && !current) {
        const [method, target] = reader.head.startLine.split(' ');
        current = { head: reader.head, method, target, body: null, trailers: null, connection };
        this.onHead?.(current, socket);
      }
      if (!complete) return;
      Object.assign(current, { body: reader.bodyBytes(), trailers: reader.trailers });
      const { rest } = reader;
      const done = current;
      reader = null;
      current = null;
      this.requests.push(done);
      connection.requests.push(done);
      busy = busy.then(async () => {
        const bytes = await this.answer(done, socket);
        if (bytes !== undefined && socket.writable) socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
      });
      if (rest.length) consume(rest);
    };
    socket.on('data', (bytes) => {
      connection.chunks.push(bytes);
      if (connection.raw) return;  // set by a test after an upgrade: bytes are only recorded
      try { consume(bytes); } catch (error) { this.errors.push(error); socket.destroy(); }
    });
    socket.on('end', () => { if (!connection.keepOpen) socket.end(); });
  }

  // The n-th complete request (from 1), as soon as it is there.
  async request(count = 1) {
    await until(`request ${count} at the origin`, () => this.requests.length >= count);
    return this.requests[count - 1];
  }
  last() { return this.requests[this.requests.length - 1]; }
  // Forgets what was received; connections that are open stay.
  reset() {
    this.requests = [];
    this.connections = this.connections.filter((c) => !c.closed);
    for (const connection of this.connections) Object.assign(connection, { chunks: [], requests: [] });
    this.errors = [];
  }
  async stop() {
    this.server.close();
    for (const { socket } of this.connections) socket.destroy();
  }
}

// A well-formed answer.
export function reply(status = 200, body = 'ok', headers = []) {
  return `HTTP/1.1 ${status} Status\r\n${headers.map((line) => `${line}\r\n`).join('')}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
// An answer function: 200 with no body for HEAD, else with `body`.
export function ok(body = 'ok', headers = []) {
  return (request) => (request.method === 'HEAD' ? reply(200, body, headers).replace(/\r\n\r\n[^]*$/, '\r\n\r\n') : reply(200, body, headers));
}
