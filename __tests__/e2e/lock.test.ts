import { type ChildProcess, execFileSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { fakeGitHub } from "../doubles/github.ts";
import { LEAN } from "../stacks/lean.ts";
import {
  type Run,
  type RunOptions,
  cleanUp,
  docker,
  imageOf,
  inspect,
  pushImage,
  runAction,
  service,
  serviceNames,
  stackName,
  until,
  workspace,
} from "./rig.ts";

/** One deployment of a stack at a time, told by the swarm itself. */

const stack = stackName("turns");
const lock = `swarm-stack-deploy_lock_${stack}`;
const STACK =
  LEAN +
  'services:\n  web:\n    image: $IMAGE\n    environment: { TURN: "${TURN:-none}" }\n    deploy: { update_config: { monitor: 1s, order: stop-first }, restart_policy: { delay: 1s } }\n    stop_grace_period: 1s\n';
const cwd = workspace({ "stack.yml": STACK });
const digests = new Map<string, string>();

beforeAll(() => {
  for (const version of ["v1", "v2"]) digests.set(version, pushImage(stack, version));
});
afterEach(() => {
  for (const name of locks()) docker(["config", "rm", name]);
});
afterAll(cleanUp);

function locks(): string[] {
  return docker(["config", "ls", "--filter", `name=${lock}`, "--format", "{{.Name}}"])
    .split("\n")
    .filter(Boolean);
}

function labels(): Readonly<Record<string, string>> {
  return (inspect("config", lock) as { Spec: { Labels: Record<string, string> } }).Spec.Labels;
}

async function deploy(
  version: string,
  inputs: Readonly<Record<string, string>> = {},
  options: Partial<RunOptions> = {},
): Promise<Run> {
  const given = {
    "stack-name": stack,
    project: stack,
    build: "false",
    "stable-for": "1s",
    version,
    ...inputs,
  };
  return await runAction({ cwd, inputs: given, ...options });
}

/** Calls `then` once the log shows it. */
function when(shows: RegExp, then: (action: ChildProcess) => void): NonNullable<RunOptions["during"]> {
  return (action, log) => {
    const timer = setInterval(() => {
      if (!shows.test(log())) return;
      clearInterval(timer);
      then(action);
    }, 50);
    action.on("close", () => clearInterval(timer));
  };
}

/** A lock that somebody else's run holds and never renews. */
function someoneHolds(lifetime: string): void {
  const said = {
    managed: "true",
    lock: stack,
    holder: "them",
    lifetime,
    repository: "acme/shop",
    run: "https://github.com/acme/shop/actions/runs/41",
    "run-id": "41",
    "run-attempt": "1",
    commit: "fedcba9876543210",
    actor: "ann",
  };
  const args = Object.entries(said).flatMap(([name, value]) => ["-l", `swarm-stack-deploy.${name}=${value}`]);
  docker(["config", "create", ...args, lock, `${cwd}/stack.yml`]);
}

const WATCHING = /::group::Deploy and watch[\s\S]*\] web: /;
const live = (): string => imageOf(`${stack}_web`).split("@")[1] ?? "";
/** One that is not live, so that there is something to do. */
const another = (): string => (live() === digests.get("v1") ? "v2" : "v1");

test("a second deployment waits for the first one, saying for whom, and goes on when it is done", async () => {
  let second: Promise<Run> | undefined;
  const first = await deploy(
    "v1",
    { "stable-for": "20s" }, // On a busy machine the other one takes ten to get there.
    { environment: { GITHUB_RUN_ID: "41" }, during: when(WATCHING, () => void (second = deploy("v2"))) },
  );
  const next = await second;
  expect([first.outputs.status, next?.outputs.status]).toEqual(["deployed", "deployed"]);
  const waits = next?.log.match(/^Waiting for another deployment of the stack .*$/gm) ?? [];
  expect(waits).toEqual([
    expect.stringMatching(
      /: https:\/\/github\.com\/acme\/shop\/actions\/runs\/41 \(commit 0123456, by dev, since \d{4}-\d\d-\d\d \d\d:\d\d UTC\)\.$/,
    ),
  ]);
  expect(live()).toBe(digests.get("v2"));
  expect(locks()).toEqual([]);
  expect(next?.state.lock).toBe("");
});

test.each([
  ["3s", "it was waited for 3s"],
  ["0s", '"lock-timeout" is 0s'],
])("with lock-timeout %s it ends in time, names the holder, and touches nothing", async (timeout, words) => {
  someoneHolds("10m");
  const before = serviceNames(stack).map((name) => imageOf(name));
  const run = await deploy("v1", { "lock-timeout": timeout });
  expect(run.code).toBe(1);
  expect(run.outputs).toMatchObject({ status: "failed", reason: "lock" });
  expect(run.log).toContain(
    `::error::Another deployment of the stack ${stack} is under way (${words}): https://github.com/acme/shop/actions/runs/41 (commit fedcba9, by ann, since `,
  );
  expect(run.log).toContain(`docker config rm ${lock}. Nothing had been sent to the swarm.`);
  expect(labels()["swarm-stack-deploy.holder"]).toBe("them");
  expect(serviceNames(stack).map((name) => imageOf(name))).toEqual(before);
});

test("a lock whose time has passed is taken over, with a word", async () => {
  someoneHolds("1s");
  await new Promise((done) => setTimeout(done, 2500));
  const run = await deploy("v1", { "lock-timeout": "0s" });
  expect(run.outputs.status).toBe("deployed");
  expect(run.log).toMatch(
    /^Taking over the lock of the stack .*runs\/41 .*: it has shown no sign of life for \d+s\.$/m,
  );
  expect(locks()).toEqual([]);
});

test("a lock whose run is over is taken over as soon as nobody can be alive behind it", async () => {
  someoneHolds("10m");
  await using github = await fakeGitHub({
    "/repos/acme/shop/actions/runs/41": { status: "completed", run_attempt: 1 },
  });
  const run = await deploy(
    "v2",
    { "github-token": "t0ken-t0ken", "lock-timeout": "60s" },
    { environment: github.environment },
  );
  expect(run.outputs.status).toBe("deployed");
  expect(run.log).toMatch(/^Taking over the lock of the stack .*runs\/41 .*: its run is over\.$/m);
  expect(github.heard).toEqual(["Bearer t0ken-t0ken /repos/acme/shop/actions/runs/41"]);
  expect(run.log).not.toContain("t0ken-t0ken");
});

describe.each(["SIGINT", "SIGTERM"] as const)("a job that is cancelled with %s", (signal) => {
  test("lets its lock go while it works", async () => {
    let held: readonly string[] = [];
    const during = when(WATCHING, (action) => {
      held = locks();
      action.kill(signal);
    });
    const run = await deploy(another(), { "stable-for": "30s" }, { during });
    expect(held).toEqual([lock]);
    expect(run.log).toContain(`Cancelled: the runner sent ${signal}.`);
    expect(locks()).toEqual([]);
    expect(run.state.lock).toBe("");
  });

  test("stops waiting at once, and leaves the lock to its holder", async () => {
    someoneHolds("10m");
    const run = await deploy(
      "v1",
      {},
      { during: when(/^Waiting for/m, (action) => void action.kill(signal)) },
    );
    expect(run.log).toContain(`Cancelled: the runner sent ${signal}.`);
    expect(run.log).toContain("Nothing had been sent to the swarm.");
    expect(labels()["swarm-stack-deploy.holder"]).toBe("them");
  });
});

test("what a killed step could not let go, its post step does", async () => {
  const inputs = { "stable-for": "30s" };
  const version = another();
  const killed = await deploy(version, inputs, {
    during: when(WATCHING, (action) => void action.kill("SIGKILL")),
  });
  expect(labels()["swarm-stack-deploy.holder"]).toBe(
    (JSON.parse(killed.state.lock ?? "") as { holder: string }).holder,
  );
  const environment = Object.fromEntries(
    Object.entries(killed.state).map(([name, value]) => [`STATE_${name}`, value]),
  );
  const post = await deploy(version, inputs, { environment });
  expect(post.code).toBe(0);
  expect(post.log).toContain(`Released the lock of the stack ${stack} that the interrupted step had left.`);
  expect(post.leftovers).toEqual([]);
  expect(locks()).toEqual([]);
  // What it had sent runs, and is in no release yet.
  const again = await deploy(version);
  expect(again.outputs.status).toMatch(/^(deployed|unchanged)$/);
  expect(again.log).toContain("Recorded on the swarm as release");
  const same = await deploy(version);
  expect(same.outputs.status).toBe("unchanged");
  expect(same.log).not.toContain("Recorded");
  someoneHolds("10m");
  const late = await deploy(version, inputs, { environment });
  expect(late.log).not.toContain("Released");
  expect(labels()["swarm-stack-deploy.holder"]).toBe("them");
});

test.each([
  ["removed by hand", () => undefined, "Somebody has removed the lock of the stack"],
  ["taken over", () => someoneHolds("10m"), "Another deployment has taken over the lock of the stack"],
])("who loses the lock because it was %s stops, and puts nothing back", async (_how, then, words) => {
  const version = another();
  const during = when(WATCHING, () => {
    docker(["config", "rm", lock]);
    then();
  });
  const run = await deploy(version, { "stable-for": "60s" }, { during });
  expect(run.outputs).toMatchObject({ status: "failed", reason: "lock" });
  expect(run.log).toContain(`::error::${words}`);
  expect(run.log).toContain("nothing was put back");
  expect(run.ms).toBeLessThan(55_000); // It did not wait until the stack had been stable for long enough.
  expect(live()).toBe(digests.get(version));
});

test("who was frozen while another one had its turn sends nothing when it wakes", async () => {
  // Behind the rehearsal comes the one in earnest.
  const { environment, isFrozen } = freezing(2);
  const [before, after] = live() === digests.get("v1") ? ["v1", "v2"] : ["v2", "v1"];
  await deploy(before ?? "", { variables: "TURN=0" });
  let other: Promise<void> | undefined;
  const turn = async (action: ChildProcess): Promise<void> => {
    await until("the action is frozen", () => isFrozen(action));
    const frozenAt = Date.now();
    docker(["config", "rm", lock]);
    expect((await deploy(before ?? "", { variables: "TURN=2" })).outputs.status).toBe("deployed");
    await until("its proof is too old", () => Date.now() - frozenAt > 16_000);
    action.kill("SIGCONT");
  };
  const run = await deploy(
    after ?? "",
    { variables: "TURN=1" },
    {
      environment,
      during: (action) => void (other = turn(action)),
    },
  );
  await other;
  expect(run.outputs).toMatchObject({ status: "failed", reason: "lock" });
  expect(run.log).toContain("::error::Somebody has removed the lock");
  expect(live()).toBe(digests.get(before ?? ""));
  expect(service(`${stack}_web`).Spec.TaskTemplate.ContainerSpec.Env).toEqual(["TURN=2"]);
});

test("who finds nothing to do, and was overtaken while it looked, is not green for what is gone", async () => {
  const [before, after] = live() === digests.get("v1") ? ["v1", "v2"] : ["v2", "v1"];
  const same = { variables: "TURN=same" };
  await deploy(before ?? "", same);
  // Docker takes this over, so it is asked; frozen in that rehearsal, behind the look at the swarm.
  docker(["service", "update", "--force", `${stack}_web`]);
  const { environment, isFrozen } = freezing(1);
  let other: Promise<void> | undefined;
  const overtake = async (action: ChildProcess): Promise<void> => {
    await until("the action is frozen", () => isFrozen(action));
    expect((await deploy(after ?? "", same)).outputs.status).toBe("deployed");
    action.kill("SIGCONT");
  };
  const run = await deploy(before ?? "", same, {
    environment,
    during: (action) => void (other = overtake(action)),
  });
  await other;
  // It came last, so what it sent is what lives.
  expect(run.log).toContain("Somebody else has changed the stack meanwhile.");
  expect(run.outputs.status).toBe("deployed");
  expect(live()).toBe(digests.get(before ?? ""));
  expect(locks()).toEqual([]);
});

/** A docker in PATH that stops the action just before it runs the nth `stack deploy` with what the swarm has told. */
function freezing(nth: number) {
  const spy = workspace({ calls: "" });
  const real = execFileSync("sh", ["-c", "command -v docker"], { encoding: "utf8" }).trim();
  const freeze = `case "$*" in *"--resolve-image always"*) true ;; *) false ;; esac && echo x >> ${spy}/calls && [ "$(wc -l < ${spy}/calls)" = ${nth} ] && kill -STOP $PPID`;
  writeFileSync(join(spy, "docker"), `#!/bin/sh\n${freeze}\nexec ${real} "$@"\n`);
  chmodSync(join(spy, "docker"), 0o755);
  const isFrozen = (action: ChildProcess): boolean =>
    / T /.test(readFileSync(`/proc/${action.pid}/stat`, "utf8"));
  return { environment: { PATH: `${spy}:${process.env.PATH ?? ""}` }, isFrozen };
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  "of two deployments at once, never are both green for one live version: round %i",
  async (round) => {
    const started = Date.now();
    const runs = await Promise.all(
      ["v1", "v2"].map(async (version, index) => {
        const run = await deploy(version, {}, { environment: { GITHUB_RUN_ID: `${round}0${index}` } });
        return { version, run, endedAt: started + run.ms };
      }),
    );
    // Each was alone when it got its verdict, and what the later one sent is what lives.
    for (const { run } of runs) expect(run.outputs.status).toMatch(/^(deployed|unchanged)$/);
    const [first, last] = runs.toSorted((a, b) => a.endedAt - b.endedAt);
    expect(live()).toBe(digests.get(last?.version ?? ""));
    // One that has nothing to do may be through before the other one comes.
    if (first?.run.outputs.status === "deployed")
      expect(last?.run.log).toContain("Waiting for another deployment");
    expect(locks()).toEqual([]);
  },
);

test("a stack that is removed does not take the lock along", async () => {
  someoneHolds("10m");
  await until("the stack is gone", () => {
    docker(["stack", "rm", stack]);
    return serviceNames(stack).length === 0;
  });
  expect(locks()).toEqual([lock]);
});
