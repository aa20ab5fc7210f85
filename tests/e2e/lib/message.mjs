// A strict reader of HTTP/1.1 messages (RFC 9112) for the tests. It accepts exactly what a correct peer sends: CRLF line
// ends, one framing, no folding; anything else throws, because the gateway must never send it.

const tchar = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export class Head {
  constructor(text) {
    const lines = text.split('\r\n');
    this.text = text;
    this.startLine = lines[0];
    this.headers = lines.slice(1).map((line) => {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon);
      if (colon < 1 || !tchar.test(name)) throw new Error(`malformed field line ${JSON.stringify(line)}`);
      const value = line.slice(colon + 1);
      if (/[\r\n\0]/.test(value)) throw new Error(`malformed field value ${JSON.stringify(line)}`);
      return [name, value.trim()];
    });
  }
  all(name) {
    return this.headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  }
  get(name) {
    const values = this.all(name);
    if (values.length > 1) throw new Error(`${name} came ${values.length} times`);
    return values[0];
  }
  has(name) {
    return this.all(name).length > 0;
  }
  names() {
    return this.headers.map(([name]) => name.toLowerCase());
  }
}

// Reads one message from the front of a growing buffer. feed() returns true when the message is complete; `rest` then
// holds the bytes after it. `role` is 'request', or 'response' with the method it answers.
export class MessageReader {
  constructor(role, method = 'GET') {
    this.role = role;
    this.method = method;
    this.buffer = Buffer.alloc(0);
    this.head = null;
    this.body = [];
    this.trailers = null;
    this.state = 'head';
    this.remaining = 0;
  }

  feed(bytes) {
    this.buffer = this.buffer.length ? Buffer.concat([this.buffer, bytes]) : bytes;
    while (this.step());
    return this.state === 'done';
  }
  // The peer closed: completes a body that runs to the end of the connection.
  end() {
    if (this.state === 'to-close') this.state = 'done';
    return this.state === 'done';
  }
  get rest() {
    return this.buffer;
  }
  bodyBytes() {
    return Buffer.concat(this.body);
  }

  step() {
    switch (this.state) {
      case 'head': return this.readHead();
      case 'length': return this.readLength();
      case 'to-close': this.take(this.buffer.length); return false;
      case 'chunk-size': return this.readChunkSize();
      case 'chunk-data': return this.readChunkData();
      case 'trailers': return this.readTrailers();
      default: return false;
    }
  }
  take(count) {
    if (count > 0) this.body.push(this.buffer.subarray(0, count));
    this.buffer = this.buffer.subarray(count);
  }
  line() {
    const end = this.buffer.indexOf('\r\n');
    if (end < 0) return null;
    const text = this.buffer.subarray(0, end).toString('latin1');
    this.buffer = this.buffer.subarray(end + 2);
    return text;
  }

  readHead() {
    const end = this.buffer.indexOf('\r\n\r\n');
    if (end < 0) return false;
    this.head = new Head(this.buffer.subarray(0, end).toString('latin1'));
    this.buffer = this.buffer.subarray(end + 4);
    this.state = this.bodyState();
    return true;
  }
  bodyState() {
    const lengths = this.head.all('content-length');
    const codings = this.head.all('transfer-encoding');
    if (lengths.length > 1 || codings.length > 1 || (lengths.length && codings.length)) {
      throw new Error(`ambiguous framing:\n${this.head.text}`);
    }
    if (this.role === 'response') {
      const status = Number(/^HTTP\/1\.[01] (\d{3})( |$)/.exec(this.head.startLine)?.[1]);
      if (!status) throw new Error(`malformed status line ${JSON.stringify(this.head.startLine)}`);
      this.status = status;
      if (status < 200 || status === 204 || status === 304 || this.method === 'HEAD') return 'done';
      if (this.method === 'CONNECT' && status < 300) return 'done';
    }
    if (codings.length) {
      if (codings[0].toLowerCase() !== 'chunked') throw new Error(`unexpected transfer coding ${codings[0]}`);
      return 'chunk-size';
    }
    if (lengths.length) {
      if (!/^\d+$/.test(lengths[0])) throw new Error(`malformed Content-Length ${lengths[0]}`);
      this.remaining = Number(lengths[0]);
      return this.remaining > 0 ? 'length' : 'done';
    }
    return this.role === 'response' ? 'to-close' : 'done';
  }
  readLength() {
    const count = Math.min(this.remaining, this.buffer.length);
    this.take(count);
    this.remaining -= count;
    if (this.remaining === 0) this.state = 'done';
    return false;
  }
  readChunkSize() {
    const text = this.line();
    if (text === null) return false;
    if (!/^[0-9a-fA-F]+$/.test(text)) throw new Error(`malformed chunk size ${JSON.stringify(text)}`);
    this.remaining = parseInt(text, 16);
    this.state = this.remaining > 0 ? 'chunk-data' : 'trailers';
    return true;
  }
  readChunkData() {
    if (this.buffer.length < this.remaining + 2) {
      // Large chunks are moved out as they come; the last byte waits for its CRLF.
      const count = Math.min(this.buffer.length, this.remaining - 1);
      if (count > 65_536) { this.take(count); this.remaining -= count; }
      return false;
    }
    this.take(this.remaining);
    if (this.buffer.subarray(0, 2).toString('latin1') !== '\r\n') throw new Error('chunk data without CRLF');
    this.buffer = this.buffer.subarray(2);
    this.state = 'chunk-size';
    return true;
  }
  readTrailers() {
    if (this.buffer.subarray(0, 2).toString('latin1') === '\r\n') {
      this.buffer = this.buffer.subarray(2);
      this.state = 'done';
      return false;
    }
    const end = this.buffer.indexOf('\r\n\r\n');
    if (end < 0) return false;
    this.trailers = new Head(`trailers\r\n${this.buffer.subarray(0, end).toString('latin1')}`);
    this.buffer = this.buffer.subarray(end + 4);
    this.state = 'done';
    return false;
  }
}
