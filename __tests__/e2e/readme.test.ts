import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { buildable, cleanUp, docker, runAction, sandbox, stackName } from "./rig.ts";

/** The workflows and the stack file of the README, run as they stand there; only names of places are replaced by the sandbox's. */

const README = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8");
const snippets = [...README.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = ""]) => text);
const stackFile = snippets.find((text) => text.startsWith("services:")) ?? "";
const stack = stackName("readme");

interface Workflow {
  readonly name: string;
  readonly on: Readonly<Record<string, unknown>>;
  readonly jobs: Readonly<
    Record<string, { steps: { uses?: string; with?: Record<string, string | boolean> }[] }>
  >;
}

const workflows = snippets
  .filter((text) => text.includes("swarm-stack-deploy@"))
  .map((text) => parse(text) as Workflow);

function ourStep(workflow: Workflow): Record<string, string> {
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);
  const step = steps.find(({ uses }) => uses?.includes("swarm-stack-deploy@"));
  return Object.fromEntries(Object.entries(step?.with ?? {}).map(([name, value]) => [name, String(value)]));
}

/** What the README's expressions and host names stand for, here. */
function fill(inputs: Readonly<Record<string, string>>): Record<string, string> {
  const places: Readonly<Record<string, string>> = {
    "ssh-host": `deploy@${sandbox.manager}`,
    "ssh-private-key": sandbox.key,
    "ssh-known-hosts": sandbox.knownHosts,
    "ssh-fingerprint": sandbox.fingerprint,
    registry: `${sandbox.registry}/acme`,
    username: sandbox.registryUser,
    password: sandbox.registryPassword,
    "pull-username": sandbox.registryUser,
    "pull-password": sandbox.registryPassword,
    // A release by tag, or, to roll back, the one before.
    version: inputs.mode === "rollback" ? "" : "v1.0.0",
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, places[name] ?? value]));
}

const EVENTS: Readonly<Record<string, Record<string, string>>> = {
  push: {},
  tag: { GITHUB_REF_TYPE: "tag", GITHUB_REF_NAME: "v1.0.0" },
  workflow_dispatch: { GITHUB_EVENT_NAME: "workflow_dispatch" },
};

function eventOf({ on }: Workflow): string {
  if ("workflow_dispatch" in on) return "workflow_dispatch";
  return JSON.stringify(on).includes("tags") ? "tag" : "push";
}

afterAll(() => {
  cleanUp();
  docker(["network", "rm", "shop_front"]);
});

describe("the README", () => {
  // A redeploy needs what a tag push made before it.
  const inOrder = ["push", "tag", "workflow_dispatch"].flatMap((event) =>
    workflows.filter((each) => eventOf(each) === event),
  );

  test("has a workflow for each of the three events", () => {
    expect(new Set(inOrder.map(eventOf))).toEqual(new Set(["push", "tag", "workflow_dispatch"]));
    expect(stackFile).not.toBe("");
  });

  test.each(inOrder.map((workflow) => [`${workflow.name} (${eventOf(workflow)})`, workflow] as const))(
    "%s",
    async (_name, workflow) => {
      const inputs: Record<string, string> = {
        ...fill(ourStep(workflow)),
        project: stack,
        "stable-for": "2s",
      };
      const cwd = buildable({
        "stack.yml": stackFile.replace("monitor: 10s", "monitor: 1s"),
        ".env": "A=1\n",
      });
      const run = await runAction({ cwd, inputs, bare: true, environment: EVENTS[eventOf(workflow)] ?? {} });
      expect(run.log).toMatch(
        inputs.mode === "rollback" ? /Status: rolled-back\./ : /Status: (deployed|unchanged)\./,
      );
      expect(run.outputs["stack-name"]).toBe(stack);
    },
  );
});
