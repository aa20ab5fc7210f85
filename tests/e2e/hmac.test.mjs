// hmac against the libraries that webhook receivers use: stripe's and standardwebhooks', each with its own rules for times.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Gateway } from './lib/gateway.mjs';
import { temporaryDirectory } from './lib/cleanup.mjs';
import { ask, connectHttp2, peer } from './lib/peers.mjs';
import { resend, startVerifyingOrigin } from './lib/signature_origins.mjs';
import { exchange, request } from './lib/wire.mjs';

const Stripe = peer('stripe');
const { Webhook } = peer('standardwebhooks');
const stripe = new Stripe('sk_test_not_used');

const directory = temporaryDirectory();
const file = (name, content) => {
  const full = path.join(directory, name);
  writeFileSync(full, content, { mode: 0o600 });
  return `\${file:${full}}`;
};
const text = randomBytes(32).toString('hex');
const nextText = randomBytes(32).toString('hex');
const whsec = `whsec_${randomBytes(32).toString('base64')}`;
const reference = { text: file('text', text), next: file('next', nextText), whsec: file('whsec', whsec) };

const judges = {
  stripe: (secret = text, header = 'stripe-signature') => (it) => { stripe.webhooks.constructEvent(it.body, it.headers[header], secret); },
  standard: () => {
    const ids = new Set();
    return (it) => {
      new Webhook(whsec).verify(it.body.toString(), it.headers, { jsonParse: false });
      if (ids.has(it.headers['webhook-id'])) throw new Error('a replay');
      ids.add(it.headers['webhook-id']);
    };
  },
};
let gateway;
const origins = {};
let failures = 0;
before(async () => {
  origins.stripe = await startVerifyingOrigin(judges.stripe());
  origins.named = await startVerifyingOrigin(judges.stripe(text, 'x-gateway-signature'));
  origins.old = await startVerifyingOrigin(judges.stripe(text, 'webhook-signature'));
  origins.new = await startVerifyingOrigin(judges.stripe(nextText, 'webhook-signature'));
  origins.standard = await startVerifyingOrigin(judges.standard());
  origins.h2 = await startVerifyingOrigin(judges.standard(), { h2: true });
  origins.flaky = await startVerifyingOrigin(judges.standard(), { before: (it, incoming) => failures-- > 0 && (incoming.socket.destroy(), true) });
  const rotating = { form: 'stripe', secret: reference.next, also: [reference.text] };
  const identities = {
    stripe: { form: 'stripe', header: 'Stripe-Signature', secret: reference.text },
    named: { form: 'stripe', header: 'X-Gateway-Signature', secret: reference.text },
    old: rotating, new: rotating,
    standard: { secret: reference.whsec }, h2: { secret: reference.whsec }, flaky: { secret: reference.whsec },
  };
  gateway = await Gateway.start(({ port }) => ({
    listeners: [{ address: `127.0.0.1:${port}`, http2: 'h2c' }],
    origins: Object.fromEntries(Object.entries(origins).map(([name, { url }]) => [name, { url, identity: [{ hmac: identities[name] }], ...(name === 'h2' ? { http2: 'always' } : {}), ...(name === 'flaky' ? { retries: { attempts: 3 } } : {}) }])),
    routes: Object.keys(origins).map((name) => ({ match: { path: `/${name}/*` }, origin: name, public: true })),
  }));
});

test('every body verifies', async (t) => {
  const bodies = { empty: '{}', words: JSON.stringify({ type: 'order.paid', note: 'für 5 €', list: [1, 2, 3] }), large: JSON.stringify({ filler: 'x'.repeat(900_000) }) };
  for (const name of Object.keys(origins).filter((each) => each !== 'flaky')) {
    for (const [what, body] of Object.entries(bodies)) {
      await t.test(`${name}, ${what}`, async () => {
        const sized = await fetch(`${gateway.url}/${name}/hook`, { method: 'POST', body });
        assert.equal(sized.status, 200, await sized.text());
        const chunked = await fetch(`${gateway.url}/${name}/hook`, { method: 'POST', body: new Blob([body]).stream(), duplex: 'half' });
        assert.equal(chunked.status, 200, await chunked.text());
        assert.equal(String(origins[name].last().body), body);
      });
    }
  }
  await t.test('over HTTP/2', async () => {
    const client = await connectHttp2(gateway.port);
    const answer = await ask(client, '/standard/hook', { method: 'POST', body: '{"a": 1}' });
    assert.equal(answer.status, 200, answer.body);
    client.close();
  });
  await t.test('none at all', async () => assert.equal((await fetch(`${gateway.url}/standard/hook`)).status, 200));
});

test('around the gateway nobody gets in', async () => {
  await fetch(`${gateway.url}/stripe/hook`, { method: 'POST', body: '{"amount": 10}' });
  const it = origins.stripe.last();
  assert.equal((await fetch(`${origins.stripe.url}/stripe/hook`, { method: 'POST', body: '{}' })).status, 401);
  assert.equal((await resend(origins.stripe, it, { body: Buffer.from('{"amount": 99}') })).status, 401);
  const [, time] = /t=(\d+)/.exec(it.headers['stripe-signature']);
  assert.equal((await resend(origins.stripe, it, { fields: { 'stripe-signature': it.headers['stripe-signature'].replace(time, time - 1) } })).status, 401, 'the time is signed');
  assert.equal((await resend(origins.stripe, it, { drop: ['stripe-signature'] })).status, 401);
  await fetch(`${gateway.url}/standard/hook`, { method: 'POST', body: '{}' });
  const seen = origins.standard.last();
  assert.deepEqual(await resend(origins.standard, seen), { status: 401, text: 'a replay' });
  assert.equal((await resend(origins.standard, seen, { fields: { 'webhook-id': 'msg_other' } })).status, 401, 'the id is signed');
});

test('what clients say in those fields does not survive', async () => {
  const headers = ['Stripe-Signature: t=1,v1=00', 'stripe_signature: t=1,v1=00', 'Webhook-Id: mine', 'Webhook-Timestamp: 1', 'Webhook-Signature: v1,AAAA'];
  for (const name of ['stripe', 'standard']) {
    const response = await exchange(gateway.port, request(`/${name}/hook`, { method: 'POST', headers, body: '{}' }));
    assert.equal(response.status, 200, response.text());
    for (const { value } of origins[name].last().raw) assert.ok(!['t=1,v1=00', 'mine', '1', 'v1,AAAA'].includes(value), value);
  }
});

test('every attempt is a message of its own', async () => {
  failures = 2;
  const response = await fetch(`${gateway.url}/flaky/hook`, { method: 'PUT', body: '{"n": 1}' });
  assert.equal(response.status, 200, await response.text());
  assert.equal(new Set(origins.flaky.seen.map(({ headers }) => headers['webhook-id'])).size, 3);
});

test('over the limit 413', async () => {
  const response = await fetch(`${gateway.url}/standard/hook`, { method: 'POST', body: Buffer.alloc(2 ** 20 + 1) });
  assert.equal(response.status, 413);
  assert.equal((await response.json()).code, 'PST-R413');
});

test('origin test shows what is signed, and no secret is said anywhere', async () => {
  const { stdout, stderr } = await gateway.postern('origin test', 'standard');
  assert.match(stdout, /what is signed\n {4}\| msg_[0-9a-f]{32}\.\d{10}\.<body of 0 bytes>/);
  for (const output of [stdout, stderr, gateway.output()]) for (const each of [text, nextText, whsec, whsec.slice(6)]) assert.ok(!output.includes(each));
});
