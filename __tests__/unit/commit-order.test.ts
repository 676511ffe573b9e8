import { expect, test } from "@jest/globals";
import { liveCommit, refuseOlder } from "../../src/commit-order.ts";
import { PreflightError, StopError, describe as inWords } from "../../src/errors.ts";
import { parseInputs } from "../../src/inputs/inputs.ts";
import { type JsonObject } from "../../src/json.ts";
import { type Told } from "../../src/world.ts";
import { emptySurvey, service } from "../doubles/swarm.ts";
import { scriptedWorld } from "../doubles/world.ts";

const LIVE = "1".repeat(40);
const OURS = "2".repeat(40);

function release(number: string, commit: string, stack = "shop"): JsonObject {
  const labels = { release: number, commit, stack };
  const named = Object.entries(labels).map(([name, value]) => [`swarm-stack-deploy.${name}`, value]);
  return { Spec: { Name: `r${number}`, Labels: Object.fromEntries(named) as JsonObject } };
}

test.each<[string, readonly JsonObject[], string | undefined]>([
  ["no record", [], undefined],
  ["the newest record, by number", [release("9", "a"), release("10", LIVE), release("2", "b")], LIVE],
  ["no record of another stack", [release("9", "a", "blog")], undefined],
  ["no other config, though it has a commit", [release("", "a"), { Spec: { Name: "x" } }], undefined],
  ["no record without a commit", [release("1", "")], undefined],
])("the live commit is told by %s", (_fact, rawConfigs, commit) => {
  expect(liveCommit(emptySurvey({ rawConfigs }), "shop")).toBe(commit);
});

interface Push {
  readonly told?: Told;
  readonly event?: string;
  readonly sha?: string;
  readonly allow?: string;
  readonly records?: readonly JsonObject[];
  readonly first?: boolean;
}

/** What it ends with, and what was said and asked. */
async function pushed(push: Push): Promise<string[]> {
  const plain = scriptedWorld({ files: {}, specs: [], frames: [] });
  const heard: string[] = [];
  const world = {
    ...plain,
    run: { ...plain.run, event: push.event ?? "push", sha: push.sha ?? OURS },
    github: {
      ...plain.github,
      isAncestor: async (older: string, newer: string) => {
        heard.push(`asked: ${older.slice(0, 7)} before ${newer.slice(0, 7)}`);
        return await Promise.resolve(push.told ?? false);
      },
    },
  };
  const given: Readonly<Record<string, string>> = {
    "docker-host": "unix:///d",
    "allow-older": push.allow ?? "false",
  };
  const inputs = parseInputs((name) => given[name] ?? "", world.run);
  const services = push.first === true ? [] : [service()];
  const survey = emptySurvey({ services, rawConfigs: push.records ?? [release("3", LIVE)] });
  try {
    await refuseOlder(inputs, survey, world);
  } catch (error) {
    expect(error).toBeInstanceOf(PreflightError);
    heard.push(...(error as StopError).problems.map(inWords));
  }
  return [...heard, ...plain.transcript];
}

test.each<[string, Push, string[]]>([
  ["newer", { told: false }, ["asked: 2222222 before 1111111"]],
  [
    "older",
    { told: true },
    [
      "asked: 2222222 before 1111111",
      "The commit 2222222 is older than 1111111, which is live: it is one of its ancestors. Nothing was changed. To go back on purpose, set `allow-older: true`, or deploy by hand (workflow_dispatch).",
    ],
  ],
  ["older, and that is allowed", { told: true, allow: "true" }, []],
  ["older, and no push", { told: true, event: "workflow_dispatch" }, []],
  ["the live one itself", { told: true, sha: LIVE }, []],
  ["the first one", { told: true, records: [], first: true }, []],
  [
    "of an order that nobody knows",
    { told: { unknown: "GitHub answered 404 (Not Found)" } },
    [
      "asked: 2222222 before 1111111",
      "Whether the commit 2222222 is older than 1111111, which is live, can't be told: GitHub answered 404 (Not Found).",
    ],
  ],
  [
    "pushed where no release is recorded",
    { told: true, records: [] },
    ["No release on the swarm says which commit of shop is live, so this one may be older."],
  ],
])("a commit that is %s", async (_fact, push, heard) => {
  expect(await pushed(push)).toEqual(heard);
});
