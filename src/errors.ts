/** Where a deployment stopped: the values of the output `reason`. */
export type Reason = "input" | "render" | "build" | "connect" | "preflight" | "lock" | "deploy" | "rollout";

/** A spot in one of the user's files. Line and column start at 1, as editors and annotations count. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One cause, hence one annotation. */
export interface Problem {
  readonly message: string;
  /** Absent where the cause is no place in a file, for instance a missing input. */
  readonly place?: Place | undefined;
  /** What to do next, as a full sentence. */
  readonly hint?: string | undefined;
}

/** Everything that stops a deployment for a reason a user can act on. Anything else that is thrown is our own bug. */
export class StopError extends Error {
  readonly reason: Reason;
  readonly problems: readonly Problem[];
  /** What was noticed on the way, and did not stop it. */
  readonly warnings: readonly Problem[];

  constructor(
    reason: Reason,
    problems: readonly Problem[],
    cause?: unknown,
    warnings: readonly Problem[] = [],
  ) {
    super(problems.map(describe).join("\n"), cause === undefined ? undefined : { cause });
    this.name = "StopError";
    this.reason = reason;
    this.problems = problems;
    this.warnings = warnings;
  }
}

/** An input is missing or malformed. Nothing was contacted. */
export class InputError extends StopError {
  constructor(problems: readonly Problem[], warnings: readonly Problem[] = []) {
    super("input", problems, undefined, warnings);
  }
}

/** A stack file can't mean what it says. Nothing was contacted. */
export class StackFileError extends StopError {
  constructor(problems: readonly Problem[], warnings: readonly Problem[] = []) {
    super("render", problems, undefined, warnings);
  }
}

/** `docker` could not log in, build or push. The swarm is untouched. */
export class BuildError extends StopError {
  constructor(message: string, hint: string, cause?: unknown) {
    super("build", [{ message, hint }], cause);
  }
}

/**
 * What becomes of an obstacle by itself: nothing (a wrong key), gone within seconds (the network, a restart), or within a minute (the
 * swarm elects a leader).
 */
export type Outlook = "lasting" | "passing" | "electing";

/** No session, or no manager at the other end. The swarm is untouched unless the message says otherwise. */
export class ConnectError extends StopError {
  readonly outlook: Outlook;

  constructor(message: string, hint: string, cause?: unknown, outlook: Outlook = "lasting") {
    super("connect", [{ message, hint }], cause);
    this.outlook = outlook;
  }
}

/** What was asked can't work on this swarm as it stands. The swarm is untouched. */
export class PreflightError extends StopError {
  constructor(problems: readonly Problem[], cause?: unknown) {
    super("preflight", problems, cause);
  }
}

/**
 * Another deployment of the stack holds its lock, or has taken it over. What this one had sent before goes on by itself; from here on
 * it sends nothing.
 */
export class LockError extends StopError {
  constructor(message: string, hint: string, cause?: unknown) {
    super("lock", [{ message, hint }], cause);
  }
}

/** The swarm refused a change, or was lost while it was made. It may be changed in part; the message says so. */
export class DeployError extends StopError {
  constructor(message: string, hint: string, cause?: unknown) {
    super("deploy", [{ message, hint }], cause);
  }
}

/** The manager's engine answered with something other than success. */
export class ManagerRefusal extends DeployError {
  /** Of HTTP. */
  readonly status: number;
  /** The engine's own words. */
  readonly said: string;

  constructor(status: number, what: string, said: string) {
    super(`The manager refused ${what}: ${said}.`, "The engine's log on the manager may say more.");
    this.name = "ManagerRefusal";
    this.status = status;
    this.said = said;
  }
}

/** The runner asked us to stop (SIGINT, SIGTERM). */
export class Cancelled extends Error {
  constructor(signal: string) {
    super(`Cancelled: the runner sent ${signal}.`);
    this.name = "Cancelled";
  }
}

/** `stack.yml:3:12: message hint`, the form compilers use and editors can follow. */
export function describe(problem: Problem): string {
  const where = problem.place === undefined ? "" : `${at(problem.place)}: `;
  return `${where}${problem.message}${problem.hint === undefined ? "" : ` ${problem.hint}`}`;
}

function at(place: Place): string {
  return `${place.file}:${place.line}:${place.column}`;
}

/** The sentence of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
