import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { cleanUp, docker, pushImage, runAction, sandbox, workspace } from "../__tests__/e2e/rig.ts";
import { median } from "./measure/median.ts";

// How long a deployment takes where the manager is far away, beside the ways of doing it without this action, in the same run.
//   script/bench latency
// The services have no replicas, so that nobody waits for a rollout: what is measured is the way to docker's "yes" and our verdict.

const ROUNDS = 5;
const SERVICES = 50;
const IMAGES = 5;
const ONE_WAY_MS = 50;
const PROJECT = "bench";
/** What we promise ourselves, in milliseconds. */
const LIMITS = { first: 5000, change: 3000, unchanged: 1500 };
/** How long docker took for the first deployment at the manager's own socket where these limits were set. */
const YARDSTICK_MS = 1200;

type Case = keyof typeof LIMITS;
const CASES: readonly Case[] = ["first", "change", "unchanged"];

const folder = mkdtempSync(join(tmpdir(), "latency-"));
writeFileSync(join(folder, "site.conf"), "listen 80\n");

/** The same text for docker and for us: no variables, and paths that mean the same everywhere on this machine. */
function stackFile(release: string): string {
  const service = (index: number): string =>
    [
      `  web${index}:`,
      `    image: ${sandbox.registry}/${PROJECT}:v${(index % IMAGES) + 1}`,
      "    environment:",
      `      RELEASE: "${index === 0 ? release : "1"}"`,
      ...Array.from({ length: 10 }, (_, n) => `      SETTING_${n}: "value ${n} of service ${index}"`),
      "    configs: [{ source: site, target: /etc/site.conf }]",
      "    deploy:",
      "      replicas: 0",
      "      update_config: { order: start-first, failure_action: rollback }",
    ].join("\n");
  const all = Array.from({ length: SERVICES }, (_, index) => service(index)).join("\n");
  return `version: "3.9"\nservices:\n${all}\nconfigs: { site: { file: ${folder}/site.conf } }\n`;
}

/** One way to deploy a stack file; resolves when it says that all is well. */
type Way = (stack: string, file: string) => Promise<void>;

const DEPLOY = ["stack", "deploy", "--with-registry-auth", "--detach=true", "--compose-file", "-"];
const BASE = { PATH: process.env.PATH ?? "", HOME: folder, DOCKER_CONFIG: join(folder, "docker") };

async function succeed(child: ChildProcess, input: string): Promise<void> {
  let said = "";
  child.stdout?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stdin?.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${child.spawnargs.join(" ")}: ${said}`);
}

async function stackDeploy(dockerHost: string, stack: string, file: string): Promise<void> {
  await succeed(spawn("docker", [...DEPLOY, stack], { env: { ...BASE, DOCKER_HOST: dockerHost } }), file);
}

const link = spawn(
  process.execPath,
  [
    ...process.execArgv,
    join(import.meta.dirname, "relay/slow-link.ts"),
    sandbox.manager,
    "22",
    String(ONE_WAY_MS),
  ],
  { stdio: ["ignore", "pipe", "inherit"] },
);
const [said] = (await once(link.stdout, "data")) as [Buffer];
const port = said.toString().trim();
const knownHost = `[127.0.0.1]:${port} ${sandbox.hostKey}`;
writeFileSync(join(folder, "known_hosts"), `${knownHost}\n`);
writeFileSync(join(folder, "key"), sandbox.key, { mode: 0o600 });
const ssh = [
  ...["-F", "none", "-i", join(folder, "key"), "-p", port, "-o", "BatchMode=yes"],
  ...["-o", `UserKnownHostsFile=${join(folder, "known_hosts")}`, "-o", "ExitOnForwardFailure=yes"],
];
const MANAGER = "root@127.0.0.1";

async function ours(stack: string, file: string): Promise<void> {
  const cwd = workspace({ "stack.yml": file });
  const inputs = {
    "stack-name": stack,
    "ssh-host": `127.0.0.1:${port}`,
    "ssh-known-hosts": knownHost,
    build: "false",
    project: PROJECT,
    version: "v1",
    "stable-for": "0s",
  };
  const { code, log } = await runAction({ cwd, inputs });
  if (code !== 0) throw new Error(log);
}

async function throughForwarding(stack: string, file: string): Promise<void> {
  const socket = join(folder, "forwarded.sock");
  const tunnel = spawn("ssh", [...ssh, "-nNT", "-L", `${socket}:/var/run/docker.sock`, MANAGER], {
    stdio: "inherit",
  });
  while (!existsSync(socket)) await new Promise((done) => setTimeout(done, 5));
  try {
    await stackDeploy(`unix://${socket}`, stack, file);
  } finally {
    tunnel.kill();
    rmSync(socket);
  }
}

async function onTheManager(stack: string, file: string): Promise<void> {
  const command = ["env", `DOCKER_CONFIG=${BASE.DOCKER_CONFIG}`, "docker", ...DEPLOY, stack];
  await succeed(spawn("ssh", [...ssh, "-T", MANAGER, ...command]), file);
}

const WAYS: Readonly<Record<string, Way>> = {
  ours,
  "docker through `ssh -L`": throughForwarding,
  "docker on the manager, by ssh": onTheManager,
  "docker at the manager's own socket": async (...deployment) =>
    await stackDeploy(sandbox.managerDockerHost, ...deployment),
};

function remove(stack: string): void {
  docker(["stack", "rm", stack]);
  while (docker(["network", "ls", "-q", "--filter", `name=${stack}_default`]) !== "")
    execFileSync("sleep", ["0.2"]);
}

/** Milliseconds of each case, one after the other: each leaves what the next one finds. */
async function measure(way: Way, stack: string): Promise<Record<Case, number>> {
  const times: Partial<Record<Case, number>> = {};
  const files = { first: stackFile("1"), change: stackFile("2"), unchanged: stackFile("2") };
  try {
    for (const each of CASES) {
      const started = performance.now();
      await way(stack, files[each]);
      times[each] = performance.now() - started;
    }
  } finally {
    remove(stack);
  }
  return times as Record<Case, number>;
}

/** Of each way, each case's median. */
async function measureAll(): Promise<Map<string, Record<Case, number>>> {
  const measured = new Map<string, Record<Case, number>[]>(Object.keys(WAYS).map((name) => [name, []]));
  for (let tag = 1; tag <= IMAGES; tag += 1) pushImage(PROJECT, `v${tag}`);
  const login = ["login", "-u", sandbox.registryUser, "--password-stdin", sandbox.registry];
  const env = { ...BASE, DOCKER_HOST: sandbox.managerDockerHost };
  await succeed(spawn("docker", login, { env }), sandbox.registryPassword);
  for (let round = 1; round <= ROUNDS; round += 1) {
    for (const [index, [name, way]] of Object.entries(WAYS).entries()) {
      const times = await measure(way, `bench-${index}`);
      measured.get(name)?.push(times);
      const told = CASES.map((each) => `${each} ${times[each].toFixed(0)} ms`).join(", ");
      process.stderr.write(`round ${round}, ${name}: ${told}\n`);
    }
  }
  const medianOf = (rounds: readonly Record<Case, number>[]): Record<Case, number> => {
    const of = (each: Case): number => median(rounds.map((times) => times[each]));
    return { first: of("first"), change: of("change"), unchanged: of("unchanged") };
  };
  return new Map([...measured].map(([name, rounds]) => [name, medianOf(rounds)]));
}

const IN_WORDS: Readonly<Record<Case, string>> = {
  first: "a first deployment",
  change: "one service changed",
  unchanged: "nothing changed",
};

function reportOf(times: ReadonlyMap<string, Record<Case, number>>): string {
  const mine = times.get("ours");
  const others = [...times].filter(([name]) => name !== "ours");
  const of = (all: Record<Case, number> | undefined, each: Case): number => all?.[each] ?? Number.NaN;
  const rows = CASES.map((each) => {
    const beside = others.map(
      ([, theirs]) => `${theirs[each].toFixed(0)} ms (${(of(mine, each) / theirs[each]).toFixed(2)})`,
    );
    return `| ${[IN_WORDS[each], `${of(mine, each).toFixed(0)} ms`, `${LIMITS[each]} ms`, ...beside].join(" | ")} |`;
  });
  const kept = CASES.every((each) => of(mine, each) <= LIMITS[each]);
  const values = (all: Record<Case, number> | undefined): string =>
    CASES.map((each) => of(all, each).toFixed(0)).join(", ");
  const names = others.map(([name]) => name);
  return `# Latency

Made by \`script/bench latency\`: a stack of ${SERVICES} services (${IMAGES} images, one config, one network) is deployed for the first time, then with a
change to one service, then once more as it is, where the manager's sshd is ${2 * ONE_WAY_MS} ms away, there and back. Each time is a whole step
or command: its start, the SSH handshake, the registry (and for ours the login to it), docker's deployment, the verdict. The services have no replicas, so
no task is waited for. The others get docker's credentials ready made, and the last one is not far away. Medians of
${ROUNDS} rounds, interleaved; in brackets what ours takes of their time.

| | ours | limit | ${names.join(" | ")} |
|---|---|---|${names.map(() => "---|").join("")}
${rows.join("\n")}

${kept ? "Ours is within its limits." : "Ours is **not** within its limits."} The link is a relay that holds up every byte, and a connection for as long as TCP's handshake; it loses nothing
and knows no slow start. Managers, registry and runner share the ${availableParallelism()} cores of one machine here. The limits were set where docker at the
manager's own socket took ${YARDSTICK_MS} ms for the first deployment: this machine takes ${(of(others.at(-1)?.[1], "first") / YARDSTICK_MS).toFixed(2)} times as long.

\`\`\`mermaid
xychart-beta
    title "Milliseconds (bars: ours; lines: ${names.map((name) => name.replaceAll("\`", "")).join(", ")})"
    x-axis [${CASES.map((each) => IN_WORDS[each]).join(", ")}]
    y-axis "ms"
    bar [${values(mine)}]
${others.map(([, theirs]) => `    line [${values(theirs)}]`).join("\n")}
\`\`\`
`;
}

try {
  const report = reportOf(await measureAll());
  writeFileSync("bench/latency.md", report);
  process.stdout.write(report);
} finally {
  link.kill();
  cleanUp();
  rmSync(folder, { recursive: true, force: true });
}
