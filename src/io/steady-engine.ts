import { setTimeout as sleep } from "node:timers/promises";
import { Cancelled, ConnectError, messageOf } from "../errors.ts";
import { type Lock } from "../world.ts";
import { type Call, type Engine, type EngineApi, type RawAnswer, messageIn, onlyReads } from "./engine.ts";

/** A manager that was reached. */
export interface Reached extends AsyncDisposable {
  readonly api: EngineApi;
  /** The manager's host, for messages. */
  readonly address: string;
  /** Why the connection ended, if it did so by itself. */
  readonly lost: () => string | undefined;
}

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

/** What a manager says while its swarm has no leader; an election takes 10 to 45 s (SANDBOX, "Leader lost"). */
const NO_LEADER =
  /does not have a leader|lost leader status|not the leader|DeadlineExceeded|deadline exceeded|stream terminated|connection error|transport is closing|raft: /i;

export function saysNoLeader({ status, body }: RawAnswer): boolean {
  return status >= 500 && NO_LEADER.test(messageIn(body));
}

/**
 * One engine to those who use it, whatever the network does: a connection that is lost is opened again, to another manager if need be,
 * and what only reads is asked again. A write whose answer was lost is not: whether it happened has to be looked up first.
 */
export class SteadyEngine implements Engine, AsyncDisposable {
  readonly #reach: () => Promise<Reached>;
  readonly #signal: AbortSignal;
  readonly #patienceMs: number;
  readonly #say: (line: string) => void;
  #reached: Reached;
  #again: Promise<void> | undefined;
  #lock: Lock | undefined;

  constructor(
    first: Reached,
    reach: () => Promise<Reached>,
    patienceMs: number,
    signal: AbortSignal,
    say: (line: string) => void,
  ) {
    this.#reached = first;
    this.#reach = reach;
    this.#patienceMs = patienceMs;
    this.#signal = signal;
    this.#say = say;
  }

  get apiVersion(): string {
    return this.#reached.api.apiVersion;
  }

  get address(): string {
    return this.#reached.address;
  }

  /** From now on the lock is asked before each try of each write. */
  guard(lock: Lock): void {
    this.#lock = lock;
  }

  async send(path: string, call: Call): Promise<RawAnswer> {
    const repeatable = call.repeatable ?? onlyReads(call);
    const deadline = Date.now() + this.#patienceMs;
    for (let attempt = 1; ; attempt += 1) {
      if (!onlyReads(call) && call.aboutLock !== true) await this.#lock?.makeSure();
      const reached = this.#reached;
      try {
        const answer = await reached.api.send(path, call);
        if (!repeatable || !saysNoLeader(answer) || Date.now() >= deadline) return answer;
        if (attempt === 1)
          this.#say(`The swarm has no leader at the moment (${messageIn(answer.body)}); asking again.`);
        await pause(attempt, this.#signal);
      } catch (error) {
        if (error instanceof Cancelled || this.#signal.aborted) throw error;
        if (!repeatable || Date.now() >= deadline) throw silent(reached, error);
        await this.#reconnect(reached, deadline, error);
      }
    }
  }

  /** Opens a connection in place of `lost`, unless somebody has done so already. Rejects when the deadline has come. */
  async #reconnect(lost: Reached, deadline: number, why: unknown): Promise<void> {
    if (this.#reached !== lost) return;
    this.#again ??= this.#open(lost, deadline, why).finally(() => (this.#again = undefined));
    await this.#again;
  }

  /** What answers at the moment. */
  get current(): Reached {
    return this.#reached;
  }

  async #open(lost: Reached, deadline: number, why: unknown): Promise<void> {
    this.#say(
      `The connection to ${lost.address} was lost (${lost.lost() ?? messageOf(why)}); connecting again.`,
    );
    await lost[Symbol.asyncDispose]();
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#reached = await this.#reach();
        this.#say(`Connected to the manager ${this.#reached.address} again.`);
        return;
      } catch (error) {
        const again = error instanceof ConnectError && error.transient && Date.now() < deadline;
        if (!again) throw error;
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
    true,
  );
}
