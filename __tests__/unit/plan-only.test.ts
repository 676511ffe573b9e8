import { describe, expect, test } from "@jest/globals";
import { StopError } from "../../src/errors.ts";
import { type RunContext, parseInputs } from "../../src/inputs/inputs.ts";
import { planOnly } from "../../src/plan-only.ts";
import { type Facts, noFacts, outputs, summary } from "../../src/report.ts";
import { offences } from "../doubles/schema.ts";
import { serviceSpec } from "../doubles/swarm.ts";
import { type Script, scriptedWorld } from "../doubles/world.ts";

/** Mode `plan` without a manager. */

const STACK = `services:
  web:
    image: $IMAGE
    volumes: [{ type: volume, source: data, target: /data, volume: { subpath: inner } }]
    healthcheck: { test: [CMD, probe] }
    deploy: { replicas: 9, update_config: { failure_action: continue } }
volumes: { data: {} }
`;
const PINNED = `r.io/other:v1@sha256:${"1".repeat(64)}`;
const RISKY = { UpdateConfig: { FailureAction: "continue" } };

async function planned(
  played: Partial<Script>,
  given: Readonly<Record<string, string>> = {},
  withheldFrom?: RunContext["withheldFrom"],
): Promise<{ facts: Facts; transcript: readonly string[] }> {
  const files = { "stack.yml": STACK };
  const scripted = scriptedWorld({ files, specs: [], frames: [], ...played });
  const world = { ...scripted, run: { ...scripted.run, withheldFrom } };
  const facts = noFacts();
  const all: Readonly<Record<string, string>> = {
    mode: "plan",
    registry: "r.io/acme",
    build: "false",
    version: "v2",
    ...given,
  };
  try {
    await planOnly(
      parseInputs((name) => all[name] ?? "", world.run),
      world,
      facts,
    );
  } catch (error) {
    if (!(error instanceof StopError)) throw error;
    Object.assign(facts, { reason: error.reason, problems: error.problems });
  }
  return { facts, transcript: world.transcript };
}

const ids = ({ findings }: Facts): string[] => findings.map(({ id }) => id);

test("files with nothing to be said of them are in order", async () => {
  const { facts, transcript } = await planned({ specs: [serviceSpec()] });
  expect(facts).toMatchObject({ status: "planned", findings: [] });
  expect(facts.notes.join()).toContain("only the files were checked: nothing is wrong with them.");
  expect(summary(facts)).toMatch(/are in order$/m);
  expect(outputs(facts).plan).toBe("{}");
  expect(transcript).not.toContain("  > connect");
});

test("a warning is told at its place, in the summary and in the output, and nobody is asked", async () => {
  const { facts, transcript } = await planned({ specs: [serviceSpec("app:v1", RISKY)] });
  expect(facts.status).toBe("planned");
  expect(facts.notes.join()).toContain("only the files were checked, with one warning.");
  expect(transcript.join("\n")).toMatch(/^warning: stack\.yml:6:\d+: .*failure-action-continue/m);
  expect(summary(facts)).toMatch(/are in order, with warnings\n[^]*^- ⚠️ stack\.yml:6/m);
  const { plan = "" } = outputs(facts);
  expect(offences(plan)).toEqual([]);
  expect(JSON.parse(plan)).toMatchObject({ findings: [{ id: "failure-action-continue", line: 6 }] });
  expect(transcript).not.toContain("  > connect");
});

test("what is to be passed over is said, and no warning", async () => {
  const given = { "ignore-findings": "failure-action-continue" };
  const { facts, transcript } = await planned({ specs: [serviceSpec("app:v1", RISKY)] }, given);
  expect(facts.findings).toEqual([]);
  expect(transcript.join("\n")).toContain('Passed over, as "ignore-findings" says: stack.yml:6');
});

test("an error stops the plan", async () => {
  const Mounts = [{ Type: "volume", Source: "shop_data", Target: "/data" }];
  const spec = serviceSpec("app:v1", { TaskTemplate: { ContainerSpec: { Image: "app:v1", Mounts } } });
  const { facts } = await planned({ specs: [spec] });
  expect(facts).toMatchObject({ status: "failed", reason: "preflight" });
  expect(ids(facts)).toEqual(["engine-too-old"]);
  expect(offences(outputs(facts).plan ?? "")).toEqual([]);
});

test.each([
  ["its digest is", PINNED, ["healthcheck-program"]],
  ["its tag may be another one in the registry, and is not", "r.io/other:v1", []],
])("an image that the runner has by %s looked into", async (_fact, image, expected) => {
  const images = {
    configOf: async () => await Promise.resolve({}),
    having: async () => await Promise.resolve(new Set<string>()),
  };
  const Healthcheck = { Test: ["CMD", "probe"] };
  const specs = [serviceSpec(image, { TaskTemplate: { ContainerSpec: { Image: image, Healthcheck } } })];
  expect(ids((await planned({ specs, images })).facts)).toEqual(expected);
});

describe("what is withheld", () => {
  const NEEDY = `services:
  web:
    image: r.io/postgres:$TAG
    environment: { A: $A }
    volumes: [data:/data]
    healthcheck: { test: [CMD, probe], interval: $EVERY }
    deploy: { update_config: { failure_action: $ACTION, monitor: 1s } }
volumes: { data: {} }
`;
  const fork = async (text: string, played: Partial<Script> = {}): Promise<Facts> =>
    (await planned({ files: { "stack.yml": text }, ...played }, { secrets: "{}" }, "a fork")).facts;

  test("is told in the log and in the summary, and is no mistake", async () => {
    const facts = await fork(NEEDY, { specs: [serviceSpec()] });
    expect(facts).toMatchObject({ status: "planned", findings: [] });
    const line =
      "4 variables are not known here, since a pull request from a fork gets no secrets and no variables: TAG, A, EVERY, ACTION. Some value stands in for them.";
    expect(facts.notes).toContain(line);
    expect(summary(facts)).toContain("Some value stands in for them.");
  });

  test("is a mistake of anybody else", async () => {
    const { facts } = await planned({ files: { "stack.yml": NEEDY } });
    expect(facts).toMatchObject({ status: "failed", reason: "render" });
    expect(facts.problems).toHaveLength(4);
  });

  test("names what may be a slip", async () => {
    const { notes } = await fork("services: { web: { image: $IMGAE } }");
    expect(notes.join()).toContain(
      "1 variable is not known here, since a pull request from a fork gets no secrets and no variables: IMGAE (or is IMAGE meant?). Some value stands in for it.",
    );
  });

  test.each([
    ["from what is not known", NEEDY, []],
    ["but from what the file says", NEEDY.replace("$ACTION", "continue"), ["failure-action-continue"]],
  ])("no finding is drawn %s", async (_fact, text, expected) => {
    const Healthcheck = { Test: ["CMD", "probe"], Interval: 12_345_000_000 };
    const Mounts = [{ Type: "volume", Source: "shop_data", Target: "/data" }];
    const image = "r.io/postgres:12345";
    const spec = serviceSpec(image, {
      TaskTemplate: { ContainerSpec: { Image: image, Healthcheck, Mounts } },
      UpdateConfig: { FailureAction: "continue", Monitor: 1e9, Order: "start-first" },
    });
    expect(ids(await fork(text, { specs: [spec] }))).toEqual(expected);
  });

  test("an image that is not known is not looked into", async () => {
    const asked: string[] = [];
    const images = {
      configOf: async (image: string) => (asked.push(image), await Promise.resolve({})),
      having: async () => await Promise.resolve(new Set<string>()),
    };
    const image = "r.io/other@12345";
    const Healthcheck = { Test: ["CMD", "probe"] };
    const specs = [serviceSpec(image, { TaskTemplate: { ContainerSpec: { Image: image, Healthcheck } } })];
    await fork("services: { web: { image: r.io/other@$DIGEST } }", { specs, images });
    expect(asked).toEqual([]);
  });

  test("is a secret that is given and empty, where nobody is a stranger", async () => {
    const files = { "stack.yml": "services: { web: { image: a, environment: { A: $A, B: '${B:-b}' } } }" };
    const { facts } = await planned({ files, specs: [serviceSpec()] }, { secrets: "A=\nB=" });
    expect(facts.status).toBe("planned");
    expect(facts.notes.join()).toContain(
      "1 variable is not known here, since the secrets of these names are empty: A. Some value stands in for it.",
    );
  });
});
