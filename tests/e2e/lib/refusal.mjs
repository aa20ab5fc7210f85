// The check behind every table of hostile requests: refused whole and byte by byte, with the stable code, the connection
// closed where its framing is lost, nothing of it at the origin, and the neighbour on another connection served.
import assert from 'node:assert/strict';
import { Wire, exchange, request } from './wire.mjs';

// What an attacker appends to be taken for the next request.
export const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n';

// `expected`: {status, code: string or array, closes: true (default) if the connection may not be used again,
// silent: true if a close without an answer is right too}.
export async function assertRefused(t, { gateway, origin, name, bytes, expected, neighbourPath = '/neighbour' }) {
  const { status, code, closes = true, silent = false } = expected;
  const codes = [code].flat();
  for (const fragment of [0, 1]) {
    await t.test(`${name}${fragment ? ', byte by byte' : ''}`, async () => {
      const neighbour = await Wire.connect(gateway.port);
      await neighbour.send(request(neighbourPath, { method: 'POST', headers: ['Content-Length: 4'] }) + 'ab');
      const before = origin.requests.length;
      const response = await exchange(gateway.port, bytes, { fragment, keep: true });
      if (response) {
        assert.ok([status].flat().includes(response.status), `${response.status}, expected ${status}: ${response.text()}`);
        const problem = response.problem();
        assert.ok(codes.includes(problem.code), `${problem.code} ${problem.detail ?? ''}, expected ${codes}`);
        if (closes) {
          const after = await response.wire.readToClose();
          assert.equal(after.toString('latin1'), '', 'bytes after the refusal');
        }
        response.wire.close();
      } else {
        assert.ok(silent, 'closed without an answer');
      }
      await neighbour.send('cd');
      const answer = await neighbour.read('POST');
      assert.equal(answer?.status, 200, 'the neighbour');
      assert.equal(origin.last().body.toString(), 'abcd');
      neighbour.close();
      // The neighbour's round trip was the time in which something smuggled would have arrived.
      const others = origin.requests.slice(before).map(({ target }) => target).filter((target) => target !== neighbourPath);
      assert.deepEqual(others, [], 'reached the origin');
      assert.deepEqual(origin.errors, [], 'malformed request at the origin');
    });
  }
}
