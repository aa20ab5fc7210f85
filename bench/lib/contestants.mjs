// Who takes part: how each is configured to do the same work, started, reloaded and stopped.
//
// A contestant's `prepare(setup)` writes its files; `setup` is { directory, port, observePort, originPort, secret, keys,
// key, limit, connections } where `key` says whether the API key and the rate limit are on.
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

function fill(template, values) {
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

function prepareNginx(setup, buffers) {
  const file = path.join(setup.directory, 'nginx.conf');
  const map = path.join(setup.directory, 'keys.map');
  if (setup.key && !existsSync(map)) write(map, setup.keys.map((key, i) => `${key} consumer-${i};\n`).join(''));
  write(file, fill('nginx.conf.in', {
    ...common(setup),
    USER: process.getuid() === 0 ? 'user root;' : '',
    FILES: setup.connections * 2 + 200,
    CONNECTIONS: setup.connections * 2 + 100,
    KEY_MAP: setup.key ? `include ${map};` : '',
    KEY_CHECK: setup.key ? 'if ($consumer = "") { return 401; }\n      limit_req zone=consumers burst=1000 nodelay;' : '',
    STRIP_KEY: setup.key ? 'proxy_set_header X-Api-Key "";\n      proxy_set_header X-Consumer-Id $consumer;' : '',
    BUFFERS: buffers.join('\n      '),
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
    POLICIES: setup.key ? `policies: [api_key, {rate_limit: {requests: ${setup.limit}, per: 1s, by: consumer}}]` : '',
    ACCESS: setup.key ? '' : 'public: true',
  }));
  return [binary, ['run', '--config', file]];
}

const version = (command, args, pattern) => {
  try {
    const text = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    return pattern.exec(text)?.[1] ?? 'unknown';
  } catch { return null; }
};

const debianVersion = (name) => version('dpkg-query', ['-W', '-f=${Version}', name], /(.+)/);

// All contestants that can run here, in the order of the tables. `programs` is { postern, relay }.
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
