import { parseImageReference } from "../image/reference.ts";
import { type Json, type JsonObject, textAt } from "../json.ts";
import { type Plan, type PlannedService, changed } from "../plan.ts";
import { networkIdsOf, imageOf } from "../spec.ts";
import { type RenderedStack } from "../stack/render.ts";
import { type Mapping, entriesOf, get } from "../stack/tree.ts";
import { isAssumed } from "../stack/withheld.ts";
import { type ServiceSpec, type Survey } from "../swarm.ts";
import { type Finding, error, warning } from "./finding.ts";
import { type FindingId } from "./findings.ts";
import { keptNetworks, keptVolumes, takenNetworks } from "./kept.ts";
import { noNode, pausedNode, someNodesOnly, tooFewNodes, tooMuch } from "./nodes.ts";
import { eligibility } from "./placement.ts";
import { goesOn, lostSubpath, olderThanAsked, otherMode, shortMonitor } from "./policies.ts";
import { besideTheOld, noHealthcheck, onHostNetwork, singleWriter } from "./start-first.ts";
import {
  type FileRule,
  type Rule,
  type Subject,
  type WrittenService,
  isRunning,
  modeOf,
  newsOf,
  portsOf,
  roomOf,
  startsFirst,
} from "./subject.ts";

/**
 * Looks at what is about to be sent with the eyes of Swarm's scheduler and of an operator. Only services that the plan changes are
 * looked at, so that a deployment of the same thing has next to nothing to say. It asks nobody: all is in the survey.
 */
export function preflight({ root }: Pick<RenderedStack, "root">, plan: Plan, survey: Survey): Finding[] {
  const networkIds = networkIdsOf(survey.networks);
  const room = roomOf(plan, survey);
  const services = changed(plan).flatMap((planned) => {
    const written = asWritten(planned, root);
    if (written === undefined) return [];
    const tasks = survey.tasks.filter(
      (task) => task.serviceId === planned.before?.id && isRunning(task) && task.current,
    );
    const subject: Subject = {
      ...written,
      before: planned.before?.spec,
      tasks,
      news: newsOf(planned, tasks.length, networkIds),
      mode: modeOf(written.spec),
      where: eligibility(written.spec, survey.nodes),
      room,
    };
    return [...SWARM_RULES, ...FILE_RULES].flatMap((rule) => rule(subject, root, survey));
  });
  return [
    ...services,
    ...portsInUse(root, plan, survey),
    ...takenNetworks(root, plan, survey),
    ...keptNetworks(root, plan, survey),
    ...shortLived(plan),
    ...quorum(survey),
  ];
}

/**
 * The part of it that needs no swarm: each service by itself, as the file has it and as docker would send it. What would be told of a value
 * that something stands in for is not known.
 */
export function withoutSwarm({ root }: Pick<RenderedStack, "root">, plan: Plan): Finding[] {
  return changed(plan).flatMap((planned) => {
    const written = asWritten(planned, root);
    if (written === undefined) return [];
    return FILE_RULES.flatMap((rule) => rule(written, root)).filter(({ id }) => isKnown(id, written));
  });
}

const ORDER = "deploy.update_config.order";

/** What of a service the findings are drawn from that need no swarm. */
const DRAWN_FROM: Readonly<Partial<Record<FindingId, readonly string[]>>> = {
  "start-first-host-network": ["networks", ORDER],
  "start-first-single-writer": ["image", "volumes", ORDER],
  "start-first-no-healthcheck": ["healthcheck", ORDER],
  "failure-action-continue": ["deploy.update_config.failure_action", "deploy.restart_policy"],
  "monitor-too-short": ["deploy.update_config.monitor", "healthcheck"],
  "engine-too-old": ["volumes"],
};

function isKnown(id: FindingId, { file }: WrittenService): boolean {
  return !(DRAWN_FROM[id] ?? []).some((path) => isAssumed(get(file, ...path.split("."))));
}

function asWritten({ name, wanted }: PlannedService, root: Mapping): WrittenService | undefined {
  if (wanted === undefined) return undefined;
  const entry = entriesOf(get(root, "services")).find(({ key }) => key.text === name);
  const place = (entry?.key ?? root).place;
  return { name, spec: wanted, file: entry?.value, place, startFirst: startsFirst(wanted) };
}

const NO_FILE: Mapping = { kind: "mapping", entries: [], place: { file: "", line: 0, column: 0 } };

/**
 * What a release can't be gone back to for. Its file is the author's no more, so none of it has a place; and what is only to be known
 * was told when it was deployed.
 */
export function obstacles(plan: Plan, survey: Survey): Finding[] {
  return preflight({ root: NO_FILE }, plan, survey)
    .filter(({ severity }) => severity === "error")
    .map((finding) => {
      const { message, hint = "" } = finding.problem;
      const instead =
        "Where that would need another file: a release goes back as it was, so deploy its version with mode `deploy` instead.";
      return { ...finding, problem: { message, hint: `${hint} ${instead}` } };
    });
}

/** Hold the service against what is there. */
const SWARM_RULES: readonly Rule[] = [
  otherMode,
  noNode,
  pausedNode,
  someNodesOnly,
  tooFewNodes,
  tooMuch,
  besideTheOld,
  keptVolumes,
  olderThanAsked,
];

const FILE_RULES: readonly FileRule[] = [
  onHostNetwork,
  singleWriter,
  noHealthcheck,
  goesOn,
  shortMonitor,
  lostSubpath,
];

/**
 * By swarmkit's own rule (manager/controlapi/service.go, checkPortConflicts). Where a service of the file gives the port up, it goes well in
 * the right order only, and docker has none; of two that both want it docker itself speaks.
 */
function portsInUse(root: Mapping, plan: Plan, { takenPorts }: Survey): Finding[] {
  const present = new Map(plan.services.map(({ wanted, name }) => [wanted?.Name, { name, wanted }]));
  return changed(plan).flatMap(({ name, wanted }) =>
    portsOf(wanted).flatMap(({ port, protocol, onHost }) => {
      const wants = (spec: ServiceSpec | undefined): boolean =>
        portsOf(spec).some((each) => each.port === port && each.protocol === protocol);
      const holder = takenPorts.find(
        (each) =>
          each.port === port &&
          each.protocol === protocol &&
          !(each.onHost && onHost) &&
          !wants(present.get(each.service)?.wanted),
      );
      if (port === 0 || holder === undefined) return [];
      const service = get(root, "services", name);
      const place = (get(service, "ports") ?? service ?? root).place;
      const what = `Service ${name} publishes port ${port}/${protocol}, which the service`;
      const other = present.get(holder.service)?.name;
      if (other !== undefined) {
        const message = `${what} ${other} gives up in this very deployment: where the manager hears of ${name} first, it refuses, and all is put back.`;
        const fix = `Deploy in two steps: first ${other} without the port, then ${name} with it.`;
        return [warning("port-in-use", message, place, fix)];
      }
      const own = holder.stack === plan.stack;
      const whose = own
        ? "of this stack, which goes only after the rollout"
        : holder.stack === ""
          ? "of no stack"
          : `of the stack ${holder.stack}`;
      const fix = own
        ? `Publish another port, or remove that service first: docker service rm ${holder.service}`
        : "Publish another port, or take it from the other service first.";
      return [error("port-in-use", `${what} ${holder.service} (${whose}) has already.`, place, fix)];
    }),
  );
}

/** Credentials that are known to end within hours, by their looks; none of it is ever repeated. */
const SHORT_LIVED: readonly {
  readonly what: string;
  readonly is: (username: string, password: string, domain: string) => boolean;
}[] = [
  { what: "a token of the job (GITHUB_TOKEN)", is: (_username, password) => password.startsWith("ghs_") },
  {
    what: "a token of Amazon ECR (12 hours)",
    is: (username, _password, domain) => username === "AWS" && /\.dkr\.ecr\./.test(domain),
  },
  { what: "a Google access token (an hour)", is: (username) => username === "oauth2accesstoken" },
  {
    what: "a token of Azure's registry (hours)",
    is: (username, _password, domain) =>
      /^0{8}-(0{4}-){3}0{12}$/.test(username) && domain.endsWith(".azurecr.io"),
  },
];

function shortLived(plan: Plan): Finding[] {
  const told = new Map<string, string>();
  for (const { wanted, auth } of changed(plan)) {
    const domain = parseImageReference(imageOf(wanted))?.domain ?? "";
    const { username, password } = credentialIn(auth);
    const found = SHORT_LIVED.find(({ is }) => is(username, password, domain));
    if (found !== undefined) told.set(domain, found.what);
  }
  return [...told].map(([domain, what]) =>
    warning(
      "short-lived-credential",
      `What the swarm keeps for its pulls from ${domain} is ${what}: once it has ended, a task that moves to another node can't pull a private image.`,
      undefined,
      'Give "pull-username" and "pull-password": a token that lives long and may only read.',
    ),
  );
}

/** What an X-Registry-Auth value holds. */
function credentialIn(auth: string | undefined): { username: string; password: string } {
  let raw: Json = {};
  try {
    raw = JSON.parse(Buffer.from(auth ?? "", "base64url").toString("utf8")) as JsonObject;
  } catch {
    // Docker sends an empty value where it has none.
  }
  return { username: textAt(raw, "username"), password: textAt(raw, "password") };
}

function quorum({ nodes }: Survey): Finding[] {
  const managers = nodes.filter(({ role }) => role === "manager");
  const reachable = managers.filter(({ reachability }) => reachability === "reachable").length;
  const needed = Math.floor(managers.length / 2) + 1;
  if (managers.length < 2 || reachable > needed) return [];
  const message = `Of ${managers.length} managers ${reachable} can be reached, and the swarm needs ${needed}: ${reachable < needed ? "it has no quorum" : "with one more lost, nothing can be deployed or moved any more"}.`;
  const fix =
    reachable < managers.length
      ? "Bring the lost manager back, or take it out: docker node demote NODE"
      : "Have three managers, which bear the loss of one, or only one.";
  return [warning("manager-quorum", message, undefined, fix)];
}
