// What is measured. A case of kind 'load' is one cell per contestant and round.
//
//   peers      who takes part besides Postern (default: nginx, HAProxy and the bare relay)
//   variants   peers tuned for bodies take part too
//   clients    { tls, http2 }: the listener's kind of key, and whether HTTP/2 is spoken (without TLS: prior knowledge)
//   origin     'plain' (default), 'tls' (demands a client certificate; HTTP/1.1 or HTTP/2 by ALPN) or 'h2c'
//   multiplex  with 'tls': HTTP/2 to the origin
//   generator  'wrk' (default), 'h2load' (`connections` with `streams` each) or 'handshake' (`connections` at a time, one
//              request on each; `resume`: with a session of an earlier one)
//
// A target compares CPU time per request (or another `measure`) with a reference: 'best' is the best peer that is not
// the bare relay, ['a', 'b'] the better of these. DESIGN 7 is where the bounds come from.

const webServers = ['nginx', 'haproxy'];
const keyNames = { ecdsa: 'ECDSA P-256', rsa: 'RSA-2048' };
const notSlower = [{ against: 'best', bound: 1 }];

export const cases = [
  { id: 'keepalive', title: 'Keep-alive, 64 connections, shared secret only', kind: 'load', path: '/64', connections: 64,
    targets: [] },
  { id: 'policies', title: 'Keep-alive, 64 connections, shared secret + API key + rate limit', kind: 'load', path: '/64',
    connections: 64, key: true, script: 'keys.lua',
    targets: [
      { against: ['nginx', 'haproxy'], bound: 0.85 },
      { against: ['relay'], bound: 1.20 },
    ] },
  { id: 'connections512', title: 'Keep-alive, 512 connections, shared secret only', kind: 'load', path: '/64', connections: 512,
    targets: [{ against: ['nginx'], bound: 0.85 }] },
  { id: 'close', title: 'A new connection for each request, 64 at a time', kind: 'load', path: '/64', connections: 64, close: true,
    targets: [{ against: 'best', bound: 1 }] },
  { id: 'body16k', title: '16 KiB responses, 64 connections', kind: 'load', path: '/16k', connections: 64, variants: true,
    targets: [] },
  { id: 'body1m', title: '1 MiB responses, 64 connections', kind: 'load', path: '/1m', connections: 64, variants: true,
    targets: [{ against: ['nginx'], bound: 0.55 }] },
  { id: 'upload', title: '64 KiB uploads, 64 connections', kind: 'load', path: '/64', connections: 64, variants: true,
    script: 'upload.lua', targets: [{ against: 'best', bound: 1 }] },
  { id: 'idle', title: 'idle keep-alive connections, one request each before', kind: 'idle', connections: 9000,
    targets: [{ measure: 'kibPerConnection', absolute: 1 }] },
  { id: 'idle-tls', title: 'idle keep-alive connections with TLS, ECDSA P-256, one request each before', kind: 'idle', connections: 4000,
    clients: { tls: 'ecdsa' }, peers: webServers, targets: [{ measure: 'kibPerConnection', absolute: 15 }] },
  ...['ecdsa', 'rsa'].map((tls) => ({ id: `tls-${tls}`, title: `TLS in, ${keyNames[tls]}, keep-alive, 64 connections`, kind: 'load', path: '/64',
    connections: 64, clients: { tls }, peers: webServers, targets: notSlower })),
  ...[['full', false, 'Full TLS handshakes'], ['resumed', true, 'Resumed TLS handshakes (tickets)']].flatMap(([word, resume, title]) =>
    ['ecdsa', 'rsa'].map((tls) => ({ id: `handshake-${word}-${tls}`, title: `${title}, ${keyNames[tls]}: a new connection for each request, 16 at a time`,
      kind: 'load', generator: 'handshake', path: '/64', connections: 16, resume, clients: { tls }, peers: webServers, targets: notSlower }))),
  { id: 'mtls', title: 'mTLS to the origin (HTTP/1.1), keep-alive, 64 connections', kind: 'load', path: '/64', connections: 64,
    origin: 'tls', peers: webServers, targets: notSlower },
  { id: 'mtls-h2', title: 'mTLS to the origin (HTTP/2), keep-alive, 64 connections', kind: 'load', path: '/64', connections: 64,
    origin: 'tls', multiplex: true, peers: ['haproxy', 'nghttpx'], targets: notSlower },
  { id: 'h2c-h1', title: 'HTTP/2 in (clear text) to HTTP/1.1, 8 connections of 32 streams', kind: 'load', generator: 'h2load', path: '/64',
    connections: 8, streams: 32, clients: { http2: true }, peers: [...webServers, 'h2o', 'nghttpx'], targets: notSlower },
  { id: 'h2-h1', title: 'HTTP/2 in (TLS, ECDSA P-256) to HTTP/1.1, 8 connections of 32 streams', kind: 'load', generator: 'h2load', path: '/64',
    connections: 8, streams: 32, clients: { tls: 'ecdsa', http2: true }, peers: [...webServers, 'h2o', 'nghttpx'], targets: notSlower },
  { id: 'h2c-h2c', title: 'HTTP/2 to HTTP/2 (clear text), 8 connections of 32 streams', kind: 'load', generator: 'h2load', path: '/64',
    connections: 8, streams: 32, clients: { http2: true }, origin: 'h2c', peers: ['haproxy', 'nghttpx'], targets: notSlower },
  { id: 'grpc', title: 'gRPC, unary, messages of 64 bytes (clear text), 8 connections of 32 streams', kind: 'load', generator: 'h2load', grpc: true,
    path: '/bench.Echo/Unary', connections: 8, streams: 32, clients: { http2: true }, origin: 'h2c', peers: [...webServers, 'nghttpx'], targets: notSlower },
  { id: 'reload', title: 'Reload under load, 64 connections, API key + rate limit', kind: 'reload', path: '/64', connections: 64,
    key: true, script: 'keys.lua', targets: [{ measure: 'failed', absolute: 0 }] },
  { id: 'inprocess', title: 'In-process benchmarks', kind: 'inprocess', targets: [] },
];
