// The certificates of a run: a root, one server certificate per kind of key, and a client certificate for the gateway.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const kinds = {
  ecdsa: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  rsa: ['-newkey', 'rsa:2048'],
};

function request(directory, name, kind, subject, extensions, issuer) {
  const file = (suffix) => path.join(directory, `${name}.${suffix}`);
  const signer = issuer ? ['-CA', issuer.certificate, '-CAkey', issuer.key] : [];
  execFileSync('openssl', ['req', '-x509', '-nodes', '-sha256', '-days', '60', '-subj', subject, ...kinds[kind],
    '-keyout', file('key'), '-out', file('crt'), ...signer, ...extensions.flatMap((text) => ['-addext', text])], { stdio: 'pipe' });
  const pair = { certificate: file('crt'), key: file('key'), both: file('pem') };
  writeFileSync(pair.both, readFileSync(pair.certificate, 'utf8') + readFileSync(pair.key, 'utf8'), { mode: 0o600 });  // as HAProxy wants it
  return pair;
}

// { authority, ecdsa, rsa, client }: each { certificate, key, both } names files; the servers are "localhost" and 127.0.0.1.
export function makeCertificates(directory) {
  mkdirSync(directory, { mode: 0o700 });
  const leaf = (usage) => ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature', `extendedKeyUsage=${usage}`];
  const authority = request(directory, 'authority', 'ecdsa', '/CN=Bench root', ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign,cRLSign']);
  const server = (kind) => request(directory, kind, kind, '/CN=localhost',
    [...leaf('serverAuth'), 'subjectAltName=DNS:localhost,IP:127.0.0.1'], authority);
  return {
    authority, ecdsa: server('ecdsa'), rsa: server('rsa'),
    client: request(directory, 'client', 'ecdsa', '/CN=gateway', [...leaf('clientAuth'), 'subjectAltName=DNS:gateway.example'], authority),
  };
}
