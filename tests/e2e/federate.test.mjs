// postern federate: recipes that pin audience and subject, and a check that reads what is published as a cloud does: by
// name, over TLS with public authorities, without following redirects.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Authority } from './lib/certificates.mjs';
import { Gateway } from './lib/gateway.mjs';
import { freePort } from './lib/cleanup.mjs';

let gateway;
let port;
let bundle;
const algorithms = ['RS256', 'ES256'];
before(async () => {
  const authority = Authority.root('Public authority');
  const leaf = authority.issue({ dns: ['localhost'] });
  bundle = authority.leaf;
  port = await freePort();
  gateway = await Gateway.start((self) => {
    self.port = port;
    return {
      listeners: [{ address: `127.0.0.1:${port}`, tls: leaf.files }],
      issuer: { url: `https://localhost:${port}/postern`, algorithms },
      routes: [{ match: { path: '/' }, respond: { status: 204 }, public: true }],
    };
  });
});

const federate = (...args) => gateway.postern('federate', ...args);

test('recipes are for this issuer, and pin audience and subject', async (t) => {
  const given = { aws: ['--account', '123456789012', '--name', 'backend'], gcp: ['--account', '42', '--name', 'gw@p.iam.gserviceaccount.com'], azure: ['--name', '11111111-2222-3333-4444-555555555555'], alb: ['--name', 'arn:aws:elasticloadbalancing:eu-west-1:1:listener/app/x', '--audience', 'orders'] };
  const audiences = { aws: 'sts.amazonaws.com', gcp: 'https://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/postern/providers/gateway', azure: 'api://AzureADTokenExchange', alb: 'orders' };
  for (const [cloud, args] of Object.entries(given)) {
    await t.test(cloud, async () => {
      const { code, stdout, stderr } = await federate(cloud, ...args, '--subject', 'postern/origins/orders');
      assert.equal(code, 0, stderr);
      for (const part of [`localhost:${port}/postern`, audiences[cloud], 'postern/origins/orders', args[1]]) assert.ok(stdout.includes(part), `${part}\n${stdout}`);
      const json = JSON.parse((await federate(cloud, ...args, '--json')).stdout);
      assert.equal(json.audience, audiences[cloud]);
    });
  }
  assert.equal((await federate('alb')).code, 2, 'a load balancer has no audience of its own');
  assert.equal((await federate('oracle')).code, 2);
});

test('the check says what the cloud would not take', async (t) => {
  const check = (cloud, env = { SSL_CERT_FILE: bundle }, ...args) => { gateway.env = { ...gateway.env, ...env }; return federate(cloud, '--check', '--json', ...args); };
  await t.test('a port', async () => {
    const { code, stdout } = await check('aws');
    assert.equal(code, 4);
    const bad = JSON.parse(stdout).findings.filter(({ good }) => !good);
    assert.deepEqual(bad.map(({ what }) => what), ['the issuer has no port'], stdout);
  });
  await t.test('a certificate that nobody vouches for', async () => {
    const { code, stdout } = await check('aws', { SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt' });
    assert.equal(code, 4);
    assert.match(stdout, /cannot be read/);
  });
  await t.test('an issuer that is not there', async () => {
    await gateway.stop();
    const { code, stdout } = await check('gcp');
    assert.equal(code, 4);
    assert.match(stdout, /cannot be read/);
  });
});
