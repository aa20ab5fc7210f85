// Certificates of every kind, good and bad, made by the openssl program: what the gateway does with them is judged by
// tools that share no code of ours. Keys are EC P-256 unless a test asks for another; dates are days from now.
import { execFileSync } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { onCleanup, temporaryDirectory } from './cleanup.mjs';

let directory = null;
let count = 0;
const file = (name) => {
  if (!directory) {
    directory = temporaryDirectory();
    onCleanup(() => { directory = null; });
    writeFileSync(path.join(directory, 'index.txt'), '');
  }
  return path.join(directory, name);
};
const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });

const keyArguments = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'ec-384': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  rsa: ['-newkey', 'rsa:2048'],
  'rsa-1024': ['-newkey', 'rsa:1024'],
};
const usages = {
  server: 'serverAuth',
  client: 'clientAuth',
  both: 'serverAuth,clientAuth',
  signing: 'codeSigning',
  none: null,  // no extended key usage at all
};
const date = (days) => new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-:T]|\.\d+/g, '');

// ---- DER by hand, for what the openssl program does not write ---------------------------------------------------

const der = (tag, content) => {
  const bytes = Buffer.concat([content].flat().map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)));
  const length = bytes.length < 128 ? [bytes.length] : bytes.length < 256 ? [0x81, bytes.length] : [0x82, bytes.length >> 8, bytes.length & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), bytes]);
};
// A GeneralName of any bytes; OpenSSL's own syntax takes text only.
export const rawName = {
  email: (bytes) => der(0x81, bytes),
  dns: (bytes) => der(0x82, bytes),
  uri: (bytes) => der(0x86, bytes),
  ip: (bytes) => der(0x87, Buffer.from(bytes)),
};

// ------------------------------------------------------------------------------------------------------------------

function names({ dns = [], ip = [], uri = [], email = [], raw = null }) {
  if (raw) return `subjectAltName = DER:${der(0x30, raw).toString('hex')}`;
  const all = [...dns.map((name) => `DNS:${name}`), ...ip.map((name) => `IP:${name}`), ...uri.map((name) => `URI:${name}`), ...email.map((name) => `email:${name}`)];
  return all.length ? `subjectAltName = ${all.join(', ')}` : '';
}
function extensions({ ca = false, pathLength, use = 'server', constraints, ...rest }, issuer) {
  return [
    `basicConstraints = critical, CA:${ca ? 'TRUE' : 'FALSE'}${pathLength === undefined ? '' : `, pathlen:${pathLength}`}`,
    `keyUsage = critical, ${ca ? 'keyCertSign, cRLSign' : 'digitalSignature, keyEncipherment'}`,
    usages[use] ? `extendedKeyUsage = ${usages[use]}` : '',
    constraints ? `nameConstraints = critical, ${constraints}` : '',
    'subjectKeyIdentifier = hash',
    issuer ? 'authorityKeyIdentifier = keyid' : '',
    names(rest),
  ].filter(Boolean).join('\n');
}

// A certificate with its key, in files: `certificate` (chain, leaf first), `key`.
class Pair {
  constructor(name, issuers) {
    Object.assign(this, { key: file(`${name}.key`), leaf: file(`${name}.crt`), certificate: file(`${name}.chain.pem`) });
    chmodSync(this.key, 0o600);
    this.pem = readFileSync(this.leaf, 'utf8');
    this.keyPem = readFileSync(this.key, 'utf8');
    this.chainPem = this.pem + issuers.map(({ pem }) => pem).join('');
    writeFileSync(this.certificate, this.chainPem);
    this.x509 = new X509Certificate(this.pem);
    this.der = this.x509.raw;
    this.fingerprint = createHash('sha256').update(this.der).digest('hex');
    this.pin = `sha256/${createHash('sha256').update(this.x509.publicKey.export({ type: 'spki', format: 'der' })).digest('base64')}`;
    this.files = { certificate: this.certificate, key: this.key };
    this.tls = { cert: this.chainPem, key: this.keyPem };  // for Node
  }
}

function make(options, issuer) {
  const { subject = 'CN=test', from = -1, until = 30, key = 'ec', digest = 'sha256' } = options;
  const name = `${String(++count).padStart(4, '0')}`;
  const config = file(`${name}.cnf`);
  writeFileSync(config, `
[req]
distinguished_name = nothing
[nothing]
[ca]
default_ca = here
[here]
database = ${file('index.txt')}
new_certs_dir = ${path.dirname(config)}
rand_serial = yes
unique_subject = no
policy = any
email_in_dn = yes
[any]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = optional
[ext]
${extensions(options, issuer)}
`);
  openssl('req', '-new', '-nodes', '-config', config, '-subj', `/${subject.replaceAll(',', '/')}`, ...keyArguments[key], '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`));
  const by = issuer ? ['-cert', issuer.leaf, '-keyfile', issuer.key] : ['-selfsign', '-keyfile', file(`${name}.key`)];
  openssl('ca', '-batch', '-notext', '-config', config, ...by, '-md', digest, '-startdate', date(from), '-enddate', date(until),
    '-extensions', 'ext', '-in', file(`${name}.csr`), '-out', file(`${name}.crt`));
  return new Pair(name, issuer ? issuer.chain() : []);
}

// Options of issue() and selfSigned(): subject 'O=x,CN=y', dns, ip, uri, email (lists), raw (list of rawName), use, from,
// until, key, digest, ca, pathLength, constraints ('permitted;DNS:example.com').
export class Authority {
  constructor(pair, parent) {
    Object.assign(this, pair);
    this.parent = parent;
  }
  static root(subject, options = {}) {
    return new Authority(make({ subject: `CN=${subject}`, ca: true, use: 'none', until: 3650, ...options }, null), null);
  }
  intermediate(subject, options = {}) {
    return new Authority(make({ subject: `CN=${subject}`, ca: true, use: 'none', until: 1000, ...options }, this), this);
  }
  // What goes with a leaf: this one and those above, without the root.
  chain() { return this.parent ? [this, ...this.parent.chain()] : []; }
  issue(options = {}) { return make(options, this); }
}
export const selfSigned = (options = {}) => make(options, null);

// Whether the openssl program believes it: null, or what it says against it.
export function complaint(pair, authority, { purpose = 'sslserver', name } = {}) {
  try {
    openssl('verify', '-purpose', purpose, '-x509_strict', ...(name ? ['-verify_hostname', name] : []), '-CAfile', authority.leaf, '-untrusted', pair.certificate, pair.leaf);
    return null;
  } catch (error) {
    return `${error.stderr}${error.stdout}`;
  }
}

// The files of a pair at a place of the test's own, which it may then replace.
export function place(pair, where, name = 'tls') {
  const files = { certificate: path.join(where, `${name}.crt`), key: path.join(where, `${name}.key`) };
  writeFileSync(files.certificate, pair.chainPem);
  writeFileSync(files.key, pair.keyPem, { mode: 0o600 });
  return files;
}
