import { describe, expect, test } from "@jest/globals";
import { Cancelled, LockError, ManagerRefusal, describe as inWords } from "../../src/errors.ts";
import {
  abandoned,
  describeHolder,
  holdersRun,
  lockLabels,
  lockName,
  lockOf,
  releaseLeft,
} from "../../src/lock.ts";
import { type Locks, type StoredLock } from "../../src/swarm.ts";
import { type Lock } from "../../src/world.ts";
import { type LockBoard, lockBoard } from "../doubles/locks.ts";
import { type RecordedWorld, type Script, scriptedWorld } from "../doubles/world.ts";

const NAME = "swarm-stack-deploy_lock_shop";
const RUN = scriptedWorld({ files: {}, specs: [], frames: [] }).run;
const THEIRS = {
  ...RUN,
  runId: "41",
  runUrl: "https://github.com/acme/shop/actions/runs/41",
  actor: "ann",
  sha: "fedcba9876543210",
};

interface Scene {
  readonly world: RecordedWorld;
  readonly board: LockBoard;
  readonly remembered: Map<string, string>;
  readonly asked: string[];
  take(timeoutMs?: number): Promise<Lock>;
}

function scene(changes: Partial<Locks> = {}, github: Script["github"] = {}): Scene {
  const plain = scriptedWorld({ files: {}, specs: [], frames: [], github });
  const board = lockBoard(plain.clock, changes);
  const remembered = new Map<string, string>();
  const asked: string[] = [];
  const world: RecordedWorld = {
    ...plain,
    remember: (name, value) => void remembered.set(name, value),
    github: {
      ...plain.github,
      isOver: async (run) => {
        asked.push(`${run.repository} ${run.id}.${run.attempt}`);
        return await plain.github.isOver(run);
      },
    },
  };
  return {
    world,
    board,
    remembered,
    asked,
    take: async (timeoutMs = 600_000) => {
      const lock = lockOf("shop", { ...(await plain.connect(undefined)), locks: board }, world);
      await lock.take(timeoutMs).catch(async (error: unknown) => {
        await lock[Symbol.asyncDispose]();
        throw error;
      });
      return lock;
    },
  };
}

function theirs(changes: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { ...lockLabels("shop", "them", THEIRS), ...changes };
}

/** A deployment of somebody else that is well for so long, and then lets go. */
function heldFor({ world, board }: Scene, ms: number): void {
  const until = world.clock.now() + ms;
  board.put(NAME, theirs());
  const id = board.held.get(NAME)?.id ?? "";
  const life = world.clock.every(1000, async () => {
    if (world.clock.now() < until) board.put(NAME, theirs());
    else await Promise.all([board.remove(id), life[Symbol.asyncDispose]()]);
  });
}

const said = ({ world }: Scene): string[] => world.transcript.filter((line) => !line.startsWith("  >"));

async function refusal(taking: Promise<unknown>): Promise<string> {
  const error: unknown = await taking.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(LockError);
  return error instanceof LockError ? error.problems.map(inWords).join(" ") : "";
}

describe("a lock's name", () => {
  test("is that of the stack, which the swarm does not tell from another case", () => {
    expect(lockName("Shop")).toBe(NAME);
  });
  test("is never longer than Swarm allows, and still that of one stack", () => {
    const [a, b] = ["a", "b"].map((end) => lockName(`${"s".repeat(62)}${end}`));
    expect(a).toHaveLength(64);
    expect(a).not.toBe(b);
    expect(lockName("s".repeat(40))).toBe(`swarm-stack-deploy_lock_${"s".repeat(40)}`);
  });
});

function stored(ageMs: number, labels: StoredLock["labels"] = theirs()): StoredLock {
  const readAt = Date.parse("2026-08-01T10:00:00Z");
  return { id: "x", version: 1, labels, createdAt: readAt - 300_000, changedAt: readAt - ageMs, readAt };
}

test.each<[string, ReturnType<typeof abandoned>, StoredLock]>([
  ["just renewed", "no", stored(9000)],
  ["silent", "if its run is over", stored(31_000)],
  ["silent, and nearly at the end of its lifetime", "if its run is over", stored(119_000)],
  ["silent for longer than its lifetime", "yes", stored(121_000)],
  [
    "silent for longer than a lifetime of its own",
    "yes",
    stored(6000, theirs({ "swarm-stack-deploy.lifetime": "5s" })),
  ],
  ["somebody else's config of that name", "no", stored(900_000, {})],
  ["from the future of a manager whose clock is behind", "no", stored(-200_000)],
  ["told by a manager that does not say what time it is", "no", { ...stored(0), readAt: Number.NaN }],
])("a lock that is %s may be taken over: %s", (_fact, may, lock) => {
  expect(abandoned(lock)).toBe(may);
});

test.each<[string, boolean, Readonly<Record<string, string>>]>([
  ["of the same GitHub", true, {}],
  [
    "of another GitHub",
    false,
    { "swarm-stack-deploy.run": "https://ghe.example.com/acme/shop/actions/runs/41" },
  ],
  ["that would lead elsewhere", false, { "swarm-stack-deploy.repository": "../.." }],
  ["that is no number", false, { "swarm-stack-deploy.run-id": "41/../1" }],
  ["without an attempt", false, { "swarm-stack-deploy.run-attempt": "" }],
])("GitHub may be asked about a run %s: %s", (_fact, known, changes) => {
  const run = holdersRun(stored(0, theirs(changes)), RUN);
  expect(run).toEqual(known ? { repository: "acme/shop", id: "41", attempt: 1 } : undefined);
});

test("outside of a workflow there is no GitHub to ask", () => {
  expect(holdersRun(stored(0), { ...RUN, repository: "", repositoryUrl: "" })).toBeUndefined();
});

test("who holds it is told by run, commit, actor and time", () => {
  expect(describeHolder(stored(0))).toBe(
    "https://github.com/acme/shop/actions/runs/41 (commit fedcba9, by ann, since 2026-08-01 09:55 UTC)",
  );
  expect(describeHolder(stored(0, {}))).toBe("somebody outside of a workflow (since 2026-08-01 09:55 UTC)");
});

describe("a free lock", () => {
  test("costs one call to take and one to let go, and no word", async () => {
    const now = scene();
    const lock = await now.take();
    expect(now.board.held.get(NAME)?.labels).toMatchObject({
      "swarm-stack-deploy.lock": "shop",
      "swarm-stack-deploy.run-id": "1",
      "swarm-stack-deploy.lifetime": "2m",
    });
    await lock[Symbol.asyncDispose]();
    expect(now.board.heard).toEqual([`create ${NAME}`, "remove id-1"]);
    expect(now.board.held.size).toBe(0);
    expect(said(now)).toEqual([]);
  });

  test("is remembered for the post step until it is let go", async () => {
    const now = scene();
    const lock = await now.take();
    const left = JSON.parse(now.remembered.get("lock") ?? "") as { stack: string; holder: string };
    expect(left).toEqual({
      stack: "shop",
      holder: now.board.held.get(NAME)?.labels["swarm-stack-deploy.holder"],
    });
    await lock[Symbol.asyncDispose]();
    expect(now.remembered.get("lock")).toBe("");
  });

  test("is ours, too, where the answer to its creation was lost and it was asked for again", async () => {
    const now = scene();
    const plain = { ...now.board };
    Object.assign(now.board, {
      create: async (name: string, labels: StoredLock["labels"]) => (
        await plain.create(name, labels),
        undefined
      ),
    });
    await (await now.take(0))[Symbol.asyncDispose]();
    expect(now.board.held.size).toBe(0);
    expect(said(now)).toEqual([]);
  });

  test("that the manager does not let us take is a matter of the lock", async () => {
    const refuses = async (): Promise<undefined> =>
      await Promise.reject(new ManagerRefusal(403, "POST /configs/create", "not allowed"));
    expect(await refusal(scene({ create: refuses }).take())).toContain("can't be taken: The manager refused");
  });
});

describe("somebody else's lock", () => {
  test("is waited for, saying once for whom", async () => {
    const now = scene();
    const before = now.world.clock.now();
    heldFor(now, 60_000);
    await now.take();
    expect(now.world.clock.now() - before).toBeLessThanOrEqual(62_000);
    expect(said(now)).toEqual([
      "Waiting for another deployment of the stack shop: https://github.com/acme/shop/actions/runs/41 (commit fedcba9, by ann, since 2026-08-01 10:00 UTC).",
    ]);
    expect(now.asked).toEqual([]);
  });

  test("that goes to yet another one is told again", async () => {
    const now = scene();
    heldFor(now, 10_000);
    const other = now.world.clock.every(12_000, async () => {
      now.board.put(NAME, theirs({ "swarm-stack-deploy.actor": "bob" }));
      await other[Symbol.asyncDispose]();
    });
    const plain = { ...now.board };
    let gaps = 0;
    Object.assign(now.board, {
      // Bob is faster when ann lets go.
      create: async (name: string, labels: StoredLock["labels"]) => {
        if (!now.board.held.has(name) && gaps++ === 0)
          now.board.put(name, theirs({ "swarm-stack-deploy.actor": "bob" }));
        return await plain.create(name, labels);
      },
    });
    await refusal(now.take(30_000));
    expect(said(now)).toEqual([expect.stringContaining("by ann"), expect.stringContaining("by bob")]);
  });

  test("held for too long ends the deployment, with its holder's name and the way out", async () => {
    const now = scene();
    heldFor(now, 900_000);
    const before = now.world.clock.now();
    expect(await refusal(now.take(60_000))).toBe(
      "Another deployment of the stack shop is under way (it was waited for 1m): https://github.com/acme/shop/actions/runs/41 (commit fedcba9, by ann, since 2026-08-01 10:00 UTC). " +
        "Run this job again when that one is done. If it is certain that nobody deploys any more, remove its lock on a manager: docker config rm swarm-stack-deploy_lock_shop.",
    );
    expect(now.world.clock.now() - before).toBe(60_000);
    expect(now.remembered.get("lock")).toBe("");
    expect(now.board.held.get(NAME)?.labels["swarm-stack-deploy.holder"]).toBe("them");
  });

  test("is not waited for with a timeout of zero", async () => {
    const now = scene();
    heldFor(now, 900_000);
    const before = now.world.clock.now();
    expect(await refusal(now.take(0))).toContain('under way ("lock-timeout" is 0s)');
    expect(now.world.clock.now()).toBe(before);
    expect(said(now)).toEqual([]);
  });

  test("is taken over when its lifetime has passed without a sign of life, with a word", async () => {
    const now = scene();
    now.board.put(NAME, theirs());
    const before = now.world.clock.now();
    const lock = await now.take();
    expect(now.world.clock.now() - before).toBe(122_000);
    expect(said(now).at(-1)).toMatch(
      /^Taking over the lock of the stack shop from https:\/\/.*: it has shown no sign of life for 2m2s\.$/,
    );
    expect(now.board.held.get(NAME)?.labels).toMatchObject({
      "swarm-stack-deploy.run-id": "1",
      "swarm-stack-deploy.since": "2026-08-01 10:02 UTC",
    });
    await lock[Symbol.asyncDispose]();
    expect(now.board.held.size).toBe(0);
  });

  test("is taken over when it is silent and GitHub says that its run is over", async () => {
    const now = scene({}, { isOver: true });
    now.board.put(NAME, theirs());
    const before = now.world.clock.now();
    await now.take();
    expect(now.world.clock.now() - before).toBe(32_000);
    expect(said(now).at(-1)).toContain(": its run is over.");
    expect(now.asked).toEqual(["acme/shop 41.1"]);
  });

  test("of an earlier attempt of our own run is over without a question", async () => {
    const now = scene();
    now.board.put(
      NAME,
      lockLabels("shop", "them", { ...RUN, runAttempt: 1 }),
      now.world.clock.now() - 40_000,
    );
    Object.assign(now.world, { run: { ...RUN, runAttempt: 2 } });
    await now.take(0);
    expect(now.asked).toEqual([]);
    expect(said(now)).toEqual([expect.stringContaining("its run is over")]);
  });

  test.each<[string, Script["github"], number]>([
    ["GitHub says that it still runs", { isOver: false }, 0],
    ["GitHub does not answer, which is said once", { isOver: { unknown: "GitHub answered 403 (no)" } }, 1],
  ])("is waited for where %s; the question is put now and then", async (_fact, github, words) => {
    const now = scene({}, github);
    now.board.put(NAME, theirs());
    await now.take();
    expect(said(now).at(-1)).toContain("no sign of life for 2m2s");
    expect(now.asked).toHaveLength(3);
    expect(
      said(now).filter((line) => line.includes("can't be told: GitHub answered 403 (no).")),
    ).toHaveLength(words);
  });

  test("is not taken over where it shows a sign of life at the last moment", async () => {
    const now = scene();
    now.board.put(NAME, theirs(), now.world.clock.now() - 130_000);
    const plain = { ...now.board };
    Object.assign(now.board, {
      relabel: async (name: string, lock: StoredLock, labels: StoredLock["labels"]) => {
        if (labels["swarm-stack-deploy.holder"] !== "them") now.board.put(name, theirs());
        return await plain.relabel(name, lock, labels);
      },
    });
    expect(await refusal(now.take(0))).toContain("by ann");
    expect(now.board.held.get(NAME)?.labels["swarm-stack-deploy.holder"]).toBe("them");
  });
});

describe("while we work", () => {
  test("the lock shows signs of life, so that nobody takes it over", async () => {
    const now = scene();
    const lock = await now.take();
    await now.world.clock.sleep(600_000);
    expect(now.board.heard.filter((line) => line.startsWith("relabel"))).toHaveLength(60);
    expect(now.board.held.get(NAME)?.changedAt).toBe(now.world.clock.now());
    await lock[Symbol.asyncDispose]();
    await now.world.clock.sleep(600_000);
    expect(now.board.heard.at(-1)).toBe("remove id-1");
  });

  test("to be sure of it costs nothing while it has just been proven", async () => {
    const now = scene();
    const lock = await now.take();
    await now.world.clock.sleep(15_000);
    const before = now.board.heard.length;
    await lock.makeSure();
    expect(now.board.heard).toHaveLength(before);
  });

  test("after a while without an answer the swarm is asked before anything is sent", async () => {
    const now = scene();
    const lock = await now.take();
    const plain = { ...now.board };
    const silence = Object.assign(now.board, {
      relabel: async (): Promise<boolean> => await Promise.reject(new Error("no answer")),
    });
    await now.world.clock.sleep(30_000);
    expect(said(now)).toEqual(
      Array(3).fill("The lock of the stack shop could not be renewed just now: no answer"),
    );
    await expect(lock.makeSure()).rejects.toThrow("no answer");
    Object.assign(silence, plain);
    await lock.makeSure();
    expect(now.board.heard.at(-1)).toBe(`relabel ${NAME}`);
    expect(now.world.stopped).toEqual([]);
  });

  test("a renewal that another one of ours has overtaken is tried again", async () => {
    const now = scene();
    const lock = await now.take();
    const plain = { ...now.board };
    let overtaken = 0;
    Object.assign(now.board, {
      read: async (name: string) => {
        const found = await plain.read(name);
        if (found !== undefined && overtaken++ === 0) now.board.put(name, found.labels);
        return found;
      },
    });
    Object.assign(now.world.clock, {
      now: (
        (then) => () =>
          then + 20_000
      )(now.world.clock.now()),
    });
    await lock.makeSure();
    expect(overtaken).toBe(2);
  });

  test("without a confirmation nothing is sent, and that is an error", async () => {
    const now = scene({ relabel: async () => await Promise.resolve(false) });
    const lock = await now.take();
    await now.world.clock.sleep(16_000);
    await expect(lock.makeSure()).rejects.toThrow("did not confirm in time that the lock");
  });

  test.each<[string, (board: LockBoard) => void, RegExp]>([
    [
      "taken over",
      (board) => board.put(NAME, theirs()),
      /^Another deployment has taken over the lock of the stack shop while this one ran: https:\/\/.*by ann/,
    ],
    [
      "removed by hand",
      (board) => board.held.clear(),
      /^Somebody has removed the lock of the stack shop while this deployment ran\./,
    ],
  ])("a lock that was %s stops everything, and is not let go", async (_fact, happens, words) => {
    const now = scene();
    const lock = await now.take();
    happens(now.board);
    await now.world.clock.sleep(10_000);
    expect(now.world.stopped.map(({ message }) => message)).toEqual([expect.stringMatching(words)]);
    await expect(lock.makeSure()).rejects.toBe(now.world.stopped[0]);
    const before = now.board.heard.length;
    await now.world.clock.sleep(60_000);
    await lock[Symbol.asyncDispose]();
    expect(now.board.heard).toHaveLength(before);
    expect(now.remembered.get("lock")).toBe("");
  });
});

describe("what can't be let go", () => {
  test("is said, and left to the post step", async () => {
    const now = scene({ remove: async () => await Promise.reject(new Error("no answer.")) });
    await (await now.take())[Symbol.asyncDispose]();
    expect(said(now)).toEqual([
      "The lock of the stack shop could not be released: no answer. The post step tries again; without that it ends by itself 2m after its last sign of life.",
    ]);
    expect(now.remembered.get("lock")).not.toBe("");
  });

  test("is not even tried where it may be somebody else's by now", async () => {
    const now = scene({ read: async () => await Promise.reject(new Error("no answer")) });
    const lock = await now.take();
    await now.world.clock.sleep(60_000);
    await lock[Symbol.asyncDispose]();
    expect(now.board.heard).toEqual([`create ${NAME}`]);
    expect(said(now).at(-1)).toContain("could not be released: the manager has not answered for a while.");
  });

  test("is let go by the post step, if it is still ours", async () => {
    const { board } = scene();
    board.put(NAME, theirs());
    expect(await releaseLeft({ stack: "shop", holder: "us" }, board)).toBe(false);
    expect(board.held.size).toBe(1);
    expect(await releaseLeft({ stack: "shop", holder: "them" }, board)).toBe(true);
    expect(board.held.size).toBe(0);
    expect(await releaseLeft({ stack: "shop", holder: "them" }, board)).toBe(false);
  });

  test("by the post step is left to whoever takes it over in that moment", async () => {
    const { board } = scene({ relabel: async () => await Promise.resolve(false) });
    board.put(NAME, theirs());
    expect(await releaseLeft({ stack: "shop", holder: "them" }, board)).toBe(false);
    expect(board.held.size).toBe(1);
  });

  test("is let go where the job is cancelled just as the lock is created", async () => {
    const now = scene();
    const plain = { ...now.board };
    Object.assign(now.board, {
      create: async (name: string, labels: StoredLock["labels"]) => {
        await plain.create(name, labels);
        throw new Cancelled("SIGTERM");
      },
    });
    await expect(now.take()).rejects.toBeInstanceOf(Cancelled);
    expect(now.board.held.size).toBe(0);
    expect(now.remembered.get("lock")).toBe("");
  });
});
