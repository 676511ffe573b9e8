import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { Cancelled, PreflightError } from "../errors.ts";
import { type Docker, type DockerAnswer, type DockerCall } from "../world.ts";

/**
 * Runs docker commands with one private configuration. `@actions/exec` can't end what it started, and a cancelled deployment must
 * leave no docker behind; hence Node's own spawn.
 */
export class DockerCli implements Docker {
  readonly #environment: Readonly<Record<string, string>>;
  readonly #signal: AbortSignal;

  /** `environment` replaces what the step's own environment says about docker. */
  constructor(environment: Readonly<Record<string, string>>, signal: AbortSignal) {
    this.#environment = environment;
    this.#signal = signal;
  }

  /** The same docker with more variables set, for instance a DOCKER_HOST. */
  with(environment: Readonly<Record<string, string>>): DockerCli {
    return new DockerCli({ ...this.#environment, ...environment }, this.#signal);
  }

  /** Resolves whatever the exit code is; rejects when docker can't be started and when the deployment is cancelled. */
  async run(argv: readonly string[], call: DockerCall = {}): Promise<DockerAnswer> {
    this.#signal.throwIfAborted();
    const env = { ...stepEnvironment(process.env), ...this.#environment, ...call.environment };
    const child = spawn("docker", argv, {
      env: Object.fromEntries(Object.entries(env).filter(([, value]) => value !== "")),
      stdio: ["pipe", "pipe", "pipe"],
      detached: true, // A group of its own, so that its plug-ins end with it.
      ...(call.cwd === undefined ? {} : { cwd: call.cwd }),
    });
    const end = (): void => {
      killGroup(child, "SIGTERM");
      setTimeout(() => killGroup(child, "SIGKILL"), GRACE_MS).unref();
    };
    this.#signal.addEventListener("abort", end, { once: true });
    const stdout = collect(child.stdout, call.onLine);
    const stderr = collect(child.stderr, call.onLine);
    child.stdin.on("error", () => undefined); // Docker may end before it has read everything; its exit code says why.
    try {
      const ended = new Promise<number>((resolve, reject) => {
        child.on("error", (error: NodeJS.ErrnoException) => {
          reject(error.code === "ENOENT" ? dockerMissing(error) : error);
        });
        child.on("close", (exit) => resolve(exit ?? 255));
        // Whoever else holds the pipes open must not hold up the end of a cancelled step.
        child.on("exit", (exit) => {
          if (this.#signal.aborted) resolve(exit ?? 255);
        });
      });
      let failure: unknown;
      // It may end before it has been given all, and even before there is anything to give.
      void give(call.input, child).catch((error: unknown) => {
        failure = error;
        killGroup(child, "SIGKILL");
      });
      const code = await ended;
      if (this.#signal.aborted)
        throw this.#signal.reason instanceof Error ? this.#signal.reason : new Cancelled("a signal");
      if (failure !== undefined) throw failure;
      return { code, stdout: stdout(), stderr: stderr() };
    } finally {
      this.#signal.removeEventListener("abort", end);
      if (this.#signal.aborted) {
        killGroup(child, "SIGKILL"); // Docker itself has ended; what it started has no business left.
        child.stdout.destroy();
        child.stderr.destroy();
      }
    }
  }
}

async function give(input: DockerCall["input"] = "", child: ChildProcessWithoutNullStreams): Promise<void> {
  child.stdin.end(typeof input === "string" ? input : await input());
}

/** Long enough for docker to tell its engine that the build is off. */
const GRACE_MS = 3000;

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // ESRCH: all of it has ended already.
  }
}

function dockerMissing(cause: unknown): PreflightError {
  const hint = "Install it in a step before this one; GitHub's ubuntu-latest has it.";
  return new PreflightError([{ message: "The docker command was not found on this runner.", hint }], cause);
}

/** Our inputs hold keys and passwords, and docker's plug-ins need none of them. */
export function stepEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && !name.startsWith("INPUT_") && !name.startsWith("STATE_")) kept[name] = value;
  }
  return kept;
}

function collect(stream: NodeJS.ReadableStream, onLine: ((line: string) => void) | undefined): () => string {
  let all = "";
  let open = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    all += chunk;
    if (onLine === undefined) return;
    const lines = (open + chunk).split(/\r\n|\r|\n/);
    open = lines.pop() ?? "";
    lines.filter((line) => line.trim() !== "").forEach(onLine);
  });
  stream.on("end", () => {
    if (onLine !== undefined && open.trim() !== "") onLine(open);
  });
  return () => all;
}
