// gRPC through the gateway with @grpc/grpc-js on both sides: in clear (h2c) and over TLS. No generated code: messages are
// Buffers.
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import http2 from 'node:http2';
import { before, test } from 'node:test';
import { Gateway, identity, secret } from './lib/gateway.mjs';
import { freePort, onCleanup } from './lib/cleanup.mjs';
import { H2Wire, code as h2code, frames, startRawH2Origin } from './lib/http2_wire.mjs';
import { ask, connectHttp2, peer, testPki } from './lib/peers.mjs';
import { until, within } from './lib/wait.mjs';

const grpc = peer('@grpc/grpc-js');
const { status } = grpc;
const same = (bytes) => bytes;
const kinds = { Unary: [false, false], Upload: [true, false], Download: [false, true], Chat: [true, true], Fail: [false, false], Wait: [false, true], Late: [false, true], Big: [false, false] };
const service = (name) => Object.fromEntries(Object.entries(kinds).map(([method, [requestStream, responseStream]]) => [method, {
  path: `/${name}/${method}`, requestStream, responseStream,
  requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same,
}]));
const Client = grpc.makeGenericClientConstructor(service('test.Echo'), 'Echo');
const unlimited = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1, 'grpc.enable_retries': 0 };

const events = new EventEmitter();  // what the server saw: 'call', 'cancelled'
const implementation = {
  Unary(call, callback) {
    events.emit('call', call);
    const initial = new grpc.Metadata();
    initial.set('x-initial', 'first');
    initial.set('x-initial-bin', Buffer.from([0, 255, 10, 13]));
    for (const value of call.metadata.get('x-client')) initial.add('x-seen', value);
    call.sendMetadata(initial);
    const trailer = new grpc.Metadata();
    trailer.set('x-trailer', 'last');
    trailer.set('x-trailer-bin', Buffer.from([1, 2, 3, 0]));
    const bin = call.metadata.get('x-client-bin')[0];
    if (bin) trailer.set('x-seen-bin', bin);
    callback(null, Buffer.concat([Buffer.from('echo '), call.request]), trailer);
  },
  Upload(call, callback) {
    const parts = [];
    call.on('data', (bytes) => parts.push(bytes));
    call.on('end', () => callback(null, Buffer.from(`${parts.length} ${Buffer.concat(parts).length}`)));
    call.on('cancelled', () => events.emit('cancelled', 'Upload'));
  },
  Download(call) {
    for (let n = 1; n <= Number(call.request); n++) call.write(Buffer.from(`part ${n}`));
    call.end();
  },
  Chat(call) {
    call.on('data', (bytes) => call.write(Buffer.concat([Buffer.from('re: '), bytes])));
    call.on('end', () => call.end());
    call.on('cancelled', () => events.emit('cancelled', 'Chat'));
  },
  Fail(call, callback) {
    const metadata = new grpc.Metadata();
    metadata.set('x-reason', 'why');
    callback({ code: Number(call.request), details: 'näh: 100% \n no', metadata });
  },
  Wait(call) {
    events.emit('call', call);
    if (String(call.request) === 'begin') call.write(Buffer.from('begun'));
    call.on('cancelled', () => events.emit('cancelled', 'Wait'));
  },
  Late(call) {
    call.write(Buffer.from('one'));
    setTimeout(() => { const metadata = new grpc.Metadata(); metadata.set('x-late', 'yes'); call.emit('error', { code: status.DATA_LOSS, details: 'half of it', metadata }); }, 50);
  },
  Big(call, callback) { callback(null, call.request); },
};

let gateway;
let ports;
let key;
const servers = {};
const shapes = ['in clear', 'over TLS'];

async function startServer(credentials) {
  const server = new grpc.Server(unlimited);
  for (const name of ['test.Echo', 'test.Private', 'test.Limited', 'test.Down', 'test.Small']) server.addService(service(name), implementation);
  const port = await new Promise((resolve, reject) => server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound))));
  onCleanup(() => server.forceShutdown());
  return { server, port };
}
// A server that does not look at the clock: what ends a call here is not its own deadline.
async function startMute() {
  const server = http2.createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    stream.on('close', () => events.emit('cancelled', 'Mute'));
    stream.once('data', (message) => {
      if (!String(message).includes('begin')) return;
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.write(framed(Buffer.from('begun')));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  onCleanup(() => server.close());
  return server.address().port;
}
function connect(shape, { Constructor = Client, ...options } = {}) {
  const secure = shape === 'over TLS';
  const credentials = secure ? grpc.credentials.createSsl(Buffer.from(testPki().ca)) : grpc.credentials.createInsecure();
  const client = new Constructor(`127.0.0.1:${secure ? ports.tls : ports.h2c}`, credentials, {
    ...unlimited, ...(secure ? { 'grpc.ssl_target_name_override': 'api.test' } : {}), 'grpc.default_authority': 'api.test', ...options });
  onCleanup(() => client.close());
  return client;
}
const metadata = (entries) => { const all = new grpc.Metadata(); for (const [name, value] of Object.entries(entries)) all.set(name, value); return all; };
// {error, reply, initial, final} of a unary call.
const unary = (client, method, message, fields = {}, options = {}) => within(method, new Promise((resolve) => {
  const result = {};
  const call = client[method](Buffer.from(message), metadata(fields), options, (error, reply) => Object.assign(result, { error, reply }));
  call.on('metadata', (initial) => { result.initial = initial; });
  call.on('status', (final) => { result.final = final; resolve(result); });
}), 60_000);
// {parts, final} of a call that the server streams.
function collect(call) {
  const result = { parts: [] };
  call.on('data', (bytes) => result.parts.push(bytes.toString()));
  call.on('error', () => {});
  return { result, done: within('the status', new Promise((resolve) => call.on('status', (final) => resolve(Object.assign(result, { final })))), 60_000) };
}

before(async () => {
  const { pair, ca, caFile } = testPki();
  servers['in clear'] = await startServer(grpc.ServerCredentials.createInsecure());
  servers['over TLS'] = await startServer(grpc.ServerCredentials.createSsl(null, [{ private_key: Buffer.from(pair.keyPem), cert_chain: Buffer.from(pair.chainPem) }]));
  assert.ok(ca);
  ports = { h2c: await freePort(), tls: await freePort() };
  const gone = await freePort();
  const origins = {
    clear: { url: `http://127.0.0.1:${servers['in clear'].port}`, http2: 'always', identity },
    secure: { url: `https://127.0.0.1:${servers['over TLS'].port}`, trust: { ca: caFile }, identity },
    gone: { url: `http://127.0.0.1:${gone}`, http2: 'always', identity },
    mute: { url: `http://127.0.0.1:${await startMute()}`, http2: 'always', identity },
  };
  // In clear on one side is in clear on the other: the host decides.
  gateway = await Gateway.start({
    listeners: [{ address: `127.0.0.1:${ports.h2c}`, http2: 'h2c' }, { address: `127.0.0.1:${ports.tls}`, tls: pair.files }],
    limits: { max_body_size: 'unlimited' },
    origins,
    routes: [
      { match: { path: '/test.Echo/*' }, origin: 'secure', public: true },
      { match: { path: '/test.Echo/*', host: 'clear.test' }, origin: 'clear', public: true },
      { match: { path: '/test.Private/*' }, origin: 'secure', policies: ['api_key'] },
      { match: { path: '/test.Limited/*' }, origin: 'secure', public: true, policies: [{ rate_limit: { requests: 2, per: '1h', by: 'address' } }] },
      { match: { path: '/test.Small/*' }, origin: 'secure', public: true, policies: [{ body_limit: { max: '1KiB' } }] },
      { match: { path: '/test.Down/*' }, origin: 'gone', public: true },
      { match: { path: '/test.Mute/*' }, origin: 'mute', public: true },
    ],
  });
  key = await gateway.createKey('robot');
});

for (const shape of shapes) {
  const connectEcho = () => connect(shape, shape === 'in clear' ? { 'grpc.default_authority': 'clear.test' } : {});

  test(`every kind of call ${shape} on both sides`, async (t) => {
    const client = connectEcho();
    await t.test('unary, with metadata both ways, binary too', async () => {
      const seen = once(events, 'call');
      const { error, reply, initial, final } = await unary(client, 'Unary', 'hello', { 'x-client': 'Text, with comma', 'x-client-bin': Buffer.from([0, 1, 254, 255]), 'x-backend-secret': 'forged' });
      assert.equal(error, null);
      assert.equal(reply.toString(), 'echo hello');
      assert.deepEqual(initial.get('x-initial'), ['first']);
      assert.deepEqual(initial.get('x-initial-bin'), [Buffer.from([0, 255, 10, 13])]);
      assert.deepEqual(initial.get('x-seen'), ['Text, with comma']);
      assert.deepEqual(final.metadata.get('x-trailer'), ['last']);
      assert.deepEqual(final.metadata.get('x-trailer-bin'), [Buffer.from([1, 2, 3, 0])]);
      assert.deepEqual(final.metadata.get('x-seen-bin'), [Buffer.from([0, 1, 254, 255])]);
      assert.ok(initial.get('x-request-id')[0]);
      const [call] = await seen;
      assert.deepEqual(call.metadata.get('x-backend-secret'), [secret], 'identity of the gateway, not of the client');
    });
    await t.test('client streaming', async () => {
      const reply = await within('the reply', new Promise((resolve, reject) => {
        const call = client.Upload((error, answer) => (error ? reject(error) : resolve(answer.toString())));
        for (let n = 0; n < 200; n++) call.write(Buffer.alloc(10_000));
        call.end();
      }));
      assert.equal(reply, '200 2000000');
    });
    await t.test('server streaming', async () => {
      const { done } = collect(client.Download(Buffer.from('500')));
      const { parts, final } = await done;
      assert.equal(final.code, status.OK);
      assert.deepEqual([parts.length, parts[0], parts[499]], [500, 'part 1', 'part 500']);
    });
    await t.test('bidirectional streaming, each answer before the next question', async () => {
      const call = client.Chat();
      const { result, done } = collect(call);
      for (let n = 1; n <= 20; n++) {
        call.write(Buffer.from(`${n}`));
        await until(`answer ${n}`, () => result.parts.length === n);
      }
      call.end();
      assert.equal((await done).final.code, status.OK);
      assert.equal(result.parts[19], 're: 20');
    });
    await t.test('a hundred calls at once', async () => {
      const replies = await Promise.all(Array.from({ length: 100 }, (_, n) => unary(client, 'Unary', `${n}`)));
      assert.deepEqual(replies.map(({ reply, error }) => reply?.toString() ?? error.message), Array.from({ length: 100 }, (_, n) => `echo ${n}`));
    });
    await t.test('messages of 20 MiB both ways', async () => {
      const message = Buffer.alloc(20 * 2 ** 20, 'm');
      const { error, reply } = await unary(client, 'Big', message);
      assert.equal(error, null);
      assert.ok(reply.equals(message));
    });
    await t.test('an error of the server passes whole: code, text, metadata', async () => {
      for (const number of [status.NOT_FOUND, status.UNAVAILABLE, status.UNAUTHENTICATED, status.INTERNAL]) {
        const { error } = await unary(client, 'Fail', String(number));
        assert.deepEqual([error.code, error.details], [number, 'näh: 100% \n no']);
        assert.deepEqual(error.metadata.get('x-reason'), ['why']);
      }
    });
    await t.test('an error after the first message, too', async () => {
      const { parts, final } = await collect(client.Late(Buffer.from(''))).done;
      assert.deepEqual([parts, final.code, final.details], [['one'], status.DATA_LOSS, 'half of it']);
      assert.deepEqual(final.metadata.get('x-late'), ['yes']);
    });
    await t.test('a call that the client cancels is cancelled at the server', async () => {
      for (const [method, begin] of [['Wait', (c) => c.Wait(Buffer.from('begin'))], ['Chat', (c) => { const call = c.Chat(); call.write(Buffer.from('x')); return call; }]]) {
        const call = begin(client);
        const { result, done } = collect(call);
        await until('the first message', () => result.parts.length === 1);
        const cancelled = once(events, 'cancelled');
        call.cancel();
        assert.equal((await done).final.code, status.CANCELLED);
        assert.deepEqual(await within('the server to see it', cancelled), [method]);
      }
      assert.equal((await unary(client, 'Unary', 'still')).error, null);
    });
    await t.test("the client's deadline ends the call on both sides", async () => {
      for (const message of ['silent', 'begin']) {
        const cancelled = once(events, 'cancelled');
        const { done } = collect(client.Wait(Buffer.from(message), { deadline: Date.now() + 300 }));
        assert.equal((await done).final.code, status.DEADLINE_EXCEEDED);
        assert.deepEqual(await within('the server to see it', cancelled), ['Wait']);
      }
    });
  });
}

test('the gateway itself keeps a deadline', async (t) => {
  // A client that does not look at the clock.
  const client = await connectHttp2(ports.h2c);
  const call = (path, timeout, message = Buffer.from('silent')) => ask(client, path, { method: 'POST', body: framed(message),
    headers: { ':authority': 'api.test', 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': timeout } });
  for (const [timeout, message] of [['300m', 'silent'], ['300000u', 'silent'], ['1S', 'begin']]) {
    await t.test(`${timeout}, ${message === 'begin' ? 'after the first message' : 'before an answer'}`, async () => {
      const cancelled = once(events, 'cancelled');
      const started = Date.now();
      const answer = await call('/test.Mute/Wait', timeout, Buffer.from(message));
      assert.ok(Date.now() - started >= 290, 'not before its time');
      assert.equal(answer.status, 200);
      const fields = answer.trailers ?? answer.headers;
      assert.equal(fields['grpc-status'], String(status.DEADLINE_EXCEEDED), JSON.stringify(fields));
      assert.match(fields['grpc-message'], /PST-R021/);
      assert.equal(answer.bytes > 0, message === 'begin');
      assert.deepEqual(await within('the server to see it', cancelled), ['Mute']);
    });
  }
  await t.test('what is no deadline is none', async () => {
    for (const timeout of ['', '5', 'm', '-1S', '123456789S', '1.5S', '1 S', '99999999H']) {
      const answer = await call('/test.Echo/Unary', timeout, Buffer.from('x'));
      const fields = answer.trailers ?? answer.headers;
      // The server has its own opinion of what is malformed; the gateway's is to have none.
      assert.notEqual(fields['grpc-status'], String(status.DEADLINE_EXCEEDED), timeout);
      assert.doesNotMatch(fields['grpc-message'] ?? '', /PST-/, timeout);
    }
  });
  await t.test('one that has passed is answered at once', async () => {
    const answer = await call('/test.Echo/Wait', '1n');
    assert.equal((answer.trailers ?? answer.headers)['grpc-status'], String(status.DEADLINE_EXCEEDED));
  });
  client.close();
});
// A length-prefixed message of the gRPC wire format.
function framed(message) {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

test("the gateway's own errors are a status", async (t) => {
  const of = (name) => grpc.makeGenericClientConstructor(service(name), name);
  const cases = [
    ['no key is UNAUTHENTICATED', 'test.Private', {}, status.UNAUTHENTICATED, /PST-P401/],
    ['a wrong key is UNAUTHENTICATED', 'test.Private', { 'x-api-key': 'pst_guess' }, status.UNAUTHENTICATED, /PST-P402/],
    ['no route is UNIMPLEMENTED', 'test.Nowhere', {}, status.UNIMPLEMENTED, /PST-R404/],
    ['an origin that is down is UNAVAILABLE', 'test.Down', {}, status.UNAVAILABLE, /PST-U00/],
  ];
  for (const shape of shapes) {
    for (const [name, target, fields, expected, text] of cases) {
      await t.test(`${name}, ${shape}`, async () => {
        const client = connect(shape, { Constructor: of(target) });
        const { error, final } = await unary(client, 'Unary', 'x', fields);
        assert.equal(error?.code, expected, error?.message);
        assert.match(error.details, text);
        assert.ok(final.metadata.get('x-request-id')[0] || error.metadata.get('x-request-id')[0]);
      });
    }
  }
  await t.test('with the key it passes', async () => {
    const { error, reply } = await unary(connect('over TLS', { Constructor: of('test.Private') }), 'Unary', 'x', { 'x-api-key': key });
    assert.equal(error, null);
    assert.equal(reply.toString(), 'echo x');
  });
  await t.test('a rate limit is RESOURCE_EXHAUSTED', async () => {
    const client = connect('over TLS', { Constructor: of('test.Limited') });
    const results = await Promise.all(Array.from({ length: 5 }, () => unary(client, 'Unary', 'x')));
    assert.equal(results.filter(({ error }) => !error).length, 2);
    for (const { error } of results) if (error) { assert.equal(error.code, status.RESOURCE_EXHAUSTED); assert.match(error.details, /PST-P429/); }
  });
  await t.test('a message over the limit is RESOURCE_EXHAUSTED', async () => {
    const client = connect('over TLS', { Constructor: of('test.Small') });
    assert.equal((await unary(client, 'Big', 'x'.repeat(500))).error, null);
    const { error } = await unary(client, 'Big', 'x'.repeat(5000));
    assert.equal(error.code, status.RESOURCE_EXHAUSTED, error.message);
  });
  await t.test('they say 200, application/grpc and no body; the access log says what happened', async () => {
    const client = await connectHttp2(ports.h2c);
    for (const type of ['application/grpc', 'application/grpc+proto', 'application/grpc;charset=x', 'APPLICATION/GRPC']) {
      const answer = await ask(client, '/nowhere/x', { method: 'POST', body: framed(Buffer.alloc(0)), headers: { 'content-type': type } });
      assert.deepEqual([answer.status, answer.headers['grpc-status'], answer.bytes, answer.headers['content-type']], [200, '12', 0, 'application/grpc'], type);
    }
    for (const type of ['application/grpc-web', 'application/json', 'application/grpcx']) {
      const answer = await ask(client, '/nowhere/x', { method: 'POST', body: 'x', headers: { 'content-type': type } });
      assert.deepEqual([answer.status, answer.json().code, answer.headers['grpc-status']], [404, 'PST-R404', undefined], type);
    }
    const record = await gateway.logged(({ path }) => path === '/nowhere/x');
    assert.equal(record.error_code, 'PST-R404');
    client.close();
  });
});

test('an origin that dies ends calls with a status, not with silence', async (t) => {
  for (const secure of [false, true]) {
    const shape = secure ? 'over TLS' : 'in clear';
    await t.test(`the server is shut down by force, ${shape}`, async () => {
      const { pair, caFile } = testPki();
      const mortal = await startServer(secure ? grpc.ServerCredentials.createSsl(null, [{ private_key: Buffer.from(pair.keyPem), cert_chain: Buffer.from(pair.chainPem) }]) : grpc.ServerCredentials.createInsecure());
      const own = await Gateway.start((g) => ({
        listeners: [{ address: `127.0.0.1:${g.port}`, http2: 'h2c' }],
        origins: { main: { url: `${secure ? 'https' : 'http'}://127.0.0.1:${mortal.port}`, ...(secure ? { trust: { ca: caFile } } : { http2: 'always' }), identity } },
        routes: [{ match: { path: '/*' }, origin: 'main', public: true }],
      }));
      const client = new Client(`127.0.0.1:${own.port}`, grpc.credentials.createInsecure(), unlimited);
      onCleanup(() => client.close());
      const calls = Array.from({ length: 5 }, () => collect(client.Wait(Buffer.from('begin'))));
      await until('all of them under way', () => calls.every(({ result }) => result.parts.length === 1));
      mortal.server.forceShutdown();
      for (const { done } of calls) {
        const { final } = await done;
        assert.ok([status.UNAVAILABLE, status.CANCELLED, status.INTERNAL].includes(final.code), `${final.code} ${final.details}`);
      }
      const { error } = await unary(client, 'Unary', 'after');
      assert.equal(error.code, status.UNAVAILABLE);
    });
  }
  await t.test('the connection breaks in the middle of a message', async () => {
    const origin = await startRawH2Origin({ onRequest: (stream, wire) => {
      wire.write(Buffer.concat([frames.headers(stream.id, [[':status', '200'], ['content-type', 'application/grpc']], { end: false }), frames.data(stream.id, Buffer.from([0, 0, 0, 0, 9, 1, 2]))]));
      setTimeout(() => wire.socket.resetAndDestroy(), 100);
    } });
    const own = await Gateway.start((g) => ({ listeners: [{ address: `127.0.0.1:${g.port}`, http2: 'h2c' }], origins: { main: { url: origin.url, http2: 'always', identity } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }] }));
    const wire = await H2Wire.connect(own.port);
    const stream = wire.request('/test.Echo/Unary', { method: 'POST', end: false, headers: [['content-type', 'application/grpc'], ['te', 'trailers']] });
    await stream.send(framed(Buffer.from('x')), true);
    await stream.finished();
    const trailers = Object.fromEntries(stream.trailers ?? []);
    assert.equal(trailers['grpc-status'], String(status.UNAVAILABLE), stream.outcome);
    assert.match(trailers['grpc-message'], /PST-U004/);
    assert.ok(await wire.alive());
    assert.notEqual(stream.reset, h2code.INTERNAL_ERROR);
    wire.close();
  });
  await t.test('a stream that the origin resets has the status of its code', async () => {
    let reset = h2code.CANCEL;
    const origin = await startRawH2Origin({ onRequest: (stream, wire) => wire.write(frames.rst(stream.id, reset)) });
    const own = await Gateway.start((g) => ({ listeners: [{ address: `127.0.0.1:${g.port}`, http2: 'h2c' }], origins: { main: { url: origin.url, http2: 'always', identity } }, routes: [{ match: { path: '/*' }, origin: 'main', public: true }] }));
    const client = new Client(`127.0.0.1:${own.port}`, grpc.credentials.createInsecure(), unlimited);
    onCleanup(() => client.close());
    for (reset of [h2code.CANCEL, h2code.INTERNAL_ERROR, h2code.ENHANCE_YOUR_CALM, h2code.REFUSED_STREAM]) {
      const { error } = await unary(client, 'Unary', 'x');
      assert.equal(error.code, status.UNAVAILABLE, `${reset}: ${error.message}`);
    }
  });
});
