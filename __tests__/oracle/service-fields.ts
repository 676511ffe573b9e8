import { type Random } from "./random.ts";
import { BARE, type Kind, type Variables, sample } from "./values.ts";
import { type Tree, type TreeMap, alias, raw } from "./yaml-text.ts";

/** What the parts of one file are made from. */
export interface Making {
  readonly random: Random;
  readonly variables: Variables;
  /** Of the file format: 13 for "3.13" and for a file that does not say. */
  readonly minor: number;
  readonly services: readonly string[];
  readonly networks: readonly string[];
  readonly volumes: readonly string[];
  readonly configs: readonly string[];
  readonly secrets: readonly string[];
  /** Paths of env files beside the stack file. */
  readonly envFiles: readonly string[];
  /** Anchors that stand at the top of this file. */
  readonly anchors: ReadonlySet<Anchor>;
  /** Whether services have `x-` keys; docker refuses some that several files have for one service. */
  readonly extended: boolean;
}

export type Anchor = "env" | "labels" | "logging" | "deploy" | "update" | "healthcheck" | "service";

/** A service with about `density` of all that one can have. */
export function service(making: Making, density: number): TreeMap {
  const { random, minor, anchors } = making;
  const often = <T extends Tree>(make: () => T): T | undefined => random.maybe(density, make);
  const seldom = <T extends Tree>(make: () => T): T | undefined => random.maybe(density / 4, make);
  const inherits = anchors.has("service") && random.chance(0.4);
  const word = (): Tree => typed("word", making);
  return shuffled(random, {
    "<<": inherits ? alias("service") : undefined,
    image: random.maybe(0.95, () => image(making)),
    command: often(() => command(making)),
    entrypoint: seldom(() => command(making)),
    environment: often(() => environment(making)),
    env_file: making.envFiles.length === 0 ? undefined : often(() => envFile(making)),
    labels: often(() => labels(making)),
    ports: often(() => ports(making)),
    volumes: often(() => mounts(making)),
    networks: often(() => attachments(making)),
    configs: often(() => grants(making, making.configs)),
    secrets: often(() => grants(making, making.secrets)),
    healthcheck: often(() => healthcheck(making)),
    deploy: often(() => deploy(making)),
    logging: often(() => (anchors.has("logging") && random.chance(0.4) ? alias("logging") : logging(making))),
    ulimits: often(() => ulimits(making)),
    extra_hosts: often(() => extraHosts(making)),
    sysctls: seldom(() => sysctls(making)),
    dns: seldom(() => oneOrSome(random, ["10.0.0.53", "1.1.1.1", "2606:4700:4700::1111"])),
    dns_search: seldom(() => oneOrSome(random, ["example.com", "internal", "."])),
    tmpfs: seldom(() => oneOrSome(random, ["/run", "/tmp:size=64m", "/var/cache"])),
    cap_add: seldom(() => random.some(["NET_ADMIN", "SYS_TIME", "ALL"])),
    cap_drop: seldom(() => random.some(["ALL", "CHOWN", "MKNOD"])),
    depends_on: seldom(() => random.some(making.services)),
    expose: seldom(() => random.some<Tree>([80, "8080", "9000-9005", raw("0443")])),
    devices: seldom(() => random.some(["/dev/fuse", "/dev/ttyUSB0:/dev/ttyUSB0:rwm"])),
    security_opt: seldom(() => random.some(["no-new-privileges:true", "label=type:x"])),
    links: seldom(() => random.some(["db", "cache:redis"])),
    external_links: seldom(() => random.some(["legacy_db:db"])),
    hostname: seldom(() => random.pick<Tree>(["{{.Service.Name}}-{{.Task.Slot}}", word()])),
    domainname: seldom(word),
    user: seldom(() => random.pick<Tree>(["1000:1000", "www-data", "0", word()])),
    working_dir: seldom(() => random.pick(["/app", "/srv/my app", "/${TAG:-x}"])),
    stop_signal: seldom(() => random.pick(["SIGTERM", "SIGQUIT", "9"])),
    stop_grace_period: seldom(() => typed("duration", making)),
    init: minor >= 7 ? seldom(() => random.chance(0.5)) : undefined,
    tty: seldom(() => flag(making)),
    stdin_open: seldom(() => flag(making)),
    read_only: seldom(() => flag(making)),
    privileged: seldom(() => flag(making)),
    oom_score_adj: minor >= 13 ? seldom(() => whole(making)) : undefined,
    credential_spec: seldom(() => ({ file: "spec.json" })),
    isolation: minor >= 5 ? seldom(() => "default") : undefined,
    ipc: seldom(() => "host"),
    pid: seldom(() => random.pick<Tree>(["host", null])),
    mac_address: seldom(() => "02:42:ac:11:65:43"),
    network_mode: seldom(() => random.pick(["host", "bridge", "service:db"])),
    restart: seldom(() => random.pick(["always", "no", "on-failure:3", "unless-stopped"])),
    container_name: seldom(word),
    cgroup_parent: seldom(() => "m-executor-abcd"),
    cgroupns_mode: minor >= 9 ? seldom(() => "private") : undefined,
    userns_mode: seldom(() => "host"),
    shm_size: seldom(() => random.pick(["64M", "1gb"])),
    build: seldom(() => build(making)),
    "x-note": minor >= 7 && making.extended ? seldom(() => extension(making)) : undefined,
    "x-other": minor >= 7 && making.extended ? seldom(() => extension(making)) : undefined,
  });
}

/** The same entries in another order, but for a merge key, which people write first. */
function shuffled(random: Random, map: TreeMap): TreeMap {
  const { "<<": merge, ...rest } = map;
  const entries = random.chance(0.5) ? Object.entries(rest) : random.some(Object.entries(rest), Infinity);
  return { ...(merge === undefined ? {} : { "<<": merge }), ...Object.fromEntries(entries) };
}

function typed(kind: Kind, { random, variables }: Making): string {
  return random.chance(0.5) ? sample(kind, random) : variables.typed(kind);
}

/** In a field that is a number: a number, or a template that docker casts. */
export function whole(making: Making, kind: "whole" | "port" = "whole"): Tree {
  const { random, variables } = making;
  if (random.chance(0.5)) return variables.typed(kind);
  if (kind === "port") return random.pick([80, 443, 5432, 65535]);
  return random.pick<Tree>([
    0,
    1,
    2,
    5,
    12,
    raw("012"),
    raw("0x1F"),
    raw("1_000"),
    raw("!!int 3"),
    raw("+3"),
  ]);
}

export function flag(making: Making): Tree {
  const { random, variables } = making;
  return random.chance(0.5)
    ? variables.typed("switch")
    : random.pick([true, false, raw("True"), raw("FALSE")]);
}

function ratio({ random, variables }: Making): Tree {
  return random.chance(0.5)
    ? variables.typed("ratio")
    : random.pick<Tree>([0, 0.2, 1, raw(".5"), raw("1e-1"), raw("0.30")]);
}

/** What a label, a variable and the like can be: text, number or nothing. */
export function value({ random, variables }: Making): Tree {
  if (random.chance(0.65)) return variables.text();
  return random.pick<Tree>([
    raw(random.pick(BARE)),
    raw(random.pick(BARE)),
    random.whole(0, 99_999),
    null,
    "",
  ]);
}

function oneOrSome(random: Random, choices: readonly string[]): Tree {
  return random.chance(0.4) ? random.pick(choices) : random.some(choices);
}

function image({ random, variables }: Making): string {
  const [tag = "TAG"] = variables.names("word");
  return random.pick([
    "nginx:1.27",
    "registry.example.com:5000/team/app:2024.1",
    `r.io/app:$${tag}`,
    `\${${variables.unset[0] ?? "R"}:-r.io}/app:\${${tag}}`,
    `app@sha256:${"0a".repeat(32)}`,
    `\${${tag}:?}/x`,
  ]);
}

function command(making: Making): Tree {
  const { random, variables } = making;
  if (random.chance(0.5)) return Array.from({ length: random.whole(1, 4) }, () => variables.text());
  const [word = "X"] = variables.names("word");
  return random.pick<Tree>([
    `nginx -g 'daemon off;'`,
    `sh -c "echo $$HOME && exec \\"$$@\\""`,
    `run --tag=$${word} --also "\${${word}} b"`,
    'a\\ b \'c "d\' "" # the rest',
    "  spaces   between\tand\nlines ",
    "--providers.docker.swarmMode=true",
    [],
  ]);
}

/** `KEY=value` lines or a mapping, as `list_or_dict` allows. */
function listOrMap(making: Making, keys: readonly string[], anchor?: Anchor): Tree {
  const { random, anchors } = making;
  const chosen = random.some(keys, 1, 6);
  if (random.chance(0.45)) {
    // A line is a value, so docker substitutes in all of it.
    const lines = chosen
      .map((key) => key.replaceAll("$", "$$$$"))
      .map((key) => random.pick([key, `${key}=`, `${key}=${text(making)}`, `${key}=${text(making)}`]));
    return [...new Set(lines)];
  }
  if (anchor !== undefined && anchors.has(anchor) && random.chance(0.5)) {
    const merge = random.chance(0.7) ? alias(anchor) : [alias(anchor), alias(anchor)];
    return { "<<": merge, ...Object.fromEntries(chosen.slice(0, 3).map((key) => [key, value(making)])) };
  }
  return Object.fromEntries(chosen.map((key) => [key, value(making)]));
}

function text({ variables }: Making): string {
  return variables.text();
}

const ENVIRONMENT = [
  "APP_ENV",
  "DATABASE_URL",
  "lower",
  "A",
  "MiXed",
  "_X",
  "WITH.DOT",
  "WITH-DASH",
  "日本",
  "NO_PROXY",
];

export function environment(making: Making): Tree {
  const { variables, random } = making;
  // Names of variables too: a bare one takes its value from them.
  const own = [...random.some([...variables.values.keys()], 1, 3), ...variables.unset.slice(0, 1)];
  return listOrMap(making, [...ENVIRONMENT, ...own], "env");
}

const LABELS = [
  "traefik.enable",
  "traefik.http.routers.web.rule",
  "com.example/a_b",
  "a label",
  "a:b",
  "$NOT_A_VARIABLE",
  "${ALSO_NOT",
  "UPPER",
  "1",
  "on",
  "ünïcode",
];

export function labels(making: Making): Tree {
  const { random, anchors } = making;
  if (anchors.has("labels") && random.chance(0.2)) return alias("labels");
  return listOrMap(making, LABELS, "labels");
}

function envFile({ random, envFiles, variables }: Making): Tree {
  const [missing = "X"] = variables.unset;
  const path = (): string => {
    const file = random.pick(envFiles);
    return random.pick([file, `./${file}`, file.replace(/^app/, `\${${missing}:-app}`)]);
  };
  return random.chance(0.5) ? path() : [...new Set([path(), path()])];
}

function ports(making: Making): Tree {
  const { random, variables } = making;
  const [port = "PORT"] = variables.names("port");
  const long = (): Tree => ({
    target: whole(making, "port"),
    published: random.maybe(0.8, () => whole(making, "port")),
    protocol: random.maybe(0.5, () => random.pick(["tcp", "udp", "sctp"])),
    mode: random.maybe(0.5, () => random.pick(["host", "ingress"])),
  });
  const short = random.some<Tree>(
    [
      "80:80",
      "53:53/udp",
      "53:53/tcp",
      "8080",
      "3000-3002:3000-3002",
      "6000-6001",
      "127.0.0.1:8001:8001",
      "9090:9090/sctp",
      "2222:22",
      raw("22:22"),
      raw("2223:22"),
      raw("1:30"),
      8443,
      raw("0777"),
      `$${port}:80`,
      `\${${port}}:\${${port}}`,
      "${UNSET_PORT:-18080}:8080/tcp",
    ],
    0,
    4,
  );
  return [...short, ...Array.from({ length: random.pick([0, 0, 1, 2]) }, long)];
}

function mounts(making: Making): Tree {
  const { random, volumes, variables } = making;
  const name = random.pick(volumes);
  const [word = "X"] = variables.names("word");
  const [missing = "X"] = variables.unset;
  return random.some<Tree>(
    [
      `${name}:/data`,
      `${name}:/var/lib/data:ro`,
      `${name}:/nocopy:nocopy`,
      "/anonymous",
      "/etc/localtime:/etc/localtime:ro",
      "./conf:/conf:rslave,ro",
      "../shared:/shared",
      "~/home:/home",
      `./$${word}:/word`,
      `\${${missing}:-/srv}/x:/srv`,
      `${random.pick(volumes)}:/with space:rw`,
      { type: "volume", source: name, target: "/long", read_only: flag(making) },
      { type: "volume", target: "/long-anonymous", volume: { nocopy: flag(making) } },
      {
        type: "bind",
        source: "./bind",
        target: "/bind",
        bind: { propagation: "rprivate" },
        consistency: "cached",
      },
      { type: "bind", source: `/\${${word}}`, target: "/bind-word", read_only: true },
      making.minor >= 6
        ? {
            type: "tmpfs",
            target: "/scratch",
            tmpfs: { size: random.pick<Tree>([1048576, raw("0x100000"), 0]) },
          }
        : { type: "tmpfs", target: "/scratch" },
      { type: "npipe", source: "\\\\.\\pipe\\docker_engine", target: "\\\\.\\pipe\\docker_engine" },
      { type: "cluster", source: "csi", target: "/csi" },
    ],
    0,
    5,
  );
}

function attachments(making: Making): Tree {
  const { random, networks, minor } = making;
  const chosen = random.some(networks, 1, 3);
  if (random.chance(0.5)) return chosen;
  const one = (): Tree => ({
    aliases: random.maybe(0.7, () => random.some(["www", "api", "db-1", "{{.Task.Slot}}"])),
    ipv4_address: random.maybe(0.3, () => "172.16.238.10"),
    ipv6_address: random.maybe(0.2, () => "2001:db8::10"),
    driver_opts:
      minor >= 13
        ? random.maybe(0.2, () => ({ "com.docker.network.endpoint.ifname": "eth9", mtu: 1450 }))
        : undefined,
  });
  return Object.fromEntries(chosen.map((name) => [name, random.chance(0.4) ? null : one()]));
}

/** Configs and secrets of a service. */
function grants(making: Making, names: readonly string[]): Tree {
  const { random, variables } = making;
  return random.some(names, 1, 3).map((name) =>
    random.chance(0.4)
      ? name
      : {
          source: name,
          target: random.maybe(0.7, () =>
            random.pick([`/etc/${name}`, "rel/ative", variables.typed("word")]),
          ),
          uid: random.maybe(0.3, () => random.pick(["103", "0"])),
          gid: random.maybe(0.3, () => "103"),
          mode: random.maybe(0.6, () =>
            random.pick<Tree>([raw("0440"), raw("0o444"), raw("288"), 256, variables.typed("whole")]),
          ),
        },
  );
}

export function healthcheck(making: Making): Tree {
  const { random, variables, minor, anchors } = making;
  if (anchors.has("healthcheck") && random.chance(0.3)) return alias("healthcheck");
  const duration = (): Tree => typed("duration", making);
  return {
    test: random.maybe(0.8, () =>
      random.pick<Tree>([
        "curl -f http://localhost/$$HOSTNAME || exit 1",
        ["CMD", "pg_isready", "-U", "$$POSTGRES_USER"],
        ["CMD-SHELL", variables.text()],
        ["NONE"],
      ]),
    ),
    interval: random.maybe(0.6, duration),
    timeout: random.maybe(0.5, duration),
    start_period: random.maybe(0.4, duration),
    start_interval: minor >= 12 ? random.maybe(0.2, duration) : undefined,
    retries: random.maybe(0.5, () => whole(making)),
    disable: random.maybe(0.15, () => flag(making)),
  };
}

export function logging(making: Making): Tree {
  const { random, variables } = making;
  return {
    driver: random.maybe(0.8, () => random.pick(["json-file", "syslog", "gelf", variables.typed("word")])),
    options: random.maybe(0.8, () => ({
      "max-size": random.maybe(0.7, () => typed("size", making)),
      "max-file": random.maybe(0.7, () => random.pick<Tree>(["3", 3, raw("03")])),
      tag: random.maybe(0.5, () => value(making)),
    })),
  };
}

function ulimits(making: Making): Tree {
  const { random } = making;
  const pair = (): Tree => ({ soft: whole(making), hard: whole(making) });
  return {
    nofile: random.maybe(0.6, () => random.pick([pair, () => whole(making)])()),
    nproc: random.maybe(0.5, () => random.pick([pair, () => whole(making)])()),
    core: random.maybe(0.3, () => random.pick<Tree>([-1, 0])),
  };
}

function extraHosts({ random, variables }: Making): Tree {
  const [word = "X"] = variables.names("word");
  if (random.chance(0.4)) {
    return {
      "other.example": "10.0.0.9",
      v6: random.maybe(0.5, () => random.pick(["::1", "[2001:db8::1]"])),
      again: random.maybe(0.5, () => `\${${word}}`),
    };
  }
  return random.some(
    ["other.example:10.0.0.9", "v6:::1", "bracketed=[::1]", "equals=10.0.0.8", `$${word}:10.0.0.7`],
    1,
    3,
  );
}

function sysctls(making: Making): Tree {
  const { random } = making;
  if (random.chance(0.5))
    return random.some(["net.core.somaxconn=1024", "net.ipv4.tcp_syncookies=0", "kernel.x="]);
  return {
    "net.core.somaxconn": value(making),
    "net.ipv4.tcp_syncookies": random.pick<Tree>([0, "1", null]),
  };
}

export function deploy(making: Making): Tree {
  const { random, minor, anchors } = making;
  const inherits = anchors.has("deploy") && random.chance(0.4);
  const update = (): Tree =>
    anchors.has("update") && random.chance(0.3) ? alias("update") : updateConfig(making);
  return {
    "<<": inherits ? alias("deploy") : undefined,
    mode: random.maybe(0.3, () => random.pick(["replicated", "global", "replicated-job", "global-job"])),
    replicas: random.maybe(0.6, () => whole(making)),
    endpoint_mode: random.maybe(0.2, () => random.pick(["vip", "dnsrr"])),
    labels: random.maybe(0.4, () => labels(making)),
    update_config: random.maybe(0.5, update),
    rollback_config: minor >= 7 ? random.maybe(0.3, update) : undefined,
    resources: random.maybe(0.5, () => resources(making)),
    restart_policy: random.maybe(0.4, () => ({
      condition: random.maybe(0.8, () => random.pick(["any", "on-failure", "none"])),
      delay: random.maybe(0.6, () => typed("duration", making)),
      max_attempts: random.maybe(0.6, () => whole(making)),
      window: random.maybe(0.4, () => typed("duration", making)),
    })),
    placement: random.maybe(0.4, () => ({
      constraints: random.maybe(0.8, () =>
        random.some(
          [
            "node.role == manager",
            "node.labels.zone==a",
            "node.hostname != {{x}}",
            "node.platform.os==linux",
          ],
          0,
          3,
        ),
      ),
      preferences: random.maybe(0.4, () =>
        random.some([{ spread: "node.labels.zone" }, { spread: "node.labels.rack" }], 0),
      ),
      max_replicas_per_node: minor >= 8 ? random.maybe(0.4, () => whole(making)) : undefined,
    })),
  };
}

export function updateConfig(making: Making): Tree {
  const { random } = making;
  return {
    parallelism: random.maybe(0.6, () => whole(making)),
    delay: random.maybe(0.6, () => typed("duration", making)),
    failure_action: random.maybe(0.5, () => random.pick(["rollback", "pause", "continue"])),
    monitor: random.maybe(0.4, () => typed("duration", making)),
    max_failure_ratio: random.maybe(0.5, () => ratio(making)),
    order: random.maybe(0.6, () => random.pick(["start-first", "stop-first"])),
  };
}

function resources(making: Making): Tree {
  const { random, minor } = making;
  const cpus = (): Tree => random.pick(["0.5", "2", "${NO_CPUS:-1.50}"]);
  return {
    limits: random.maybe(0.8, () => ({
      cpus: random.maybe(0.6, cpus),
      memory: random.maybe(0.6, () => typed("size", making)),
      pids: minor >= 9 ? random.maybe(0.3, () => random.whole(1, 500)) : undefined,
    })),
    reservations: random.maybe(0.5, () => ({
      cpus: random.maybe(0.6, cpus),
      memory: random.maybe(0.6, () => typed("size", making)),
      generic_resources:
        minor >= 5
          ? random.maybe(0.2, () => [{ discrete_resource_spec: { kind: "gpu", value: random.whole(1, 4) } }])
          : undefined,
    })),
  };
}

function build({ random }: Making): Tree {
  return random.pick<Tree>([".", { context: "./app", dockerfile: "Dockerfile.prod", args: { A: "$$b" } }]);
}

/** Anything at all, as `x-` keys allow. */
export function extension(making: Making, depth = 0): Tree {
  const { random } = making;
  if (depth > 2 || random.chance(0.4)) return value(making);
  const deeper = (): Tree => extension(making, depth + 1);
  if (random.chance(0.4)) return Array.from({ length: random.whole(0, 3) }, deeper);
  return Object.fromEntries(
    random.some(["a", "b c", "x-y", "$KEY", "0"], 0, 3).map((key) => [key, deeper()]),
  );
}
