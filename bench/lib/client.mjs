// The runner's own client: a request at a time, over whatever a case's clients speak.
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';

const patience = 5000;  // milliseconds

// { status, body, trailers }; status 0 if nobody answers, or not as `target` = { port, ca, http2, grpc } wants it:
// `ca` is a file's content and means TLS, verified for "localhost"; `grpc` (with http2) wraps `message` into a unary call.
export function request(target, path, headers = {}, message = null) {
  return target.http2 ? requestHttp2(target, path, headers, message) : requestHttp1(target, path, headers);
}

function requestHttp1({ port, ca }, path, headers) {
  return new Promise((resolve) => {
    const options = { host: '127.0.0.1', port, path, agent: false, timeout: patience, ca, servername: ca ? 'localhost' : undefined,
      headers: ca ? { Host: `localhost:${port}`, ...headers } : headers };
    const call = (ca ? https : http).get(options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part)).on('error', () => resolve({ status: 0, body: '', trailers: {} }))
        .on('end', () => resolve({ status: response.statusCode, body: Buffer.concat(parts).toString('latin1'), trailers: response.trailers }));
    });
    call.on('timeout', () => call.destroy()).on('error', () => resolve({ status: 0, body: '', trailers: {} }));
  });
}

function requestHttp2({ port, ca }, path, headers, message) {
  return new Promise((resolve) => {
    const session = http2.connect(`${ca ? 'https' : 'http'}://127.0.0.1:${port}`, { ca, servername: 'localhost' });
    const finish = (answer) => { clearTimeout(timer); session.destroy(); resolve({ status: 0, body: '', trailers: {}, ...answer }); };
    const timer = setTimeout(finish, patience);
    session.on('error', () => finish());
    const call = session.request({ ':path': path, ':authority': `localhost:${port}`, ...headers,
      ...(message ? { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' } : {}) }, { endStream: !message });
    const answer = { trailers: {} };
    const parts = [];
    call.on('error', () => finish()).on('response', (fields) => { answer.status = fields[':status']; })
      .on('trailers', (fields) => { answer.trailers = { ...fields }; })
      .on('data', (part) => parts.push(part)).on('end', () => finish({ ...answer, body: Buffer.concat(parts).toString('latin1') }));
    if (message) call.end(message);
  });
}

// A message as gRPC frames it: not compressed, 32 bits of length.
export function grpcMessage(size) {
  const message = Buffer.alloc(5 + size, 'g');
  message[0] = 0;
  message.writeUInt32BE(size, 1);
  return message;
}
