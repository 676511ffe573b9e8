import { describe, expect, test } from "@jest/globals";
import { headline, tellStory } from "../../src/failing-task.ts";
import { type LogLine, type Swarm } from "../../src/swarm.ts";
import { scriptedSwarm, task } from "../doubles/swarm.ts";

const CRASHED = task({ state: "failed", error: "task: non-zero exit (3)", exitCode: 3, slot: 2 });
const out = (text: string): LogLine => ({ text, stderr: false });
const err = (text: string): LogLine => ({ text, stderr: true });

async function story(changes: Partial<Swarm> = {}, failed = CRASHED): ReturnType<typeof tellStory> {
  return await tellStory(scriptedSwarm([], changes), "web", failed, [failed]);
}

const logging = (...lines: LogLine[]): Partial<Swarm> => ({
  taskLogs: async () => await Promise.resolve(lines),
});

test("a story has all that is known of the task", async () => {
  expect(await story(logging(out("starting"), err("no database"), out("bye")))).toEqual({
    service: "web",
    slot: 2,
    node: "name-of-n1",
    image: "app:v1",
    state: "failed",
    exitCode: 3,
    error: "task: non-zero exit (3)",
    oomKilled: undefined,
    healthChecks: [],
    attempts: [
      {
        createdAt: CRASHED.createdAt,
        image: "app:v1",
        state: "failed",
        exitCode: 3,
        error: "task: non-zero exit (3)",
      },
    ],
    cause: "The program ended with an error of its own (exit code 3). Its last lines say why.",
    logs: ["starting", "no database", "bye"],
    lastWords: "no database",
    logsMissing: undefined,
  });
});

describe("the last words", () => {
  test.each([
    ["standard error's, since the two streams come by separate ways", [err("why"), out("bye")], "why"],
    ["standard output's where there is no other", [out("a"), out("b")], "b"],
    ["none", [], ""],
  ])("are %s", async (_fact, lines, words) => {
    expect((await story(logging(...lines))).lastWords).toBe(words);
  });
});

describe("what can't be learned costs nothing else", () => {
  test("logs of a node that is down", async () => {
    const told = await story({
      taskLogs: async () => await Promise.reject(new Error("node n1 is not available")),
    });
    expect(told).toMatchObject({ logs: [], logsMissing: "node n1 is not available", node: "name-of-n1" });
  });

  test("a node that is gone keeps its id", async () => {
    expect(
      await story({
        nodeName: async () => await Promise.reject(new Error("not found")),
        ...logging(out("x")),
      }),
    ).toMatchObject({ node: "n1", logs: ["x"] });
  });

  test("a task that never had a node", async () => {
    expect(await story({}, { ...CRASHED, nodeId: "" })).toMatchObject({ node: "" });
  });
});

test.each([
  ["the swarm's own words", CRASHED, "Task web.2 on name-of-n1 (app:v1): task: non-zero exit (3)"],
  [
    "a task that ended by itself",
    { ...CRASHED, state: "complete", error: "", exitCode: 0 },
    "Task web.2 on name-of-n1 (app:v1): complete with exit code 0",
  ],
  [
    "a task that never started",
    { ...CRASHED, state: "rejected", error: "", exitCode: undefined },
    "Task web.2 on name-of-n1 (app:v1): rejected",
  ],
  [
    "a global service has no slots",
    { ...CRASHED, slot: 0 },
    "Task web on name-of-n1 (app:v1): task: non-zero exit (3)",
  ],
  ["no node", { ...CRASHED, nodeId: "" }, "Task web.2 (app:v1): task: non-zero exit (3)"],
  [
    "a digest is told as people know it",
    { ...CRASHED, image: `app:v1@sha256:${"ab".repeat(32)}` },
    "Task web.2 on name-of-n1 (app:v1@sha256:abababababab): task: non-zero exit (3)",
  ],
])("the headline: %s", async (_fact, failed, line) => {
  expect(headline(await story({}, failed))).toBe(line);
});

test("a line stays whole until it is free of secrets; in a sentence no word of it is cut in two", async () => {
  const told = await story(logging(out("a".repeat(1000)), err("b".repeat(1_000_000))));
  expect(told.logs).toEqual(["a".repeat(1000), "b".repeat(1_000_000)]);
  expect(told.lastWords).toBe("… (1000000 more characters)");
});

describe("what its node's engine knows", () => {
  const facts = {
    outOfMemory: true,
    unhealthy: true,
    probes: ["a", "b", " c\n", "x".repeat(1200)].map((output, exitCode) => ({ exitCode, output })),
  };

  test("is told where it can be asked: memory, and the last three checks", async () => {
    const told = await story({ containerFacts: async () => await Promise.resolve(facts) });
    expect(told.oomKilled).toBe(true);
    expect(told.cause).toMatch(/^The kernel ended it/);
    expect(
      told.healthChecks.map(
        ({ exitCode, output }) => `${exitCode} ${output.slice(0, 2)} ${output.length > 1100}`,
      ),
    ).toEqual(["1 b false", "2 c false", "3 xx true"]);
    expect(headline(told)).toMatch(/task: non-zero exit \(3\), out of memory$/);
  });

  test("is not claimed where it can't", async () => {
    const told = await story({
      containerFacts: async () => await Promise.reject(new Error("no answer within 5 s")),
    });
    expect(told).toMatchObject({ oomKilled: undefined, healthChecks: [] });
  });
});

test("a task that never had a container is not asked for its log", async () => {
  const told = await story(
    { taskLogs: async () => await Promise.reject(new Error("must not be asked")) },
    { ...CRASHED, state: "pending", containerId: "" },
  );
  expect(told).toMatchObject({ logs: [], logsMissing: undefined });
});

test("the attempts are those of this place, up to this one, oldest first", async () => {
  const at = (second: number, changes: Partial<typeof CRASHED>): typeof CRASHED => ({
    ...CRASHED,
    createdAt: `2026-08-01T10:00:0${second}Z`,
    ...changes,
  });
  const failed = at(3, { id: "now", error: "now" });
  const tasks = [
    failed,
    at(2, { id: "b", error: "second" }),
    at(1, { id: "a", error: "first" }),
    at(4, { id: "c", error: "later" }),
    at(1, { id: "d", slot: 1, error: "elsewhere" }),
    at(1, { id: "e", serviceId: "s2", error: "another service" }),
  ];
  const told = await tellStory(scriptedSwarm([]), "web", failed, tasks);
  expect(told.attempts.map(({ error }) => error)).toEqual(["first", "second", "now"]);
});
