import { type Translate, toReplicas, toResource, toRestartPolicy } from "./compose-translations.ts";

/**
 * What becomes of a key that Compose knows and Swarm does not: translated to what means the same; dropped, with a warning at its
 * place, where what runs is no other without it, or where docker drops it in silence; refused, where leaving it out could do harm.
 */
type Fate = "translated" | "dropped" | "refused";

/** One row of the table in the documentation. */
export interface ComposeKey {
  /** Below the root; `*` stands for any key, `[]` for any item of a list. */
  readonly path: string;
  readonly fate: Fate;
  /** For a translation: what it becomes. For all else: why, as a sentence, with what to write instead. */
  readonly why: string;
  /** Does the translation. */
  readonly translate?: Translate;
}

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
  ...service("oom_score_adj", "dropped", "Docker loses it on its way to Swarm (CLI 28)."),
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
    what: "any key but `name` below `networks.*`, `configs.*` or `secrets.*` with `external`",
    fate: "dropped",
    why: "It exists already, so docker reads nothing else of it, and does not say so.",
  },
  {
    what: "`secrets.*.driver_opts` without a `driver`",
    fate: "dropped",
    why: "Docker ignores it without a word.",
  },
  {
    what: "the tags `!reset` and `!override`",
    fate: "dropped",
    why: "Docker ignores them without a word: files are merged as docker merges them.",
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

/** Where docker's schema lets any key pass, and takes these only: a misspelt one would disappear without a word. */
export const OPEN: Readonly<Record<string, readonly string[]>> = {
  "services.*.configs.[]": ["source", "target", "uid", "gid", "mode"],
  "services.*.secrets.[]": ["source", "target", "uid", "gid", "mode"],
  "services.*.volumes.[].bind": ["propagation"],
  "services.*.volumes.[].volume": ["nocopy", "subpath"],
  "services.*.volumes.[].tmpfs": ["size"],
};

/** What docker takes beside `external`, and does not read. */
export const UNREAD: Readonly<Record<string, readonly string[]>> = {
  networks: ["driver", "driver_opts", "ipam", "internal", "attachable", "labels"],
  configs: ["file", "content", "environment", "labels", "template_driver"],
  secrets: ["file", "content", "environment", "labels", "template_driver", "driver", "driver_opts"],
};
