import { cpSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { FINDINGS } from "../../src/preflight/findings.ts";
import { CORPUS, stackFilesIn, variablesIn } from "../stacks/corpus.ts";
import {
  OwnSandbox,
  type Run,
  type Sandbox,
  cleanUp,
  docker,
  pushImage,
  runAction,
  workspace,
} from "./rig.ts";

/**
 * What was just deployed plans empty: every stack of the corpus, whose spelling docker and the engine store in their own ways, on an old
 * and on a new engine. None of it comes up here, since its images can't be had; what is compared are specs.
 */

const own = new OwnSandbox("corpus", 5);
/** What is about this small swarm, and not about the stack. What is missing is made first. */
const IGNORED = FINDINGS.map(({ id }) => id).filter((id) => !/^missing-(network|config|secret)$/.test(id));
/** Their names come from variables, and so are not told. */
const UNTOLD: Readonly<Record<string, readonly (readonly string[])[]>> = {
  elk: [["network", "create", "--driver", "overlay", "--attachable", "proxy"]],
  nginx: [["secret", "create", "site.crt.2024", "FILE"]],
};

afterAll(cleanUp);

describe.each(["host", "forky"])("on the engine of %s", (engine) => {
  let box: Sandbox;
  beforeAll(() => {
    box = own.up(1, 0, engine);
    pushImage("corpus", "v1", [], box);
    docker(["node", "update", "--availability", "drain", "n1"], box.managerDockerHost); // Plans are compared, and no task is needed.
  });
  afterAll(() => own.purge());

  test.each(readdirSync(CORPUS))("%s", async (name) => {
    const cwd = checkout(name);
    const run = async (inputs: Readonly<Record<string, string>>): Promise<Run> =>
      await runAction({ cwd, at: box, inputs: { ...inputsFor(name, cwd), ...inputs } });
    const create = (argv: readonly string[]): unknown =>
      docker(
        argv.map((word) => (word === "FILE" ? `${cwd}/stack.yml` : word)),
        box.managerDockerHost,
      );

    UNTOLD[name]?.forEach(create);
    const first = await run({ mode: "plan" });
    const told = first.log.matchAll(/or run: docker ((?:network|config|secret) create .*?)(?:\. |$)/gm);
    [...told].map(([, command = ""]) => command.trim().split(" ")).forEach(create);

    const deployed = await run({});
    expect([deployed.log, deployed.outputs.reason]).toEqual([
      deployed.log,
      expect.stringMatching(/^(rollout)?$/),
    ]);
    const services = JSON.parse(deployed.outputs.services ?? "[]") as unknown[];
    const again = await run({ mode: "plan" });
    expect([again.log, again.outputs.status]).toEqual([again.log, "planned"]);
    expect(changesIn(again)).toEqual([]);
    expect(again.outputs.changes).toBe("0");
    expect(services.length).toBeGreaterThan(0);
    const left = docker(["service", "ls", "-q"], box.managerDockerHost).split("\n");
    docker(["service", "rm", ...left], box.managerDockerHost); // Each needs the ports of another one.
  });
});

/** A copy in which every image is one that is there. */
function checkout(name: string): string {
  const cwd = workspace({});
  cpSync(join(CORPUS, name), cwd, { recursive: true });
  for (const file of stackFilesIn(cwd)) {
    const text = readFileSync(join(cwd, file), "utf8");
    writeFileSync(join(cwd, file), text.replace(/^( +image:).*$/gm, "$1 $IMAGE"));
  }
  return cwd;
}

function inputsFor(name: string, cwd: string): Record<string, string> {
  const variables = variablesIn(cwd);
  delete variables.IMAGE; // Ours is there.
  return {
    "stack-name": name,
    "stack-file": stackFilesIn(cwd).join("\n"),
    variables: JSON.stringify(variables),
    project: "corpus",
    version: "v1",
    build: "false",
    strict: "false",
    "env-file": "",
    "on-failure": "keep",
    "stable-for": "0s",
    timeout: "1s",
    "ignore-findings": IGNORED.join(","),
  };
}

/** The lines of a plan that say what differs. */
function changesIn({ log }: Run): string[] {
  return log.match(/^[~+-] .*$/gm) ?? [];
}
