import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { PreflightError, describe as inWords } from "../../src/errors.ts";
import { parseInputs } from "../../src/inputs/inputs.ts";
import { type Release } from "../../src/release/release.ts";
import { type Facts, noFacts, outputs, summary } from "../../src/report.ts";
import { rollback } from "../../src/rollback.ts";
import { type Locks, type Survey, type Swarm } from "../../src/swarm.ts";
import { recorded, release } from "../doubles/release.ts";
import { emptySurvey, service, serviceSpec, task } from "../doubles/swarm.ts";
import { scriptedWorld } from "../doubles/world.ts";

/** Mode rollback in a world in which all is written in advance; the real one is in e2e. */

const ours = (image: string) =>
  serviceSpec(image, {
    Labels: { "com.docker.stack.namespace": "shop", "swarm-stack-deploy.managed": "true" },
  });
const RELEASES = [1, 2, 3].map((number) =>
  release({ number, services: [ours(`app:v${number}`)], configName: `shop_env_${number}` }),
);
const live = (image: string) => service({ spec: ours(image), version: 7 });
const UP = { tasks: [task()] };

async function rolledBack(
  running: Survey["services"],
  given: Readonly<Record<string, string>> = {},
  releases: readonly Release[] = RELEASES,
  swarm: Partial<Swarm> = {},
  after = "app:v2",
  locks: Partial<Locks> = {},
): Promise<{ facts: Facts; transcript: readonly string[]; problems: readonly string[] }> {
  const survey = emptySurvey({ services: running, ...UP, rawConfigs: releases.flatMap(recorded) });
  const world = scriptedWorld({
    files: {},
    specs: [],
    frames: [{ services: [live(after)], ...UP }],
    locks,
    swarm: { survey: async () => await Promise.resolve(survey), ...swarm },
  });
  const all: Readonly<Record<string, string>> = {
    mode: "rollback",
    "docker-host": "unix:///d.sock",
    project: "shop",
    username: "u",
    password: "p",
    "stable-for": "0s",
    ...given,
  };
  const facts = noFacts();
  const inputs = parseInputs((name) => all[name] ?? "", world.run);
  const problems = await rollback(inputs, world, facts).then(
    () => [],
    (error: unknown) => {
      if (!(error instanceof PreflightError)) throw error;
      return error.problems.map(inWords);
    },
  );
  return { facts, transcript: world.transcript, problems };
}

const writes = (transcript: readonly string[]): string[] =>
  transcript.filter((line) => /> swarm: (update|create|remove|record)/.test(line));

test("the stack returns to the release before, and that becomes a release of its own", async () => {
  const { facts, transcript } = await rolledBack([live("app:v3")]);
  expect(transcript).toContain("What runs is release #3 v3 (2026-08-01 10:00, 0123456).");
  expect(transcript).toContain("Going back to release #2 v2 (2026-08-01 10:00, 0123456).");
  expect(transcript).toContain("~ web  app:v2  (image)");
  expect(writes(transcript)).toEqual([
    "  > swarm: update shop_web at 7",
    "  > swarm: record swarm-stack-deploy_release_shop_4",
  ]);
  expect(outputs(facts)).toMatchObject({
    status: "rolled-back",
    reason: "",
    version: "v2",
    release: "v2",
    image: "app:v2",
    digest: "sha256:0a",
    "config-name": "shop_env_2",
    "rendered-file": "/tmp/shop.stack.yml",
  });
  expect(summary(facts)).toContain("## ✅ <code>shop</code> <code>v2</code> runs again");
  expect(summary(facts)).toContain("release <code>#4, #2 again</code>");
});

test("all that is said and done, as a reviewer reads it; `UPDATE_GOLDEN=1` writes it anew", async () => {
  const { facts, transcript } = await rolledBack([live("app:v3")], { "keep-releases": "2" });
  const written = Object.entries(outputs(facts)).map(([key, value]) => `${key}=${value}`);
  const parts = [
    ["# said and done", ...transcript],
    ["# outputs", ...written],
    ["# summary", summary(facts)],
  ];
  const text = parts.map((lines) => `${lines.join("\n")}\n`).join("\n");
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync("__tests__/golden/rollback.txt", text);
  expect(text).toBe(readFileSync("__tests__/golden/rollback.txt", "utf8"));
});

test("docker is asked for nothing, and the registry for the login", async () => {
  const { transcript } = await rolledBack([live("app:v3")]);
  expect(transcript.filter((line) => line.startsWith("  > docker"))).toEqual([]);
  expect(transcript).toContain("  > registry: log in to docker.io as u");
});

test("the lock is taken before anything is looked at, and let go in the end", async () => {
  const steps: string[] = [];
  const step =
    <T>(name: string, answer: T) =>
    async () =>
      await Promise.resolve((steps.push(name), answer));
  await rolledBack(
    [live("app:v3")],
    {},
    RELEASES,
    {
      updateService: step("update", undefined),
      createRecord: step("record", undefined),
    },
    "app:v2",
    {
      create: step("lock", "id"),
      remove: step("release", undefined),
    },
  );
  expect(steps).toEqual(["lock", "update", "record", "release"]);
});

test("a release that runs already is left alone", async () => {
  const { facts, transcript } = await rolledBack([live("app:v3")], { version: "v3" }, RELEASES, {}, "app:v3");
  expect(facts.status).toBe("unchanged");
  expect(writes(transcript)).toEqual([]);
});

test("neither does a restart that somebody has asked for", async () => {
  const template = { ContainerSpec: { Image: "app:v3" }, ForceUpdate: 1 };
  const { transcript } = await rolledBack([
    service({ spec: { ...ours("app:v3"), TaskTemplate: template }, version: 7 }),
  ]);
  expect(transcript).toContain("What runs is release #3 v3 (2026-08-01 10:00, 0123456).");
});

test("a service that was there beside the release is left alone, one that came later goes", async () => {
  const beside = (name: string, createdAt: string) =>
    service({ id: name, name: `shop_${name}`, spec: { ...ours("app:v3"), Name: `shop_${name}` }, createdAt });
  const { transcript } = await rolledBack([
    live("app:v3"),
    beside("left", "2026-08-01T09:00:00Z"),
    beside("late", "2026-08-01T12:00:00Z"),
  ]);
  expect(writes(transcript)).toContain("  > swarm: remove late");
  expect(transcript.join("\n")).not.toContain("swarm: remove left");
});

test("replicas that were changed by hand make no other release of it", async () => {
  const scaled = { ...ours("app:v3"), Mode: { Replicated: { Replicas: 3 } } };
  const { transcript } = await rolledBack([service({ spec: scaled })]);
  expect(transcript).toContain("Going back to release #2 v2 (2026-08-01 10:00, 0123456).");
});

test("where something else runs, the newest release is the one to go back to", async () => {
  const { transcript } = await rolledBack([live("app:bad")], {}, RELEASES, {}, "app:v3");
  expect(transcript).toContain("What runs is no release that the swarm remembers.");
  expect(transcript).toContain("Going back to release #3 v3 (2026-08-01 10:00, 0123456).");
});

test("a service that the release does not have goes after the verdict; one that is not ours stays", async () => {
  const extra = service({ id: "x", name: "shop_extra", spec: { ...ours("app:v3"), Name: "shop_extra" } });
  const theirs = service({
    id: "y",
    name: "shop_theirs",
    spec: serviceSpec("a", { Name: "shop_theirs", Labels: {} }),
  });
  const { transcript } = await rolledBack([live("app:v3"), extra, theirs], { version: "v2" });
  expect(transcript).toContain("? theirs  a  (not in the release: left alone)");
  expect(writes(transcript)).toEqual([
    "  > swarm: update shop_web at 7",
    "  > swarm: remove x",
    "  > swarm: record swarm-stack-deploy_release_shop_4",
  ]);
});

describe("is refused before anything is written", () => {
  test("where the release is unknown", async () => {
    const { problems, transcript } = await rolledBack([live("app:v3")], { version: "v9" });
    expect(problems).toEqual([
      expect.stringMatching(/^The swarm has no release v9 of shop\. There are: #3 v3 .*; #2 v2 .*; #1 v1 /),
    ]);
    expect(writes(transcript)).toEqual([]);
  });

  test("where something that it needs is gone", async () => {
    const spec = serviceSpec("app:v2", {
      TaskTemplate: { ContainerSpec: { Secrets: [{ SecretName: "shop_key_2", SecretID: "s" }] } },
    });
    const stuck = { ...live("app:v3"), update: { state: "updating", message: "" } };
    const { problems, transcript } = await rolledBack([stuck], { version: "v2" }, [
      release({ number: 2, services: [spec] }),
    ]);
    expect(problems).toEqual([
      expect.stringContaining("needs the secret shop_key_2, which is no longer on the swarm."),
    ]);
    expect(writes(transcript)).toEqual([]);
  });
});

test("a record that can't be read is a warning, and is passed over", async () => {
  const [first, ...rest] = RELEASES;
  const broken = recorded(release({ number: 2 })).map((raw) =>
    JSON.parse(JSON.stringify(raw).replace(/"Data":"[^"]*"/, '"Data":"e30="')),
  );
  const rawConfigs = [...recorded(first!), ...broken, ...recorded(rest[1]!)];
  const { transcript } = await rolledBack(
    [live("app:v3")],
    {},
    [],
    {
      survey: async () =>
        await Promise.resolve(emptySurvey({ services: [live("app:v3")], ...UP, rawConfigs })),
    },
    "app:v1",
  );
  expect(transcript.join("\n")).toMatch(
    /warning.*The record of release #2 on the swarm can't be read: it has the format undefined/,
  );
  expect(transcript).toContain("Going back to release #1 v1 (2026-08-01 10:00, 0123456).");
});
