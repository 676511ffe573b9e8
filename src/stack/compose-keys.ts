import { type Place, type Problem } from "../errors.ts";
import { nearest } from "./interpolate.ts";
import { hostAddress } from "./ports.ts";
import { type Findings, type Scope } from "./template.ts";
import {
  type Entry,
  type Mapping,
  type Node,
  ensureMapping,
  entriesOf,
  get,
  isNull,
  ours,
  remove,
  set,
  textOf,
} from "./tree.ts";

/**
 * What becomes of a key that Compose knows and Swarm does not: translated to what means the same; dropped, with a warning at its
 * place, where what runs is no other without it, or where docker drops it in silence; refused, where leaving it out could do harm.
 */
type Fate = "translated" | "dropped" | "refused";

/** One row of the table in the documentation. */
interface ComposeKey {
  /** Below the root; `*` stands for any key, `[]` for any item of a list. */
  readonly path: string;
  readonly fate: Fate;
  /** For a translation: what it becomes. For all else: why, as a sentence, with what to write instead. */
  readonly why: string;
  /** Does the translation. */
  readonly translate?: Translate;
}

type Translate = (service: Mapping, entry: Entry, name: string, findings: Findings) => void;

const service = (keys: string, fate: Fate, why: string, translate?: Translate): ComposeKey[] =>
  keys.split(" ").map((key) => ({
    path: `services.*.${key}`,
    fate,
    why,
    ...(translate === undefined ? {} : { translate }),
  }));

const RESOURCES = "Set limits under deploy.resources.";
const NOT_IN_SWARM = "Swarm's services have nothing like it.";

/** Every key with a fate. The documentation's table is made from it. */
export const COMPOSE_KEYS: readonly ComposeKey[] = [
  { path: "name", fate: "dropped", why: 'The stack is named by the input "stack-name".' },
  {
    path: "include",
    fate: "refused",
    why: 'List the files under "stack-file": they are merged in that order.',
  },
  { path: "models", fate: "refused", why: NOT_IN_SWARM },

  ...service("mem_limit", "translated", "`deploy.resources.limits.memory`", toResource("limits", "memory")),
  ...service(
    "mem_reservation",
    "translated",
    "`deploy.resources.reservations.memory`",
    toResource("reservations", "memory"),
  ),
  ...service("cpus", "translated", "`deploy.resources.limits.cpus`", toResource("limits", "cpus")),
  ...service("pids_limit", "translated", "`deploy.resources.limits.pids`", toResource("limits", "pids")),
  ...service("scale", "translated", "`deploy.replicas`", toReplicas),
  ...service(
    "restart",
    "translated",
    "`deploy.restart_policy`, as docker does it where the service has none. `restart: no` is dropped: docker does not heed it, Swarm starts the task again.",
    toRestartPolicy,
  ),

  ...service("build", "dropped", "Swarm builds nothing: the image must be in a registry."),
  ...service(
    "container_name",
    "dropped",
    "Swarm names its tasks; other services reach them by the service's name.",
  ),
  ...service(
    "depends_on",
    "dropped",
    "Swarm starts all services at once; a service has to bear that another one is not there yet.",
  ),
  ...service("expose", "dropped", "Services on one network reach each other on every port."),
  ...service("links external_links", "dropped", "Services on one network find each other by name."),
  ...service(
    "network_mode",
    "dropped",
    "Docker ignores it for Swarm. For the host's network write networks: [host], and under networks host: {external: true}.",
  ),
  ...service("tmpfs", "dropped", "Docker ignores it for Swarm. Write a volume of type: tmpfs."),
  ...service(
    "shm_size",
    "dropped",
    "Docker ignores it for Swarm. Write a volume of type: tmpfs with target: /dev/shm.",
  ),
  ...service("privileged", "dropped", "Swarm runs no privileged containers; cap_add may do instead."),
  ...service("devices", "dropped", "Docker ignores it for Swarm; a bind mount may do instead."),
  ...service(
    "cgroup_parent cgroupns_mode domainname ipc mac_address pid security_opt userns_mode",
    "dropped",
    "Docker ignores it for Swarm.",
  ),
  ...service("develop attach", "dropped", "It is about development on one machine."),
  ...service(
    "pull_policy pull_refresh_after",
    "dropped",
    "Swarm pulls the image by its digest where a node lacks it.",
  ),
  ...service(
    "platform",
    "dropped",
    "Swarm picks the nodes by the image's own platforms. To choose, write deploy.placement.constraints: [node.platform.arch == x86_64].",
  ),
  ...service("annotations", "dropped", NOT_IN_SWARM),
  ...service(
    "networks.*.ipv4_address networks.*.ipv6_address",
    "dropped",
    "Docker ignores it for Swarm: tasks get their addresses from the network.",
  ),
  ...service("networks.*.priority networks.*.gw_priority", "dropped", NOT_IN_SWARM),
  ...service("ports.[].name ports.[].app_protocol", "dropped", "It only describes the port."),
  ...service(
    "volumes.[].bind.create_host_path",
    "dropped",
    "Docker ignores it for Swarm: the path must exist on the node.",
  ),
  ...service(
    "volumes.[].bind.selinux volumes.[].bind.recursive volumes.[].volume.labels volumes.[].tmpfs.mode",
    "dropped",
    "Docker ignores it for Swarm.",
  ),

  ...service("extends", "refused", 'Use YAML anchors, or a second file under "stack-file".'),
  ...service("volumes_from", "refused", "Define the volume under volumes and mount it in each service."),
  ...service("volume_driver", "refused", "Define the volume under volumes, with its driver."),
  ...service("label_file", "refused", "Write the labels under labels."),
  ...service(
    "cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpuset mem_swappiness memswap_limit oom_kill_disable blkio_config",
    "refused",
    `${NOT_IN_SWARM} ${RESOURCES}`,
  ),
  ...service(
    "gpus deploy.resources.reservations.devices",
    "refused",
    "Write deploy.resources.reservations.generic_resources, which the nodes have to offer.",
  ),
  ...service(
    "ports.[].host_ip",
    "refused",
    "Swarm publishes on every address of a node; a firewall has to narrow that.",
  ),
  ...service("post_start pre_stop", "refused", "Swarm runs no hooks: do it in the container's own start."),
  ...service(
    "cgroup device_cgroup_rules dns_opt group_add log_driver log_opt models net networks.*.interface_name networks.*.link_local_ips networks.*.mac_address provider runtime storage_opt use_api_socket uts volumes.[].image",
    "refused",
    NOT_IN_SWARM,
  ),
  {
    path: "networks.*.enable_ipv4",
    fate: "refused",
    why: "Create the network by hand, and make it external here.",
  },
  {
    path: "networks.*.enable_ipv6",
    fate: "refused",
    why: "Create the network by hand, and make it external here.",
  },
  ...["options", "config.[].gateway", "config.[].ip_range", "config.[].aux_addresses"].map((key) => ({
    path: `networks.*.ipam.${key}`,
    fate: "refused" as const,
    why: "Docker takes a network's subnet only. Create the network by hand, and make it external here.",
  })),
];

/** Spellings, rather than keys, that Compose or older formats have; the last rows of the table. */
export const COMPOSE_SPELLINGS: readonly {
  readonly what: string;
  readonly fate: Fate;
  readonly why: string;
}[] = [
  {
    what: "`services.*.profiles`",
    fate: "translated",
    why: "As in Compose: the service is left out, with a warning, unless the variable `COMPOSE_PROFILES` names one of its profiles.",
  },
  {
    what: "`services.*.env_file` with `path`",
    fate: "translated",
    why: "Read as docker reads an env file (`format: raw`); one that is missing stops the deployment, unless it has `required: false`.",
  },
  {
    what: "`configs.*`, `secrets.*` with `content` or `environment`",
    fate: "translated",
    why: "A config or secret on the swarm, named after its content.",
  },
  {
    what: "`configs.*.name`, `secrets.*.name` beside a source of content",
    fate: "dropped",
    why: "It is named after its content, so that it can change.",
  },
  {
    what: 'numbers and booleans in quotes, such as `replicas: "2"`, `published: "80"`, `mode: "0440"`',
    fate: "translated",
    why: "The number or boolean.",
  },
  {
    what: "`healthcheck.test` beside `healthcheck.disable: true`",
    fate: "dropped",
    why: "As in Compose, the check is off; docker itself refuses to have both.",
  },
  {
    what: "a key that nobody knows below `configs`, `secrets`, and `bind`, `volume` or `tmpfs` in `volumes`",
    fate: "dropped",
    why: "Docker ignores it without a word. Elsewhere it refuses what it does not know.",
  },
  {
    what: '`ports: ["127.0.0.1:80:80"]`',
    fate: "dropped",
    why: "The address: Swarm publishes on every address of a node.",
  },
  {
    what: "`version: 3.8` without quotes",
    fate: "translated",
    why: 'The format `"3.8"`; docker itself wants the quotes.',
  },
  {
    what: "`version` of 1, 2, or anything that is not 3 or 3.0 to 3.13",
    fate: "refused",
    why: 'Write `version: "3.9"` once the keys that changed since are gone, or leave it out.',
  },
];

/** Gives every Compose-only key its fate, in place. */
export function applyComposeKeys(root: Mapping, scope: Scope, findings: Findings): void {
  leaveOutProfiles(root, scope, findings);
  checkVersion(root, findings.problems);
  walk(root, TREE, [], findings);
  for (const { key, value } of entriesOf(get(root, "services"))) {
    leaveOutTest(key.text, get(value, "healthcheck"), findings.warnings);
    for (const port of itemsOf(get(value, "ports"))) {
      const address = hostAddress(port);
      if (address === undefined) continue;
      const message = `Service ${key.text} publishes ${textOf(port)} on every address of the node: Swarm can't narrow it to ${address}.`;
      findings.warnings.push({ message, hint: "A firewall has to.", place: port.place });
    }
  }
}

function itemsOf(node: Node | undefined): readonly Node[] {
  return node?.kind === "sequence" ? node.items : [];
}

/** Where docker's schema lets any key pass, and takes these only: a misspelt one would disappear without a word. */
const OPEN: Readonly<Record<string, readonly string[]>> = {
  "services.*.configs.[]": ["source", "target", "uid", "gid", "mode"],
  "services.*.secrets.[]": ["source", "target", "uid", "gid", "mode"],
  "services.*.volumes.[].bind": ["propagation"],
  "services.*.volumes.[].volume": ["nocopy", "subpath"],
  "services.*.volumes.[].tmpfs": ["size"],
};

/** The keys' paths, grouped by their first parts, so that a file is walked once. */
interface Branch {
  key?: ComposeKey;
  /** All that docker takes here, where it says nothing about the rest. */
  taken?: readonly string[];
  readonly below: Map<string, Branch>;
}

const TREE = branches();

function branches(): Branch {
  const root: Branch = { below: new Map() };
  for (const key of COMPOSE_KEYS) branchAt(root, key.path).key = key;
  for (const [path, taken] of Object.entries(OPEN)) branchAt(root, path).taken = taken;
  return root;
}

function branchAt(root: Branch, path: string): Branch {
  let branch = root;
  for (const part of path.split(".")) {
    const next: Branch = branch.below.get(part) ?? { below: new Map() };
    branch.below.set(part, next);
    branch = next;
  }
  return branch;
}

function walk(node: Node, branch: Branch, path: readonly string[], findings: Findings): void {
  if (node.kind === "sequence") {
    const items = branch.below.get("[]");
    if (items !== undefined) node.items.forEach((item) => walk(item, items, path, findings));
  }
  if (node.kind !== "mapping") return;
  for (const entry of node.entries.slice()) {
    const here = [...path, entry.key.text];
    const next = branch.below.get(entry.key.text) ?? branch.below.get("*");
    if (next === undefined) {
      if (branch.taken?.includes(entry.key.text) === false)
        leaveOutUnknown(node, entry, here, branch, findings);
    } else if (next.key === undefined) walk(entry.value, next, here, findings);
    else meet(next.key, node, entry, here, findings);
  }
}

function leaveOutUnknown(
  parent: Mapping,
  { key }: Entry,
  path: readonly string[],
  { taken = [] }: Branch,
  { warnings }: Findings,
): void {
  remove(parent, key.text);
  const meant = nearest(key.text, taken);
  const hint = meant === undefined ? "Docker ignores it." : `Did you mean ${meant}?`;
  warnings.push(dropped(path.join("."), hint, key.place));
}

function meet(
  key: ComposeKey,
  parent: Mapping,
  entry: Entry,
  path: readonly string[],
  findings: Findings,
): void {
  const place = entry.key.place;
  if (key.fate === "refused") {
    findings.problems.push({
      message: `${path.join(".")} can't be deployed to a swarm.`,
      hint: key.why,
      place,
    });
    return;
  }
  remove(parent, entry.key.text);
  if (key.translate !== undefined) key.translate(parent, entry, path[1] ?? "", findings);
  else findings.warnings.push(dropped(path.join("."), key.why, place));
}

function dropped(what: string, why: string, place: Place): Problem {
  return { message: `${what} is left out.`, hint: why, place };
}

function translated(entry: Entry): string {
  return `from ${entry.key.text}`;
}

/** `deploy.resources` wins over the older spelling, which may stand there for Compose. */
function toResource(group: "limits" | "reservations", field: string): Translate {
  return (parent, entry, name, findings) => {
    const { key, value } = entry;
    const text = textOf(value);
    if (text === undefined) return;
    const target = mappingAt(parent, ["deploy", "resources", group]);
    if (get(target, field) !== undefined) {
      const why = `deploy.resources.${group}.${field} decides.`;
      findings.warnings.push(dropped(`services.${name}.${key.text}`, why, key.place));
    } else if (field === "pids" && /^-?[01]$|^-/.test(text) && Number(text) <= 0)
      return; // No limit, as without the key.
    else if (target !== undefined)
      set(target, field, ours(text, value.place, translated(entry), field === "pids" ? "plain" : "quoted"));
  };
}

function toReplicas(parent: Mapping, entry: Entry, name: string, findings: Findings): void {
  const { key, value } = entry;
  const text = textOf(value);
  if (text === undefined) return;
  const deploy = mappingAt(parent, ["deploy"]);
  if (get(deploy, "replicas") !== undefined)
    findings.warnings.push(dropped(`services.${name}.scale`, "deploy.replicas decides.", key.place));
  else if (deploy !== undefined) set(deploy, "replicas", ours(text, value.place, translated(entry), "plain"));
}

/** What docker makes of `restart` (docker/cli, convertRestartPolicy), although it says that it ignores it. */
function toRestartPolicy(parent: Mapping, entry: Entry, name: string, findings: Findings): void {
  const { key, value } = entry;
  const text = textOf(value) ?? "";
  const [, condition, attempts = "0"] = /^(no|always|unless-stopped|on-failure)(?::(\d+))?$/.exec(text) ?? [];
  const what = `services.${name}.restart`;
  const policy = get(parent, "deploy", "restart_policy");
  if (policy !== undefined && !isNull(policy)) {
    findings.warnings.push(dropped(what, "deploy.restart_policy decides.", key.place));
  } else if (text === "" || text === "no") {
    const why =
      "Docker does not heed it: Swarm starts the task again. To stop that write deploy.restart_policy: {condition: none}.";
    if (text !== "") findings.warnings.push(dropped(what, why, key.place));
  } else if (condition === undefined) {
    const hint = "Write always, unless-stopped, on-failure or on-failure:3.";
    findings.problems.push({
      message: `${what} is "${text}", which docker refuses.`,
      hint,
      place: value.place,
    });
  } else {
    const made = mappingAt(parent, ["deploy", "restart_policy"]);
    if (made === undefined) return;
    const onFailure = condition === "on-failure";
    set(made, "condition", ours(onFailure ? condition : "any", value.place, translated(entry), "plain"));
    if (onFailure) set(made, "max_attempts", ours(attempts, value.place, translated(entry), "plain"));
  }
}

/** The mapping at a path, made where there is none; undefined where something else stands in the way, which docker refuses. */
function mappingAt(parent: Mapping, path: readonly string[]): Mapping | undefined {
  let current: Mapping | undefined = parent;
  for (const key of path) current = current === undefined ? undefined : ensureMapping(current, key);
  return current;
}

/** A service that only some occasions need, such as a debugger, is not started by Compose unless it is asked for. */
function leaveOutProfiles(root: Mapping, scope: Scope, { warnings }: Findings): void {
  const services = get(root, "services");
  if (services?.kind !== "mapping") return;
  const active = new Set((scope.lookup("COMPOSE_PROFILES") ?? "").split(",").map((each) => each.trim()));
  for (const { key, value } of services.entries.slice()) {
    const profiles = get(value, "profiles");
    if (profiles === undefined || value.kind !== "mapping") continue;
    remove(value, "profiles");
    const names = itemsOf(profiles).map((item) => textOf(item) ?? "");
    if (names.length === 0 || active.has("*") || names.some((name) => active.has(name))) continue;
    remove(services, key.text);
    const message = `Service ${key.text} is left out: it belongs to the profile ${names.join(", ")}.`;
    const hint = "To deploy it, name the profile in the variable COMPOSE_PROFILES, or take profiles away.";
    warnings.push({ message, hint, place: profiles.place });
  }
}

/** Often the check of one file is switched off in another one. Docker refuses to have both. */
function leaveOutTest(name: string, healthcheck: Node | undefined, warnings: Problem[]): void {
  const test = get(healthcheck, "test");
  if (
    healthcheck?.kind !== "mapping" ||
    test === undefined ||
    !/^true$/i.test(textOf(get(healthcheck, "disable")) ?? "")
  )
    return;
  remove(healthcheck, "test");
  warnings.push(dropped(`services.${name}.healthcheck.test`, "healthcheck.disable decides.", test.place));
}

/** Which 3.x there are is docker's to say, which grows. */
function checkVersion(root: Mapping, problems: Problem[]): void {
  const version = get(root, "version");
  if (version?.kind !== "scalar" || (version.text === "" && !version.plain)) return;
  if (/^3(\.\d+)?$/.test(version.text)) {
    version.plain = false; // Docker wants it as text.
    return;
  }
  const message = `The format version "${version.text}" is none that docker stack deploy takes.`;
  const hint = 'Write version: "3.9" once the keys that changed since are gone, or leave it out.';
  problems.push({ message, hint, place: version.place });
}
