// Who takes part: how each is configured to do the same work, started, reloaded and stopped.
//
// A contestant's `prepare(setup)` writes its files; `setup` is { directory, port, observePort, originPort, secret, keys,
// key, limit, connections, listener, upstream, grpc } where `key` says whether the API key and the rate limit are on,
// `listener` is { tls, http2 } with a pair of files or null, and `upstream` is { tls, http2, optional }: { authority,
// client } or null, whether HTTP/2 is spoken, and whether that is left to ALPN.
import { execFileSync } from 'node:child_process';
import { randomBytes, createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';

const peers = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../peers');

// Replaces the file in one step: a reload never sees half of it.
function write(file, text) {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

// A file of peers/ with its names filled in.
export function fill(template, values) {
  return readFileSync(path.join(peers, template), 'utf8').replace(/@([A-Z_]+)@/g, (_, name) => {
    if (!(name in values)) throw new Error(`${template}: no value for ${name}`);
    return values[name];
  });
}

const common = (setup) => ({
  DIR: setup.directory, PORT: setup.port, OBSERVE_PORT: setup.observePort, ORIGIN_PORT: setup.originPort,
  SECRET: setup.secret, LIMIT: setup.limit, CONNECTIONS: setup.connections,
});

// Keys in Postern's form (src/store/api_key.h), so that every contestant sees the same bytes.
export function makeKeys(count) {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  return Array.from({ length: count }, () => {
    const body = `pst_${[...randomBytes(30)].map((byte) => digits[byte % 62]).join('')}`;
    let checksum = '';
    for (let rest = zlib.crc32(body), i = 0; i < 6; ++i, rest = Math.floor(rest / 62)) checksum = digits[rest % 62] + checksum;
    return body + checksum;
  });
}

const consumers = (keys) => JSON.stringify({
  version: 1,
  consumers: keys.map((key, i) => ({
    id: `consumer-${i}`,
    keys: [{ id: key.slice(0, 12), sha256: createHash('sha256').update(key).digest('hex'), created: '2026-01-01T00:00:00Z' }],
  })),
});

const nginxLocations = {
  proxy: (scheme, buffers) => [`proxy_pass ${scheme}://origin;`, 'proxy_http_version 1.1;',
    'proxy_max_temp_file_size 0;    # responses never go through a file', ...buffers, 'proxy_set_header Connection "";'],
  grpc: (scheme) => [`grpc_pass ${scheme === 'https' ? 'grpcs' : 'grpc'}://origin;`],
};

function prepareNginx(setup, buffers) {
  const file = path.join(setup.directory, 'nginx.conf');
  const map = path.join(setup.directory, 'keys.map');
  const module = setup.grpc ? 'grpc' : 'proxy';
  if (setup.key && !existsSync(map)) write(map, setup.keys.map((key, i) => `${key} consumer-${i};\n`).join(''));
  write(file, fill('nginx.conf.in', {
    ...common(setup),
    USER: process.getuid() === 0 ? 'user root;' : '',
    FILES: setup.connections * 2 + 200,
    CONNECTIONS: setup.connections * 2 + 100,
    KEY_MAP: setup.key ? `include ${map};` : '',
    KEY_CHECK: setup.key ? 'if ($consumer = "") { return 401; }\n      limit_req zone=consumers burst=1000 nodelay;' : '',
    STRIP_KEY: setup.key ? 'proxy_set_header X-Api-Key "";\n      proxy_set_header X-Consumer-Id $consumer;' : '',
    LISTEN: [setup.listener.tls ? 'ssl' : '', setup.listener.http2 ? 'http2' : ''].filter(Boolean).join(' '),
    TLS: setup.listener.tls ? [`ssl_certificate ${setup.listener.tls.certificate};`, `ssl_certificate_key ${setup.listener.tls.key};`,
      'ssl_protocols TLSv1.2 TLSv1.3;'].join('\n    ') : '',
    MODULE: module,
    PASS: nginxLocations[module](setup.upstream.tls ? 'https' : 'http', buffers).join('\n      '),
    ORIGIN_TLS: setup.upstream.tls ? [`certificate ${setup.upstream.tls.client.certificate}`, `certificate_key ${setup.upstream.tls.client.key}`,
      `trusted_certificate ${setup.upstream.tls.authority.certificate}`, 'verify on', 'name localhost', 'server_name on', 'protocols TLSv1.2 TLSv1.3']
      .map((text) => `${module}_ssl_${text};`).join('\n      ') : '',
  }));
  return ['nginx', ['-p', setup.directory, '-c', file, '-e', 'stderr']];
}

function prepareHaproxy(setup, { splice }) {
  const file = path.join(setup.directory, 'haproxy.cfg');
  const map = path.join(setup.directory, 'haproxy.map');
  if (setup.key && !existsSync(map)) write(map, setup.keys.map((key, i) => `${key} consumer-${i}\n`).join(''));
  write(file, fill('haproxy.cfg.in', {
    ...common(setup),
    PIPES: splice ? 'maxpipes 256' : '',
    SPLICE: splice ? 'option splice-request\n  option splice-response' : '',
    KEY_CHECK: setup.key ? [
      `http-request set-var(txn.consumer) req.hdr(x-api-key),map_str(${map})`,
      'http-request deny deny_status 401 unless { var(txn.consumer) -m found }',
      'http-request track-sc0 var(txn.consumer) table origin',
      `http-request deny deny_status 429 if { sc_http_req_rate(0) gt ${setup.limit} }`,
    ].join('\n  ') : '',
    STRIP_KEY: setup.key ? 'http-request del-header X-Api-Key\n  http-request set-header X-Consumer-Id %[var(txn.consumer)]' : '',
    SCHEME: setup.listener.tls ? 'https' : 'http',
    BIND: setup.listener.tls ? `ssl crt ${setup.listener.tls.both} ssl-min-ver TLSv1.2 alpn ${setup.listener.http2 ? 'h2,http/1.1' : 'http/1.1'}`
      : setup.listener.http2 ? 'proto h2' : '',
    SERVER: setup.upstream.tls ? `ssl crt ${setup.upstream.tls.client.both} ca-file ${setup.upstream.tls.authority.certificate} ssl-min-ver TLSv1.2` +
      ` verify required verifyhost localhost sni str(localhost)${setup.upstream.http2 ? ' alpn h2' : ''}`
      : setup.upstream.http2 ? 'proto h2' : '',
    TABLE: setup.key ? 'stick-table type string len 64 size 100k expire 60s store http_req_rate(1s)' : '',
  }));
  return ['haproxy', ['-W', '-f', file]];
}

function preparePostern(setup, binary) {
  const file = path.join(setup.directory, 'postern.yaml');
  write(path.join(setup.directory, 'secret'), setup.secret);
  write(path.join(setup.directory, 'consumers.json'), setup.key ? consumers(setup.keys) : '{"version": 1, "consumers": []}');
  write(file, fill('postern.yaml.in', {
    ...common(setup),
    LISTENER: [setup.listener.tls ? `tls: {certificate: "${setup.listener.tls.certificate}", key: "${setup.listener.tls.key}"}` : '',
      setup.listener.http2 && !setup.listener.tls ? 'http2: h2c' : ''].filter(Boolean).join('\n    '),
    SCHEME: setup.upstream.tls ? 'https' : 'http',
    TRUST: [setup.upstream.tls ? `trust: {ca: "${setup.upstream.tls.authority.certificate}", names: [localhost], server_name: localhost}` : '',
      setup.upstream.http2 ? `http2: ${setup.upstream.optional ? 'auto' : 'always'}` : 'http2: never'].filter(Boolean).join('\n    '),
    CERTIFICATE: setup.upstream.tls ? `- mtls: {certificate: "${setup.upstream.tls.client.certificate}", key: "${setup.upstream.tls.client.key}"}` : '',
    POLICIES: setup.key ? `policies: [api_key, {rate_limit: {requests: ${setup.limit}, per: 1s, by: consumer}}]` : '',
    ACCESS: setup.key ? '' : 'public: true',
  }));
  return [binary, ['run', '--config', file]];
}

function prepareH2o(setup) {
  const file = path.join(setup.directory, 'h2o.conf');
  write(file, fill('h2o.conf.in', {
    ...common(setup),
    USER: process.getuid() === 0 ? 'user: root' : '',
    TLS: setup.listener.tls ? `ssl: {certificate-file: "${setup.listener.tls.certificate}", key-file: "${setup.listener.tls.key}", ` +
      'minimum-version: TLSv1.2, ocsp-update-interval: 0}' : '',
  }));
  return ['h2o', ['-c', file]];
}

function prepareNghttpx(setup) {
  const file = path.join(setup.directory, 'nghttpx.conf');
  const { listener, upstream } = setup;
  write(file, fill('nghttpx.conf.in', {
    ...common(setup),
    FRONTEND: listener.tls ? '' : ';no-tls',
    BACKEND: [upstream.http2 ? 'proto=h2' : 'proto=http/1.1', ...(upstream.tls ? ['tls', 'sni=localhost'] : [])].join(';'),
    TLS: [...(listener.tls ? [`private-key-file=${listener.tls.key}`, `certificate-file=${listener.tls.certificate}`] : []),
      ...(upstream.tls ? [`cacert=${upstream.tls.authority.certificate}`, `client-private-key-file=${upstream.tls.client.key}`,
        `client-cert-file=${upstream.tls.client.certificate}`] : [])].join('\n'),
  }));
  return ['nghttpx', [`--conf=${file}`]];
}

const version = (command, args, pattern) => {
  try {
    const text = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    return pattern.exec(text)?.[1] ?? 'unknown';
  } catch { return null; }
};

const debianVersion = (name) => version('dpkg-query', ['-W', '-f=${Version}', name], /(.+)/);

// All contestants that can run here, in the order of the tables. `programs` is { postern, relay }. `lacks` names the parts
// of the common work that a contestant cannot do, `note` says so below its tables.
export function contestants(programs) {
  const all = [
    { name: 'postern', label: 'Postern', program: programs.postern, stop: 'SIGTERM', reload: 'SIGHUP', logs: true, metrics: true,
      prepare: (setup) => preparePostern(setup, programs.postern),
      version: () => version(programs.postern, ['version'], /(\d+\.\d+\.\d+\S*)/) },
    { name: 'nginx', label: 'nginx', stop: 'SIGQUIT', reload: 'SIGHUP', logs: true, metrics: true,
      prepare: (setup) => prepareNginx(setup, ['proxy_request_buffering off;']), version: () => debianVersion('nginx-common') },
    { name: 'nginx-bigbuf', label: 'nginx, 64 KiB buffers', variant: true, stop: 'SIGQUIT', logs: true, metrics: true,
      prepare: (setup) => prepareNginx(setup, ['proxy_buffer_size 64k;', 'proxy_buffers 8 64k;', 'proxy_busy_buffers_size 128k;',
        'client_body_buffer_size 64k;', 'proxy_request_buffering off;']),
      version: () => null },
    { name: 'haproxy', label: 'HAProxy', stop: 'SIGTERM', reload: 'SIGUSR2', logs: true, metrics: true,
      prepare: (setup) => prepareHaproxy(setup, { splice: false }), version: () => debianVersion('haproxy') },
    { name: 'haproxy-splice', label: 'HAProxy, splice', variant: true, stop: 'SIGTERM', logs: true, metrics: true,
      prepare: (setup) => prepareHaproxy(setup, { splice: true }), version: () => null },
    { name: 'h2o', label: 'h2o', stop: 'SIGTERM', logs: true, metrics: true, lacks: ['secret', 'requestId'],
      note: 'h2o sets no request headers of its own: neither the secret nor a request id.',
      prepare: prepareH2o, version: () => debianVersion('h2o') },
    { name: 'nghttpx', label: 'nghttpx', stop: 'SIGTERM', logs: true, metrics: false, lacks: ['forged', 'requestId'],
      note: 'nghttpx makes no request id, lets a forged copy of the secret through and has no metrics.',
      prepare: prepareNghttpx, version: () => debianVersion('nghttp2-proxy') },
    { name: 'relay', label: 'bare relay', program: programs.relay, floor: true, stop: 'SIGTERM',
      prepare: (setup) => {
        write(path.join(setup.directory, 'secret'), setup.secret);
        return [programs.relay, ['--listen', setup.port, '--origin', setup.originPort,
          '--secret-file', path.join(setup.directory, 'secret')]];
      },
      version: () => null },
  ];
  const installed = (name) => process.env.PATH.split(':').some((directory) => existsSync(path.join(directory, name)));
  return all.filter((one) => (one.program ? existsSync(one.program) : installed(one.name.split('-')[0])));
}
