import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../src/errors.ts";
import { FINDINGS, type FindingId } from "../../src/preflight/findings.ts";
import { type JsonObject } from "../../src/json.ts";
import { type Plan, planDeployment } from "../../src/plan.ts";
import { type Finding, judged } from "../../src/preflight/finding.ts";
import { lacking } from "../../src/preflight/lacking.ts";
import { preflight, withoutSwarm } from "../../src/preflight/preflight.ts";
import { type RenderedStack } from "../../src/stack/render.ts";
import { parseStackFile } from "../../src/stack/stack-file.ts";
import { type Node, type ServiceSpec, type Survey, type Task } from "../../src/swarm.ts";
import { emptySurvey, node, service, task } from "../doubles/swarm.ts";
import { renderedStack } from "../doubles/stack.ts";

/** The parts of a spec that a case changes. */
interface Changes {
  readonly image?: string;
  readonly container?: ServiceSpec;
  readonly template?: ServiceSpec;
  readonly placement?: ServiceSpec;
  readonly reserve?: ServiceSpec;
  readonly update?: ServiceSpec;
  readonly ports?: readonly ServiceSpec[];
  readonly mode?: ServiceSpec;
}

function spec(changes: Changes = {}): ServiceSpec {
  const { image = "r.io/shop:v1", container, template, placement, reserve, update, ports, mode } = changes;
  return {
    Name: "shop_web",
    Labels: { "com.docker.stack.namespace": "shop", "swarm-stack-deploy.managed": "true" },
    TaskTemplate: {
      ContainerSpec: { Image: image, ...container },
      Placement: { ...placement },
      Resources: { Reservations: { ...reserve } },
      ...template,
    },
    Mode: mode ?? { Replicated: { Replicas: 1 } },
    UpdateConfig: { Order: "stop-first", ...update },
    EndpointSpec: { Ports: ports ?? [] },
  };
}

const START_FIRST = { Order: "start-first" };
const HOST_PORT = [{ PublishedPort: 80, TargetPort: 80, Protocol: "tcp", PublishMode: "host" }];
const INGRESS = [{ PublishedPort: 80, TargetPort: 80, Protocol: "tcp", PublishMode: "ingress" }];
const replicas = (n: number) => ({ Replicated: { Replicas: n } });
const job = (n: number) => ({ ReplicatedJob: { MaxConcurrent: n, TotalCompletions: n } });
const N1 = node({ id: "n1" });
const N2 = node({ id: "n2" });
const GIB = 2 ** 30;
const on = (...nodes: readonly string[]): Task[] =>
  nodes.map((nodeId, index) => task({ id: `t${index}`, nodeId, slot: index + 1 }));

const FILE = `services:
  web:
    image: r.io/shop:v2
    volumes: [data:/data]
    ports: [80:80]
    healthcheck: {}
    deploy:
      update_config:
        order: start-first
        monitor: 5s
        failure_action: rollback
      placement:
        constraints: [node.labels.disk == ssd]
        max_replicas_per_node: 1
      resources:
        reservations: { memory: 1G }
`;

function stackOf(text: string): RenderedStack {
  return renderedStack(parseStackFile(text, "stack.yml"));
}

interface Case {
  /** What runs; undefined for a new service. Its image is an older one, so that each task is new. */
  readonly before?: Changes;
  readonly wanted: Changes;
  readonly nodes?: readonly Node[];
  readonly tasks?: readonly Task[];
  readonly survey?: Partial<Survey>;
  readonly file?: string;
  readonly auth?: string;
}

function planOf({ before, wanted, auth }: Case): { readonly plan: Plan; readonly live: Survey["services"] } {
  const live = before === undefined ? [] : [service({ spec: spec({ image: "r.io/shop:v0", ...before }) })];
  const plan = planDeployment({
    stack: "shop",
    wanted: [{ spec: spec(wanted), auth }],
    live,
    networkIds: new Map(),
    prune: true,
    needs: { networks: [], configs: [], secrets: [] },
  });
  return { plan, live };
}

function findings(given: Case): Finding[] {
  const { nodes = [N1, N2], tasks = [], survey, file = FILE } = given;
  const { plan, live } = planOf(given);
  return preflight(stackOf(file), plan, emptySurvey({ nodes, tasks, services: live, ...survey }));
}

const told = (given: Case): string[] =>
  findings(given).map(({ id, severity, problem }) => `${severity} ${id} ${problem.place?.line ?? "-"}`);

/** What has it, what it says first of all, and what nearly has it. */
interface Row {
  readonly name: string;
  readonly has: Case;
  readonly says: string;
  /** Part of its words, with the numbers. */
  readonly words: string;
  readonly nearly: readonly Case[];
}

const auth = (username: string, password: string): string =>
  Buffer.from(JSON.stringify({ username, password })).toString("base64url");

const held: Case = {
  before: { ports: HOST_PORT, update: START_FIRST, mode: replicas(2) },
  wanted: { ports: HOST_PORT, update: START_FIRST, mode: replicas(2) },
  tasks: on("n1", "n2"),
};
const globally: Case = {
  before: { ports: HOST_PORT, mode: { Global: {} } },
  wanted: { ports: HOST_PORT, update: START_FIRST, mode: { Global: {} } },
  tasks: on("n1", "n2"),
};
const limited: Case = {
  before: { placement: { MaxReplicas: 1 }, mode: replicas(2) },
  wanted: { placement: { MaxReplicas: 1 }, update: START_FIRST, mode: replicas(2) },
  tasks: on("n1", "n2"),
};
const reserved: Case = {
  before: { reserve: { MemoryBytes: 5 * GIB }, mode: replicas(2) },
  wanted: { reserve: { MemoryBytes: 5 * GIB }, update: START_FIRST, mode: replicas(2) },
  tasks: on("n1", "n2"),
};
const ssd = { Constraints: ["node.labels.disk == ssd"] };
const arm = { Platforms: [{ OS: "linux", Architecture: "arm64" }] };
const volume = (driver?: string): ServiceSpec => ({
  Mounts: [
    {
      Type: "volume",
      Source: "shop_data",
      Target: "/data",
      ...(driver === undefined ? {} : { VolumeOptions: { DriverConfig: { Name: driver } } }),
    },
  ],
});
const subpath = (Subpath: string): ServiceSpec => ({
  Mounts: [{ Type: "volume", Source: "shop_data", Target: "/data", VolumeOptions: { Subpath } }],
});
const SUBPATH = `services:
  web:
    image: r.io/shop:v2
    volumes:
      - type: volume
        source: data
        target: /data
        volume: { subpath: inner }
`;
const postgres: Case = {
  before: { image: "postgres:16", container: volume() },
  wanted: { image: "postgres:17@sha256:" + "0".repeat(64), container: volume(), update: START_FIRST },
};
const check = (interval: number, monitor: number): Changes => ({
  container: { Healthcheck: { Test: ["CMD", "true"], Interval: interval * 1e9, Retries: 2 } },
  update: { Monitor: monitor * 1e9 },
});
const taken = (changes: Partial<Survey["takenPorts"][number]>): Partial<Survey> => ({
  takenPorts: [
    { service: "other_web", stack: "other", port: 80, protocol: "tcp", onHost: false, ...changes },
  ],
});
const manager = (id: string, reachability: string): Node => node({ id, role: "manager", reachability });

const ROWS: readonly Row[] = [
  {
    name: "start-first waits for a port of the node on every node",
    has: held,
    says: "error start-first-host-port 9",
    words: "runs on each of the 2 nodes that it may use",
    nearly: [
      { ...held, tasks: on("n1") },
      { ...held, nodes: [N1, N2, node({ id: "n3" })] },
      { ...held, wanted: { ...held.wanted, update: {} } },
      {
        ...held,
        wanted: { ...held.wanted, ports: HOST_PORT.map((port) => ({ ...port, PublishedPort: 81 })) },
      },
      {
        ...held,
        wanted: { ...held.wanted, ports: HOST_PORT.map((port) => ({ ...port, PublishedPort: 0 })) },
      },
      { ...held, wanted: { ...held.wanted, mode: replicas(1) } },
      { ...held, before: { ...held.before, image: "r.io/shop:v1", update: {} } },
      { ...held, tasks: on("n1", "n2").map((each) => ({ ...each, state: "failed" })) },
    ],
  },
  {
    name: "a drained node is no way out",
    has: { ...held, nodes: [N1, N2, node({ id: "n3", availability: "drain" })] },
    says: "error start-first-host-port 9",
    words: "each of the 2 nodes",
    nearly: [],
  },
  {
    name: "the same in global mode",
    has: globally,
    says: "warning start-first-host-port 9",
    words: "port 80",
    nearly: [
      { ...globally, tasks: [] },
      {
        ...globally,
        wanted: { ...globally.wanted, ports: INGRESS },
        before: { ports: INGRESS, mode: { Global: {} } },
      },
    ],
  },
  {
    name: "a new service whose next update would wait for a port",
    has: { wanted: held.wanted },
    says: "warning start-first-host-port 9",
    words: "its next update will wait",
    nearly: [{ wanted: { ...held.wanted, mode: replicas(1) } }, { wanted: { ...held.wanted, update: {} } }],
  },
  {
    name: "start-first beyond max_replicas_per_node",
    has: limited,
    says: "error start-first-no-room 9",
    words: "its 2 tasks fill the limit (max_replicas_per_node: 1 on 2 nodes)",
    nearly: [
      { ...limited, nodes: [N1, N2, node({ id: "n3" })] },
      { ...limited, wanted: { ...limited.wanted, update: {} } },
      { ...limited, wanted: { ...limited.wanted, placement: { MaxReplicas: 2 } } },
    ],
  },
  {
    name: "a new service that fills its nodes",
    has: { wanted: limited.wanted },
    says: "warning start-first-no-room 9",
    words: "its next update will have no room",
    nearly: [{ wanted: { ...limited.wanted, mode: replicas(1) } }],
  },
  {
    name: "start-first with no room for both reservations",
    has: reserved,
    says: "error start-first-no-room 9",
    words: "reserves 5120 MiB, and with start-first it would wait for ever",
    nearly: [
      { ...reserved, tasks: on("n1", "n1") },
      { ...reserved, wanted: { ...reserved.wanted, reserve: { MemoryBytes: 3 * GIB } } },
      { ...reserved, wanted: { ...reserved.wanted, update: {} } },
      { wanted: reserved.wanted },
    ],
  },
  {
    name: "in global mode one node without room is enough",
    has: {
      before: { reserve: { NanoCPUs: 3e9 }, mode: { Global: {} } },
      wanted: { reserve: { NanoCPUs: 3e9 }, mode: { Global: {} }, update: START_FIRST },
      nodes: [N1, node({ id: "n2", resources: { nanoCpus: 64e9, memoryBytes: GIB } })],
      tasks: on("n1", "n2"),
    },
    says: "warning start-first-no-room 9",
    words: "reserves 3 CPUs",
    nearly: [],
  },
  {
    name: "no node with the label",
    has: { wanted: { placement: ssd } },
    says: "error no-eligible-node 13",
    words:
      "2 nodes do not satisfy the constraints. [no-eligible-node] Change its constraints (node.labels.disk == ssd)",
    nearly: [
      { wanted: { placement: ssd }, nodes: [N1, node({ id: "n2", labels: { disk: "SSD" } })] },
      { wanted: { placement: ssd, mode: replicas(0) } },
      { wanted: { placement: { Constraints: ["node.ip == 10.9.9.9"] } } },
      { wanted: { placement: { Constraints: ["node.role != manager", "Node.Hostname==n2"] } } },
    ],
  },
  {
    name: "the only node with the label is drained",
    has: {
      wanted: { placement: ssd },
      nodes: [N1, node({ id: "n2", labels: { disk: "ssd" }, availability: "drain" })],
    },
    says: "error no-eligible-node 13",
    words: "1 node does not satisfy the constraints, 1 node is drained",
    nearly: [],
  },
  {
    name: "all nodes are away",
    has: { wanted: {}, nodes: [node({ state: "down" }), node({ id: "n2", availability: "pause" })] },
    says: "error no-eligible-node 13",
    words: "1 node is down, 1 node is paused",
    nearly: [
      // Only a label or the constraints change: what runs on a paused node stays.
      {
        before: { image: "r.io/shop:v1", placement: ssd },
        wanted: {},
        nodes: [node({ availability: "pause" })],
        tasks: on("n1"),
      },
      {
        before: { image: "r.io/shop:v1" },
        wanted: { update: START_FIRST },
        nodes: [node({ state: "down" })],
        tasks: on("n1"),
      },
    ],
  },
  {
    name: "a global service without a node",
    has: { wanted: { placement: ssd, mode: { Global: {} } } },
    says: "warning no-eligible-node 13",
    words: "no node to run on",
    nearly: [],
  },
  {
    name: "a job that no node may run",
    has: { wanted: { placement: ssd, mode: job(1) } },
    says: "error no-eligible-node 13",
    words: "no node to run on",
    nearly: [
      { wanted: { placement: ssd, mode: job(1) }, nodes: [node({ labels: { disk: "ssd" } })] },
      { wanted: { placement: ssd, mode: job(0) } },
    ],
  },
  {
    name: "a job that runs again with other labels, and no node may run it",
    has: {
      before: { image: "r.io/shop:v1", mode: job(1) },
      wanted: { mode: job(1), update: { Delay: 1e9 } },
      nodes: [node({ availability: "pause" })],
    },
    says: "error no-eligible-node 13",
    words: "1 node is paused",
    nearly: [],
  },
  {
    name: "a global job without a node",
    has: { wanted: { placement: ssd, mode: { GlobalJob: {} } } },
    says: "warning no-eligible-node 13",
    words: "no node to run on",
    nearly: [],
  },
  {
    name: "a global service with a task on a paused node",
    has: {
      before: { mode: { Global: {} } },
      wanted: { mode: { Global: {} } },
      nodes: [N1, node({ id: "n2", hostname: "worker2", availability: "pause" })],
      tasks: on("n1", "n2"),
    },
    says: "error paused-node 8",
    words: "a task on worker2, which is paused: Swarm does not replace it there",
    nearly: [
      // No task there, another mode, nothing that replaces tasks, and constraints that take it away from there.
      {
        before: { mode: { Global: {} } },
        wanted: { mode: { Global: {} } },
        nodes: [N1, node({ id: "n2", availability: "pause" })],
        tasks: on("n1"),
      },
      {
        before: { mode: replicas(2) },
        wanted: { mode: replicas(2) },
        nodes: [N1, node({ id: "n2", availability: "pause" })],
        tasks: on("n1", "n2"),
      },
      {
        before: { image: "r.io/shop:v1", mode: { Global: {} } },
        wanted: { mode: { Global: {} }, update: { Delay: 1e9 } },
        nodes: [N1, node({ id: "n2", availability: "pause" })],
        tasks: on("n1", "n2"),
      },
      {
        before: { mode: { Global: {} } },
        wanted: { mode: { Global: {} }, placement: { Constraints: ["node.id == n1"] } },
        nodes: [N1, node({ id: "n2", availability: "pause" })],
        tasks: on("n1", "n2"),
      },
    ],
  },
  {
    name: "an image for another platform",
    has: { wanted: { placement: arm } },
    says: "error image-platform 3",
    words: "built for linux/arm64 only. Build it for linux/amd64 too.",
    nearly: [
      { wanted: { placement: { Platforms: [{ OS: "linux", Architecture: "amd64" }] } } },
      { wanted: { placement: arm }, nodes: [node({ architecture: "aarch64" })] },
      { wanted: { placement: { Platforms: [{ OS: "linux" }] } } },
    ],
  },
  {
    name: "an image for some of the nodes",
    has: { wanted: { placement: arm }, nodes: [N1, node({ id: "n2", architecture: "aarch64" })] },
    says: "warning image-platform 3",
    words: "runs on 1 of the 2 nodes",
    nearly: [
      {
        wanted: { placement: { ...arm, Constraints: ["node.platform.arch == aarch64"] } },
        nodes: [N1, node({ id: "n2", architecture: "aarch64" })],
      },
    ],
  },
  {
    name: "a volume driver that no node has",
    has: { wanted: { container: volume("rexray") } },
    says: "error missing-volume-driver 4",
    words: "2 nodes lack the volume driver",
    nearly: [
      {
        wanted: { container: volume("rexray") },
        nodes: [N1, node({ id: "n2", volumeDrivers: ["rexray:latest"] })],
      },
      { wanted: { container: volume("local") }, nodes: [node({ volumeDrivers: [] })] },
    ],
  },
  {
    name: "more replicas than max_replicas_per_node lets run",
    has: { wanted: { placement: { MaxReplicas: 1 }, mode: replicas(3) } },
    says: "error too-few-nodes 14",
    words: "wants 3 replicas, and 2 nodes can run 2: max_replicas_per_node is 1",
    nearly: [{ wanted: { placement: { MaxReplicas: 2 }, mode: replicas(3) } }],
  },
  {
    name: "more replicas than nodes have the port",
    has: { wanted: { ports: HOST_PORT, mode: replicas(2) }, nodes: [N1, node({ id: "n2", state: "down" })] },
    says: "error too-few-nodes 5",
    words: "1 node can run 1: each can publish port 80 once. Of the others, 1 node is down.",
    nearly: [
      { wanted: { ports: HOST_PORT, mode: replicas(2) } },
      { wanted: { ports: INGRESS, mode: replicas(9) } },
    ],
  },
  {
    name: "a reservation beyond each node",
    has: { wanted: { reserve: { MemoryBytes: 9 * GIB } } },
    says: "error reservation-too-large 16",
    words:
      "reserves 9216 MiB, and none of the nodes that may run it has as much (2 nodes: 4 CPUs and 8192 MiB)",
    nearly: [
      { wanted: { reserve: { MemoryBytes: 8 * GIB } } },
      { wanted: { reserve: { MemoryBytes: 9 * GIB }, mode: replicas(0) } },
    ],
  },
  {
    name: "a job's reservation beyond each node",
    has: { wanted: { reserve: { MemoryBytes: 9 * GIB }, mode: job(1) } },
    says: "error reservation-too-large 16",
    words: "none of the nodes that may run it has as much",
    nearly: [
      { wanted: { reserve: { MemoryBytes: 8 * GIB }, mode: job(9) } }, // One after the other.
      { wanted: { reserve: { MemoryBytes: 9 * GIB }, mode: job(0) } },
    ],
  },
  {
    name: "reservations beyond all nodes together",
    has: { wanted: { reserve: { NanoCPUs: 3e9 }, mode: replicas(3) } },
    says: "error reservation-too-large 16",
    words: "hold 2 of its 3 replicas",
    nearly: [{ wanted: { reserve: { NanoCPUs: 2e9 }, mode: replicas(4) } }],
  },
  {
    name: "a database that starts first",
    has: postgres,
    says: "warning start-first-single-writer 9",
    words: "is a postgres with a local volume",
    nearly: [
      { ...postgres, wanted: { ...postgres.wanted, update: {} } },
      { ...postgres, wanted: { ...postgres.wanted, container: {} } },
      { ...postgres, wanted: { ...postgres.wanted, image: "r.io/postgres-exporter:1" } },
    ],
  },
  {
    name: "a healthcheck that is disabled",
    has: { wanted: { container: { Healthcheck: { Test: ["NONE"] } }, update: START_FIRST } },
    says: "warning start-first-no-healthcheck 6",
    words: "ready or not",
    nearly: [
      { wanted: { container: { Healthcheck: { Test: ["NONE"] } } } },
      { wanted: { container: { Healthcheck: { Test: ["CMD", "true"] } }, update: START_FIRST } },
      { wanted: { update: START_FIRST } },
    ],
  },
  {
    name: "an update that goes on when it fails",
    has: { wanted: { update: { FailureAction: "continue" } } },
    says: "warning failure-action-continue 11",
    words: "to the last",
    nearly: [{ wanted: { update: { FailureAction: "pause" } } }],
  },
  {
    name: "a monitor that is over too soon",
    has: { wanted: check(3, 5) },
    says: "warning monitor-too-short 10",
    words:
      "monitored for 5 s after a task runs, and its healthcheck takes 6 s to call one unhealthy (interval 3 s × 2)",
    nearly: [
      { wanted: check(2, 5) },
      { wanted: check(3, 5), file: FILE.replace("        monitor: 5s\n", "") },
      { wanted: { update: { Monitor: 1e9 } } },
    ],
  },
  {
    name: "a port of another stack",
    has: { wanted: { ports: INGRESS }, survey: taken({}) },
    says: "error port-in-use 5",
    words: "port 80/tcp, which the service other_web (of the stack other) has already",
    nearly: [
      { wanted: { ports: INGRESS }, survey: taken({ protocol: "udp" }) },
      { wanted: { ports: INGRESS }, survey: taken({ service: "shop_web", stack: "shop" }) },
      { wanted: { ports: HOST_PORT }, survey: taken({ onHost: true }) },
    ],
  },
  {
    name: "a port on the nodes of another stack's ingress",
    has: { wanted: { ports: HOST_PORT }, survey: taken({}) },
    says: "error port-in-use 5",
    words: "other_web",
    nearly: [],
  },
  {
    name: "a port of a service that leaves only after the rollout",
    has: { wanted: { ports: INGRESS }, survey: taken({ service: "shop_old", stack: "shop" }) },
    says: "error port-in-use 5",
    words: "docker service rm shop_old",
    nearly: [],
  },
  {
    name: "a manager that may not be lost",
    has: {
      wanted: {},
      nodes: [manager("m1", "reachable"), manager("m2", "reachable"), manager("m3", "unreachable")],
    },
    says: "warning manager-quorum -",
    words: "Of 3 managers 2 can be reached, and the swarm needs 2: with one more lost",
    nearly: [
      { wanted: {}, nodes: ["m1", "m2", "m3"].map((id) => manager(id, "reachable")) },
      { wanted: {}, nodes: [manager("m1", "reachable"), N1] },
    ],
  },
  {
    name: "a token of the job",
    has: { wanted: {}, auth: auth("dev", "ghs_0123456789") },
    says: "warning short-lived-credential -",
    words: "from r.io is a token of the job (GITHUB_TOKEN)",
    nearly: [
      { wanted: {}, auth: auth("dev", "ghp_0123456789") },
      { wanted: {}, auth: auth("AWS", "x") },
      { wanted: {}, auth: "" },
      { wanted: {} },
    ],
  },
  {
    name: "a token of ECR",
    has: { wanted: { image: "1.dkr.ecr.eu-west-1.amazonaws.com/shop:v1" }, auth: auth("AWS", "x") },
    says: "warning short-lived-credential -",
    words: "Amazon ECR",
    nearly: [],
  },
  {
    name: "an engine that leaves something out",
    has: {
      wanted: { container: { Healthcheck: { Test: ["CMD", "true"], StartInterval: 1e9 } } },
      survey: { info: { ServerVersion: "24.0.7" } },
    },
    says: "error engine-too-old 6",
    words: "healthcheck.start_interval, which engines know since 25.0; the manager's is 24.0.7",
    nearly: [
      {
        wanted: { container: { Healthcheck: { Test: ["CMD", "true"], StartInterval: 1e9 } } },
        survey: { info: { ServerVersion: "25.0.0" } },
      },
      {
        wanted: { mode: { ReplicatedJob: { TotalCompletions: 1 } } },
        survey: { info: { ServerVersion: "20.10.24+dfsg1" } },
      },
    ],
  },
  {
    name: "an engine that mounts a whole volume",
    has: { wanted: { container: subpath("inner") }, survey: { info: { ServerVersion: "25.0.5" } } },
    says: "error engine-too-old 4",
    words: "a volume's subpath, which engines know since 26.0",
    nearly: [
      { wanted: { container: subpath("inner") }, survey: { info: { ServerVersion: "26.0.0" } } },
      { wanted: { container: volume() }, survey: { info: { ServerVersion: "25.0.5" } } },
    ],
  },
  {
    name: "docker on the runner that mounts a whole volume",
    has: { wanted: { container: volume() }, file: SUBPATH },
    says: "error engine-too-old 8",
    words: "docker on the runner does not send",
    nearly: [
      { wanted: { container: subpath("inner") }, file: SUBPATH },
      { wanted: { container: volume() }, file: SUBPATH.replace("subpath: inner", "nocopy: true") },
    ],
  },
  {
    name: "a job on an engine before them",
    has: {
      wanted: { mode: { ReplicatedJob: { TotalCompletions: 1 } } },
      survey: { info: { ServerVersion: "19.03.15" } },
    },
    says: "error engine-too-old 8",
    words: "since 20.10",
    nearly: [],
  },
];

describe.each(ROWS)("$name", ({ has, says, words, nearly }) => {
  test("is found, with its place", () => {
    expect(told(has)).toEqual([says]);
    expect(
      findings(has)
        .map(({ problem }) => inWords(problem))
        .join(),
    ).toContain(words);
  });

  if (nearly.length > 0)
    test.each(nearly.map((each, index) => [index + 1, each] as const))(
      "is not where it is nearly so (%d)",
      (_n, each) => {
        const [, id] = says.split(" ");
        expect(findings(each).filter((found) => found.id === id)).toEqual([]);
      },
    );

  test("is not where nothing is sent", () => {
    const { plan, live } = planOf({ ...has, before: has.wanted });
    const unchanged = {
      ...plan,
      services: plan.services.map((each) => ({ ...each, change: "unchanged" as const })),
    };
    const survey = emptySurvey({
      nodes: has.nodes ?? [N1, N2],
      tasks: has.tasks ?? [],
      services: live,
      ...has.survey,
    });
    const found = preflight(stackOf(has.file ?? FILE), unchanged, survey);
    expect(found.filter(({ id }) => id !== "manager-quorum")).toEqual([]);
  });
});

test("without a swarm only what the files alone have is told, in the same words", () => {
  const toldIds = ROWS.flatMap(({ has }) => {
    const stack = stackOf(has.file ?? FILE);
    const { before: _before, ...asNew } = has;
    const found = withoutSwarm(stack, planOf(asNew).plan);
    const all = findings(has);
    for (const each of found) expect(all).toContainEqual(each);
    return found.map(({ id }) => id);
  });
  expect(new Set(toldIds)).toEqual(
    new Set<FindingId>([
      "start-first-single-writer",
      "start-first-no-healthcheck",
      "failure-action-continue",
      "monitor-too-short",
      "engine-too-old", // By docker on the runner.
    ]),
  );
});

test("what other services of the stack reserve, and keep, is no room", () => {
  const db = {
    ...spec({ reserve: { MemoryBytes: 4 * GIB } }),
    Name: "shop_db",
  };
  const live = [
    service({ spec: spec({ image: "r.io/shop:v0", reserve: { MemoryBytes: 3 * GIB } }) }),
    service({ id: "s2", name: "shop_db", spec: db }),
  ];
  const wanted = spec({ reserve: { MemoryBytes: 3 * GIB }, update: START_FIRST });
  const found = (dbWanted: ServiceSpec) =>
    preflight(
      stackOf(FILE),
      planDeployment({
        stack: "shop",
        wanted: [wanted, dbWanted].map((each) => ({ spec: each, auth: undefined })),
        live,
        networkIds: new Map(),
        prune: true,
        needs: { networks: [], configs: [], secrets: [] },
      }),
      emptySurvey({
        nodes: [N1],
        services: live,
        tasks: [task(), task({ id: "t2", serviceId: "s2" })],
      }),
    ).map(({ problem }) => problem.message);
  expect(found(db).join()).toContain("the node has 4 CPUs and 1024 MiB left");
  const shrinking = { ...spec({ image: "r.io/db:v2", reserve: { MemoryBytes: GIB } }), Name: "shop_db" };
  expect(found(shrinking)).toEqual([]); // Whether it makes room in time is not certain.
});

test("a database on its node's own network, started first", () => {
  const file = `services:\n  web: { image: a, networks: [host] }\nnetworks:\n  host: { external: true, name: host }\n`;
  expect(told({ wanted: { update: START_FIRST }, file })).toEqual(["warning start-first-host-network 2"]);
  expect(told({ wanted: {}, file })).toEqual([]);
  expect(
    told({ wanted: { update: START_FIRST }, file: file.replace(", name: host", ", name: hosts") }),
  ).toEqual([]);
});

describe("a network that is there", () => {
  const live = {
    Name: "shop_back",
    Id: "x",
    Labels: { "com.docker.stack.namespace": "shop" },
    Driver: "overlay",
    Internal: false,
    Attachable: true,
    Options: { "com.docker.network.driver.overlay.vxlanid_list": "4097", encrypted: "", mtu: "1400" },
    IPAM: { Config: [{ Subnet: "10.0.1.0/24", Gateway: "10.0.1.1" }] },
  };
  const kept = (definition: string, raw: object = {}, key = "back"): string[] =>
    findings({
      wanted: {},
      survey: { networks: [{ ...live, ...raw }] },
      file: `services:\n  web: { image: a, networks: [back] }\nnetworks:\n  ${key}: { ${definition} }\n`,
    }).map(({ id, problem }) => `${id} ${/\((.*)\)/.exec(problem.message)?.[1]}:${problem.place?.column}`);
  const same = 'attachable: yes, driver_opts: { encrypted: "", mtu: 1400.0 }';

  test.each<[string, string, readonly string[]]>([
    ["as the file has it", same, []],
    ["with its subnet", `${same}, ipam: { config: [{ subnet: 10.0.1.0/24 }] }`, []],
    ["with another one", `${same}, ipam: { config: [{ subnet: 10.0.2.0/24 }] }`, ["network-differs ipam:79"]],
    ["without an option that the file has lost", "attachable: true", ["network-differs driver_opts:3"]],
    ["with an option more", same.replace("}", ", x: y }"), ["network-differs driver_opts:41"]],
    ["not attachable", same.replace("yes", "no"), ["network-differs attachable:23"]],
    ["not internal", `internal: true, ${same}`, ["network-differs internal:21"]],
    ["of another driver", `driver: macvlan, ${same}`, ["network-differs driver:19"]],
    ["of another name", "internal: true, name: other", []],
    ["and external", "external: true, name: shop_back", []],
  ])("%s", (_name, definition, expected) => {
    expect(kept(definition)).toEqual(expected);
  });

  test("of no stack", () => {
    expect(kept("internal: true", { Labels: {} })).toEqual([]);
  });

  test("and that nobody uses", () => {
    expect(kept("internal: true", {}, "unused")).toEqual([]);
  });
});

test("a network that docker would create, and that somebody else has made", () => {
  const file = `services:\n  web: { image: a }\nnetworks:\n  back: {}\n  front: { name: proxy }\n`;
  const { plan } = planOf({ wanted: {} });
  const look = (network: JsonObject, name = "shop_back"): string[] =>
    preflight(stackOf(file), { ...plan, networks: [name] }, emptySurvey({ networks: [network] }))
      .filter(({ id }) => id === "network-name-taken")
      .map(({ severity, problem }) => `${severity} ${problem.place?.line}`);
  expect(look({ Name: "shop_back", Id: "x", Driver: "overlay" })).toEqual(["error 4"]);
  expect(look({ Name: "shop_default", Id: "x", Driver: "overlay" }, "shop_default")).toEqual(["error 1"]);
  expect(look({ Name: "proxy", Id: "x", Driver: "overlay" }, "proxy")).toEqual(["error 5"]);
  expect(look({ Name: "shop_other", Id: "x", Driver: "overlay" })).toEqual([]);
  expect(look({ Name: "shop_back", Id: "x", Driver: "bridge" })).toEqual([]); // The manager's own.
});

test("another mode", () => {
  const kept = (before: Changes, wanted: Changes): string[] =>
    findings({ before, wanted }).flatMap(({ id, severity, problem }) =>
      id === "mode-change" ? `${severity} ${problem.place?.line} ${problem.message}` : [],
    );
  expect(kept({ mode: replicas(2) }, { mode: { Global: {} } })).toEqual([
    "error 8 Service web is replicated, and no engine makes it global by an update. [mode-change]",
  ]);
  expect(kept({ mode: replicas(2) }, { mode: { ReplicatedJob: {} } })[0]).toContain(
    "makes it replicated-job",
  );
  expect(kept({ mode: replicas(2) }, { mode: replicas(3) })).toEqual([]);
  expect(kept({ mode: { Global: {} } }, { mode: { Global: {} }, image: "r.io/shop:v2" })).toEqual([]);
});

test("a volume with other options", () => {
  const file = `services:\n  web: { image: a }\nvolumes:\n  data: {}\n`;
  const mounted = (changes: ServiceSpec, Source = "shop_data"): Changes => ({
    container: { Mounts: [{ Type: "volume", Source, Target: "/data", VolumeOptions: changes }] },
  });
  const nfs = (o: string) => ({ DriverConfig: { Options: { o, type: "nfs" } } });
  const kept = (before: Changes, wanted: Changes): string[] => told({ before, wanted, file });
  expect(kept(mounted(nfs("addr=a")), mounted(nfs("addr=b")))).toEqual(["warning volume-differs 4"]);
  expect(kept(mounted({}), mounted({ DriverConfig: { Name: "rexray" } }))).toContain(
    "warning volume-differs 4",
  );
  expect(kept(mounted({}), mounted({ DriverConfig: { Name: "local" } }))).toEqual([]);
  expect(kept(mounted(nfs("addr=a")), mounted(nfs("addr=a")))).toEqual([]);
  expect(kept(mounted(nfs("addr=a"), "shop_old"), mounted(nfs("addr=b")))).toEqual([]);
});

test("constraints made from a variable are not repeated", () => {
  const stack = stackOf(FILE);
  const { plan } = planOf({ wanted: { placement: ssd } });
  const text = JSON.stringify(stack.root).replace(
    '"text":"node.labels.disk == ssd"',
    '"substituted":true,"text":"node.labels.disk == ssd"',
  );
  const root = JSON.parse(text) as RenderedStack["root"];
  const [found] = preflight({ ...stack, root }, plan, emptySurvey({ nodes: [N1] }));
  expect(found?.id).toBe("no-eligible-node");
  expect(JSON.stringify(found)).not.toContain("ssd");
});

test("no word of a credential is told", () => {
  const text = JSON.stringify(findings({ wanted: {}, auth: auth("dev-user", "ghs_0123456789") }));
  expect(text).not.toMatch(/0123456789|dev-user/);
});

describe("what the swarm lacks", () => {
  const file = `services:
  web:
    image: a
    networks: [front, host]
    configs: [app]
    secrets: [{ source: token }]
networks:
  front: { external: true, name: proxy }
  host: { external: true, name: host }
  unused: { external: true }
configs:
  app: { external: true }
secrets:
  token: { external: true, name: token_v1 }
`;
  const look = (
    survey: Partial<Survey>,
    made: readonly string[] = [],
    ignored: readonly FindingId[] = [],
  ) => {
    const { findings: found, names } = lacking(
      stackOf(file),
      emptySurvey(survey),
      new Set(made),
      new Set(ignored),
    );
    return {
      told: found.map(({ id, severity, problem }) => `${severity} ${id} ${problem.place?.line}`),
      names,
    };
  };
  const all = {
    networks: [{ Name: "proxy", Id: "x", Scope: "swarm" }],
    configs: [{ id: "c", name: "app", bytes: Buffer.of() }],
    secrets: [{ id: "s", name: "token_v1" }],
  };

  test("is told all at once", () => {
    expect(look({})).toEqual({
      told: ["error missing-network 8", "error missing-config 12", "error missing-secret 14"],
      names: { networks: ["proxy"], configs: ["app"], secrets: ["token_v1"] },
    });
  });

  test("is told with a fix that can be carried out, and without a name that comes from a variable", () => {
    const hidden = (name: string): unknown => {
      const { root } = stackOf(file);
      const text = JSON.stringify(root).replace(`"text":"${name}"`, `"substituted":true,"text":"${name}"`);
      const stack = { ...stackOf(file), root: JSON.parse(text) as RenderedStack["root"] };
      return lacking(stack, emptySurvey({}), new Set(), new Set()).findings[2]?.problem;
    };
    expect(hidden("nothing")).toMatchObject({
      message: "The secret token_v1 is external, and the swarm has none of this name. [missing-secret]",
      hint: expect.stringContaining("docker secret create token_v1 FILE"),
    });
    expect(hidden("token_v1")).toMatchObject({
      message:
        "The secret token is external, and the swarm has none of the name that its variables give. [missing-secret]",
      hint: expect.stringContaining("docker secret create NAME FILE"),
    });
  });

  test("is nothing where all is there, or about to be made", () => {
    const nothing = { networks: [], configs: [], secrets: [] };
    expect(look(all)).toEqual({ told: [], names: nothing });
    expect(look({}, ["proxy", "app", "token_v1"])).toEqual({ told: [], names: nothing });
  });

  test("is a network that ends at the manager", () => {
    const networks = [{ Name: "proxy", Id: "x", Scope: "local" }];
    expect(look({ ...all, networks }).told).toEqual(["error network-scope 8"]);
    expect(look({ ...all, networks: [...networks, ...all.networks] }).told).toEqual([]);
  });

  test("is left to docker where it is to be passed over", () => {
    expect(look({}, [], ["missing-network", "missing-config", "missing-secret"]).told).toEqual([]);
    const networks = [{ Name: "proxy", Id: "x", Scope: "local" }];
    expect(look({ ...all, networks }, [], ["network-scope"]).told).toEqual([]);
  });
});

test("what is to be passed over neither stops nor warns", () => {
  const found = findings({
    ...held,
    wanted: { ...held.wanted, update: { ...START_FIRST, FailureAction: "continue" } },
  });
  const parts = (...ignored: FindingId[]) => {
    const { errors, warnings, passed } = judged(found, new Set(ignored));
    return [errors.length, warnings.length, passed.map(({ id }) => id)];
  };
  expect(parts()).toEqual([1, 1, []]);
  expect(parts("start-first-host-port")).toEqual([0, 1, ["start-first-host-port"]]);
  expect(parts("failure-action-continue", "port-in-use")).toEqual([1, 0, ["failure-action-continue"]]);
});

test("each kind of finding has its rows above, and its severity is the one that they have", () => {
  const more = {
    "missing-network": "error",
    "missing-config": "error",
    "missing-secret": "error",
    "network-scope": "error",
    "start-first-host-network": "warning",
    "network-differs": "warning",
    "volume-differs": "warning",
    "network-name-taken": "error",
    "mode-change": "error",
  };
  const seen = new Map<string, Set<string>>(
    Object.entries(more).map(([id, severity]) => [id, new Set([severity])]),
  );
  for (const { says } of ROWS) {
    const [severity = "", id = ""] = says.split(" ");
    seen.set(id, (seen.get(id) ?? new Set()).add(severity));
  }
  const severities = FINDINGS.map(({ id, severity }) => [id, severity]);
  const found = [...seen].map(([id, set]) => [id, [...set].toSorted().join(" or ")]);
  const elsewhere: readonly [string, string][] = [
    ["missing-volume-driver", "error or warning"], // Of one that is missing in global mode the row of a missing label speaks too.
    ["port-in-use", "error or warning"], // Where a service of the stack gives it up: below.
    ["healthcheck-program", "warning"], // healthcheck.test.ts
    ["image-missing", "error or warning"], // image/resolve.test.ts
  ];
  expect(new Map([...(found as [string, string][]), ...elsewhere])).toEqual(
    new Map(severities as [string, string][]),
  );
});

test("of 200 good services with 1,000 tasks on 100 nodes there is nothing to say", () => {
  const nodes = Array.from({ length: 100 }, (_, n) => node({ id: `n${n}` }));
  const numbers = Array.from({ length: 200 }, (_, n) => n);
  const named = (n: number, image: string): ServiceSpec => ({
    ...spec({
      image,
      ports: INGRESS.map((port) => ({ ...port, PublishedPort: 1000 + n })),
      update: START_FIRST,
      reserve: { MemoryBytes: 1 },
      mode: replicas(5),
    }),
    Name: `shop_s${n}`,
  });
  const live = numbers.map((n) => service({ id: `s${n}`, name: `shop_s${n}`, spec: named(n, "a:1") }));
  const tasks = numbers.flatMap((n) =>
    [0, 1, 2, 3, 4].map((slot) =>
      task({ id: `t${n}-${slot}`, serviceId: `s${n}`, nodeId: `n${(n + slot) % 100}` }),
    ),
  );
  const takenPorts = numbers.map((n) => ({
    service: `shop_s${n}`,
    stack: "shop",
    port: 1000 + n,
    protocol: "tcp",
    onHost: false,
  }));
  const plan = planDeployment({
    stack: "shop",
    wanted: numbers.map((n) => ({ spec: named(n, "a:2"), auth: undefined })),
    live,
    networkIds: new Map(),
    prune: true,
    needs: { networks: [], configs: [], secrets: [] },
  });
  const file = `services:\n${numbers.map((n) => `  s${n}: { image: a }\n`).join("")}`;
  expect(preflight(stackOf(file), plan, emptySurvey({ nodes, tasks, takenPorts, services: live }))).toEqual(
    [],
  );
});

test("a port that another service of the stack gives up in the same deployment is a warning", () => {
  const named = (name: string, ports: readonly ServiceSpec[]): ServiceSpec => ({
    ...spec({ ports }),
    Name: name,
  });
  const live = [service({ id: "w", name: "shop_web", spec: named("shop_web", INGRESS) })];
  const takenPorts = taken({ service: "shop_web", stack: "shop" }).takenPorts ?? [];
  const ofPort = (ofWeb: readonly ServiceSpec[]): string[] => {
    const plan = planDeployment({
      stack: "shop",
      wanted: [named("shop_web", ofWeb), named("shop_admin", INGRESS)].map((each) => ({
        spec: each,
        auth: undefined,
      })),
      live,
      networkIds: new Map(),
      prune: true,
      needs: { networks: [], configs: [], secrets: [] },
    });
    const found = preflight(stackOf(FILE), plan, emptySurvey({ nodes: [N1], services: live, takenPorts }));
    return found
      .filter(({ id }) => id === "port-in-use")
      .map(({ severity, problem }) => `${severity}: ${problem.message}`);
  };
  const elsewhere = [{ ...INGRESS[0], PublishedPort: 81 }];
  expect(ofPort(elsewhere)).toEqual([
    expect.stringMatching(
      /^warning: Service admin publishes port 80\/tcp, which the service web gives up in this very deployment/,
    ),
  ]);
  expect(ofPort(INGRESS)).toEqual([]); // Docker refuses a file in which two have it.
});

test("a node that a new leader has not heard of yet is no reason to stop", () => {
  const withOne = (state: string): Finding[] =>
    findings({
      wanted: { mode: replicas(2), placement: { MaxReplicas: 1 } },
      nodes: [N1, node({ id: "n2", state })],
    });
  expect(withOne("unknown")).toEqual([]);
  expect(withOne("down").map(({ id }) => id)).toEqual(["too-few-nodes"]);
});
