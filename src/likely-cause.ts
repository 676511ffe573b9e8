import { type ContainerFacts } from "./swarm.ts";

/** What is known of how a task ended, or why it does not start. */
export interface Symptoms {
  readonly state: string;
  readonly exitCode: number | undefined;
  /** Swarm's or the node's own words. */
  readonly error: string;
  /** Undefined where the node could not be asked. */
  readonly container: Pick<ContainerFacts, "outOfMemory" | "unhealthy"> | undefined;
  /** The last line it wrote; empty without any. */
  readonly lastWords: string;
}

/** What an error of Swarm or of a node means, and what to do about it. The first that fits counts. */
const ERRORS: readonly (readonly [RegExp, string])[] = [
  [
    /unhealthy container/i,
    "Its health check failed as often as `retries` allows, so its node ended it. Run the check's command in the container by hand; a program that starts slowly needs a longer `start_period`.",
  ],
  [
    /no such image/i,
    "Its node could not pull the image: the registry does not have it, does not let this node in, or can't be reached from there. Try `docker pull` on that node, and give `pull-username` and `pull-password` a credential that outlives the job.",
  ],
  [
    /port is already allocated|address already in use/i,
    "Something else on its node holds a port that it publishes. Find it with `ss -ltnp` there, or publish another port.",
  ],
  [
    /host-mode port already in use/i,
    "A port published with `mode: host` is free only once the old task has gone. Set `update_config.order: stop-first`, or have more nodes than replicas.",
  ],
  [
    /insufficient resources/i,
    "No node has as much CPU or memory left as it reserves. Reserve less, make room, or, where the old tasks hold it, set `update_config.order: stop-first`.",
  ],
  [
    /max replicas per node/i,
    "Every node has as many tasks of it as `max_replicas_per_node` allows. Add nodes, raise that number, or, where the old tasks are in the way, set `update_config.order: stop-first`.",
  ],
  [
    /scheduling constraints not satisfied/i,
    "No node fulfils its `placement.constraints`. Compare them with `docker node inspect`: labels are per node, and spelled exactly.",
  ],
  [
    /unsupported platform/i,
    "The image is not made for the platform of any node that could run it. Build it for theirs (input `platforms`).",
  ],
  [/missing plugin/i, "A node needs a plugin for one of its volumes, networks or log drivers, and has none."],
  [
    /not available for new tasks/i,
    "Nodes that could run it are down, paused or drained. See `docker node ls`.",
  ],
  [
    /bind source path does not exist/i,
    "A folder that it mounts does not exist on its node, and Swarm makes none. Create it on every node that may run it, or use a volume or a config.",
  ],
  [/invalid mount (config|target)/i, "Its node does not take one of its mounts. Check its `volumes`."],
  [
    /exec format error/i,
    "Its program is made for another kind of machine, or is a script without a `#!` line. Build the image for the platform of the nodes.",
  ],
  [
    /executable file not found|exec: ".*": stat .*no such file|no such file or directory: unknown/i,
    "The image has no such program. Check `command` and `entrypoint`, and how they are split into words.",
  ],
  [
    /exec: ".*": permission denied|permission denied: unknown/i,
    "The file to be run is there, but can't be executed. Set its executable bit in the image.",
  ],
  [
    /pool overlaps|non-overlapping IPv4 address pool|could not find an available.*(address|pool)/i,
    "Its node has no free address range for one of its networks. Remove networks that nobody uses, or give the network a `subnet` of its own.",
  ],
  [
    /(config|secret) store: (config|secret) .* not found/i,
    "A config or secret that it uses was removed from the swarm. Run this job again, which creates it anew.",
  ],
  [
    /error (while )?(mounting volume|creating volume)|volume driver|failed to mount local volume/i,
    "Its node could not mount one of its volumes. Check the volume's driver and options, and whether what it mounts can be reached from there.",
  ],
  [/no space left on device/i, "Its node's disk is full. See `docker system df` there."],
  [
    /network .*(not found|sandbox)|failed to (allocate|attach|set up).*network/i,
    "Its node could not attach it to a network. See `docker network ls` there, and the log of its engine.",
  ],
];

/** What an exit code tells by itself; any other is the program's own. */
const EXIT_CODES: Readonly<Record<number, string>> = {
  0: "The program ended by itself, and well, though this service is meant to stay. Perhaps it goes to the background, or is done: then set `restart_policy.condition: none`, and leave out `failure_action`, since Swarm takes each end within `monitor` for a failure. A failing health check can look like this, too.",
  126: "A command was found, but could not be executed. Check its executable bit and its first line.",
  127: "A command was not found. Check `command`, `entrypoint`, and the scripts that they run.",
  134: "The program ended itself (SIGABRT), as after a failed assertion. Its last lines say why.",
  139: "The program crashed (SIGSEGV): a fault of its own, or of a library, or made for another processor.",
  143: "It was ended by a SIGTERM that is not of this rollout: its engine may have restarted, or somebody stops containers on its node.",
};

/** One sentence on the likely cause and one on what to do; nothing that the evidence does not show. Empty where it shows nothing. */
export function likelyCause({ state, exitCode, error, container, lastWords }: Symptoms): string {
  if (container?.outOfMemory === true)
    return "The kernel ended it for want of memory. Raise `deploy.resources.limits.memory` or make it use less; where it has no limit, its node has too little.";
  const known = ERRORS.find(([pattern]) => pattern.test(error));
  if (known !== undefined) return known[1];
  if (container?.unhealthy === true) return ERRORS[0]?.[1] ?? "";
  // Newer runtimes start the container first, and leave this to its own output.
  if (exitCode !== undefined && exitCode !== 0 && /exec format error/i.test(lastWords))
    return ERRORS.find(([pattern]) => pattern.test(lastWords))?.[1] ?? "";
  if (exitCode === 137) return killed(container);
  if (exitCode !== undefined) return EXIT_CODES[exitCode] ?? ownCode(exitCode, lastWords);
  return OPEN[state] ?? "";
}

function killed(container: Symptoms["container"]): string {
  return container === undefined
    ? "It was killed (SIGKILL): often for want of memory, which only its node can tell: `docker inspect` its container there and look for OOMKilled."
    : "It was killed (SIGKILL), and not for want of memory in its own limits. Look at the kernel's log on its node, and for who stops containers there.";
}

function ownCode(exitCode: number, lastWords: string): string {
  const next =
    lastWords === ""
      ? "It wrote nothing; run the image by hand with the same environment."
      : "Its last lines say why.";
  return `The program ended with an error of its own (exit code ${exitCode}). ${next}`;
}

/** Of what has not come up when time was over. */
const OPEN: Readonly<Record<string, string>> = {
  starting:
    "It runs, and its health check has not passed yet. Run the check's command in the container by hand; for a slow start raise `timeout`.",
  preparing:
    "Its node is still getting the image ready: a large image, or a slow way to the registry. Raise `timeout` if it merely needs longer.",
};
