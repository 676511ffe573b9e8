import { createHash } from "node:crypto";
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { FINDINGS, type FindingId } from "../../src/preflight/findings.ts";
import { LEAN } from "../stacks/lean.ts";
import {
  OwnSandbox,
  type Run,
  type Sandbox,
  cleanUp,
  docker,
  pushImage,
  runAction,
  until,
  works,
  workspace,
} from "./rig.ts";

/** Each finding has a stack that has it and one that nearly has it, on a swarm of three nodes, one of them drained. */

const own = new OwnSandbox("pref", 4);
let box: Sandbox;
const onManager = (...argv: readonly string[]): string => docker(argv, box.managerDockerHost);

beforeAll(async () => {
  box = own.up(1, 2);
  for (const version of ["v1", "v2"]) pushImage("shop", version, [], box);
  pushImage("postgres", "v1", [], box);
  await pushForeign("shop", "v1", "mainframe");
  knowsToo("oauth2accesstoken");
  onManager("node", "update", "--label-add", "disk=ssd", "n2");
  onManager("node", "update", "--label-add", "disk=old", "--availability", "drain", "n3");
  onManager("network", "create", "at-the-manager");
  onManager("network", "create", "--driver", "overlay", "over-all");
  const image = `${box.registry}/shop:v1`;
  onManager(
    "service",
    "create",
    "--detach",
    "--name",
    "neighbour",
    "--publish",
    "8300:80",
    "--replicas",
    "0",
    image,
  );
});

afterAll(() => {
  own.purge();
  cleanUp();
});

/** An image of a platform that no node has, made of one that is there: its configuration says so, and no more is asked of it. */
async function pushForeign(project: string, from: string, tag: string): Promise<void> {
  const credential = Buffer.from(`${box.registryUser}:${box.registryPassword}`).toString("base64");
  const ask = async (path: string, method = "GET", body?: string, type = MANIFEST): Promise<Response> => {
    const url = path.startsWith("http") ? path : `http://${box.registry}/v2/${project}/${path}`;
    const headers = { authorization: `Basic ${credential}`, accept: MANIFEST, "content-type": type };
    const answer = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
    return answer;
  };
  const manifest = (await (await ask(`manifests/${from}`)).json()) as { config: { digest: string } };
  const config = (await (await ask(`blobs/${manifest.config.digest}`)).json()) as object;
  const foreign = JSON.stringify({ ...config, architecture: "s390x" });
  const digest = `sha256:${createHash("sha256").update(foreign).digest("hex")}`;
  const upload = new URL((await ask("blobs/uploads/", "POST")).headers.get("location") ?? "");
  upload.searchParams.set("digest", digest);
  await ask(upload.href, "PUT", foreign, "application/octet-stream");
  const changed = { ...manifest, config: { ...manifest.config, digest, size: foreign.length } };
  await ask(`manifests/${tag}`, "PUT", JSON.stringify(changed));
}

const MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";

/** The registry takes the same password from one more user. */
function knowsToo(user: string): void {
  const users = join(box.state, "registry", "htpasswd");
  const hash = readFileSync(users, "utf8")
    .trim()
    .replace(/^[^:]*:/, "");
  appendFileSync(users, `${user}:${hash}\n`);
}

/** One service in flow style: `lines` are its own, `under` what stands under their `deploy`. */
function web(lines: string, under = "", image = "$IMAGE", version = "v2"): string {
  const more = lines === "" ? "" : `, ${lines}`;
  return `services:\n  web: { image: ${image}${more}, environment: { V: ${version} },\n    deploy: { restart_policy: { delay: 1s }, ${under} } }\n`;
}

const job = (under: string): string =>
  `services:\n  web: { image: $IMAGE, entrypoint: [/bin/busybox, "true"],\n    deploy: { mode: replicated-job, restart_policy: { condition: none }, ${under} } }\n`;
const update = (more: string): string => `update_config: { monitor: 1s, ${more} }`;
const START_FIRST = update("order: start-first");
const STOP_FIRST = update("order: stop-first");
const port = (published: number, mode: string): string =>
  `ports: [{ target: 80, published: ${published}, mode: ${mode} }]`;
const constraint = (text: string): string => `placement: { constraints: [${text}] }`;
const reserve = (amount: string): string => `resources: { reservations: { ${amount} } }`;
const external = (kind: string, name: string): string =>
  `${kind}:\n  theirs: { external: true, name: ${name} }\n`;
const volume = `volumes:\n  data: {}\n`;

interface Row {
  readonly id: FindingId;
  readonly what: string;
  /** What runs before: deployed with v1. */
  readonly before?: string;
  readonly has: string;
  readonly severity: "error" | "warning";
  /** Line of the place in the stack file. */
  readonly line: number;
  readonly nearly: string;
}

const NODES = "placement: { constraints: [node.labels.disk != old] }";
const ROWS: readonly Row[] = [
  {
    id: "missing-network",
    what: "an external network that is not there",
    has: web("networks: [theirs]") + external("networks", "nowhere"),
    severity: "error",
    line: 5,
    nearly: web("networks: [theirs]") + external("networks", "over-all"),
  },
  {
    id: "network-scope",
    what: "a network of the manager alone",
    has: web("networks: [theirs]") + external("networks", "at-the-manager"),
    severity: "error",
    line: 5,
    nearly: web("networks: [theirs]") + external("networks", "over-all"),
  },
  {
    id: "missing-secret",
    what: "an external secret that is not there",
    has: web("secrets: [theirs]") + external("secrets", "nothing"),
    severity: "error",
    line: 5,
    nearly: web("") + external("secrets", "nothing"),
  },
  {
    id: "missing-config",
    what: "an external config that is not there",
    has: web("configs: [theirs]") + external("configs", "nothing"),
    severity: "error",
    line: 5,
    nearly: web("") + external("configs", "nothing"),
  },
  {
    id: "image-missing",
    what: "an image of somebody else's that the registry does not have",
    has: web("", "", "$REGISTRY_URL/postgres:v1x"),
    severity: "error",
    line: 2,
    nearly: web("", "", "$REGISTRY_URL/postgres:v1"),
  },
  {
    id: "image-platform",
    what: "an image for another platform than any node has",
    has: web("", "", "$REGISTRY_URL/shop:mainframe"),
    severity: "error",
    line: 2,
    nearly: web("", "", "$REGISTRY_URL/shop:v1"),
  },
  {
    id: "healthcheck-program",
    what: "a healthcheck that runs what its image does not have",
    has: web('healthcheck: { test: ["CMD", "curl", "-f", "http://localhost"] }', "replicas: 0"),
    severity: "warning",
    line: 2,
    nearly: web('healthcheck: { test: ["CMD", "busybox", "true"], interval: 1s }', "replicas: 0"),
  },
  {
    id: "mode-change",
    what: "a service that is to be global from now on",
    before: web("", "replicas: 0", "$IMAGE", "v1"),
    has: web("", `mode: global, ${constraint("node.labels.disk == ssd")}`),
    severity: "error",
    line: 3,
    nearly: web("", `mode: replicated, replicas: 0, ${constraint("node.labels.disk == ssd")}`),
  },
  {
    id: "network-name-taken",
    what: "a network of its own whose name somebody has taken",
    has: web("networks: [back]", "replicas: 0") + "networks:\n  back: { name: over-all }\n",
    severity: "error",
    line: 5,
    nearly: web("networks: [back]", "replicas: 0") + "networks:\n  back: {}\n",
  },
  {
    id: "port-in-use",
    what: "a port of another service",
    has: web(port(8300, "ingress")),
    severity: "error",
    line: 2,
    nearly: web("ports: ['8300:80/udp']"),
  },
  {
    id: "no-eligible-node",
    what: "a label that only a drained node has",
    has: web("", constraint("node.labels.disk == old")),
    severity: "error",
    line: 3,
    nearly: web("", constraint("node.labels.disk == ssd")),
  },
  {
    id: "no-eligible-node",
    what: "a job for no node",
    has: job(constraint("node.labels.disk == none")),
    severity: "error",
    line: 3,
    nearly: job(constraint("node.labels.disk == ssd")),
  },
  {
    id: "reservation-too-large",
    what: "a job that reserves more memory than a node has",
    has: job(reserve("memory: 900G")),
    severity: "error",
    line: 3,
    nearly: job(reserve("memory: 16M")),
  },
  {
    id: "start-first-no-healthcheck",
    what: "no healthcheck anywhere, of an image that the runner has",
    has: web("", `replicas: 0, ${START_FIRST}`),
    severity: "warning",
    line: 2,
    nearly: web('healthcheck: { test: ["CMD", "/bin/busybox", "true"] }', `replicas: 0, ${START_FIRST}`),
  },
  {
    id: "no-eligible-node",
    what: "a global service for no node",
    has: web("", `mode: global, ${constraint("node.labels.disk == none")}`),
    severity: "warning",
    line: 3,
    nearly: web("", `mode: global, ${constraint("node.labels.disk != none")}`),
  },
  {
    id: "missing-volume-driver",
    what: "a volume driver that no node has",
    has: web("volumes: ['data:/data']") + "volumes:\n  data: { driver: rexray }\n",
    severity: "error",
    line: 2,
    nearly: web("volumes: ['data:/data']") + "volumes:\n  data: { driver: local }\n",
  },
  {
    id: "too-few-nodes",
    what: "three replicas for the two nodes that are not drained",
    has: web("", `replicas: 3, ${STOP_FIRST}, placement: { max_replicas_per_node: 1 }`),
    severity: "error",
    line: 3,
    nearly: web("", `replicas: 2, ${STOP_FIRST}, placement: { max_replicas_per_node: 1 }`),
  },
  {
    id: "reservation-too-large",
    what: "more memory than a node has",
    has: web("", reserve("memory: 900G")),
    severity: "error",
    line: 3,
    nearly: web("", reserve("memory: 64M")),
  },
  {
    id: "start-first-host-port",
    what: "a host port on both nodes, kept by the old tasks",
    before: web(port(8301, "host"), `replicas: 2, ${STOP_FIRST}`, "$IMAGE", "v1"),
    has: web(port(8301, "host"), `replicas: 2, ${START_FIRST}`),
    severity: "error",
    line: 3,
    nearly: web(port(8301, "host"), `replicas: 2, ${STOP_FIRST}`),
  },
  {
    id: "start-first-host-port",
    what: "a host port and one node for it",
    before: web(
      port(8302, "host"),
      `${constraint("node.labels.disk == ssd")}, ${STOP_FIRST}`,
      "$IMAGE",
      "v1",
    ),
    has: web(port(8302, "host"), `${constraint("node.labels.disk == ssd")}, ${START_FIRST}`),
    severity: "error",
    line: 3,
    nearly: web(port(8302, "host"), `${NODES}, ${START_FIRST}`),
  },
  {
    id: "start-first-no-room",
    what: "one task a node, and both nodes full",
    before: web("", `replicas: 2, ${STOP_FIRST}, placement: { max_replicas_per_node: 1 }`, "$IMAGE", "v1"),
    has: web("", `replicas: 2, ${START_FIRST}, placement: { max_replicas_per_node: 1 }`),
    severity: "error",
    line: 3,
    nearly: web("", `replicas: 2, ${START_FIRST}, placement: { max_replicas_per_node: 2 }`),
  },
  {
    id: "start-first-no-room",
    what: "no memory for the old and the new task",
    before: web(
      "",
      `${constraint("node.labels.disk == ssd")}, ${STOP_FIRST}, ${reserve("memory: HALF")}`,
      "$IMAGE",
      "v1",
    ),
    has: web("", `${constraint("node.labels.disk == ssd")}, ${START_FIRST}, ${reserve("memory: HALF")}`),
    severity: "error",
    line: 3,
    nearly: web("", `${NODES}, ${START_FIRST}, ${reserve("memory: HALF")}`),
  },
  {
    id: "start-first-host-network",
    what: "the node's own network, and starts first",
    has: web("networks: [theirs]", `replicas: 0, ${START_FIRST}`) + external("networks", "host"),
    severity: "warning",
    line: 3,
    nearly: web("networks: [theirs]", `replicas: 0, ${STOP_FIRST}`) + external("networks", "host"),
  },
  {
    id: "start-first-single-writer",
    what: "a database that starts first",
    has: web("volumes: ['data:/data']", START_FIRST, "$REGISTRY_URL/postgres:v1") + volume,
    severity: "warning",
    line: 3,
    nearly: web("volumes: ['data:/data']", STOP_FIRST, "$REGISTRY_URL/postgres:v1") + volume,
  },
  {
    id: "start-first-no-healthcheck",
    what: "no healthcheck on purpose",
    has: web("healthcheck: { disable: true }", START_FIRST),
    severity: "warning",
    line: 2,
    nearly: web("healthcheck: { disable: true }", STOP_FIRST),
  },
  {
    id: "failure-action-continue",
    what: "an update that goes on",
    has: web("", update("failure_action: continue")),
    severity: "warning",
    line: 3,
    nearly: web("", update("failure_action: pause")),
  },
  {
    id: "monitor-too-short",
    what: "a healthcheck that is slower than the monitor",
    has: web('healthcheck: { test: ["CMD", "/bin/busybox", "true"], interval: 1s, retries: 2 }', START_FIRST),
    severity: "warning",
    line: 3,
    nearly: web(
      'healthcheck: { test: ["CMD", "/bin/busybox", "true"], interval: 1s, retries: 1 }',
      START_FIRST,
    ),
  },
];

/** More than half of what a node has, so that a second one has no room. */
function half(text: string): string {
  const bytes = Number(
    onManager("node", "inspect", "--format", "{{.Description.Resources.MemoryBytes}}", "n2"),
  );
  return text.replaceAll("HALF", `${Math.floor((bytes * 0.6) / 2 ** 20)}M`);
}

async function deploy(
  stack: string,
  text: string,
  inputs: Readonly<Record<string, string>> = {},
): Promise<Run> {
  return await runAction({
    cwd: workspace({ "stack.yml": half(/networks|ports/.test(text) ? text : text + LEAN) }),
    at: box,
    inputs: {
      "stack-name": stack,
      project: "shop",
      version: "v1",
      build: "false",
      "stable-for": "1s",
      ...inputs,
    },
  });
}

const services = (stack: string): string =>
  onManager(
    "service",
    "ls",
    "--format",
    "{{.ID}} {{.Image}}",
    "--filter",
    `label=com.docker.stack.namespace=${stack}`,
  );

test.concurrent.each(ROWS.map((row, index) => [`${row.id}: ${row.what}`, `p${index}`, row] as const))(
  "%s",
  async (_name, stack, { id, before, has, severity, line, nearly }) => {
    if (before !== undefined) expect((await deploy(stack, before)).outputs.status).toBe("deployed");
    const earlier = services(stack);
    const run = await deploy(stack, has);
    const annotation = new RegExp(
      `^::${severity} file=stack\\.yml,line=${line},col=\\d+::.*\\[${id}\\]`,
      "m",
    );
    expect(run.log).toMatch(annotation);
    if (severity === "error") {
      expect(run.outputs).toMatchObject({ status: "failed", reason: "preflight" });
      expect(services(stack)).toBe(earlier);
      works(await deploy(stack, nearly));
    } else {
      expect(run.outputs.status).toBe("deployed");
      expect((await deploy(stack, nearly, { version: "v2" })).log).not.toContain(`[${id}]`);
    }
    onManager("stack", "rm", stack);
  },
);

test.concurrent(
  "all that stands against it is told in one report, and none of it where it is to be passed over",
  async () => {
    const text =
      web(
        `networks: [theirs], ${port(8300, "ingress")}`,
        `${constraint("node.labels.disk == old")}, ${update("failure_action: continue")}`,
      ) + external("networks", "nowhere");
    const run = await deploy("all", text);
    expect(run.outputs.reason).toBe("preflight");
    for (const id of ["missing-network", "port-in-use", "no-eligible-node"])
      expect(run.log).toMatch(new RegExp(`^::error .*\\[${id}\\]`, "m"));
    expect(run.log).toMatch(/^::warning .*\[failure-action-continue\]/m);

    const calm = web("", `replicas: 0, ${update("failure_action: continue")}`);
    works(await deploy("calm", calm, { "ignore-findings": "failure-action-continue" }));
    const stuck = web("", constraint("node.labels.disk == old"));
    const ignoring = { "ignore-findings": "no-eligible-node", timeout: "5s" };
    const passed = await deploy("stuck", stuck, ignoring);
    expect(passed.log).toContain('Passed over, as "ignore-findings" says: ');
    expect(passed.outputs.reason).toBe("rollout");
  },
);

test.concurrent("engine-too-old: something that this engine may not know", async () => {
  const check = '["CMD", "/bin/busybox", "true"], interval: 1s, retries: 1, start_period: 1s';
  const run = await deploy("old", web(`healthcheck: { test: ${check}, start_interval: 1s }`));
  const knows = Number.parseInt(onManager("version", "--format", "{{.Server.Version}}"), 10) >= 25;
  if (knows) return works(run);
  expect(run.log).toMatch(/^::error file=stack\.yml,line=2,.*\[engine-too-old\]/m);
  expect(run.outputs.reason).toBe("preflight");
  works(await deploy("old", web(`healthcheck: { test: ${check} }`)));
});

test.concurrent("engine-too-old: a part of a volume, where this engine would mount all of it", async () => {
  const mounted = (options: string): string =>
    web(`volumes: [{ type: volume, source: data, target: /data, ${options} }]`, "replicas: 0") +
    "volumes:\n  data: {}\n";
  const run = await deploy("part", mounted("volume: { subpath: inner }"));
  const knows = Number.parseInt(onManager("version", "--format", "{{.Server.Version}}"), 10) >= 26;
  if (knows) return works(run);
  expect(run.log).toMatch(/^::error file=stack\.yml,line=2,.*\[engine-too-old\]/m);
  expect(run.outputs.reason).toBe("preflight");
  works(await deploy("part", mounted("volume: { nocopy: true }")));
});

test.concurrent("port-in-use: a port that another service of the stack gives up", async () => {
  works(await deploy("hand", web(port(8310, "ingress"), "replicas: 0")));
  const then = (admin: number): string =>
    `${web(port(8311, "ingress"), "replicas: 0")}  admin: { image: $IMAGE, ${port(admin, "ingress")}, deploy: { replicas: 0 } }\n`;
  // Only planned: whether Swarm takes it is a matter of order.
  const taken = await deploy("hand", then(8310), { mode: "plan" });
  expect(taken.log).toMatch(
    /^::warning file=stack\.yml,line=4,col=\d+::.* web gives up in this very deployment.*\[port-in-use\]/m,
  );
  expect((await deploy("hand", then(8312), { mode: "plan" })).log).not.toContain("[port-in-use]");
});

const NETWORKS = (back: string): string => `networks:\n  back: { ${back} }\n`;
const MADE = 'driver_opts: { encrypted: "", com.docker.network.driver.mtu: 1400 }, attachable: true';
const AS_BEFORE = web("networks: [back]", "replicas: 0");

test.concurrent("network-differs: docker leaves a network as it was made", async () => {
  works(await deploy("nets", AS_BEFORE + NETWORKS(MADE)));
  const again = await deploy("nets", AS_BEFORE + NETWORKS(MADE));
  expect(again.outputs.status).toBe("unchanged");
  expect(again.log).not.toContain("[network-differs]");
  const other = NETWORKS("internal: true, attachable: true, ipam: { config: [{ subnet: 10.99.7.0/24 }] }");
  const run = await deploy("nets", AS_BEFORE + other);
  expect(run.outputs.status).toBe("unchanged");
  expect(run.log).toMatch(
    /^::warning file=stack\.yml,line=5,col=\d+::.* back .*\(driver_opts, internal, ipam\).*\[network-differs\]/m,
  );
  onManager("stack", "rm", "nets");
});

test.concurrent("volume-differs: a node keeps a volume as it was made", async () => {
  const volumes = (size: string): string =>
    `volumes:\n  data: { driver_opts: { type: tmpfs, device: tmpfs, o: size=${size} } }\n`;
  const text = (version: string): string => web("volumes: ['data:/data']", "replicas: 0", "$IMAGE", version);
  works(await deploy("vols", text("v1") + volumes("1m")));
  expect((await deploy("vols", text("v2") + volumes("1m"))).log).not.toContain("[volume-differs]");
  const run = await deploy("vols", text("v2") + volumes("2m"));
  expect(run.outputs.status).toBe("deployed");
  expect(run.log).toMatch(/^::warning file=stack\.yml,line=5,col=\d+::.* volume data .*\[volume-differs\]/m);
  onManager("stack", "rm", "vols");
});

test("each kind of finding is in this file", () => {
  const elsewhere = [
    "engine-too-old",
    "network-differs",
    "volume-differs",
    "short-lived-credential",
    "manager-quorum",
    "paused-node",
  ]; // In tests of their own, above and below.
  const told = [...ROWS.map(({ id }) => id), ...elsewhere];
  expect(FINDINGS.map(({ id }) => id).filter((id) => !told.includes(id))).toEqual([]);
});

test.concurrent("short-lived-credential: what the swarm keeps ends within the hour", async () => {
  const text = web("", "replicas: 0");
  const pull = { "pull-username": "oauth2accesstoken", "pull-password": box.registryPassword };
  const run = await deploy("brief", text, pull);
  expect(run.outputs.status).toBe("deployed");
  expect(run.log).toMatch(/^::warning::.*a Google access token \(an hour\).*\[short-lived-credential\]/m);
  works(await deploy("brief", text, { ...pull, "pull-username": box.registryUser, version: "v2" }));
});

// At the end, and alone: others would have one node less.
test("paused-node: a global service's task that Swarm would never replace", async () => {
  const text = (version: string): string =>
    web("", `mode: global, ${NODES}, ${STOP_FIRST}`, "$IMAGE", version);
  works(await deploy("wide", text("v1")));
  onManager("node", "update", "--availability", "pause", "n2");
  const run = await deploy("wide", text("v2"));
  expect(run.outputs.reason).toBe("preflight");
  expect(run.log).toMatch(
    /^::error file=stack\.yml,line=3,.* on n2, which is paused.*\[paused-node\].*--availability active n2/m,
  );
  const passed = await deploy("wide", text("v2"), { "ignore-findings": "paused-node", timeout: "15s" });
  expect(passed.outputs.reason).toBe("rollout"); // As was foretold.
  onManager("node", "update", "--availability", "active", "n2");
  works(await deploy("wide", text("v3")));
  onManager("stack", "rm", "wide");
});

// At the end, and alone: it is told to whoever deploys anything at that time.
test("manager-quorum: one manager from losing it", async () => {
  const text = web("", "replicas: 0");
  onManager("node", "promote", "n2");
  await until("n2 is a manager", () =>
    onManager("node", "inspect", "--format", "{{json .ManagerStatus}}", "n2").includes('"reachable"'),
  );
  const run = await deploy("few", text);
  expect(run.outputs.status).toBe("deployed");
  expect(run.log).toMatch(
    /^::warning::Of 2 managers 2 can be reached, and the swarm needs 2: .*\[manager-quorum\]/m,
  );
  onManager("node", "demote", "n2");
  await until(
    "n2 is none",
    () => onManager("node", "inspect", "--format", "{{json .ManagerStatus}}", "n2") === "null",
  );
  works(await deploy("few", text, { version: "v2" }));
});

test("the containers in which images were looked into are gone from the runner", () => {
  expect(docker(["ps", "--all", "--quiet"], box.runnerDockerHost)).toBe("");
});
