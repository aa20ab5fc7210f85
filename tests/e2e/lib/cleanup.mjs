// What a test file starts is stopped when the file is done, the last first, whatever happened in between.
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';

const stack = [];
export const onCleanup = (action) => stack.push(action);

after(async () => {
  while (stack.length > 0) await stack.pop()();
});
process.on('exit', () => {
  for (const action of stack) action.kill?.();
});

export function temporaryDirectory() {
  const directory = mkdtempSync(path.join(tmpdir(), 'postern-e2e-'));
  onCleanup(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

// A port below the ephemeral range, so that no outgoing connection of another test takes it before its owner binds it.
const given = new Set();
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (given.has(port)) continue;
    const free = await new Promise((resolve) => {
      const probe = net.createServer().once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
    });
    if (!free) continue;
    given.add(port);
    return port;
  }
}
