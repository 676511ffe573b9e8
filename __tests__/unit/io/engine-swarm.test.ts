import { describe, expect, test } from "@jest/globals";
import { EngineSwarm } from "../../../src/io/engine-swarm.ts";
import { task } from "../../doubles/swarm.ts";

/** A manager that knows one container, with this state. */
function swarmThatKnows(container: object): EngineSwarm {
  const body = Buffer.from(JSON.stringify(container));
  const engine = {
    apiVersion: "1.41",
    info: { Swarm: { NodeID: "n1" } },
    isOver: () => false,
    send: async () => await Promise.resolve({ status: 200, body, date: "" }),
  };
  return new EngineSwarm(engine, () => "m1", new AbortController().signal);
}

describe("a container that has stopped", () => {
  // Docker calls every one of them unhealthy.
  const stopped = (failingStreak: number, retries: number): object => ({
    State: { OOMKilled: false, Health: { Status: "unhealthy", FailingStreak: failingStreak, Log: [] } },
    Config: { Healthcheck: { Test: ["CMD", "x"], Retries: retries } },
  });

  test.each([
    ["before its check ran", 0, 0, false],
    ["while its check had failed, and not often enough", 1, 5, false],
    ["as often as an engine allows by itself", 3, 0, true],
    ["because its check failed too often", 7, 2, true],
  ])("%s: a streak of %i, %i retries", async (_fact, streak, retries, unhealthy) => {
    const facts = await swarmThatKnows(stopped(streak, retries)).containerFacts(task({ nodeId: "n1" }));
    expect(facts).toEqual({ outOfMemory: false, unhealthy, probes: [] });
  });

  test("without a check is not unhealthy", async () => {
    const facts = await swarmThatKnows({ State: { OOMKilled: false }, Config: {} }).containerFacts(
      task({ nodeId: "n1" }),
    );
    expect(facts?.unhealthy).toBe(false);
  });
});

describe("a survey", () => {
  /** An engine with so many services of five tasks each; what it was asked. */
  function crowded(services: number): { readonly asked: string[]; readonly swarm: EngineSwarm } {
    const asked: string[] = [];
    const listed = (count: number): object[] =>
      Array.from({ length: count }, (_, index) => ({
        ID: `i${index}`,
        Spec: { Name: `shop_web${index}`, Labels: { "com.docker.stack.namespace": "shop" } },
        ServiceID: `i${index % services}`,
      }));
    const answers: Readonly<Record<string, object>> = {
      "/services": listed(services),
      "/tasks": listed(services * 5),
      "/configs": listed(services),
      "/secrets": listed(services),
      "/networks": listed(services),
      "/nodes": listed(services),
    };
    const engine = {
      apiVersion: "1.41",
      info: {},
      isOver: () => false,
      send: async (path: string) => {
        asked.push(path);
        const body = Buffer.from(JSON.stringify(answers[path] ?? {}));
        return await Promise.resolve({ status: 200, body, date: "" });
      },
    };
    return { asked, swarm: new EngineSwarm(engine, () => "m1", new AbortController().signal) };
  }

  test("takes as many calls of a large swarm as of a small one", async () => {
    const [small, large] = [crowded(1), crowded(200)];
    await small.swarm.survey("shop");
    const { services, tasks } = await large.swarm.survey("shop");
    expect([services.length, tasks.length]).toEqual([200, 1000]);
    expect(large.asked.toSorted()).toEqual(small.asked.toSorted());
  });
});
