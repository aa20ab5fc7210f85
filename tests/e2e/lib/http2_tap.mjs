// What Node's HTTP/2 client really puts on the wire: a stream between it and its socket that notes the identifiers of
// the HEADERS frames that pass (RFC 9113 4.1). Over TLS it sits above the encryption.
import { Duplex } from 'node:stream';

const prefaceSize = 24;
const frameHeader = 9;
const headersFrame = 1;

export class Http2Tap extends Duplex {
  opened = new Set();  // streams whose HEADERS were handed to the socket
  #skip = prefaceSize; // bytes of the preface or of a payload that are still to come
  #header = Buffer.alloc(0);

  constructor(socket) {
    super({ allowHalfOpen: true });
    this.socket = socket;
    socket.on('data', (bytes) => { if (!this.push(bytes)) socket.pause(); });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }
  #look(bytes) {
    let at = 0;
    while (at < bytes.length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, bytes.length - at);
        this.#skip -= skipped;
        at += skipped;
        continue;
      }
      const taken = bytes.subarray(at, at + frameHeader - this.#header.length);
      this.#header = Buffer.concat([this.#header, taken]);
      at += taken.length;
      if (this.#header.length < frameHeader) return;
      if (this.#header[3] === headersFrame) this.opened.add(this.#header.readUInt32BE(5) & 0x7fffffff);
      this.#skip = this.#header.readUIntBE(0, 3);
      this.#header = Buffer.alloc(0);
    }
  }
  _write(bytes, _encoding, done) {
    this.#look(bytes);
    this.socket.write(bytes, done);
  }
  _read() { this.socket.resume(); }
  _final(done) { this.socket.end(done); }
  _destroy(error, done) { this.socket.destroy(); done(error); }
}
