import { type Json, at, listAt, numberAt, objectAt, textAt } from "../json.ts";
import { isJob, mayFinish } from "../rollout.ts";
import { HEALTHCHECK_DEFAULTS } from "../spec.ts";
import { get, textOf } from "../stack/tree.ts";
import { type ServiceSpec } from "../swarm.ts";
import { error, warning } from "./finding.ts";
import { type FileRule, type Rule, mostPerNode, placeOf } from "./subject.ts";

export const goesOn: FileRule = (subject) => {
  if (textAt(subject.spec, "UpdateConfig", "FailureAction") !== "continue") return [];
  if (mayFinish(subject.spec)) return []; // Whose good end Swarm takes for a failure.
  const message = `Service ${subject.name} has failure_action: continue: an update replaces the tasks that work by ones that fail, to the last.`;
  const place = placeOf(subject, "deploy", "update_config", "failure_action");
  return [warning("failure-action-continue", message, place, "Write failure_action: rollback.")];
};

/** The engine refuses it (swarmkit, manager/controlapi/service.go), and docker may have sent other services by then. */
export const otherMode: Rule = (subject) => {
  const { name, spec, before } = subject;
  if (before === undefined || modeWord(before) === modeWord(spec)) return [];
  const message = `Service ${name} is ${modeWord(before)}, and no engine makes it ${modeWord(spec)} by an update.`;
  const fix = `Give the service another name, or remove it first, which ends its tasks: docker service rm ${textAt(spec, "Name")}`;
  return [error("mode-change", message, placeOf(subject, "deploy", "mode"), fix)];
};

/** As the stack file calls it. */
function modeWord(spec: ServiceSpec): string {
  const [key = "Replicated"] = Object.keys(objectAt(spec, "Mode"));
  return key.replace(/(?<=[a-z])(?=[A-Z])/g, "-").toLowerCase();
}

const NANOS = 1e6;

export const shortMonitor: FileRule = (subject) => {
  const { name, spec, file } = subject;
  const check = at(spec, "TaskTemplate", "ContainerSpec", "Healthcheck");
  const [test] = listAt(check, "Test");
  const written = get(file, "deploy", "update_config", "monitor");
  const monitorMs = numberAt(spec, "UpdateConfig", "Monitor") / NANOS;
  if (written === undefined || test === undefined || test === "NONE" || monitorMs === 0) return [];
  const intervalMs = numberAt(check, "Interval") / NANOS || HEALTHCHECK_DEFAULTS.intervalMs;
  const retries = numberAt(check, "Retries") || HEALTHCHECK_DEFAULTS.retries;
  if (monitorMs >= intervalMs * retries) return [];
  const message = `Service ${name} is monitored for ${monitorMs / 1000} s after a task runs, and its healthcheck takes ${(intervalMs * retries) / 1000} s to call one unhealthy (interval ${intervalMs / 1000} s × ${retries}).`;
  const fix = "Give a longer monitor, or a quicker healthcheck.";
  return [warning("monitor-too-short", message, written.place, fix)];
};

/**
 * Fields that an engine leaves out in silence where it is older than them (moby: daemon/server/router/swarm/helpers.go). The verdict would
 * find another spec than was sent, and blame somebody else.
 */
const SINCE: readonly {
  readonly what: string;
  readonly path: readonly string[];
  /** Major and minor, the way engines write them. */
  readonly engine: string;
  readonly has: (spec: ServiceSpec) => boolean;
}[] = [
  {
    what: "healthcheck.start_interval",
    path: ["healthcheck", "start_interval"],
    engine: "25.0",
    has: (spec) => numberAt(spec, "TaskTemplate", "ContainerSpec", "Healthcheck", "StartInterval") > 0,
  },
  {
    what: "a volume's subpath",
    path: ["volumes"],
    engine: "26.0",
    has: (spec) => mountsOf(spec).some((mount) => subpathOf(mount) !== ""),
  },
  {
    what: "a mode that is a job",
    path: ["deploy", "mode"],
    engine: "20.10",
    has: isJob,
  },
  {
    what: "max_replicas_per_node",
    path: ["deploy", "placement", "max_replicas_per_node"],
    engine: "19.03",
    has: (spec) => mostPerNode(spec) < Infinity,
  },
];

export const olderThanAsked: Rule = (subject, _root, { info }) => {
  const version = textAt(info, "ServerVersion");
  if (!/^\d+\.\d+/.test(version)) return [];
  return SINCE.filter(({ engine, has }) => isOlder(version, engine) && has(subject.spec)).map(
    ({ what, path, engine }) => {
      const message = `Service ${subject.name} has ${what}, which engines know since ${engine}; the manager's is ${version} and would leave it out in silence.`;
      return error(
        "engine-too-old",
        message,
        placeOf(subject, ...path),
        "Update the engine, or take it out.",
      );
    },
  );
};

function mountsOf(spec: ServiceSpec): readonly Json[] {
  return listAt(spec, "TaskTemplate", "ContainerSpec", "Mounts");
}

function subpathOf(mount: Json): string {
  return textAt(mount, "VolumeOptions", "Subpath");
}

/** Docker before 26 reads a volume's subpath and sends none: the whole volume would be mounted. */
export const lostSubpath: FileRule = (subject) => {
  const { name, spec, file } = subject;
  const volumes = get(file, "volumes");
  const written = volumes?.kind === "sequence" ? volumes.items : [];
  return written.flatMap((volume) => {
    const subpath = get(volume, "volume", "subpath");
    const target = textOf(get(volume, "target"));
    const mount = mountsOf(spec).find((each) => textAt(each, "Target") === target);
    if (textOf(subpath) === undefined || mount === undefined || subpathOf(mount) !== "") return [];
    const message = `Service ${name} has a volume with a subpath, which docker on the runner does not send: the whole volume would be mounted.`;
    return [error("engine-too-old", message, subpath?.place, "Install docker 26 or newer on the runner.")];
  });
};

function isOlder(version: string, than: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  const [wantedMajor = 0, wantedMinor = 0] = than.split(".").map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}
