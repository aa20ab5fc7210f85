// FakeClock: a calendar that a test moves, for programs whose certificates have to grow old within seconds.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from './cleanup.mjs';

export class FakeClock {
  constructor() {
    const directory = temporaryDirectory();
    const library = path.join(directory, 'fake_clock.so');
    const source = path.join(path.dirname(fileURLToPath(import.meta.url)), 'fake_clock.c');
    execFileSync('clang-19', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl']);
    this.file = path.join(directory, 'ahead');
    writeFileSync(this.file, Buffer.alloc(8));
    this.env = { LD_PRELOAD: library, FAKE_CLOCK: this.file };
    this.ahead = 0;
  }
  // From now on it is `seconds` later than on this machine.
  set(seconds) {
    this.ahead = seconds;
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(Math.round(seconds)));
    const file = openSync(this.file, 'r+');  // in place: it is mapped
    writeSync(file, bytes, 0, 8, 0);
    closeSync(file);
  }
  days(count) { this.set(count * 86_400); }
  now() { return new Date(Date.now() + this.ahead * 1000); }
}
