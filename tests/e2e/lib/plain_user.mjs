// A user without privileges and without a session, as in cron or a container: an environment of PATH and HOME.
import { chownSync, copyFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from './cleanup.mjs';
import { binary } from './gateway.mjs';

const nobody = 65_534;

export class PlainUser {
  constructor() {
    this.home = temporaryDirectory();
    const bin = path.join(this.home, 'bin');
    mkdirSync(bin);
    // The checkout may be closed to others.
    copyFileSync(binary, path.join(bin, 'postern'));
    const root = process.getuid() === 0;
    this.id = root ? nobody : process.getuid();
    if (root) chownSync(this.home, nobody, nobody);
    this.prefix = ['-i', `PATH=${bin}:/usr/local/bin:/usr/bin:/bin`, `HOME=${this.home}`,
      ...(root ? ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'] : [])];
  }
  // [command, args] of `words` run as this user.
  command(...words) { return ['env', [...this.prefix, ...words]]; }
}
