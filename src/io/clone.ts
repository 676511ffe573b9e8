import { execFile } from "node:child_process";
import { stepEnvironment } from "./docker.ts";

const DEADLINE_MS = 10_000;

/**
 * How a commit stands to another one by the clone in the workspace: `before` it, as an ancestor, or not. Undefined where the clone
 * can't tell: there is none, a commit is missing, or it is too shallow to be sure.
 */
export async function orderInClone(
  commit: string,
  other: string,
  signal: AbortSignal,
): Promise<"before" | "not before" | undefined> {
  if (commit === other) return "not before";
  const before = await git(["merge-base", "--is-ancestor", commit, other], signal);
  if (before.code === 0) return "before";
  if (before.code !== 1) return undefined;
  const after = await git(["merge-base", "--is-ancestor", other, commit], signal);
  if (after.code === 0) return "not before";
  // A way from one to the other may lie beyond the clone's edge.
  const shallow = await git(["rev-parse", "--is-shallow-repository"], signal);
  return after.code === 1 && shallow.stdout.trim() === "false" ? "not before" : undefined;
}

/** Exit code 128 and the like: git refuses, or is not there. It asks nobody, neither for a password nor a server for a missing commit. */
async function git(
  argv: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly code: number; readonly stdout: string }> {
  const env = { ...stepEnvironment(process.env), GIT_NO_LAZY_FETCH: "1", GIT_TERMINAL_PROMPT: "0" };
  return await new Promise((resolve, reject) => {
    execFile("git", argv, { env, signal, timeout: DEADLINE_MS }, (error, stdout) => {
      if (signal.aborted) reject(signal.reason as Error);
      else resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : 128, stdout });
    });
  });
}
