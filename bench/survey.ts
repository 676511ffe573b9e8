import { subscribe } from "node:diagnostics_channel";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cleanUp, docker, pushImage, removedLater, sandbox } from "../__tests__/e2e/rig.ts";
import { EngineApi } from "../src/io/engine.ts";
import { EngineSwarm } from "../src/io/engine-swarm.ts";
import { SteadyEngine } from "../src/io/steady-engine.ts";
import { median } from "./measure/median.ts";

// What the look at a swarm costs on which a plan rests, beside the docker commands that show the same, in the same run.
//   script/bench survey
// No node is eligible for the tasks: they are there, and run nothing.

const ROUNDS = 7;
const REPLICAS = 5;
const SIZES = [25, 50, 100, 200];
/** What we promise ourselves for the largest, in milliseconds. */
const LIMIT = 1000;

const folder = mkdtempSync(join(tmpdir(), "survey-"));
pushImage("survey", "v1");

function stackFile(services: number): string {
  const service = (index: number): string =>
    [
      `  web${index}:`,
      `    image: ${sandbox.registry}/survey:v1`,
      "    environment:",
      ...Array.from({ length: 10 }, (_, n) => `      SETTING_${n}: "value ${n} of service ${index}"`),
      "    configs: [{ source: site, target: /etc/site.conf }]",
      `    deploy: { replicas: ${REPLICAS}, placement: { constraints: ["node.labels.none == here"] } }`,
    ].join("\n");
  const all = Array.from({ length: services }, (_, index) => service(index)).join("\n");
  return `version: "3.9"\nservices:\n${all}\nconfigs: { site: { file: ${folder}/site.conf } }\n`;
}

async function dockers(argv: readonly string[], input = ""): Promise<string> {
  const env = { PATH: process.env.PATH ?? "", HOME: folder, DOCKER_HOST: sandbox.managerDockerHost };
  const child = spawn("docker", argv, { env });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.pipe(process.stderr);
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`docker ${argv.slice(0, 2).join(" ")}: exit code ${code}`);
  return said;
}

/** The same facts by docker's commands, those that depend on nothing at once. */
async function byCommands(stack: string): Promise<void> {
  const services = async (): Promise<void> => {
    const ids = (await dockers(["stack", "services", "-q", stack])).split("\n").filter(Boolean);
    await dockers(["service", "inspect", ...ids]);
  };
  await Promise.all([
    services(),
    ...[
      ["stack", "ps", "--no-trunc", stack],
      ["service", "ls"],
      ["node", "ls"],
      ["network", "ls"],
      ["config", "ls"],
      ["secret", "ls"],
    ].map(async (argv) => await dockers(argv)),
  ]);
}

async function milliseconds(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

let calls = 0;
subscribe("http.client.request.start", () => (calls += 1));

interface Row {
  readonly services: number;
  readonly tasks: number;
  readonly calls: number;
  readonly ours: number;
  readonly dockers: number;
}

const NEVER = new AbortController().signal;

async function engineAt(dockerHost: string): Promise<SteadyEngine> {
  const api = EngineApi.at(dockerHost, NEVER);
  await api.greet();
  const reached = {
    api,
    address: "manager",
    lost: () => undefined,
    verified: Promise.resolve(),
    [Symbol.asyncDispose]: async () => await Promise.resolve(api.close()),
  };
  return new SteadyEngine(
    reached,
    async () => await Promise.resolve(reached),
    NEVER,
    () => undefined,
  );
}

async function measure(services: number): Promise<Row> {
  const stack = removedLater(`survey-${services}`);
  await dockers(
    ["stack", "deploy", "--resolve-image", "never", "--detach=true", "--compose-file", "-", stack],
    stackFile(services),
  );
  while (docker(["stack", "ps", "-q", stack]).split("\n").length < services * REPLICAS)
    await new Promise((done) => setTimeout(done, 200));
  await using engine = await engineAt(sandbox.managerDockerHost);
  const swarm = new EngineSwarm(engine, () => "manager", NEVER);
  const rounds: [number, number][] = [];
  let [tasks, each] = [0, 0];
  for (let round = 0; round < ROUNDS; round += 1) {
    calls = 0;
    const ours = await milliseconds(async () => (tasks = (await swarm.survey(stack)).tasks.length));
    each = calls;
    rounds.push([ours, await milliseconds(async () => await byCommands(stack))]);
  }
  docker(["stack", "rm", stack]);
  const of = (index: 0 | 1): number => median(rounds.map((times) => times[index]));
  return { services, tasks, calls: each, ours: of(0), dockers: of(1) };
}

function reportOf(rows: readonly Row[]): string {
  const largest = rows.at(-1);
  const isKept = (largest?.ours ?? Infinity) <= LIMIT;
  const isConstant = new Set(rows.map((row) => row.calls)).size === 1;
  const ms = (value: number): string => value.toFixed(0);
  return `# Survey

Made by \`script/bench survey\`: the look at a swarm on which a plan rests (services of all stacks, tasks, nodes, networks, configs, secrets),
beside the docker commands that show the same (\`stack services\`, \`service inspect\`, \`stack ps\`, and \`ls\` of the rest), as many at once as
can be. Both at the manager's own socket, so without any network. Medians of ${ROUNDS} rounds, interleaved.

| services | tasks | ours | API calls | docker's commands | ratio |
|---|---|---|---|---|---|
${rows
  .map(
    (row) =>
      `| ${row.services} | ${row.tasks} | ${ms(row.ours)} ms | ${row.calls} | ${ms(row.dockers)} ms | ${(row.ours / row.dockers).toFixed(2)} |`,
  )
  .join("\n")}

${isConstant ? "The number of calls is the same for every size" : "The number of calls is **not** the same for every size"}; the largest is ${isKept ? "within" : "**not** within"} its limit of ${LIMIT} ms. Manager, registry and
this process share the ${availableParallelism()} cores of one machine here.

\`\`\`mermaid
xychart-beta
    title "Milliseconds by number of services (bars: ours, line: docker's commands)"
    x-axis [${rows.map(({ services }) => services).join(", ")}]
    y-axis "ms"
    bar [${rows.map((row) => ms(row.ours)).join(", ")}]
    line [${rows.map((row) => ms(row.dockers)).join(", ")}]
\`\`\`
`;
}

try {
  writeFileSync(join(folder, "site.conf"), "listen 80\n");
  const rows: Row[] = [];
  for (const size of SIZES) rows.push(await measure(size));
  const report = reportOf(rows);
  writeFileSync("bench/survey.md", report);
  process.stdout.write(report);
} finally {
  cleanUp();
  rmSync(folder, { recursive: true, force: true });
}
