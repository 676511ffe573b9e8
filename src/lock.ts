import { randomBytes } from "node:crypto";
import { Cancelled, DeployError, LockError, ManagerRefusal, messageOf } from "./errors.ts";
import { formatDuration, parseDuration } from "./inputs/duration.ts";
import { type RunContext } from "./inputs/inputs.ts";
import { ownLabel } from "./release/release.ts";
import { fixedName } from "./stack/configs.ts";
import { LABEL_PREFIX, MANAGED_LABEL } from "./stack/defaults.ts";
import { type JsonObject, textAt } from "./json.ts";
import { type Locks, type StoredLock, type Survey } from "./swarm.ts";
import { type Lock, type RunAttempt, type Session, type World } from "./world.ts";

/**
 * One deployment of a stack at a time. The lock is a docker config whose labels say who holds it and how long it lives without a sign
 * of life. Its holder changes the labels' version every few seconds. What ages is judged by the swarm's clock alone: the runners' may
 * be wrong. Whoever deploys elsewhere with this action sees the same config, whatever the workflow's `concurrency` says.
 */

/** Between two signs of life. */
const RENEW_MS = 10_000;
/** The holder asks again before it writes where its last proof is older than this. */
const CERTAIN_MS = 15_000;
/** A process whose run is over may still be alive, where GitHub has lost sight of its runner; then it would have renewed its lock by now. */
const OVER_MS = 30_000;
/** Longer than a swarm needs to elect a leader and a session to be opened again (SANDBOX: 45 s). */
const LIFETIME_MS = 120_000;
const POLL_MS = 2000;
/** One answer about another run stands this long. */
const ASK_AGAIN_MS = 30_000;
const MOST_TRIES = 3;

/**
 * The lock's name on the swarm, which takes upper and lower case for the same in names. The config carries no stack label: `docker
 * stack rm` must not take it from who holds it.
 */
export function lockName(stack: string): string {
  return fixedName(`swarm-stack-deploy_lock_${stack.toLowerCase()}`);
}

/** Whether a config, in the engine's words, is a lock of whichever stack. */
export function isLock(config: JsonObject): boolean {
  return ownLabel(config, "lock") !== "";
}

/** The mark of who holds the lock of a stack, as a survey has seen it; undefined where nobody does. */
export function holderIn({ rawConfigs }: Survey, stack: string): string | undefined {
  const found = rawConfigs.find((raw) => textAt(raw, "Spec", "Name") === lockName(stack));
  return found === undefined ? undefined : ownLabel(found, "holder");
}

/** For a story, or the part of one, that changes nothing: a change that were sent by mistake is refused before it leaves. */
export const WRITES_NOTHING: Lock = {
  makeSure: async () => await Promise.reject(new Error("the swarm was about to be changed without its lock")),
  [Symbol.asyncDispose]: async () => await Promise.resolve(),
};

/** What the labels of a lock say. */
export function lockLabels(stack: string, holder: string, run: RunContext): Record<string, string> {
  return {
    [MANAGED_LABEL]: "true",
    [`${LABEL_PREFIX}lock`]: stack,
    [`${LABEL_PREFIX}holder`]: holder,
    [`${LABEL_PREFIX}lifetime`]: formatDuration(LIFETIME_MS),
    [`${LABEL_PREFIX}repository`]: run.repository,
    [`${LABEL_PREFIX}run`]: run.runUrl,
    [`${LABEL_PREFIX}run-id`]: run.runId,
    [`${LABEL_PREFIX}run-attempt`]: String(run.runAttempt),
    [`${LABEL_PREFIX}commit`]: run.sha,
    [`${LABEL_PREFIX}actor`]: run.actor,
  };
}

function label(lock: StoredLock, name: string): string {
  return lock.labels[`${LABEL_PREFIX}${name}`] ?? "";
}

/** Never negative: two managers' clocks may disagree by a little. */
function ageMs(lock: StoredLock): number {
  return Math.max(0, lock.readAt - lock.changedAt);
}

/**
 * Whether a lock may be taken over: as it is, or only if its holder's run is over, or not at all. Without a lifetime it is none of
 * ours, and is left alone.
 */
export function abandoned(lock: StoredLock): "yes" | "if its run is over" | "no" {
  const age = ageMs(lock);
  const lifetime = parseDuration(label(lock, "lifetime"));
  if (lifetime === undefined) return "no";
  return age > lifetime ? "yes" : age > OVER_MS ? "if its run is over" : "no";
}

/** The run that holds a lock, where it is one of the same GitHub. */
export function holdersRun(lock: StoredLock, ours: RunContext): RunAttempt | undefined {
  const run = { repository: label(lock, "repository"), id: label(lock, "run-id") };
  const attempt = Number(label(lock, "run-attempt"));
  const server = ours.repositoryUrl.slice(0, ours.repositoryUrl.length - ours.repository.length);
  const page = `${server}${run.repository}/actions/runs/${run.id}`;
  const isKnown = server !== "" && /^[\w.-]+\/[\w.-]+$/.test(run.repository) && /^\d+$/.test(run.id);
  return isKnown && attempt > 0 && label(lock, "run") === page ? { ...run, attempt } : undefined;
}

/** `https://github.com/acme/shop/actions/runs/41 (commit 0123456, by dev, since 2026-08-01 10:00 UTC)` */
export function describeHolder(lock: StoredLock): string {
  const parts = [
    label(lock, "commit") === "" ? "" : `commit ${label(lock, "commit").slice(0, 7)}`,
    label(lock, "actor") === "" ? "" : `by ${label(lock, "actor")}`,
    `since ${label(lock, "since") || minute(lock.createdAt)}`,
  ].filter((part) => part !== "");
  return `${label(lock, "run") || "somebody outside of a workflow"} (${parts.join(", ")})`;
}

function minute(ms: number): string {
  return Number.isNaN(ms) ? "?" : `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

function holds(lock: StoredLock, holder: string): boolean {
  return label(lock, "holder") === holder;
}

/** What the post step has to know. */
export interface LeftLock {
  readonly stack: string;
  readonly holder: string;
}

/** The name under which it is remembered. */
export const LEFT_LOCK = "lock";

/** The lock of a stack: nobody's yet. Should it be lost after it was taken, the world is stopped. */
export function lockOf(stack: string, session: Session, world: World): StackLock {
  return new StackLock(stack, session.locks, world);
}

/** Removes a lock that an ended process of ours has left, unless somebody else has taken it over by now; whether it was there. */
export async function releaseLeft({ stack, holder }: LeftLock, locks: Locks): Promise<boolean> {
  const name = lockName(stack);
  const found = await locks.read(name);
  // A removal names no version; this does, and keeps others from taking it over in between.
  if (found === undefined || !holds(found, holder) || !(await locks.relabel(name, found, found.labels)))
    return false;
  await locks.remove(found.id);
  return true;
}

export class StackLock implements Lock {
  readonly left: LeftLock;
  readonly #name: string;
  readonly #labels: StoredLock["labels"];
  readonly #locks: Locks;
  readonly #world: World;
  #id = "";
  /** A call that may have made it ours got no answer. */
  #inDoubt = false;
  /** When a call was sent that proved that it is ours, by the runner's clock. */
  #provenAt = -Infinity;
  #lost: LockError | undefined;
  #renewing: Promise<void> | undefined;
  #signsOfLife: AsyncDisposable | undefined;
  #askAgainAt = -Infinity;
  readonly #said = new Set<string>();

  constructor(stack: string, locks: Locks, world: World) {
    this.left = { stack, holder: randomBytes(16).toString("hex") };
    this.#name = lockName(stack);
    this.#labels = lockLabels(stack, this.left.holder, world.run);
    this.#locks = locks;
    this.#world = world;
  }

  /** One try, without a word unless it is taken over: one call where nobody holds it. Whether it is ours now. */
  async tryToTake(): Promise<boolean> {
    return (await this.#tryToTake()) === "us";
  }

  /** Waits until it is ours; a `LockError` where somebody else keeps it for too long. */
  async take(timeoutMs: number): Promise<void> {
    const { clock } = this.#world;
    const { stack } = this.left;
    const deadline = clock.now() + timeoutMs;
    for (;;) {
      const holder = await this.#tryToTake();
      if (holder === "us") return;
      if (holder === "nobody") continue; // It was released in between.
      if (clock.now() >= deadline) throw inVain(holder, stack, timeoutMs);
      this.#sayOnce(`Waiting for another deployment of the stack ${stack}: ${describeHolder(holder)}.`);
      await clock.sleep(Math.min(POLL_MS, deadline - clock.now()));
    }
  }

  async #tryToTake(): Promise<"us" | "nobody" | StoredLock> {
    const { stack } = this.left;
    // Before it is taken: a kill may come in between.
    this.#world.remember(LEFT_LOCK, JSON.stringify(this.left));
    try {
      this.#inDoubt = true;
      const holder = await this.#ask();
      this.#inDoubt = false;
      return holder;
    } catch (error) {
      if (error instanceof Cancelled) await this.#giveUp();
      if (!(error instanceof ManagerRefusal)) throw error;
      const message = `The lock of the stack ${stack} can't be taken: ${error.message}`;
      const hint = `It is the docker config ${lockName(stack)}; the manager must let it be written.`;
      throw new LockError(message, hint, error);
    }
  }

  async #ask(): Promise<"us" | "nobody" | StoredLock> {
    const { clock } = this.#world;
    const sentAt = clock.now();
    const id = await this.#locks.create(this.#name, this.#labels);
    if (id !== undefined) return this.#hold(id, sentAt);
    const found = await this.#locks.read(this.#name);
    if (found === undefined) return "nobody";
    if (holds(found, this.left.holder)) return this.#hold(found.id, sentAt); // The answer to its creation had been lost.
    const why = await this.#reasonToTakeOver(found);
    if (why === undefined) return found;
    const labels = { ...this.#labels, [`${LABEL_PREFIX}since`]: minute(found.readAt) };
    const takenAt = clock.now();
    if (!(await this.#locks.relabel(this.#name, found, labels))) return found; // Renewed, or somebody else was faster.
    this.#sayOnce(
      `Taking over the lock of the stack ${this.left.stack} from ${describeHolder(found)}: ${why}.`,
    );
    return this.#hold(found.id, takenAt);
  }

  #hold(id: string, provenAt: number): "us" {
    this.#id = id;
    this.#provenAt = provenAt;
    this.#signsOfLife = this.#world.clock.every(RENEW_MS, async () => await this.#showLife());
    return "us";
  }

  async #reasonToTakeOver(lock: StoredLock): Promise<string | undefined> {
    switch (abandoned(lock)) {
      case "no":
        return undefined;
      case "yes":
        return `it has shown no sign of life for ${formatDuration(Math.floor(ageMs(lock) / 1000) * 1000)}`;
      case "if its run is over":
        return (await this.#isOver(lock)) ? "its run is over" : undefined;
    }
  }

  async #isOver(lock: StoredLock): Promise<boolean> {
    const { clock, github, run } = this.#world;
    const other = holdersRun(lock, run);
    if (other === undefined) return false;
    if (isEarlierAttempt(other, run)) return true;
    if (clock.now() < this.#askAgainAt) return false;
    this.#askAgainAt = clock.now() + ASK_AGAIN_MS;
    const told = await github.isOver(other);
    if (typeof told === "boolean") return told;
    this.#sayOnce(`Whether the run ${label(lock, "run")} is over can't be told: ${told.unknown}.`);
    return false;
  }

  /** In the open: a folded section would hide what is waited for. */
  #sayOnce(line: string): void {
    if (this.#said.has(line)) return;
    this.#said.add(line);
    this.#world.voice.endGroup();
    this.#world.voice.say(line);
  }

  async #showLife(): Promise<void> {
    if (this.#lost !== undefined) return;
    try {
      await this.#renew();
    } catch (error) {
      if (error instanceof Cancelled) return;
      const { voice } = this.#world;
      voice.say(
        `The lock of the stack ${this.left.stack} could not be renewed just now: ${messageOf(error)}`,
      );
    }
  }

  async makeSure(): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      if (this.#lost !== undefined) throw this.#lost;
      if (this.#isCertain()) return;
      if (tries === MOST_TRIES)
        throw new DeployError(
          `The manager did not confirm in time that the lock of the stack ${this.left.stack} is still held by this deployment.`,
          "So nothing more was sent. Look at it with `docker stack ps`, then run this job again.",
        );
      await this.#renew();
    }
  }

  #isCertain(): boolean {
    return this.#world.clock.now() - this.#provenAt <= CERTAIN_MS;
  }

  async #renew(): Promise<void> {
    this.#renewing ??= this.#renewNow().finally(() => (this.#renewing = undefined));
    await this.#renewing;
  }

  async #renewNow(): Promise<void> {
    const found = await this.#locks.read(this.#name);
    if (found === undefined || !holds(found, this.left.holder)) {
      this.#lost = lost(this.left.stack, found);
      this.#world.stop(this.#lost);
      return;
    }
    const sentAt = this.#world.clock.now();
    // Where this fails, somebody was faster, if only this very call whose first answer was lost: the next look tells.
    if (await this.#locks.relabel(this.#name, found, found.labels)) this.#provenAt = sentAt;
  }

  /** What can't be released now is left to the post step, and in the end to its lifetime; it changes nothing about the deployment. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#signsOfLife?.[Symbol.asyncDispose]();
    if (this.#inDoubt) return; // The post step looks it up.
    if (this.#id === "" || this.#lost !== undefined) this.#world.remember(LEFT_LOCK, "");
    // While it is certainly ours nobody may take it over, so that one call will do. Otherwise the connection is in a bad way.
    else if (this.#isCertain()) await this.#release(async () => await this.#locks.remove(this.#id));
    else this.#leave("the manager has not answered for a while.");
  }

  /** After a cancellation: the very call that was interrupted may have created it. */
  async #giveUp(): Promise<void> {
    await this.#release(async () => await releaseLeft(this.left, this.#locks));
  }

  async #release(remove: () => Promise<unknown>): Promise<void> {
    try {
      await remove();
      this.#world.remember(LEFT_LOCK, "");
    } catch (error) {
      this.#leave(messageOf(error));
    }
  }

  #leave(why: string): void {
    this.#world.voice.say(
      `The lock of the stack ${this.left.stack} could not be released: ${why} The post step tries again; without that it ends by itself ${formatDuration(LIFETIME_MS)} after its last sign of life.`,
    );
  }
}

/** GitHub runs a workflow again only when it is over. */
function isEarlierAttempt(other: RunAttempt, ours: RunContext): boolean {
  return other.repository === ours.repository && other.id === ours.runId && other.attempt < ours.runAttempt;
}

function inVain(holder: StoredLock, stack: string, timeoutMs: number): LockError {
  const waited = timeoutMs === 0 ? '"lock-timeout" is 0s' : `it was waited for ${formatDuration(timeoutMs)}`;
  return new LockError(
    `Another deployment of the stack ${stack} is under way (${waited}): ${describeHolder(holder)}.`,
    `Run this job again when that one is done. If it is certain that nobody deploys any more, remove its lock on a manager: docker config rm ${lockName(stack)}.`,
  );
}

function lost(stack: string, taken: StoredLock | undefined): LockError {
  const what =
    taken === undefined
      ? `Somebody has removed the lock of the stack ${stack} while this deployment ran.`
      : `Another deployment has taken over the lock of the stack ${stack} while this one ran: ${describeHolder(taken)}.`;
  return new LockError(
    `${what} So this one has stopped sending.`,
    "Run this job again when nobody else deploys the stack.",
  );
}
