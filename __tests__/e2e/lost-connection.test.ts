import { type ChildProcess, execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LEAN } from "../stacks/lean.ts";
import {
  PATIENTLY,
  OwnSandbox,
  type Run,
  type Sandbox,
  cleanUp,
  docker,
  leavesNothing,
  pushImage,
  runAction,
  until,
  when,
  works,
  workspace,
} from "./rig.ts";
import { Sshds } from "./sshd.ts";

/** What becomes of a deployment whose connection is lost. What if managers are: lost-managers.test.ts. */

const own = new OwnSandbox("lost", 1);
const MANAGERS = ["n1", "n2", "n3"] as const;
/** The tasks run here, so that they outlive what happens to a manager. */
const WORKER = "n4";
const at = (node: string): string => `${own.net}.${node.slice(1)}`;
const [N1, N2, N4] = [at("n1"), at("n2"), at(WORKER)];

let box: Sandbox;
let sshds: Sshds;
beforeAll(() => {
  box = own.up(MANAGERS.length, 1);
  sshds = new Sshds(box, own);
  pushImage("tunnel", "v1", [], box);
});
afterAll(() => {
  own.purge();
  cleanUp();
});

const ON_WORKER = `placement: { constraints: [node.hostname == ${WORKER}] }, update_config: { monitor: 1s }`;
/** Without tasks a deployment is over at once, and all that it sends and asks goes the same way. */
const quick = workspace({
  "stack.yml":
    "services:\n  web:\n    image: $IMAGE\n    environment: { ROUND: $ROUND }\n    deploy: { replicas: 0 }\n",
});

type Inputs = Readonly<Record<string, string>>;

const BASE: Inputs = {
  "stack-name": "tunnel",
  project: "tunnel",
  version: "v1",
  build: "false",
  "stable-for": "1s",
};

async function deploy(
  inputs: Inputs,
  during?: (action: ChildProcess, log: () => string) => void,
  cwd = quick,
): Promise<Run> {
  const options = { cwd, at: box, inputs: { ...BASE, variables: `ROUND=${Math.random()}`, ...inputs } };
  return await runAction(during === undefined ? options : { ...options, during });
}

/** Those that listen and those that serve a session. */
function killSshd(node: string): void {
  own.onNode(node, 'for pid in $(pgrep -x sshd); do kill -KILL "$pid" || true; done');
}
const startSshd = (node: string): string => own.run(["start-sshd", node]);
const leader = (): string => own.run(["leader"]);
const socketOf = (node: string): string => `unix://${box.state}/nodes/${node}/docker.sock`;
/** All managers, this one first. */
function startingWith(node: string): Inputs {
  return { "ssh-host": [node, ...MANAGERS.filter((each) => each !== node)].map(at).join("\n") };
}
const lost = (host: string, why = ".*"): RegExp =>
  new RegExp(`^The connection to ${host} was lost \\(${why}\\); connecting again\\.$`, "m");

async function noDialStdio(node: string): Promise<void> {
  const running = (): string => own.onNode(node, "grep -lsz 'dial[-]stdio' /proc/[0-9]*/cmdline || true");
  await until(`${node} runs no docker system dial-stdio`, () => running() === "", 5);
}

const watching = /::group::Deploy and watch[\s\S]*\] \w+: /;

test("the disk of the manager is not written to", async () => {
  const find = `find / \\( -path /proc -o -path /sys -o -path "$2" \\) -prune -o \\( -user deploy -o -path '/tmp*' \\) -cnewer "$1" -print`;
  own.onNode(
    "n1",
    "touch /run/before; sleep 0.05; mount -t tmpfs tmpfs /tmp; touch /tmp; sleep 0.05; touch /run/before",
  );
  for (const config of [[], ["AllowStreamLocalForwarding no"]])
    works(await deploy({ ...sshds.start("n1", { config }).inputs, "ssh-user": "deploy" }));
  await noDialStdio("n1");
  const written = (): string => own.onNode("n1", find, ["/run/before", box.state]);
  expect(written()).toBe("");
  own.onNode("n1", "su deploy -c 'touch ~/file'");
  expect(written()).toBe("/run/home/deploy\n/run/home/deploy/file"); // So it would have been seen.
});

test("a registry that falls silent for some seconds is waited for", async () => {
  const registry = (signal: string): unknown =>
    execFileSync("pkill", [`-${signal}`, "-f", `${box.state}/registry/registry.yml`]);
  let silentMs = 0;
  const run = await deploy(
    { "ssh-host": N1, "stack-name": "patient" },
    when(/::group::Connect/, () => {
      registry("STOP");
      const since = Date.now();
      setTimeout(() => {
        registry("CONT");
        silentMs = Date.now() - since;
      }, 6000);
    }),
  );
  works(run);
  expect(silentMs).toBeGreaterThan(5000);
  expect(run.ms).toBeGreaterThan(6000);
});

describe("while docker sends", () => {
  const NAMES = Array.from({ length: 12 }, (_, index) => `s${String(index + 1).padStart(2, "0")}`);
  const many = workspace({
    "stack.yml": `x-all: &all
  image: $IMAGE
  environment: { ROUND: $ROUND }
  stop_grace_period: 1s
  deploy: { ${ON_WORKER} }
services:
${NAMES.map((name) => `  ${name}: *all\n`).join("")}`,
  });
  interface Spec {
    readonly Name: string;
    readonly TaskTemplate: { readonly ContainerSpec: { readonly Env: readonly string[] } };
  }
  const roundOf = (spec?: Spec): string | undefined => spec?.TaskTemplate.ContainerSpec.Env[0];

  /** What each service has, and what it had before. */
  function rounds(): Record<string, readonly (string | undefined)[]> {
    const ids = docker(["stack", "services", "-q", "many"], socketOf("n2")).split("\n");
    const services = JSON.parse(docker(["service", "inspect", ...ids], socketOf("n2"))) as {
      readonly Spec: Spec;
      readonly PreviousSpec?: Spec;
    }[];
    return Object.fromEntries(
      services.map(({ Spec, PreviousSpec }) => [Spec.Name, [roundOf(Spec), roundOf(PreviousSpec)]]),
    );
  }

  const cases: [string, readonly string[], string, string | undefined, string][] = [
    ["creates, by forwarding", [], "ROUND=1", undefined, "Creating"],
    ["updates, by forwarding", [], "ROUND=2", "ROUND=1", "Updating"],
    ["updates, by dial-stdio", ["AllowStreamLocalForwarding no"], "ROUND=3", "ROUND=2", "Updating"],
  ];
  test.each(cases)(
    "and %s: every service is sent, and none twice",
    async (_how, config, round, before, verb) => {
      const first = sshds.start("n1", { config });
      const run = await deploy(
        {
          "ssh-host": `${first.address}, ${N2}`,
          "ssh-known-hosts": `${box.knownHosts.trim()}\n${first.known}`,
          "stack-name": "many",
          variables: round,
        },
        when(new RegExp(`${verb} service many_(.*\n.*){4}`), () => killSshd("n1")),
        many,
      );
      startSshd("n1");
      works(run);
      expect(run.log).toMatch(lost(N1));
      expect(run.log).toContain(`Connected to the manager ${N2} again.`);
      // An update that is sent a second time would leave its own spec as the one from before.
      expect(rounds()).toEqual(Object.fromEntries(NAMES.map((name) => [`many_${name}`, [round, before]])));
    },
  );

  test.each(["SIGINT", "SIGTERM"] as const)(
    "and the job is cancelled with %s: nothing stays, and what was sent goes back",
    async (signal) => {
      const run = await deploy(
        { ...startingWith("n1"), "stack-name": "many" },
        when(/Updating service many_(.*\n.*){4}/, (action) => void action.kill(signal)),
        many,
      );
      const then = rounds();
      expect(run.code).toBe(1);
      expect(run.log).toContain(`::error::Cancelled: the runner sent ${signal}.`);
      expect(run.summary).toMatch(/Sent back to what ran before: /);
      leavesNothing(run);
      await new Promise((done) => setTimeout(done, 1000));
      expect(rounds()).toEqual(then);
    },
  );
});

describe("while it watches", () => {
  /** Needs 8 s to become healthy. */
  const slow = workspace({
    "stack.yml": `${LEAN}services:
  slow:
    image: $IMAGE
    entrypoint: ["/bin/busybox", "sh", "-c", "/bin/busybox sleep 8; /bin/busybox touch /ready; exec /bin/busybox sleep 100000"]
    environment: { ROUND: $ROUND }
    healthcheck: { test: [CMD, /bin/busybox, test, -e, /ready], interval: 1s, retries: 60 }
    stop_grace_period: 1s
    deploy: { ${ON_WORKER} }
`,
  });

  async function watchAndLose(node: string, lose: () => void): Promise<Run> {
    const patient = { "stack-name": "slow", "ignore-findings": "monitor-too-short" };
    return await deploy({ ...startingWith(node), ...patient }, when(watching, lose), slow);
  }

  test("and sshd is killed: the next manager tells of the rest", async () => {
    const run = await watchAndLose("n1", () => killSshd("n1"));
    startSshd("n1");
    works(run);
    expect(run.log).toMatch(lost(N1));
    expect(run.log).toContain(`Connected to the manager ${N2} again.`);
    expect(run.summary).toContain(`manager <code>${N2}</code>`);
  });

  test("and the only manager's sshd is back after 2 s", async () => {
    const run = await deploy(
      { "ssh-host": N1, "stable-for": "10s" }, // On a machine that stalls, the accident itself takes seconds.
      when(watching, () => {
        killSshd("n1");
        setTimeout(() => startSshd("n1"), 2000);
      }),
    );
    works(run);
    expect(run.log).toContain(`Connected to the manager ${N1} again.`);
  });

  test("and the only manager's engine is back after 2 s", async () => {
    const run = await deploy(
      { "ssh-host": N1, "stable-for": "10s" },
      when(watching, () => {
        own.run(["kill-dockerd", "n1"]);
        setTimeout(() => own.run(["start-dockerd", "n1"]), 2000);
      }),
    );
    works(run);
    expect(run.log).toContain(`Connected to the manager ${N1} again.`);
  });

  test("and the jump host's sshd is back after 2 s", async () => {
    const run = await deploy(
      { "ssh-host": N1, "ssh-jump": N4, "stable-for": "10s" },
      when(watching, () => {
        killSshd(WORKER);
        setTimeout(() => startSshd(WORKER), 2000);
      }),
    );
    works(run);
    expect(run.log).toContain(`Connected to the manager ${N1} again.`);
  });

  test("and never comes back: told at the deadline, which is not waited for twice", async () => {
    // A stack of its own: nobody can let the lock go, which then stays for two minutes.
    const run = await deploy(
      { "ssh-host": N1, "stack-name": "gone", "stable-for": "4s", timeout: "8s" },
      when(watching, () => killSshd("n1")),
    );
    startSshd("n1");
    expect(run.code).toBe(1);
    expect(run.outputs).toMatchObject({ status: "failed", reason: "deploy" });
    expect(run.log.match(/^::error.*/gm)).toEqual([
      expect.stringMatching(
        /No manager could be asked about the rollout for the last [\d.]+s: Nothing listens at \S+:22\..* Seen last: web: 0\/0 running.* The stack could not be put back: Nothing listens at .* The swarm was sent gone_web; look at it/,
      ),
    ]);
    expect(run.summary).toMatch(/❔ unknown \| <code>web<\/code>/);
    leavesNothing(run);
    expect(run.ms).toBeLessThan(60_000);
  });

  test("and is opened again when the job is cancelled leaves nothing behind", async () => {
    const run = await deploy({ "ssh-host": N1, "stack-name": "cut", "stable-for": "20s" }, (action, log) => {
      when(watching, () => killSshd("n1"))(action, log);
      when(/connecting again\.\n/, () => void action.kill("SIGTERM"))(action, log);
    });
    startSshd("n1");
    expect(run.code).toBe(1);
    expect(run.log.match(/^::error.*/gm)).toEqual([
      expect.stringContaining("Cancelled: the runner sent SIGTERM."),
    ]);
    expect(run.ms).toBeLessThan(20_000); // Less than it was to be stable for.
    leavesNothing(run);
  });

  const failing = workspace({
    "stack.yml": `${LEAN}services:\n  web:\n    image: $IMAGE\n    environment: { FAIL: "$FAIL" }\n    stop_grace_period: 1s\n    deploy: { ${ON_WORKER} }\n`,
  });

  test("and a release that fails is put back by another manager", async () => {
    const inputs = { ...startingWith("n1"), "stack-name": "failing" };
    works(await deploy({ ...inputs, variables: "FAIL=" }, undefined, failing));
    const run = await deploy(
      { ...inputs, variables: "FAIL=late", "failure-action": "pause", ...PATIENTLY },
      when(watching, () => killSshd("n1")),
      failing,
    );
    startSshd("n1");
    expect(run.log).toMatch(lost(N1));
    expect(run.outputs).toMatchObject({ status: "failed", reason: "rollout" });
    expect(run.log).toMatch(
      /^::error::Service web failed.*late FATAL.*Put back to what ran before: web; all of it runs\.$/m,
    );
    leavesNothing(run);
  });

  test("and the connection is lost again while it puts back", async () => {
    const inputs = { ...startingWith("n1"), "stack-name": "failing" };
    const run = await deploy(
      { ...inputs, variables: "FAIL=late", "failure-action": "pause", ...PATIENTLY },
      when(/::group::Put the stack back/, () => killSshd("n1")),
      failing,
    );
    startSshd("n1");
    expect(run.log).toMatch(lost(N1));
    expect(run.log).toMatch(
      /^::error::Service web failed.*Put back to what ran before: web; all of it runs\.$/m,
    );
    leavesNothing(run);
  });

  test("and the cable is cut: nobody says good-bye, but keep-alive finds out", async () => {
    const node = leader() === "n3" ? "n2" : "n3";
    const run = await watchAndLose(node, () => own.run(["cut", node]));
    own.run(["heal", node]);
    works(run);
    expect(run.log).toMatch(lost(at(node), "Keepalive timeout"));
    expect(run.ms).toBeLessThan(90_000);
  });
});
