// What is measured. A case of kind 'load' is one cell per contestant and round; `variants`: peers tuned for bodies take
// part too.
//
// A target compares CPU time per request (or another `measure`) with a reference: 'best' is the best peer that is not
// the bare relay, ['a', 'b'] the better of these. DESIGN 7 is where the bounds come from.

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
  { id: 'reload', title: 'Reload under load, 64 connections, API key + rate limit', kind: 'reload', path: '/64', connections: 64,
    key: true, script: 'keys.lua', targets: [{ measure: 'failed', absolute: 0 }] },
  { id: 'inprocess', title: 'In-process benchmarks', kind: 'inprocess', targets: [] },
];
