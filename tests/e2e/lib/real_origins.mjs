// Backends as people run them: nginx, HAProxy and Node's http, each refusing whoever does not bring the secret.
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { freePort, onCleanup, temporaryDirectory } from './cleanup.mjs';
import { Process } from './process.mjs';
import { until } from './wait.mjs';
import { exchange, request } from './wire.mjs';

async function listening(name, child, port) {
  await until(`${name} on port ${port}`, async () => {
    if (child.exit) throw new Error(`${name} ended: ${child.stderr}`);
    return exchange(port, request('/', { headers: ['Connection: close'] })).catch(() => null);
  });
}

// Answers 200 "nginx\n" with the secret and 401 without it.
export async function startNginx({ header = 'X-Backend-Secret', secret }) {
  const directory = temporaryDirectory();
  const port = await freePort();
  const variable = `$http_${header.toLowerCase().replaceAll('-', '_')}`;
  writeFileSync(path.join(directory, 'nginx.conf'), `
daemon off;
worker_processes 1;
pid ${directory}/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  client_max_body_size 0;
  map_hash_bucket_size 256;
  map ${variable} $from_gateway { default 0; "${secret}" 1; }
  server {
    listen 127.0.0.1:${port};
    if ($from_gateway = 0) { return 401 "not from the gateway\\n"; }
    location / { return 200 "nginx\\n"; }
  }
}
`, { mode: 0o600 });
  const child = new Process('nginx', ['-p', directory, '-c', path.join(directory, 'nginx.conf')], { env: { PATH: `${process.env.PATH}:/usr/sbin` } });
  await listening('nginx', child, port);
  return { port, url: `http://127.0.0.1:${port}`, process: child };
}

// Answers 200 "haproxy\n" with the secret and 401 without it.
export async function startHaproxy({ header = 'X-Backend-Secret', secret }) {
  const directory = temporaryDirectory();
  const port = await freePort();
  writeFileSync(path.join(directory, 'haproxy.cfg'), `
global
  maxconn 1000
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend locked
  bind 127.0.0.1:${port}
  http-request deny deny_status 401 unless { req.hdr_cnt(${header}) eq 1 } { req.hdr(${header}) -m str "${secret}" }
  http-request return status 200 content-type text/plain string "haproxy\\n"
`, { mode: 0o600 });
  const child = new Process('haproxy', ['-db', '-f', path.join(directory, 'haproxy.cfg')], { env: { PATH: `${process.env.PATH}:/usr/sbin` } });
  await listening('haproxy', child, port);
  return { port, url: `http://127.0.0.1:${port}`, process: child };
}

// Node's own server. Answers with what it understood of the request, as JSON; 401 without the secret.
export async function startNode({ header = 'X-Backend-Secret', secret, handler }) {
  const server = http.createServer(handler ?? (async (req, res) => {
    if (secret && req.headers[header.toLowerCase()] !== secret) {
      res.writeHead(401).end('not from the gateway\n');
      return;
    }
    let size = 0;
    for await (const chunk of req) size += chunk.length;
    res.writeHead(200, { 'content-type': 'application/json' });
    const headers = { ...req.headers };
    delete headers[header.toLowerCase()];  // an honest echo service does not repeat credentials
    res.end(JSON.stringify({ method: req.method, url: req.url, headers, bodySize: size, trailers: req.trailers }));
  }));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => { server.closeAllConnections(); server.close(); });
  const { port } = server.address();
  return { port, url: `http://127.0.0.1:${port}`, server };
}
