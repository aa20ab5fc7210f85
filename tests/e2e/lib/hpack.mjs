// HPACK (RFC 7541) for the tests, independent of any library: the encoder writes literals exactly as a test says, the
// decoder reads what a correct peer sends.

// RFC 7541 appendix A.
const staticTable = [
  [':authority', ''], [':method', 'GET'], [':method', 'POST'], [':path', '/'], [':path', '/index.html'], [':scheme', 'http'],
  [':scheme', 'https'], [':status', '200'], [':status', '204'], [':status', '206'], [':status', '304'], [':status', '400'],
  [':status', '404'], [':status', '500'], ['accept-charset', ''], ['accept-encoding', 'gzip, deflate'], ['accept-language', ''],
  ['accept-ranges', ''], ['accept', ''], ['access-control-allow-origin', ''], ['age', ''], ['allow', ''], ['authorization', ''],
  ['cache-control', ''], ['content-disposition', ''], ['content-encoding', ''], ['content-language', ''], ['content-length', ''],
  ['content-location', ''], ['content-range', ''], ['content-type', ''], ['cookie', ''], ['date', ''], ['etag', ''], ['expect', ''],
  ['expires', ''], ['from', ''], ['host', ''], ['if-match', ''], ['if-modified-since', ''], ['if-none-match', ''], ['if-range', ''],
  ['if-unmodified-since', ''], ['last-modified', ''], ['link', ''], ['location', ''], ['max-forwards', ''], ['proxy-authenticate', ''],
  ['proxy-authorization', ''], ['range', ''], ['referer', ''], ['refresh', ''], ['retry-after', ''], ['server', ''], ['set-cookie', ''],
  ['strict-transport-security', ''], ['transfer-encoding', ''], ['user-agent', ''], ['vary', ''], ['via', ''], ['www-authenticate', ''],
];
export const index = (name, value) => staticTable.findIndex(([n, v]) => n === name && (value === undefined || v === value)) + 1;

// Appendix B is a canonical code: it follows from the lengths. These are the symbols of up to 19 bits, all of them ASCII
// but two; no correct peer of the tests needs a longer one.
const symbolsByLength = {
  5: '012aceiost', 6: ' %-./3456789=A_bdfghlmnpru', 7: ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz', 8: '&*,;XZ', 10: '!"()?',
  11: "'+|", 12: '#>', 13: '\0$@[]~', 14: '^}', 15: '<`{', 19: '\\\xc3\xd0',
};
const huffman = new Map();
{
  let code = 0;
  let last = 0;
  for (const [length, symbols] of Object.entries(symbolsByLength).map(([n, s]) => [Number(n), s])) {
    code *= 2 ** (length - last);
    last = length;
    for (const symbol of symbols) huffman.set(length * 2 ** 20 + code++, symbol);
  }
}
function decodeHuffman(bytes) {
  let text = '';
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      const symbol = huffman.get(++length * 2 ** 20 + code);
      if (symbol !== undefined) { text += symbol; code = 0; length = 0; }
      if (length > 19) throw new Error('HPACK: a symbol that the tests do not know');
    }
  }
  if (length > 7 || code !== 2 ** length - 1) throw new Error('HPACK: wrong padding');
  return text;
}

// ---- encoding --------------------------------------------------------------------------------------------------

export function integer(value, prefix, first = 0) {
  const most = 2 ** prefix - 1;
  if (value < most) return Buffer.from([first | value]);
  const bytes = [first | most];
  for (value -= most; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}
const bytesOf = (text) => (Buffer.isBuffer(text) ? text : Buffer.from(text, 'latin1'));
const string = (text) => Buffer.concat([integer(bytesOf(text).length, 7), bytesOf(text)]);
export const indexed = (position) => integer(position, 7, 0x80);
// Not indexed, name and value as they are.
export const literal = (name, value) => Buffer.concat([Buffer.from([0]), string(name), string(value)]);
// Goes into the peer's dynamic table, where it is entry 62.
export const incremental = (name, value) => Buffer.concat([Buffer.from([0x40]), string(name), string(value)]);
export const tableSize = (size) => integer(size, 5, 0x20);
// [[name, value], ...]; a Buffer among them is written as it is.
export const encode = (fields) => Buffer.concat(fields.map((field) => (Buffer.isBuffer(field) ? field : literal(field[0], field[1]))));

// ---- decoding --------------------------------------------------------------------------------------------------

export class Decoder {
  dynamic = [];
  size = 0;
  limit = 4096;

  entry(position) {
    const entry = position <= staticTable.length ? staticTable[position - 1] : this.dynamic[position - staticTable.length - 1];
    if (!entry) throw new Error(`HPACK: no entry ${position}`);
    return entry;
  }
  evict() {
    while (this.size > this.limit) {
      const [name, value] = this.dynamic.pop();
      this.size -= name.length + value.length + 32;
    }
  }
  decode(block) {
    let at = 0;
    const readInteger = (prefix) => {
      const most = 2 ** prefix - 1;
      let value = block[at++] & most;
      if (value < most) return value;
      for (let shift = 1; ; shift *= 128) {
        const byte = block[at++];
        if (byte === undefined || shift > 2 ** 35) throw new Error('HPACK: malformed integer');
        value += (byte & 127) * shift;
        if (byte < 128) return value;
      }
    };
    const readString = () => {
      const coded = (block[at] & 0x80) !== 0;
      const length = readInteger(7);
      const bytes = block.subarray(at, at += length);
      if (bytes.length !== length) throw new Error('HPACK: a string beyond the block');
      return coded ? decodeHuffman(bytes) : bytes.toString('latin1');
    };
    const fields = [];
    while (at < block.length) {
      const first = block[at];
      if (first & 0x80) { fields.push([...this.entry(readInteger(7))]); continue; }
      if ((first & 0xe0) === 0x20) { this.limit = readInteger(5); this.evict(); continue; }
      const stored = (first & 0x40) !== 0;
      const position = readInteger(stored ? 6 : 4);
      const name = position ? this.entry(position)[0] : readString();
      const value = readString();
      fields.push([name, value]);
      if (stored) {
        this.dynamic.unshift([name, value]);
        this.size += name.length + value.length + 32;
        this.evict();
      }
    }
    return fields;
  }
}
