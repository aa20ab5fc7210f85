// What a client puts behind a request that a policy refuses, on the same connection: the bytes of a body are never a
// request, and a request that follows is answered in its turn or not at all.
import assert from 'node:assert/strict';
import { before, beforeEach, test } from 'node:test';
import { Gateway, identity } from './lib/gateway.mjs';
import { RecordingOrigin, reply } from './lib/recording_origin.mjs';
import { smuggled } from './lib/refusal.mjs';
import { Wire, exchange, request } from './lib/wire.mjs';

let gateway;
let origin;
before(async () => {
  origin = await RecordingOrigin.start({ answer: ({ target }) => reply(200, target) });
  gateway = await Gateway.start({
    origins: { main: { url: origin.url, identity } },
    routes: [
      { match: { path: '/keyed' }, origin: 'main', policies: ['api_key'] },
      { match: { path: '/limited' }, origin: 'main', policies: [{ rate_limit: { requests: 1, per: '1h', by: 'address' } }], public: true },
      { match: { path: '/*' }, origin: 'main', public: true },
    ],
  });
  assert.equal((await exchange(gateway.port, request('/limited'))).status, 200);
});
beforeEach(() => origin.reset());

const refusals = [['401', '/keyed', 'PST-P401'], ['429', '/limited', 'PST-P429']];
const bodies = [
  ['Content-Length', [`Content-Length: ${smuggled.length}`], smuggled],
  ['Content-Length, large', [`Content-Length: ${smuggled.length * 5_000}`], smuggled.repeat(5_000)],
  ['chunked', ['Transfer-Encoding: chunked'], `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`],
  ['chunked, a request as its trailers', ['Transfer-Encoding: chunked'], `0\r\nGET: /smuggled\r\n\r\n`],
];

for (const [status, path, code] of refusals) {
  test(`the body of a request that got ${status} is no request`, async (t) => {
    for (const [name, headers, body] of bodies) {
      for (const together of [true, false]) {
        await t.test(`${name}, ${together ? 'at once' : 'after the answer'}`, async () => {
          const wire = await Wire.connect(gateway.port);
          const head = request(path, { method: 'POST', headers });
          await wire.send(together ? head + body + request('/next') : head);
          const first = await wire.read('POST');
          assert.equal(first.status, Number(status));
          assert.equal(first.problem().code, code);
          if (!together) await wire.send(body + request('/next'));
          // Closing is always allowed; an answer must be that to the request which follows the body.
          const second = await wire.read().catch(() => null);
          if (second) assert.equal(second.text(), '/next');
          else assert.equal(wire.ended, true);
          wire.close();
          assert.equal((await exchange(gateway.port, request('/later'))).status, 200);
          assert.deepEqual(origin.requests.map(({ target }) => target).filter((target) => target !== '/next'), ['/later']);
          assert.deepEqual(origin.errors, []);
        });
      }
    }
  });

  test(`requests around one that got ${status} are answered in order`, async () => {
    const wire = await Wire.connect(gateway.port);
    await wire.send(request('/first') + request(path) + request('/third') + request(path) + request('/fifth'));
    const answers = [];
    for (let n = 0; n < 5; n++) {
      const response = await wire.read();
      answers.push(response.status === 200 ? response.text() : response.problem().code);
    }
    assert.deepEqual(answers, ['/first', code, '/third', code, '/fifth']);
    wire.close();
    assert.deepEqual(origin.requests.map(({ target }) => target), ['/first', '/third', '/fifth']);
  });
}
