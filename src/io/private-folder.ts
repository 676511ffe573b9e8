import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A unix socket's path may have 107 bytes; Node 20 cuts a longer one off in silence and listens elsewhere (TOOLCHAIN A3). */
const LONGEST_PARENT = 80;

/** A new folder that only this user can open (0700), under the runner's temporary folder where that is short enough for a socket. */
export function makePrivateFolder(): string {
  const parents = [process.env.RUNNER_TEMP ?? "", tmpdir(), "/tmp"].filter((parent) => parent !== "");
  const parent = parents.find((candidate) => Buffer.byteLength(candidate) <= LONGEST_PARENT) ?? "/tmp";
  return mkdtempSync(join(parent, "swarm-stack-"));
}

export function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true });
}
