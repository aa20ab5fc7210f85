// Origins that speak TLS, as people run them: nginx with ssl_verify_client, HAProxy with verify required, Caddy, Node; and
// two that only record, for what must never arrive.
import { writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { freePort, onCleanup, temporaryDirectory } from './cleanup.mjs';
import { Process } from './process.mjs';
import { until } from './wait.mjs';
import { Wire } from './wire.mjs';

const withSbin = { PATH: `${process.env.PATH}:/usr/sbin` };

async function listening(name, child, port) {
  await until(`${name} on port ${port}`, async () => {
    if (child.exit) throw new Error(`${name} ended: ${child.stderr}`);
    return Wire.connect(port).then((wire) => { wire.close(); return true; }, () => false);
  });
}
const described = (port, process) => ({ port, url: `https://127.0.0.1:${port}`, process });

// nginx with the body of a configuration that the test wrote: `http` goes into the http block.
export async function startNginxWith(http, { directory = temporaryDirectory(), port, env = {} }) {
  const config = path.join(directory, 'nginx.conf');
  writeFileSync(config, `
daemon off;
worker_processes 1;
pid ${directory}/nginx.pid;
error_log stderr info;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  map_hash_bucket_size 256;
${http}
}
`, { mode: 0o600 });
  const child = new Process('nginx', ['-e', 'stderr', '-p', directory, '-c', config], { env: { ...withSbin, ...env } });
  await listening('nginx', child, port);
  return { ...described(port, child), directory };
}

// Answers with what it saw of the connection, as JSON. `clients`: an authority, whose certificates it demands.
export async function startTlsNginx({ certificate, clients = null, verify = 'on', http2: h2 = false, protocols = 'TLSv1.2 TLSv1.3', extra = '' }) {
  const port = await freePort();
  return startNginxWith(`
  server {
    listen 127.0.0.1:${port} ssl${h2 ? ' http2' : ''};
    ssl_certificate ${certificate.certificate};
    ssl_certificate_key ${certificate.key};
    ssl_protocols ${protocols};
    ${clients ? `ssl_client_certificate ${clients.leaf};\n    ssl_verify_client ${verify};` : ''}
    ${extra}
    location / {
      default_type application/json;
      return 200 '{"server":"nginx","sni":"$ssl_server_name","protocol":"$ssl_protocol","reused":"$ssl_session_reused","verify":"$ssl_client_verify","subject":"$ssl_client_s_dn","serial":"$ssl_client_serial","connection":"$connection"}\\n';
    }
  }`, { port });
}

// The same of HAProxy, whose handshake fails without a certificate that it accepts.
export async function startTlsHaproxy({ certificate, clients = null, versions = '', extra = '' }) {
  const directory = temporaryDirectory();
  const port = await freePort();
  writeFileSync(path.join(directory, 'server.pem'), certificate.chainPem + certificate.keyPem, { mode: 0o600 });
  return startHaproxyWith(`
frontend locked
  bind 127.0.0.1:${port} ssl crt ${directory}/server.pem ${versions} ${clients ? `ca-file ${clients.leaf} verify required` : ''}
  ${extra}
  http-request return status 200 content-type application/json lf-string '{"server":"haproxy","sni":"%[ssl_fc_sni]","protocol":"%[ssl_fc_protocol]","reused":"%[ssl_fc_is_resumed]","subject":"%[ssl_c_s_dn(cn)]"}'
`, { directory, port });
}
export async function startHaproxyWith(sections, { directory = temporaryDirectory(), port }) {
  const config = path.join(directory, 'haproxy.cfg');
  writeFileSync(config, `
global
  maxconn 1000
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
${sections}`, { mode: 0o600 });
  const child = new Process('haproxy', ['-db', '-f', config], { env: withSbin });
  await listening('haproxy', child, port);
  return { ...described(port, child), directory };
}

// Caddy with the sites of a Caddyfile. It answers only who asks for the name that it asked for in the handshake: so it is
// reached by one.
export async function startCaddyWith(sites, { directory = temporaryDirectory(), port }) {
  const config = path.join(directory, 'Caddyfile');
  writeFileSync(config, `{\n  admin off\n  storage file_system ${directory}/storage\n}\n${sites}`, { mode: 0o600 });
  const child = new Process('caddy', ['run', '--adapter', 'caddyfile', '--config', config], { env: { HOME: directory, XDG_CONFIG_HOME: directory, XDG_DATA_HOME: directory } });
  await listening('caddy', child, port);
  return { ...described(port, child), url: `https://localhost:${port}`, directory };
}

// Node, with every option of its TLS to choose. `requests` and `connections` record what it saw; `failures` the
// handshakes that did not succeed. With `http2` it speaks h2 and HTTP/1.1 as ALPN says.
export async function startTlsNode({ certificate, clients = null, demand = true, http2: h2 = false, handler = null, ...options }) {
  const origin = { requests: [], connections: [], failures: [] };
  const settings = { ...certificate.tls, ...(clients && { ca: clients.pem, requestCert: true, rejectUnauthorized: demand }), ...options };
  const respond = handler ?? ((req, res) => res.end('node\n'));
  const listener = (req, res) => {
    const socket = req.socket ?? req.stream.session.socket;
    const peer = socket.getPeerX509Certificate?.();
    origin.requests.push({ method: req.method, url: req.url, headers: req.headers, version: req.httpVersion, authorized: socket.authorized, peer, connection: socket });
    respond(req, res, origin);
  };
  origin.server = h2 ? http2.createSecureServer({ allowHTTP1: true, ...settings }, listener) : https.createServer(settings, listener);
  const open = new Set();
  origin.server.on('connection', (socket) => { open.add(socket); socket.on('close', () => open.delete(socket)); });
  origin.server.on('secureConnection', (socket) => {
    const seen = { sni: socket.servername, protocol: socket.getProtocol(), reused: socket.isSessionReused(), alpn: socket.alpnProtocol, peer: socket.getPeerX509Certificate(), closed: false };
    origin.connections.push(seen);
    socket.on('error', () => {});
    socket.on('close', () => { seen.closed = true; });
  });
  origin.server.on('tlsClientError', (error) => origin.failures.push(error));
  origin.server.on('sessionError', () => {});
  await new Promise((resolve) => origin.server.listen(0, '127.0.0.1', resolve));
  origin.port = origin.server.address().port;
  origin.url = `https://127.0.0.1:${origin.port}`;
  origin.open = open;
  onCleanup(() => { for (const socket of open) socket.destroy(); origin.server.close(); });
  return origin;
}

// Ends TLS and keeps every byte that came inside of it, answering 200 to each head. With `clear` it reads no TLS at all:
// `clear(socket)` writes what it likes into a connection on which a handshake is expected.
export async function startTlsRecorder({ certificate, clear = null, body = 'recorded\n', ...options }) {
  const origin = { bytes: '', handshakes: 0, accepted: 0, failures: [] };
  const answer = (socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      origin.bytes += bytes.toString('latin1');
      if (bytes.includes('\r\n\r\n')) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  };
  origin.server = clear
    ? net.createServer((socket) => { origin.accepted++; socket.on('error', () => {}); socket.on('data', (bytes) => { origin.bytes += bytes.toString('latin1'); }); clear(socket); })
    : tls.createServer({ ...certificate.tls, ...options }, (socket) => { origin.handshakes++; answer(socket); });
  if (!clear) {
    origin.server.on('connection', () => { origin.accepted++; });
    origin.server.on('tlsClientError', (error) => origin.failures.push(error));
  }
  const open = new Set();
  origin.server.on('connection', (socket) => { open.add(socket); socket.on('close', () => open.delete(socket)); });
  await new Promise((resolve) => origin.server.listen(0, '127.0.0.1', resolve));
  origin.port = origin.server.address().port;
  origin.url = `https://127.0.0.1:${origin.port}`;
  onCleanup(() => { for (const socket of open) socket.destroy(); origin.server.close(); });
  return origin;
}
