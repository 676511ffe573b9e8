import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { temporaryFolder } from "../doubles/folder.ts";

/** What docker makes of stack files: the file that it prints, or its reason to print none. */
export type Printed =
  { readonly kind: "accepted"; readonly yaml: string } | { readonly kind: "refused"; readonly why: string };

/** A docker CLI that knows `stack config`: $DOCKER, or the one on the path. No engine is needed. */
export function findDocker(): string {
  const docker = process.env.DOCKER ?? "docker";
  const asked = spawnSync(docker, ["stack", "config", "--help"], { encoding: "utf8" });
  // An older docker shows the help of `docker stack` instead.
  if (asked.stdout?.includes("--skip-interpolation")) return docker;
  throw new Error(
    `"${docker}" has no "stack config", which came with docker 23. Set DOCKER to one that has: script/sandbox stack-config. ${asked.error?.message ?? asked.stderr}`,
  );
}

export interface Question {
  /** Relative paths follow from here. */
  readonly folder: string;
  /** As `-c` takes them; `-` for `stdin`. */
  readonly files: readonly string[];
  readonly stdin?: string;
  /** Docker's whole environment, but for PATH. */
  readonly variables?: ReadonlyMap<string, string>;
}

export async function stackConfig(docker: string, question: Question): Promise<Printed> {
  const { folder, files, stdin = "", variables = new Map() } = question;
  // Behind a swarm that is tested at the same time and has deadlines.
  const argv = ["-n", "10", docker, "stack", "config", ...files.flatMap((file) => ["-c", file])];
  const child = spawn("nice", argv, {
    cwd: folder,
    // It lives for a moment: threads and a garbage collector would cost it a fifth more.
    env: { PATH: process.env.PATH, GOMAXPROCS: "1", GOGC: "off", ...Object.fromEntries(variables) },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.on("error", () => undefined); // Docker may be gone before it has read all.
  child.stdin.end(stdin);
  const [stdout, stderr, status] = await Promise.all([
    textOf(child.stdout),
    textOf(child.stderr),
    new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve)),
  ]);
  return status === 0
    ? { kind: "accepted", yaml: stdout }
    : { kind: "refused", why: withoutWarnings(stderr) };
}

function withoutWarnings(stderr: string): string {
  return stderr.replaceAll(/^time=.*\n/gm, "").trim();
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

/** A folder with these files, by their paths in it, until it is disposed of. */
export function folderWith(
  files: Iterable<readonly [string, string | Uint8Array]>,
): { readonly path: string } & Disposable {
  const folder = temporaryFolder();
  for (const [path, content] of files) {
    mkdirSync(dirname(join(folder.path, path)), { recursive: true });
    writeFileSync(join(folder.path, path), content);
  }
  return folder;
}
