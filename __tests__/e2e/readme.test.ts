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
  readonly on: "pull_request" | Readonly<Record<string, unknown>>;
  readonly jobs: Readonly<
    Record<string, { steps: { uses?: string; with?: Record<string, string | boolean> }[] }>
  >;
}

const workflows = snippets
  .filter((text) => text.includes("swarm-stack-deploy@"))
  .map((text) => parse(text) as Workflow);

/** In the order of their jobs. */
function ourSteps(workflow: Workflow): Record<string, string>[] {
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);
  return steps
    .filter(({ uses }) => uses?.includes("swarm-stack-deploy@"))
    .map((step) =>
      Object.fromEntries(Object.entries(step.with ?? {}).map(([name, value]) => [name, String(value)])),
    );
}

/** What the README's expressions and host names stand for, here. */
function fill(inputs: Readonly<Record<string, string>>, planDigest: string): Record<string, string> {
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
    "plan-digest": planDigest,
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, places[name] ?? value]));
}

const STATUS: Readonly<Record<string, RegExp>> = {
  deploy: /Status: (deployed|unchanged)\./,
  plan: /Status: planned\./,
  rollback: /Status: rolled-back\./,
};

const EVENTS: Readonly<Record<string, Record<string, string>>> = {
  push: {},
  tag: { GITHUB_REF_TYPE: "tag", GITHUB_REF_NAME: "v1.0.0" },
  workflow_dispatch: { GITHUB_EVENT_NAME: "workflow_dispatch" },
  pull_request: { GITHUB_EVENT_NAME: "pull_request", GITHUB_REF: "refs/pull/7/merge" },
};

function eventOf({ on }: Workflow): string {
  if (on === "pull_request") return on;
  if ("workflow_dispatch" in on) return "workflow_dispatch";
  return JSON.stringify(on).includes("tags") ? "tag" : "push";
}

afterAll(() => {
  cleanUp();
  docker(["network", "rm", "shop_front"]);
});

describe("the README", () => {
  // A redeploy needs what a tag push made before it.
  const inOrder = ["push", "tag", "workflow_dispatch", "pull_request"].flatMap((event) =>
    workflows.filter((each) => eventOf(each) === event),
  );

  test("has a workflow for each of the four events", () => {
    expect(new Set(inOrder.map(eventOf))).toEqual(
      new Set(["push", "tag", "workflow_dispatch", "pull_request"]),
    );
    expect(stackFile).not.toBe("");
  });

  test.each(inOrder.map((workflow) => [`${workflow.name} (${eventOf(workflow)})`, workflow] as const))(
    "%s",
    async (_name, workflow) => {
      const cwd = buildable({
        "stack.yml": stackFile.replace("monitor: 10s", "monitor: 1s"),
        ".env": "A=1\n",
      });
      let planDigest = "";
      for (const step of ourSteps(workflow)) {
        const inputs = { ...fill(step, planDigest), project: stack, "stable-for": "2s" };
        const environment = EVENTS[eventOf(workflow)] ?? {};
        const run = await runAction({ cwd, inputs, bare: true, environment });
        planDigest = run.outputs["plan-digest"] ?? "";
        expect(run.log).toMatch(STATUS[step.mode ?? "deploy"] ?? "");
        expect(run.outputs["stack-name"]).toBe(stack);
      }
    },
  );
});
