// Clients that speak TLS to the gateway: Node as a Wire, the openssl program, and a relay that cuts a ClientHello into
// pieces on its way, whoever sent it.
import net from 'node:net';
import tls from 'node:tls';
import { onCleanup } from './cleanup.mjs';
import { run } from './process.mjs';
import { within } from './wait.mjs';
import { Wire, request } from './wire.mjs';

// A Wire whose `socket` is a TLSSocket. Options are Node's (ca, servername, cert, key, session, ALPNProtocols...).
// Fails with Node's error if the handshake does.
export async function connectTls(port, options = {}) {
  const socket = tls.connect({ port, host: '127.0.0.1', servername: 'api.test', ...options });
  const sessions = [];
  socket.on('session', (session) => sessions.push(session));
  try {
    await within('TLS handshake', new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve).once('error', reject);
      socket.once('close', () => reject(Object.assign(new Error('closed during the handshake'), { code: 'CLOSED' })));
    }));
  } catch (error) {
    socket.destroy();
    throw error;
  }
  const wire = new Wire(socket);
  wire.sessions = sessions;
  wire.ask = async (target, parts) => {
    await wire.send(request(target, parts));
    return wire.read(parts?.method);
  };
  return wire;
}

// One request on a connection of its own: the Response, with `wire` (closed) for what the handshake came to.
export async function exchangeTls(port, bytes, options = {}) {
  const wire = await connectTls(port, options);
  try {
    await wire.send(bytes);
    const response = await wire.read(/^[A-Z]+/.exec(bytes)[0]);
    if (response) Object.assign(response, { wire, peer: wire.socket.getPeerX509Certificate(), protocol: wire.socket.getProtocol(), resumed: wire.socket.isSessionReused(), alpn: wire.socket.alpnProtocol });
    return response;
  } finally {
    wire.close();
  }
}

// Why no connection came about: Node's error code, such as ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION; or '' if one did.
// TLS 1.3 lets a server refuse after the client's handshake is done: so a request is sent, too.
export async function refusalOf(port, options = {}) {
  try {
    const wire = await connectTls(port, options);
    await wire.send(request('/', { headers: ['Connection: close'] }));
    const response = await wire.read().catch(() => null);
    wire.close();
    if (response) return '';
    return wire.error?.code ?? 'CLOSED';
  } catch (error) {
    return error.code ?? error.message;
  }
}

// openssl s_client: {code, text, get(name)}. `input` is sent when connected; what the server says is in `text`, too.
export async function sClient(port, args = [], { input = '' } = {}) {
  const { code, stdout, stderr } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args], { input });
  const text = stdout + stderr;
  return { code, text, subject: /^subject=(.*)$/m.exec(text)?.[1], alpn: /^ALPN protocol: (.*)$/m.exec(text)?.[1],
    reused: /^Reused, /m.test(text), fresh: /^New, /m.test(text), protocol: /^(?:New|Reused), (TLSv[\d.]+)/m.exec(text)?.[1] };
}

// Between a client and `port`: the client's first message goes on as `cut` makes of it, everything else as it is.
// cut(records) takes the bytes of the first flight and returns the pieces to write, each in a segment of its own.
export async function startCutter(port, cut) {
  const server = net.createServer({ noDelay: true }, (client) => {
    const gateway = net.connect({ port, host: '127.0.0.1', noDelay: true });
    for (const socket of [client, gateway]) socket.on('error', () => { client.destroy(); gateway.destroy(); });
    client.once('data', async (bytes) => {
      client.pause();
      for (const piece of cut(bytes)) {
        if (gateway.destroyed) return;
        gateway.write(piece);
        await new Promise((resolve) => setImmediate(resolve));
      }
      client.pipe(gateway);
    });
    gateway.pipe(client);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => server.close());
  return server.address().port;
}
// Each byte in a TCP segment.
export const byteByByte = (bytes) => Array.from(bytes, (byte) => Buffer.from([byte]));
// The handshake message of the first record, in records of `size` bytes each.
export const recordsOf = (size, { segments = true } = {}) => (bytes) => {
  const pieces = [];
  const message = bytes.subarray(5, 5 + bytes.readUInt16BE(3));
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    pieces.push(Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part]));
  }
  pieces.push(bytes.subarray(5 + message.length));
  return segments ? pieces : [Buffer.concat(pieces)];
};

