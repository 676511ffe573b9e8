import { expect, test } from "@jest/globals";
import { StopError } from "../../src/errors.ts";
import { parseInputs } from "../../src/inputs/inputs.ts";
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
): Promise<{ facts: Facts; transcript: readonly string[] }> {
  const files = { "stack.yml": STACK };
  const world = scriptedWorld({ files, specs: [], frames: [], ...played });
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
