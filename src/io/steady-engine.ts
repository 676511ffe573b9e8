import { setTimeout as sleep } from "node:timers/promises";
import { Cancelled, ConnectError, messageOf } from "../errors.ts";
import { type Json } from "../json.ts";
import { type Lock } from "../world.ts";
import { now } from "./clock.ts";
import {
  type Call,
  type Engine,
  type EngineApi,
  type RawAnswer,
  Timeout,
  messageIn,
  onlyReads,
} from "./engine.ts";

/** A manager that was reached. */
export interface Reached extends AsyncDisposable {
  readonly api: EngineApi;
  /** The manager's host, for messages. */
  readonly address: string;
  /** Why the connection ended, if it did so by itself. */
  readonly lost: () => string | undefined;
  /** Resolves once it has shown to be a manager with a working swarm; a `ConnectError` where it is none. */
  readonly verified: Promise<void>;
}

/**
 * How long a manager that falls silent is waited for while nothing has been sent yet: long enough for a manager that starts again, and an
 * election, which takes 10 to 45 s (SANDBOX, "Leader lost"), or twice that on a busy machine. To give up then costs no more than to run the job again.
 */
const PATIENCE_MS = 120_000;
/** A manager that knows no leader for longer than this may be cut off from the others, and one of them may know better. */
const ELECTION_MS = 15_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

/** Doubles from try to try, up to a limit; between half and the whole of it, so that several runners don't come back in step. */
export function pauseBefore(attempt: number, random = Math.random()): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), LONGEST_PAUSE_MS) * (0.5 + random / 2);
}

/** Waits before the next try; ends at once where the job is cancelled. */
export async function pause(attempt: number, signal: AbortSignal): Promise<void> {
  await sleep(pauseBefore(attempt), undefined, { signal }).catch(() => signal.throwIfAborted());
}

/** What a manager says while its swarm has no leader. */
const NO_LEADER =
  /does not have a leader|lost leader status|not the leader|DeadlineExceeded|deadline exceeded|stream terminated|connection error|transport is closing|raft: /i;

export function saysNoLeader({ status, body }: RawAnswer): boolean {
  return status >= 500 && NO_LEADER.test(messageIn(body));
}

/** One that knows how long to go on trying. */
export interface PatientEngine extends Engine {
  /** Whether what was begun then, in milliseconds since the epoch, has taken all the time there is. */
  isOver(startedAt: number): boolean;
}

/**
 * One engine to those who use it, whatever the network does: a connection that is lost is opened again, to another manager if need be,
 * and what only reads is asked again. A write whose answer was lost is not: whether it happened has to be looked up first. Nothing but
 * the lock is written, and no answer given, before it has shown to be a manager; questions may go along with the first one.
 */
export class SteadyEngine implements PatientEngine, AsyncDisposable {
  readonly #reach: () => Promise<Reached>;
  readonly #signal: AbortSignal;
  readonly #say: (line: string) => void;
  #reached: Reached;
  #again: Promise<void> | undefined;
  #lock: Lock | undefined;
  /** Why there is no connection at present, if there is none. */
  #lost: string | undefined;
  #deadline: number | undefined;
  #tellManager = (_address: string): void => undefined;
  #toldOfLeader = 0;

  constructor(
    first: Reached,
    reach: () => Promise<Reached>,
    signal: AbortSignal,
    say: (line: string) => void,
  ) {
    this.#reached = first;
    this.#reach = reach;
    this.#signal = signal;
    this.#say = say;
  }

  get apiVersion(): string {
    return this.#reached.api.apiVersion;
  }

  get info(): Json {
    return this.#reached.api.info;
  }

  /** Connections that may be open at once. */
  get most(): number {
    return this.#reached.api.most;
  }

  get address(): string {
    return this.#reached.address;
  }

  /** From now on the lock is asked before each try of each write. */
  guard(lock: Lock): void {
    this.#lock = lock;
  }

  /** Tells which manager is in use, and from now on each one that takes its place. */
  onManager(tell: (address: string) => void): void {
    this.#tellManager = tell;
    tell(this.address);
  }

  /** Why there is no connection at present, if there is none. */
  get lost(): string | undefined {
    return this.#lost ?? this.#reached.lost();
  }

  /** From now on, no call waits for a connection or a leader beyond that time, by the clock. */
  waitUntil(time: number): void {
    this.#deadline = time;
  }

  async send(path: string, call: Call): Promise<RawAnswer> {
    const repeatable = call.repeatable ?? onlyReads(call);
    const startedAt = now();
    for (let attempt = 1; ; attempt += 1) {
      if (!onlyReads(call) && call.aboutLock !== true) await this.#lock?.makeSure();
      const reached = this.#reached;
      try {
        if (!repeatable) await reached.verified;
        const answer = await reached.api.send(path, call);
        await reached.verified;
        this.#lost = undefined;
        this.#tellOfLeader(answer);
        if (!repeatable || !saysNoLeader(answer) || this.isOver(startedAt)) return answer;
        if (now() - startedAt > ELECTION_MS)
          await this.#reconnect(reached, startedAt, new Error("it knows no leader"));
        else await pause(attempt, this.#signal);
      } catch (error) {
        if (error instanceof Cancelled || this.#signal.aborted) throw error;
        if (error instanceof ConnectError && error.outlook === "lasting") throw error; // It is no manager.
        if (call.deadlineMs !== undefined && error instanceof Timeout) throw error; // Not the manager, but what it has to ask.
        if (!repeatable) throw silent(reached, error);
        // Even after the deadline: whoever puts things back gets one more try.
        if (attempt > 1 && this.isOver(startedAt)) throw silent(reached, error);
        if (attempt > 1) await pause(attempt, this.#signal);
        await this.#reconnect(reached, startedAt, error);
      }
    }
  }

  /** Once for each election: what the manager knows by itself it answers meanwhile. */
  #tellOfLeader(answer: RawAnswer): void {
    if (!saysNoLeader(answer) || now() < this.#toldOfLeader + PATIENCE_MS) return;
    this.#toldOfLeader = now();
    this.#say(`The swarm has no leader at the moment (${messageIn(answer.body)}); asking again.`);
  }

  isOver(startedAt: number): boolean {
    return now() >= (this.#deadline ?? startedAt + PATIENCE_MS);
  }

  /** Opens a connection in place of `lost`, unless somebody has done so already. Rejects when the deadline has come. */
  async #reconnect(lost: Reached, startedAt: number, why: unknown): Promise<void> {
    if (this.#reached !== lost) return;
    this.#again ??= this.#open(lost, startedAt, why).finally(() => (this.#again = undefined));
    await this.#again;
  }

  async #open(lost: Reached, startedAt: number, why: unknown): Promise<void> {
    if (this.#lost === undefined) {
      this.#lost = lost.lost() ?? messageOf(why);
      this.#say(`The connection to ${lost.address} was lost (${this.#lost}); connecting again.`);
    }
    await lost[Symbol.asyncDispose]();
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#reached = await this.#reach();
        this.#lost = undefined;
        this.#tellManager(this.#reached.address);
        this.#say(`Connected to the manager ${this.#reached.address} again.`);
        return;
      } catch (error) {
        const mayMend = error instanceof ConnectError && error.outlook !== "lasting";
        if (!mayMend || this.isOver(startedAt)) throw error;
        await pause(attempt, this.#signal);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reached[Symbol.asyncDispose]();
  }
}

function silent(reached: Reached, error: unknown): ConnectError {
  return new ConnectError(
    `The manager ${reached.address} does not answer (${reached.lost() ?? messageOf(error)}).`,
    "What was sent before goes on by itself; look at it with `docker stack ps`, then run this job again.",
    error,
    "passing",
  );
}
