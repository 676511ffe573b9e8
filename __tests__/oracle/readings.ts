import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parse } from "yaml";
import { StackFileError } from "../../src/errors.ts";
import { resolveStack } from "../../src/stack/resolve.ts";
import { parseStackFile, printStackFile } from "../../src/stack/stack-file.ts";
import { type Findings, scopeOf } from "../../src/stack/template.ts";
import { type Printed, stackConfig } from "./docker.ts";

/** What a set of stack files means, as docker prints it; or why it means nothing. */
export type Reading =
  | { readonly kind: "accepted"; readonly meaning: unknown }
  | { readonly kind: "refused"; readonly why: string };

/** Stack files in a folder, in the order in which they are merged. */
export interface Stack {
  readonly folder: string;
  /** Relative to the folder. */
  readonly files: readonly string[];
  readonly variables: ReadonlyMap<string, string>;
}

/** Docker reads the files as they were written, with the variables as its environment. */
export async function dockersReading(docker: string, { folder, files, variables }: Stack): Promise<Reading> {
  return meaningOf(await stackConfig(docker, { folder, files, variables }), files.length > 1);
}

/**
 * Docker reads what we make of the files, and has no variables to look anything up in. HOME alone it has as it has it in a workflow,
 * since what `~` means in the path of a mount is for docker to say.
 */
export async function ourReading(docker: string, stack: Stack, strict = false): Promise<Reading> {
  const { folder, files } = stack;
  const ours = printedByUs(stack, strict);
  if (ours.kind === "refused") return ours;
  const variables = new Map([...stack.variables].filter(([name]) => name === "HOME"));
  const question = { folder, files: ["-"], stdin: ours.yaml, variables };
  return meaningOf(await stackConfig(docker, question), files.length > 1);
}

/** Anything but a `StackFileError` that is thrown here is a mistake of ours, and goes on to the test. */
function printedByUs({ folder, files, variables }: Stack, strict: boolean): Printed {
  try {
    const roots = files.map((file) => parseStackFile(readFileSync(resolve(folder, file)), file));
    const findings: Findings = { problems: [], warnings: [] };
    const read = (path: string): Uint8Array | undefined => readIn(folder, path);
    const root = resolveStack(roots, scopeOf([variables], {}), strict, read, findings);
    if (findings.problems.length > 0) throw new StackFileError(findings.problems);
    return { kind: "accepted", yaml: printStackFile(root) };
  } catch (error) {
    if (!(error instanceof StackFileError)) throw error;
    return { kind: "refused", why: `StackFileError: ${error.message}` };
  }
}

function readIn(folder: string, path: string): Uint8Array | undefined {
  try {
    return readFileSync(resolve(folder, path));
  } catch {
    return undefined;
  }
}

function meaningOf(printed: Printed, merged: boolean): Reading {
  if (printed.kind === "refused") return printed;
  return { kind: "accepted", meaning: normalised(parsed(printed.yaml), [], merged) };
}

function parsed(yaml: string): unknown {
  const options = { intAsBigInt: true, maxAliasCount: -1 } as const;
  try {
    return parse(yaml, options);
  } catch (error) {
    // Docker prints U+2028 and its like as the line ends that they are in YAML 1.1. Where one ends the first line of a block, no
    // other YAML can read it; both readings are changed in the same way.
    if (!/[\u0085\u2028\u2029]/.test(yaml)) throw error;
    return parse(yaml.replaceAll(/[\u0085\u2028\u2029]/g, "\n"), options);
  }
}

/** Takes away what may differ in the print and does not in the deployment. Each part of it needs its reason. */
function normalised(value: unknown, path: readonly string[], merged: boolean): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => normalised(item, [...path, "[]"], merged));
    // Docker's schema takes these lists only without repetitions, yet its own merging repeats what two files say. Swarm's spec has
    // room for one of each.
    return merged && UNIQUE.test(path.slice(2).join(".")) ? [...new Set(items)] : items;
  }
  if (!isMapping(value)) return value;
  const service = path.length === 2 && path[0] === "services";
  const entries = Object.entries(service ? withRestartPolicy(value) : value)
    // An extension deploys nothing. Within one file we keep it as it is; docker's merging does to it what Go's types suggest.
    .filter(([key]) => !(service && merged && key.startsWith("x-")))
    .filter(([key]) => !(service && UNHEARD.has(key)) && !(inNetwork(path) && UNHEARD_BY_NETWORKS.has(key)))
    // Docker prints a test that is switched off, and refuses it when it deploys ("can't be set at the same time"): we drop it.
    .filter(([key]) => !(path.at(-1) === "healthcheck" && key === "test" && value["disable"] === true))
    .map(([key, each]) => [key, normalised(each, [...path, key], merged)] as const)
    // The order of a mapping's keys is no part of what it means.
    .toSorted(([a], [b]) => Number(a > b) - Number(a < b));
  return Object.fromEntries(entries);
}

/** Keys of a service. */
const UNIQUE = /^(cap_add|cap_drop|dns|dns_search|extra_hosts)$/;

/**
 * Keys of a service that docker prints, and that `docker stack deploy` never asks for (cli/compose/convert/service.go): we drop them.
 * Of `env_file` both readings have made `environment` by now.
 */
const UNHEARD = new Set([
  "build",
  "cgroup_parent",
  "cgroupns_mode",
  "container_name",
  "depends_on",
  "devices",
  "domainname",
  "env_file",
  "expose",
  "external_links",
  "ipc",
  "links",
  "mac_address",
  "network_mode",
  "pid",
  "privileged",
  "security_opt",
  "shm_size",
  "tmpfs",
  "userns_mode",
]);

function inNetwork(path: readonly string[]): boolean {
  return path.length === 4 && path[0] === "services" && path[2] === "networks";
}

/** As above, of a network that a service is attached to. */
const UNHEARD_BY_NETWORKS = new Set(["ipv4_address", "ipv6_address"]);

/** `docker stack deploy` heeds `restart` where there is no `restart_policy` (convertRestartPolicy): we write down what it makes of it. */
function withRestartPolicy(service: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { restart, ...rest } = service;
  const deploy = isMapping(rest["deploy"]) ? rest["deploy"] : {};
  const [condition, attempts = "0"] = typeof restart === "string" ? restart.split(":") : [];
  if (condition === undefined || condition === "no" || deploy["restart_policy"] !== undefined) return rest;
  const policy =
    condition === "on-failure" ? { condition, max_attempts: BigInt(attempts) } : { condition: "any" };
  return { ...rest, deploy: { ...deploy, restart_policy: policy } };
}

/** One place at which two readings differ. */
export interface Disagreement {
  /** `services.web.environment.A` */
  readonly path: string;
  readonly docker: string;
  readonly ours: string;
}

export function disagreements(docker: Reading, ours: Reading): Disagreement[] {
  if (docker.kind === "refused" && ours.kind === "refused") return [];
  if (docker.kind === "refused") return [{ path: "", docker: `refuses: ${docker.why}`, ours: "accepts" }];
  if (ours.kind === "refused") return [{ path: "", docker: "accepts", ours: `refuses: ${ours.why}` }];
  return differencesAt([], docker.meaning, ours.meaning);
}

function differencesAt(path: readonly string[], docker: unknown, ours: unknown): Disagreement[] {
  if (isMapping(docker) && isMapping(ours)) {
    const keys = new Set([...Object.keys(docker), ...Object.keys(ours)]);
    return [...keys].flatMap((key) => differencesAt([...path, key], docker[key], ours[key]));
  }
  if (Array.isArray(docker) && Array.isArray(ours) && docker.length === ours.length) {
    return docker.flatMap((item, index) => differencesAt([...path, String(index)], item, ours[index]));
  }
  const [left, right] = [shown(docker), shown(ours)];
  return left === right ? [] : [{ path: path.join("."), docker: left, ours: right }];
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** JSON, in which numbers of any size differ from texts. */
function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  return JSON.stringify(value, (_key, each: unknown) => (typeof each === "bigint" ? `int ${each}` : each));
}
