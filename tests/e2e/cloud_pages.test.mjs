// The pages about clouds: their configuration is loaded and their verifier runs, with the stand-ins in the place of the
// clouds; nothing else is changed.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { onCleanup, temporaryDirectory } from './lib/cleanup.mjs';
import { binary, root } from './lib/gateway.mjs';
import { readPage } from './lib/page.mjs';
import { Process } from './lib/process.mjs';
import { until } from './lib/wait.mjs';
import { startEntra } from '../standins/entra.mjs';
import { startGoogle } from '../standins/google.mjs';
import { Standin, jose, json } from '../standins/standin.mjs';

const email = 'gw@project.iam.gserviceaccount.com';

// The files of a page in a folder, with `changes` to postern.yaml, and a gateway that runs on them.
async function start(page, files, changes) {
  const directory = temporaryDirectory();
  symlinkSync(path.join(root, 'build/peers/node_modules'), path.join(directory, 'node_modules'));
  for (const { file, text } of page.files) {
    let content = text.replaceAll('@DIRECTORY@', directory);
    if (file === 'postern.yaml') {
      for (const [from, to] of Object.entries(changes)) {
        assert.ok(content.includes(from), `${from} is not on the page`);
        content = content.replaceAll(from, to);
      }
      content += `admin:\n  socket: ${directory}/admin.sock\nstate_directory: ${directory}/state\n`;
    }
    writeFileSync(path.join(directory, file), content);
  }
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(directory, name), content, { mode: 0o600 });
  const gateway = new Process(binary, ['run', '--config', path.join(directory, 'postern.yaml')], { cwd: directory });
  return { directory, gateway };
}
async function startVerifier(directory, env) {
  const origin = new Process(process.execPath, ['origin.mjs'], { cwd: directory, env: { ...process.env, ...env } });
  await until('the origin', () => { assert.equal(origin.exit, null, origin.stderr); return /ready/.test(origin.stdout); });
  return origin;
}
const status = async (url, options) => (await fetch(url, options).catch(() => ({ status: 0 }))).status;
const served = (gateway, url) => until(`200 of ${url}`, async () => {
  assert.equal(gateway.exit, null, gateway.stderr);
  return (await status(url)) === 200;
}).catch((error) => assert.fail(`${error.message}\n${gateway.stderr}${gateway.stdout}`));

test('azure_ad.md', async () => {
  const page = readPage('docs/azure_ad.md');
  const entra = await startEntra({ applications: [{ client_id: '99999999-8888-7777-6666-000000000000', secrets: ['the-secret-of-the-page'], roles: ['Gateway'] }], resources: ['api://orders'] });
  onCleanup(() => entra.stop());
  const { directory, gateway } = await start(page, { 'entra-secret': 'the-secret-of-the-page' }, { 'authority: https://login.microsoftonline.com': `authority: ${entra.url}` });
  const origin = await startVerifier(directory, { AUTHORITY: entra.url });
  await served(gateway, 'http://127.0.0.1:8204/orders/7');
  assert.equal(await status('http://127.0.0.1:8304/orders/7'), 401);
  const now = Math.floor(Date.now() / 1000);
  const good = { iss: entra.issuer, aud: 'api://orders', azp: '99999999-8888-7777-6666-000000000000', roles: ['Gateway'], iat: now, exp: now + 60 };
  const direct = async (claims) => status('http://127.0.0.1:8304/', { headers: { authorization: `Bearer ${await entra.key.sign(claims)}` } });
  assert.equal(await direct(good), 200);
  for (const wrong of [{ azp: 'another' }, { roles: [] }, { aud: 'api://other' }, { iss: 'https://login.example' }, { exp: now - 60 }]) assert.equal(await direct({ ...good, ...wrong }), 401);
  await gateway.stop();
  await origin.stop();
});

test('gcp.md', async () => {
  const page = readPage('docs/gcp.md');
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });
  const google = await startGoogle({ accounts: [{ email, keys: [{ kid: 'k1', pem: pair.publicKey }] }] });
  const jwk = { ...(await jose.exportJWK(await jose.importSPKI(pair.publicKey, 'RS256'))), kid: 'k1', alg: 'RS256', use: 'sig' };
  const published = await Standin.start(async () => json(200, { keys: [jwk] }));
  onCleanup(() => google.stop());
  onCleanup(() => published.stop());
  const service = JSON.stringify({ type: 'service_account', private_key_id: 'k1', private_key: pair.privateKey, client_email: email, token_uri: 'https://oauth2.googleapis.com/token' });
  const { directory, gateway } = await start(page, { 'service.json': service }, { 'token_url: https://oauth2.googleapis.com/token': `token_url: ${google.tokenUrl}` });
  const origins = [
    await startVerifier(directory, { METHOD: 'gcp_id_token', KEYS: google.certsUrl, PORT: '8305' }),
    await startVerifier(directory, { METHOD: 'gcp_jwt', KEYS: `${published.url}/keys`, PORT: '8306' }),
  ];
  await served(gateway, 'http://127.0.0.1:8205/orders/7');
  await served(gateway, 'http://127.0.0.1:8205/reports/7');
  for (const port of [8305, 8306]) assert.equal(await status(`http://127.0.0.1:${port}/`), 401);
  const other = await google.idToken('other@project.iam.gserviceaccount.com', 'https://orders.example.com');
  assert.equal(await status('http://127.0.0.1:8305/', { headers: { authorization: `Bearer ${other}` } }), 401, 'another account');
  await gateway.stop();
  for (const origin of origins) await origin.stop();
});

test('what the pages name exists', () => {
  const errors = readFileSync(path.join(root, 'docs/errors.md'), 'utf8');
  for (const name of ['azure_ad', 'gcp', 'aws_federated']) {
    const { text } = readPage(`docs/${name}.md`);
    for (const [, code] of text.matchAll(/`(PST-[A-Z]\d+)`/g)) assert.ok(errors.includes(code), code);
    for (const heading of ['Gateway side', 'Origin side', 'How to rotate', 'How to test', 'What fails, and how']) assert.ok(text.includes(`\n## ${heading}\n`), `${name}: ${heading}`);
  }
});
