import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  OwnSandbox,
  PATIENTLY,
  type Run,
  type Sandbox,
  buildable,
  cleanUp,
  docker,
  pushImage,
  runAction,
  until,
  when,
} from "./rig.ts";
import { NETWORK, RIGHT, type Scenario, WRONG, rowOf } from "./scenario-table.ts";

/**
 * Every scenario of the table, on a swarm of one manager and two workers: many at once, since they mostly wait.
 * `SCENARIO_ENGINE=forky` (or `trixie`) plays them on another engine than the machine's, `SCENARIO=text` only those whose name has that
 * text, and `UPDATE_GOLDEN=1` writes docs/scenarios.md.
 */

const ALL: readonly Scenario[] = [...WRONG, ...RIGHT];
const CHOSEN = ALL.filter(({ name }) => name.includes(process.env.SCENARIO ?? ""));
const AT_ONCE = 12;
const PROJECT = "scenarios";

const own = new OwnSandbox("scen", 3);
let box: Sandbox;
/** An error where it could not be played: the others go on. */
const outcomes = new Map<Scenario, Outcome | Error>();

interface Outcome {
  readonly run: Run;
  /** What runs in the end: each service's version, or "" where no task runs. */
  readonly afterwards: Readonly<Record<string, string>>;
}

beforeAll(async () => {
  box = own.up(1, 2, process.env.SCENARIO_ENGINE);
  for (const version of ["v1", "v2"]) pushImage(PROJECT, version, [], box);
  docker(["network", "create", "--driver", "overlay", NETWORK], box.managerDockerHost);
  const play = async (scenario: Scenario): Promise<void> =>
    void outcomes.set(
      scenario,
      await played(scenario, `s${ALL.indexOf(scenario)}`).catch((error: Error) => error),
    );
  const quiet = CHOSEN.filter(({ accident }) => accident === undefined);
  const lanes = Array.from({ length: AT_ONCE }, async () => {
    for (let next = quiet.shift(); next !== undefined; next = quiet.shift()) await play(next);
  });
  const accidents = async (): Promise<void> => {
    for (const scenario of CHOSEN.filter(({ accident }) => accident)) {
      await play(scenario);
      await allNodesReady();
    }
  };
  await Promise.all([...lanes, accidents()]);
}, 600_000);

afterAll(() => {
  own.purge();
  cleanUp();
});

async function played(scenario: Scenario, stack: string): Promise<Outcome> {
  const base = { "stack-name": stack, project: PROJECT, version: "v2", build: "false" };
  if (scenario.before !== undefined) {
    const cwd = buildable({ "stack.yml": scenario.before });
    const { outputs, log } = await runAction({ cwd, inputs: { ...base, "stable-for": "1s" }, at: box });
    if (outputs.status !== "deployed") throw new Error(`what should run before does not:\n${log}`);
  }
  const { during } = scenario;
  const run = await runAction({
    cwd: buildable({ "stack.yml": scenario.file }),
    inputs: { ...base, ...(WRONG.includes(scenario) ? PATIENTLY : {}), ...scenario.inputs },
    at: box,
    ...(during === undefined ? {} : { during: when(during.when, () => happens(during, stack)) }),
  });
  const outcome = { run, afterwards: await runningIn(stack, scenario.afterwards) };
  docker(["stack", "rm", stack], box.managerDockerHost);
  return outcome;
}

function happens({ docker: argv, sandbox }: NonNullable<Scenario["during"]>, stack: string): void {
  if (argv !== undefined)
    docker(
      argv.map((word) => word.replace("STACK", stack)),
      box.managerDockerHost,
    );
  for (const command of sandbox ?? []) own.run(command);
}

/** Old tasks take a moment to go, so it is asked again while it is not as expected. */
async function runningIn(stack: string, expected: Scenario["afterwards"]): Promise<Record<string, string>> {
  let found: Record<string, string> = {};
  await until(
    "what runs is what should",
    () => {
      found = versionsIn(stack);
      return JSON.stringify(sorted(found)) === JSON.stringify(sorted(expected));
    },
    20,
  ).catch(() => undefined); // The test says what runs instead.
  return found;
}

function sorted(services: Readonly<Record<string, string>>): (readonly [string, string])[] {
  return Object.entries(services).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function servicesOf(stack: string): string[] {
  const format = ["--format", "{{.Name}}", "--filter", `label=com.docker.stack.namespace=${stack}`];
  const names = docker(["service", "ls", ...format], box.managerDockerHost)
    .split("\n")
    .filter(Boolean);
  return names.map((name) => name.slice(stack.length + 1));
}

/** The versions of all tasks that run and are to run, by service. */
function versionsIn(stack: string): Record<string, string> {
  const names = servicesOf(stack);
  if (names.length === 0) return {};
  const format = ["--no-trunc", "--format", "{{.Name}} {{.CurrentState}} {{.Image}}"];
  const services = names.map((name) => `${stack}_${name}`);
  const tasks = docker(
    ["service", "ps", ...format, "--filter", "desired-state=running", ...services],
    box.managerDockerHost,
  ).split("\n");
  const versions = (name: string): string => {
    const running = tasks.filter(
      (line) => line.startsWith(`${stack}_${name}.`) && line.includes(" Running "),
    );
    return [...new Set(running.map((line) => /:(v\d+)(@|$)/.exec(line)?.[1] ?? line))]
      .toSorted()
      .join(" and ");
  };
  return Object.fromEntries(names.map((name) => [name, versions(name)]));
}

async function allNodesReady(): Promise<void> {
  const at = box.managerDockerHost;
  own.run(["up", "--managers", "1", "--workers", "2", "--engine", process.env.SCENARIO_ENGINE ?? "host"]);
  docker(["node", "update", "--availability", "active", "n2"], at);
  await until(
    "all nodes are ready",
    () => !/Down|Unknown/.test(docker(["node", "ls", "--format", "{{.Status}}"], at)),
  );
}

const SIDES = [
  ["goes wrong", WRONG],
  ["goes right", RIGHT],
] as const;

describe.each(SIDES.filter(([, all]) => CHOSEN.some((each) => all.includes(each))))(
  "a rollout that %s",
  (_how, all) => {
    test.each(all.filter((each) => CHOSEN.includes(each)))("$name", (scenario) => {
      const { run, afterwards } = outcomeOf(scenario);
      const reason = run.outputs.status === "failed" ? run.outputs.reason : run.outputs.status;
      const said = RIGHT.includes(scenario) ? run.log : (run.log.match(/^::error.*$/gm)?.join("\n") ?? "");
      // What is told of a failing test may be cut short, so it begins where things happen.
      const story =
        reason === scenario.verdict ? "" : run.log.replace(/^[\s\S]*(?=::group::Deploy and watch)/, "");
      expect(`${said}\n${story}`).toContain(scenario.words);
      expect({ verdict: reason, afterwards }).toEqual({
        verdict: scenario.verdict,
        afterwards: scenario.afterwards,
      });
    });
  },
);

function outcomeOf(scenario: Scenario): Outcome {
  const outcome = outcomes.get(scenario);
  if (outcome === undefined || outcome instanceof Error) throw outcome ?? new Error("it was not played");
  return outcome;
}

/** From sending to the verdict, or, where it is good, to all running as sent: by the log's own clock. */
function secondsOf({ log }: Run): number {
  const [rollout = ""] = log.split("::group::Put the stack back");
  const stamps = [...rollout.matchAll(/^\[ *(?:(\d+)m ?)?(?:([\d.]+)s)?\]|did not converge within (\d+)s/gm)];
  return Math.max(
    0,
    ...stamps.map(
      ([, minutes = "0", seconds, timeout = "0"]) => Number(minutes) * 60 + Number(seconds ?? timeout),
    ),
  );
}

test("each of them was played, and the page of scenarios can be written anew", () => {
  expect(outcomes.size).toBe(CHOSEN.length);
  if (process.env.UPDATE_GOLDEN !== "1" || CHOSEN.length < ALL.length) return;
  const table = (scenarios: readonly Scenario[]): string => {
    const rows = scenarios.map((each) => {
      return `${rowOf(each)} ${Math.ceil(secondsOf(outcomeOf(each).run))} s |`;
    });
    const head = [
      "| scenario | verdict | said | runs afterwards | after |",
      "| --- | --- | --- | --- | --- |",
    ];
    return [...head, ...rows].join("\n");
  };
  const page = `# Scenarios

What this action makes of rollouts that go wrong in different ways, and of some that go right in unusual ones: what
[\`scenarios.test.ts\`](../__tests__/e2e/scenarios.test.ts) plays on a real swarm, with the stack files of
[\`scenario-table.ts\`](../__tests__/e2e/scenario-table.ts). \`v1\` ran before, unless it was the first deployment, and \`v2\` was deployed.

The last column says how long it took from sending to the verdict, and where all went well, until everything ran as sent (before
\`stable-for\`). It is of one run, on a busy machine; no test looks at it.

<!-- prettier-ignore-start -->

## Going wrong

${table(WRONG)}

## Going right

${table(RIGHT)}

<!-- prettier-ignore-end -->
`;
  writeFileSync(join(resolve(import.meta.dirname, "../.."), "docs/scenarios.md"), page);
});
