import { LEAN } from "../stacks/lean.ts";

/**
 * Rollouts that go wrong in different ways, and some that go right in unusual ones. Each is a stack file that somebody could have
 * written, deployed over another one. `scenarios.test.ts` plays them on a real swarm; docs/scenarios.md shows what came of it.
 */

export interface Scenario {
  readonly name: string;
  /** What runs before; undefined for a first deployment. */
  readonly before?: string;
  /** What is deployed. */
  readonly file: string;
  readonly inputs?: Readonly<Record<string, string>>;
  /** What happens on the swarm once the log says `when`: a command for docker on the manager, or for `script/sandbox`. */
  readonly during?: {
    readonly when: RegExp;
    readonly docker?: readonly string[];
    readonly sandbox?: readonly (readonly string[])[];
  };
  /** `deployed`, `unchanged`, or the reason of a failure. */
  readonly verdict: string;
  /** Said in the error, or, where all goes well, in the log. */
  readonly words: string;
  /** The version that each service runs in the end; nothing where it is gone, "" where no task of it runs. */
  readonly afterwards: Readonly<Record<string, string>>;
  /** One after the other with all that have it: something happens to nodes. */
  readonly accident?: true;
}

const IMAGE = "$REGISTRY_URL/$PROJECT_NAME";

/** A service, by the lines of its entry; on the manager, unless it says otherwise, so that accidents of the workers are not its own. */
function service(name: string, version: string, lines: string, deploy = ""): string {
  const placed = deploy.includes("placement:") ? deploy : `placement: { ${MANAGER} }, ${deploy}`;
  const entry = [
    `    image: ${IMAGE}:${version}`,
    ...lines
      .split("\n")
      .filter(Boolean)
      .map((line) => `    ${line}`),
  ];
  return `  ${name}:\n${entry.join("\n")}\n    deploy: { ${placed} }\n`;
}

const MANAGER = "constraints: [node.role == manager]";
const WORKERS = "placement: { constraints: [node.role == worker] }";
const N3 = "placement: { constraints: [node.hostname == n3] }";
const ONE_SECOND = "restart_policy: { delay: 1s }";
const CAREFUL = `update_config: { monitor: 2s }, ${ONE_SECOND}`;
const STOP_FIRST = "update_config: { order: stop-first, monitor: 2s }";
const START_FIRST = "update_config: { order: start-first, monitor: 2s }";
const HOST_PORT = (port: number): string => `ports: [{ target: 80, published: ${port}, mode: host }]`;
const CHECK = (test: string): string =>
  `healthcheck: { test: [CMD, /bin/busybox, '${test.replace(" ", "', '")}'], interval: 1s, timeout: 5s, retries: 2, start_period: 1s }`;
const RUN = (script: string): string => `entrypoint: [/bin/busybox, sh, -c, ${JSON.stringify(script)}]`;

/** One network for all that publish ports: Docker 28 gives networks that are made at once on one node the same addresses, and refuses them. */
export const NETWORK = "scenarios";
const stack = (...services: readonly string[]): string => {
  const publishes = services.some((text) => text.includes("published:"));
  const networks = publishes ? `networks: { default: { external: true, name: ${NETWORK} } }\n` : LEAN;
  return `${networks}services:\n${services.join("")}`;
};
const web = (version: string, lines = "", deploy = CAREFUL): string => service("web", version, lines, deploy);
const V1 = stack(web("v1"));
const fails = (how: string, deploy = CAREFUL): string =>
  stack(web("v2", `environment: { FAIL: ${how} }`, deploy));

export const WRONG: readonly Scenario[] = [
  {
    name: "The program crashes at its start",
    before: V1,
    file: fails("start"),
    verdict: "rollout",
    words: "Its last words: “FATAL: no database”. The program ended with an error of its own (exit code 3).",
    afterwards: { web: "v1" },
  },
  {
    name: "… with a health check, which it does not live to see",
    before: V1,
    file: stack(web("v2", `environment: { FAIL: start }\n${CHECK("true")}`)),
    verdict: "rollout",
    words: "The program ended with an error of its own (exit code 3).",
    afterwards: { web: "v1" },
  },
  {
    name: "… at the very first deployment: there is nothing to go back to",
    file: fails("start"),
    verdict: "rollout",
    words: "task: non-zero exit (3)",
    afterwards: {},
  },
  {
    name: "… with `failure_action: pause`, which leaves half an update",
    before: V1,
    file: fails("start", "replicas: 2, update_config: { failure_action: pause, monitor: 2s }"),
    verdict: "rollout",
    words: "task: non-zero exit (3)",
    afterwards: { web: "v1" },
  },
  {
    name: "… with `failure_action: continue`, which calls it completed",
    before: V1,
    file: fails("start", "update_config: { failure_action: continue, monitor: 1s }"),
    verdict: "rollout",
    words: "task: non-zero exit (3)",
    afterwards: { web: "v1" },
  },
  {
    name: "It crashes after three seconds, when Swarm has stopped looking",
    before: V1,
    file: fails("late", "update_config: { monitor: 1s }"),
    verdict: "rollout",
    words: "Its last words: “late FATAL”.",
    afterwards: { web: "v1" },
  },
  {
    name: "It ends with 0, though it should stay",
    before: V1,
    file: fails("quits"),
    verdict: "rollout",
    words: "The program ended by itself, and well, though this service is meant to stay.",
    afterwards: { web: "v1" },
  },
  {
    name: "Its health check fails, and it ends with 0 when told to",
    before: V1,
    file: stack(web("v2", CHECK("false"))),
    verdict: "rollout",
    words: "Its health check failed as often as `retries` allows, so its node ended it.",
    afterwards: { web: "v1" },
  },
  {
    name: "… with `on-failure: keep`: it goes on trying, beside the old task",
    before: V1,
    file: stack(web("v2", CHECK("false"), "update_config: { failure_action: pause, order: start-first }")),
    inputs: { "on-failure": "keep" },
    verdict: "rollout",
    words: "Its health check failed as often as `retries` allows, so its node ended it.",
    afterwards: { web: "v1" },
  },
  {
    name: "Its health check fails, and it has to be killed",
    before: V1,
    file: stack(web("v2", `environment: { FAIL: deaf }\nstop_grace_period: 1s\n${CHECK("cat /ready")}`)),
    verdict: "rollout",
    words: "unhealthy container",
    afterwards: { web: "v1" },
  },
  {
    name: "Its health check has not passed when time is over",
    before: V1,
    file: stack(
      web("v2", "healthcheck: { test: [CMD, /bin/busybox, 'false'], interval: 1s, start_period: 300s }"),
    ),
    inputs: { timeout: "10s", "stable-for": "2s" },
    verdict: "rollout",
    words: "It runs, and its health check has not passed yet.",
    afterwards: { web: "v1" },
  },
  {
    name: "It needs more memory than its limit",
    before: V1,
    file: fails("hungry", `resources: { limits: { memory: 16M } }, ${CAREFUL}`),
    verdict: "rollout",
    words: "The kernel ended it for want of memory.",
    afterwards: { web: "v1" },
  },
  {
    name: "The image has no such program",
    before: V1,
    file: stack(web("v2", "entrypoint: [/bin/nothing]")),
    verdict: "rollout",
    words: "The image has no such program.",
    afterwards: { web: "v1" },
  },
  {
    name: "A script calls a command that is not there",
    before: V1,
    file: stack(web("v2", RUN("no-such-command"))),
    verdict: "rollout",
    words: "A command was not found.",
    afterwards: { web: "v1" },
  },
  {
    name: "Its program is not one for this machine",
    before: V1,
    file: `${stack(
      web("v2", "entrypoint: [/run.sh]\nconfigs: [{ source: run, target: /run.sh, mode: 0755 }]"),
    )}configs:\n  run: { content: "hello" }\n`,
    verdict: "rollout",
    words: "Its program is made for another kind of machine, or is a script without a `#!` line.",
    afterwards: { web: "v1" },
  },
  {
    name: "A folder that it mounts is not on the node",
    before: V1,
    file: stack(web("v2", "volumes: ['/no/such/folder:/data']")),
    verdict: "rollout",
    words: "bind source path does not exist: /no/such/folder",
    afterwards: { web: "v1" },
  },
  {
    name: "… at the first deployment, where Swarm would try for ever",
    file: stack(web("v2", "volumes: ['/no/such/folder:/data']")),
    verdict: "rollout",
    words: "A folder that it mounts does not exist on its node",
    afterwards: {},
  },
  {
    name: "The image is not in the registry",
    before: V1,
    file: stack(web("v9")),
    verdict: "preflight",
    words: "The manager can't read the image",
    afterwards: { web: "v1" },
  },
  {
    name: "No node fulfils the constraints",
    before: V1,
    file: stack(web("v2", "", "placement: { constraints: [node.labels.planet == mars] }")),
    verdict: "rollout",
    inputs: { "ignore-findings": "no-eligible-node" },
    words: "No node fulfils its `placement.constraints`.",
    afterwards: { web: "v1" },
  },
  {
    name: "It reserves more memory than any node has left",
    before: V1,
    file: stack(web("v2", "", "resources: { reservations: { memory: 900G } }")),
    verdict: "rollout",
    inputs: { "ignore-findings": "reservation-too-large" },
    words: "no suitable node (insufficient resources on",
    afterwards: { web: "v1" },
  },
  {
    name: "Its host port is held by the old task, which start-first keeps",
    before: stack(web("v1", HOST_PORT(8091), STOP_FIRST)),
    file: stack(web("v2", HOST_PORT(8091), START_FIRST)),
    verdict: "rollout",
    inputs: { "ignore-findings": "start-first-host-port" },
    words: "A port published with `mode: host` is free only once the old task has gone.",
    afterwards: { web: "v1" },
  },
  {
    name: "`max_replicas_per_node` leaves no room beside the old task",
    before: stack(web("v1", "", `placement: { max_replicas_per_node: 1, ${MANAGER} }, ${STOP_FIRST}`)),
    file: stack(web("v2", "", `placement: { max_replicas_per_node: 1, ${MANAGER} }, ${START_FIRST}`)),
    verdict: "rollout",
    inputs: { "ignore-findings": "start-first-no-room" },
    words: "Every node has as many tasks of it as `max_replicas_per_node` allows.",
    afterwards: { web: "v1" },
  },
  {
    name: "More replicas than nodes with its host port",
    file: stack(web("v2", HOST_PORT(8093), "replicas: 2")),
    verdict: "rollout",
    inputs: { "ignore-findings": "too-few-nodes" },
    words: "host-mode port already in use",
    afterwards: {},
  },
  {
    name: "A job fails",
    before: V1,
    file: stack(
      web("v2"),
      service(
        "migrate",
        "v2",
        RUN("echo no table >&2; exit 1"),
        "mode: replicated-job, restart_policy: { condition: none }",
      ),
    ),
    verdict: "rollout",
    words: "Service migrate failed",
    afterwards: { web: "v1" },
  },
  {
    name: "A job fails as often as it may be tried",
    before: V1,
    file: stack(
      web("v2"),
      service(
        "migrate",
        "v2",
        RUN("exit 1"),
        "mode: replicated-job, restart_policy: { condition: on-failure, delay: 1s, max_attempts: 2 }",
      ),
    ),
    verdict: "rollout",
    words: "Service migrate failed",
    afterwards: { web: "v1" },
  },
  {
    name: "A job on every node is done on one, and fails on another one later",
    file: stack(
      service(
        "tidy",
        "v2",
        `environment: { NODE: "{{.Node.Hostname}}" }\n${RUN("[ $$NODE = n2 ] && exit 0; /bin/busybox sleep 6; exit 1")}`,
        `mode: global-job, restart_policy: { condition: none }, ${WORKERS}`,
      ),
    ),
    verdict: "rollout",
    words: "Service tidy failed",
    afterwards: {},
    accident: true,
  },
  {
    name: "A service that runs once fails",
    before: V1,
    file: stack(web("v2"), service("once", "v2", RUN("exit 7"), "restart_policy: { condition: none }")),
    verdict: "rollout",
    words: "The program ended with an error of its own (exit code 7).",
    afterwards: { web: "v1" },
  },
  {
    name: "One of two services fails",
    before: stack(web("v1"), service("worker", "v1", "", CAREFUL)),
    file: stack(web("v2"), service("worker", "v2", "environment: { FAIL: start }", CAREFUL)),
    verdict: "rollout",
    words: "Service worker failed",
    afterwards: { web: "v1", worker: "v1" },
  },
  {
    name: "A global service crashes",
    before: stack(web("v1", "", `mode: global, ${CAREFUL}`)),
    file: fails("exits 139", `mode: global, ${CAREFUL}`),
    verdict: "rollout",
    words: "The program crashed (SIGSEGV)",
    afterwards: { web: "v1" },
  },
  {
    name: "Somebody scales it meanwhile",
    before: V1,
    file: stack(web("v2")),
    during: { when: /web: ✓/, docker: ["service", "scale", "--detach", "STACK_web=2"] },
    verdict: "rollout",
    words: "its spec is not the one that was sent: somebody else changed it",
    afterwards: { web: "v2" },
  },
  {
    name: "Somebody removes it meanwhile",
    before: V1,
    file: stack(web("v2")),
    during: { when: /web: ✓/, docker: ["service", "rm", "STACK_web"] },
    verdict: "rollout",
    words: "the service was removed by somebody else",
    afterwards: {},
  },
];

export const RIGHT: readonly Scenario[] = [
  {
    name: "It is slow to start, and its health check has patience",
    before: V1,
    file: stack(web("v2", `environment: { FAIL: slow }\n${CHECK("cat /ready").replace("1s }", "20s }")}`)),
    verdict: "deployed",
    words: "web: ✓ 1/1 running",
    afterwards: { web: "v2" },
  },
  {
    name: "No replicas are wanted",
    before: V1,
    file: stack(web("v2", "", "replicas: 0")),
    verdict: "deployed",
    words: "web: ✓ 0/0 running",
    afterwards: { web: "" },
  },
  {
    name: "A global service runs on every node that it may",
    before: stack(web("v1", "", `mode: global, ${CAREFUL}`)),
    file: stack(web("v2", "", `mode: global, ${CAREFUL}`)),
    verdict: "deployed",
    words: "web: ✓ 1/1 running",
    afterwards: { web: "v2" },
  },
  {
    name: "A job, and a service that runs once, are done",
    before: V1,
    file: stack(
      web("v2"),
      service("migrate", "v2", RUN("echo done"), "mode: replicated-job, restart_policy: { condition: none }"),
      service("once", "v2", RUN("echo done"), "restart_policy: { condition: on-failure }"),
    ),
    verdict: "deployed",
    words: "migrate: ✓ 1/1 complete",
    afterwards: { web: "v2", migrate: "", once: "" },
  },
  {
    name: "A service that runs once runs once more in an update",
    before: stack(web("v1"), service("once", "v1", RUN("echo done"), "restart_policy: { condition: none }")),
    file: stack(web("v2"), service("once", "v2", RUN("echo done"), "restart_policy: { condition: none }")),
    verdict: "deployed",
    words: "once: ✓ 1/1",
    afterwards: { web: "v2", once: "" },
  },
  {
    name: "A job on every node is done",
    file: stack(
      service("tidy", "v2", RUN("echo done"), "mode: global-job, restart_policy: { condition: none }"),
    ),
    verdict: "deployed",
    words: "tidy: ✓ 1/1 complete",
    afterwards: { tidy: "" },
  },
  {
    name: "A job succeeds at its second try, which it may have",
    file: `${stack(
      service(
        "migrate",
        "v2",
        `${RUN("/bin/busybox mkdir /tries/first && exit 1; exit 0")}\nvolumes: ["tries:/tries"]`,
        "mode: replicated-job, restart_policy: { condition: on-failure, delay: 1s, max_attempts: 3 }",
      ),
    )}volumes:\n  tries: {}\n`,
    verdict: "deployed",
    words: "migrate: ✓ 1/1 complete",
    afterwards: { migrate: "" },
  },
  {
    name: "It has a host port, and stop-first",
    before: stack(web("v1", HOST_PORT(8094), STOP_FIRST)),
    file: stack(web("v2", HOST_PORT(8094), STOP_FIRST)),
    verdict: "deployed",
    words: "web: ✓ 1/1 running",
    afterwards: { web: "v2" },
  },
  {
    name: "`max_replicas_per_node`, and stop-first",
    before: stack(web("v1", "", `placement: { max_replicas_per_node: 1, ${MANAGER} }, ${STOP_FIRST}`)),
    file: stack(web("v2", "", `placement: { max_replicas_per_node: 1, ${MANAGER} }, ${STOP_FIRST}`)),
    verdict: "deployed",
    words: "web: ✓ 1/1 running",
    afterwards: { web: "v2" },
  },
  {
    name: "The old task does not obey, and is killed",
    before: stack(web("v1", "environment: { FAIL: deaf }\nstop_grace_period: 3s")),
    file: stack(web("v2")),
    verdict: "deployed",
    words: "web: ✓ 1/1 running",
    afterwards: { web: "v2" },
  },
  {
    name: "The number of replicas alone changes",
    before: stack(web("v2")),
    file: stack(web("v2", "", `replicas: 3, ${CAREFUL}`)),
    verdict: "deployed",
    words: "web: ✓ 3/3 running",
    afterwards: { web: "v2" },
  },
  {
    name: "A label alone changes: no task is replaced",
    before: stack(web("v2")),
    file: stack(web("v2", "", `labels: { team: shop }, ${CAREFUL}`)),
    verdict: "deployed",
    words: "web: ✓ 1/1 running",
    afterwards: { web: "v2" },
  },
  {
    name: "Nothing changes",
    before: stack(web("v2")),
    file: stack(web("v2")),
    verdict: "unchanged",
    words: "web: ✓ 1/1 running",
    afterwards: { web: "v2" },
  },
  {
    name: "A node is drained while we watch: its task moves",
    before: stack(web("v1", "", `replicas: 2, ${WORKERS}, ${CAREFUL}`)),
    file: stack(web("v2", "", `replicas: 2, ${WORKERS}, ${CAREFUL}`)),
    inputs: { "stable-for": "6s" },
    during: { when: /web: ✓/, docker: ["node", "update", "--availability", "drain", "n2"] },
    verdict: "deployed",
    words: "web: ✓ 2/2 running",
    afterwards: { web: "v2" },
    accident: true,
  },
  {
    name: "A node's engine is killed and starts again while we watch; so ends what else runs there",
    before: stack(web("v1", "", `${N3}, ${CAREFUL}`), service("agent", "v1", "", `${N3}, ${CAREFUL}`)),
    file: stack(web("v2", "", `${N3}, ${CAREFUL}`), service("agent", "v1", "", `${N3}, ${CAREFUL}`)),
    inputs: { "stable-for": "8s" },
    during: {
      when: /web: ✓/,
      sandbox: [
        ["kill-dockerd", "n3"],
        ["start-dockerd", "n3"],
      ],
    },
    verdict: "deployed",
    words: "web: ✓ 1/1 running",
    afterwards: { web: "v2", agent: "v1" },
    accident: true,
  },
  {
    name: "A node loses its power while we watch: its tasks start elsewhere",
    before: stack(web("v1", "", `replicas: 2, ${WORKERS}, ${CAREFUL}`)),
    file: stack(web("v2", "", `replicas: 2, ${WORKERS}, ${CAREFUL}`)),
    inputs: { "stable-for": "20s" },
    during: { when: /web: ✓/, sandbox: [["power-off", "n3"]] },
    verdict: "deployed",
    words: "web: ✓ 2/2 running",
    afterwards: { web: "v2" },
    accident: true,
  },
];

/** Its row in docs/scenarios.md, without the last cell, which is how long it took. */
export function rowOf(scenario: Scenario): string {
  const { name, verdict, words, afterwards } = scenario;
  const good = verdict === "deployed" || verdict === "unchanged";
  const services = Object.entries(afterwards).map(([each, version]) => `${each}: ${version || "no task"}`);
  const cells = [
    name,
    good ? `✅ ${verdict}` : `❌ failed (${verdict})`,
    words,
    services.join(", ") || "nothing",
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}
