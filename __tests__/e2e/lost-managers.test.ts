import { type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import {
  OwnSandbox,
  type Run,
  type Sandbox,
  cleanUp,
  docker,
  pushImage,
  runAction,
  until,
  when,
  works,
  workspace,
} from "./rig.ts";

/** What becomes of a deployment whose managers are lost: powered off, cut off from the others, or too many of them for a majority. */

const own = new OwnSandbox("gone", 2);
const MANAGERS = ["n1", "n2", "n3", "n4", "n5"] as const;
const at = (node: string): string => `${own.net}.${node.slice(1)}`;

let box: Sandbox;
beforeAll(() => {
  box = own.up(MANAGERS.length, 0);
  pushImage("tunnel", "v1", [], box);
});
afterAll(() => {
  own.purge();
  cleanUp();
});

type Inputs = Readonly<Record<string, string>>;

/** Without tasks a deployment is over at once, and all that it sends and asks goes the same way. */
async function deploy(
  inputs: Inputs,
  during?: (action: ChildProcess, log: () => string) => void,
): Promise<Run> {
  const cwd = workspace({
    "stack.yml":
      "services:\n  web:\n    image: $IMAGE\n    environment: { ROUND: $ROUND }\n    deploy: { replicas: 0 }\n",
  });
  const base = {
    "stack-name": "gone",
    project: "tunnel",
    version: "v1",
    build: "false",
    "stable-for": "1s",
    "ignore-findings": "manager-quorum", // Which is what this is about.
  };
  const options = { cwd, at: box, inputs: { ...base, variables: `ROUND=${Math.random()}`, ...inputs } };
  return await runAction(during === undefined ? options : { ...options, during });
}

const leader = (): string => own.run(["leader"]);
const isOn = (node: string): boolean => existsSync(join(box.state, "nodes", node, "docker.sock"));
const socketOf = (node: string): string => `unix://${box.state}/nodes/${node}/docker.sock`;
/** Managers that stay off from then on. */
const off: string[] = [];
const powerOff = (node: string): void => {
  off.push(node);
  own.run(["power-off", node]);
};

/** All managers, this one first. */
function startingWith(node: string): Inputs {
  return { "ssh-host": [node, ...MANAGERS.filter((each) => each !== node)].map(at).join("\n") };
}
const swarmError = (node: string): string => docker(["info", "--format", "{{.Swarm.Error}}"], socketOf(node));
const watching = /::group::Deploy and watch[\s\S]*\] \w+: /;

test("a manager that is cut off from the others, and not from us, is left for another one, and passed over from then on", async () => {
  const node = MANAGERS.find((each) => each !== leader()) ?? "";
  const cutOff = (): void => {
    for (const other of MANAGERS.filter((each) => each !== node))
      own.onNode(node, 'iptables -I INPUT -s "$1" -j DROP; iptables -I OUTPUT -d "$1" -j DROP', [at(other)]);
  };
  const left = await deploy({ ...startingWith(node), "stable-for": "4s" }, when(watching, cutOff));
  works(left);
  expect(left.log).toMatch(
    new RegExp(`^The connection to ${at(node)} was lost \\(it knows no leader\\)`, "m"),
  );
  expect(left.log).toMatch(new RegExp(`^Connected to the manager ${own.net}\\.\\d again\\.$`, "m"));

  const run = await deploy(startingWith(node));
  powerOff(node);
  works(run);
  expect(run.log).toMatch(new RegExp(`^${at(node)}: The (manager|engine on) ${at(node)} .*swarm`, "m"));
});

test("the leader is powered off while a rollout is watched: another manager tells of the rest", async () => {
  const node = leader();
  const run = await deploy(
    { ...startingWith(node), "stable-for": "4s" },
    when(watching, () => own.run(["power-off", node])),
  );
  own.run(["power-on", node]);
  works(run);
  expect(run.log).toMatch(
    new RegExp(`^The connection to ${at(node)} was lost \\(.*\\); connecting again\\.$`, "m"),
  );
  expect(run.log).toMatch(new RegExp(`^Connected to the manager ${own.net}\\.\\d again\\.$`, "m"));
  expect(run.ms).toBeLessThan(120_000);
  const reachable = (): number =>
    docker(["node", "ls", "--format", "{{.ManagerStatus}}"], socketOf(leader()))
      .split("\n")
      .filter((status) => /Leader|Reachable/.test(status)).length;
  await until(`${node} is back`, () => reachable() === MANAGERS.length - off.length);
});

test("the leader is powered off, and the only manager that is known hangs up meanwhile", async () => {
  const node = leader();
  const only = MANAGERS.find((each) => each !== node && isOn(each)) ?? "";
  const run = await deploy(
    { "ssh-host": at(only), "stable-for": "4s" },
    when(watching, () => {
      powerOff(node);
      own.onNode(only, "pkill -KILL -x sshd || true");
      own.run(["start-sshd", only]);
    }),
  );
  works(run);
  expect(run.log).toContain(`Connected to the manager ${at(only)} again.`);
});

test("two of three managers are off: they are passed over", async () => {
  const node = leader();
  expect(off).toHaveLength(2);
  const run = await deploy({ "ssh-host": [...off, node].map(at).join(",") });
  works(run);
  for (const each of off)
    expect(run.log).toMatch(new RegExp(`^${at(each)}: ${at(each)}:22 can't be reached`, "m"));
  expect(run.log).toContain(`Connected to ${at(node)}.`);
  expect(run.ms).toBeLessThan(90_000);
});

test("no majority is left: that is told, and waited for one that comes back", async () => {
  const stays = leader();
  const comesBack = MANAGERS.find((each) => isOn(each) && each !== stays) ?? "";
  own.run(["power-off", comesBack]);
  const early = deploy({ "ssh-host": at(stays) }); // While the manager still answers what it knows by itself.
  await until("there is no leader", () => swarmError(stays) !== "");
  const run = await deploy(
    { ...startingWith(stays), "stack-name": "late" },
    when(/has no working swarm: [\s\S]*Trying again\./, () => own.run(["power-on", comesBack])),
  );
  works(run);
  works(await early);
});
