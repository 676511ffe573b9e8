import { type Problem } from "../errors.ts";
import { wrongKinds } from "./kinds.ts";
import { KEYED, RULES, appended, isEmpty, merged } from "./merge-rules.ts";
import { type Findings, addFindings } from "./template.ts";
import { type Mapping, type Node, get, isNull, mapping, remove, set, textOf } from "./tree.ts";

/**
 * Several stack files become one as `docker stack deploy -c a -c b` makes it (docker/cli, compose/loader/merge.go): a later file's
 * definition of a network, volume, config or secret replaces the earlier one; its services are merged key by key. Where docker loses
 * something on the way, so do we, and say so; what docker would refuse in one of the files is a problem.
 */
export function mergeFiles(files: readonly Mapping[], findings: Findings): Mapping {
  const [first, ...others] = files;
  if (first === undefined) throw new RangeError("there is no stack file to merge");
  for (const file of files) addFindings(findings, { problems: wrongKinds(file) });
  for (const other of others) {
    findings.problems.push(...otherVersion(first, other));
    mergeFile(first, other, findings.warnings);
  }
  return first;
}

/** The newest format, which a file without a version has, and one with "3" (docker/cli, compose/schema). */
const NEWEST = "3.13";

function formatOf(root: Mapping): string {
  const version = get(root, "version");
  if (version !== undefined && isNull(version)) return "nothing";
  const given = textOf(version) ?? "";
  return given === "" || given === "3" ? NEWEST : given;
}

function otherVersion(first: Mapping, other: Mapping): Problem[] {
  if (formatOf(first) === formatOf(other)) return [];
  const [mine, theirs] = [first, other].map((root) => textOf(get(root, "version")) ?? "none");
  const message = `The files differ in their version: ${mine} in the first one, ${theirs} here.`;
  const hint = "Docker merges files of one version only.";
  return [{ message, hint, place: (get(other, "version") ?? other).place }];
}

const SECTIONS = new Set(["networks", "volumes", "configs", "secrets"]);

function mergeFile(into: Mapping, from: Mapping, warnings: Problem[]): void {
  for (const { key, value } of from.entries) {
    const existing = get(into, key.text);
    if (key.text === "services") mergeServices(sectionOf(into, "services", value), value, warnings);
    else if (SECTIONS.has(key.text)) replaceEach(sectionOf(into, key.text, value), value);
    // An extension means something to its own file only.
    else if (existing === undefined && !key.text.startsWith("x-")) into.entries.push({ key, value });
  }
}

function sectionOf(root: Mapping, name: string, from: Node): Mapping {
  const existing = get(root, name);
  if (existing?.kind === "mapping") return existing;
  const made = mapping(from.place);
  set(root, name, made);
  return made;
}

/** Puts what `from` has in the place of what `into` has, or what `both` makes of them. */
function replaceEach(
  into: Mapping,
  from: Node,
  both = (_mine: Node, theirs: Node, _key: string) => theirs,
): void {
  if (from.kind !== "mapping") return;
  const { entries } = merged(into, from, both);
  into.entries.length = 0;
  for (const entry of entries) into.entries.push(entry);
}

function mergeServices(into: Mapping, from: Node, warnings: Problem[]): void {
  replaceEach(into, from, (mine, theirs, name) => mergeService(name, mine, theirs, warnings));
}

function mergeService(name: string, base: Node, over: Node, warnings: Problem[]): Node {
  const warn = ({ message, ...rest }: Problem): void => {
    warnings.push({ message: `Service ${name}: ${message}`, ...rest });
  };
  const service = mergeNodes(base, over, "", warn);
  for (const [key, collapse] of KEYED) {
    // Docker files these under a key of their own as soon as two files speak of the service, and what shares a key is lost.
    const value = get(base, key);
    const added = get(over, key);
    // Nothing added to nothing leaves nothing, for a third file.
    if (service.kind === "mapping" && value === undefined && added !== undefined && isEmpty(added))
      remove(service, key);
    if (service.kind !== "mapping" || value?.kind !== "sequence") continue;
    set(service, key, collapse(value, added?.kind === "sequence" ? added.items : [], warn));
  }
  return service;
}

function mergeNodes(base: Node, over: Node, path: string, warn: (problem: Problem) => void): Node {
  if (isNull(over)) return base;
  if (isNull(base)) return over;
  const rule = RULES.get(path);
  if (rule !== undefined) return rule(base, over, path, warn);
  if (base.kind === "mapping" && over.kind === "mapping") return mergeMappings(base, over, path, warn);
  if (base.kind === "sequence" && over.kind === "sequence") return appended(base, over, path);
  return over.kind === "scalar" && saysNothing(over.text, over.plain, path) ? base : over;
}

function mergeMappings(
  base: Mapping,
  over: Mapping,
  path: string,
  warn: (problem: Problem) => void,
): Mapping {
  return merged(base, over, (mine, theirs, key) => mergeNodes(mine, theirs, below(path, key), warn));
}

function below(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

/** Numbers and booleans to which nought or false is as good as nothing; a nought of any other number replaces an earlier value. */
const NOUGHT_IS_NOTHING = new Set([
  "oom_score_adj",
  "deploy.update_config.max_failure_ratio",
  "deploy.rollback_config.max_failure_ratio",
  "deploy.resources.limits.pids",
  "deploy.placement.max_replicas_per_node",
]);
const FALSE_IS_NOTHING = new Set([
  "init",
  "privileged",
  "read_only",
  "stdin_open",
  "tty",
  "healthcheck.disable",
]);
/** Numbers that docker can tell from nothing. */
const COUNTED = new Set([
  "deploy.replicas",
  "deploy.update_config.parallelism",
  "deploy.rollback_config.parallelism",
  "deploy.restart_policy.max_attempts",
  "healthcheck.retries",
]);
/** Text to YAML, but a length of time or a size to docker. */
const MEASURED =
  /(^|\.)(stop_grace_period|delay|monitor|window|interval|timeout|start_period|start_interval|memory)$/;

const NOUGHT = /^[+-]?((0[xob])?0+(\.0*)?|\.0+)(e[-+]?\d+)?$/i;

/** To docker, a value that is empty for its type is as good as none. One of another type is not: docker has to refuse it. */
function saysNothing(text: string, plain: boolean, path: string): boolean {
  if (path.startsWith("x-") || COUNTED.has(path)) return false;
  if (NOUGHT_IS_NOTHING.has(path)) return plain && NOUGHT.test(text);
  if (FALSE_IS_NOTHING.has(path)) return plain && /^(false|False|FALSE)$/.test(text);
  if (text === "") return true;
  return MEASURED.test(path) && !(plain && NOUGHT.test(text)) && /^[-+]?[0.][0.a-zµμ]*$/i.test(text);
}
