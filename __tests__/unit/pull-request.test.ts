import { expect, test } from "@jest/globals";
import { parseInputs } from "../../src/inputs/inputs.ts";
import { commentOn } from "../../src/pull-request.ts";
import { noFacts } from "../../src/report.ts";
import { type Commented } from "../../src/world.ts";
import { scriptedWorld } from "../doubles/world.ts";

const FORBIDDEN: Commented = { unknown: "GitHub answered 403 (no)", forbidden: true };

async function told(
  given: Readonly<Record<string, string>>,
  pullRequest: number | undefined,
  comment?: Commented,
): Promise<string> {
  const scripted = scriptedWorld({
    files: {},
    specs: [],
    frames: [],
    github: comment === undefined ? {} : { comment },
  });
  const world = { ...scripted, run: { ...scripted.run, pullRequest } };
  const all: Readonly<Record<string, string>> = { mode: "plan", comment: "true", version: "v1", ...given };
  const inputs = parseInputs((name) => all[name] ?? "", world.run);
  await commentOn(inputs, world, { ...noFacts(), mode: "plan", status: "planned", stackName: "shop" });
  return scripted.transcript.join("\n");
}

test.each<[string, Readonly<Record<string, string>>, number | undefined, Commented | undefined, string]>([
  ["of the pull request", {}, 7, undefined, "  > comment on #7: <!-- swarm-stack-deploy: plan of shop -->"],
  ["that nobody asked for", { comment: "false" }, 7, undefined, ""],
  [
    "where there is no pull request",
    {},
    undefined,
    undefined,
    "No comment: this run belongs to no pull request",
  ],
  [
    "that is forbidden",
    {},
    7,
    FORBIDDEN,
    "warning: The plan could not be written below the pull request: GitHub answered 403",
  ],
])("a comment %s", async (_fact, given, pullRequest, comment, words) => {
  const transcript = await told(given, pullRequest, comment);
  if (words === "") expect(transcript).toBe("");
  else expect(transcript).toContain(words);
  expect(transcript.includes("pull-requests: write")).toBe(comment === FORBIDDEN);
});

test("of another swarm is another one, and says next to nothing about where that is", async () => {
  const marker = async (host: string): Promise<string> =>
    /<!--.*-->/.exec(await told({ "docker-host": `tcp://${host}:2375` }, 7))?.[0] ?? "";
  expect(await marker("staging")).toMatch(/plan of \S+ at [0-9a-f]{3} -->$/);
  expect(await marker("staging")).not.toBe(await marker("production"));
});

test("links to the run", async () => {
  expect(await told({}, 7)).toContain("[The run](https://github.com/acme/shop/actions/runs/1)");
});
