import { nearest } from "./interpolate.ts";

/** Why an engine refuses a value. */
export interface Refusal {
  /** The end of a sentence whose subject is the value. */
  readonly why: string;
  readonly hint?: string | undefined;
}

/** Undefined where the engine takes the value, and where docker refuses it before. */
type Rule = (text: string) => Refusal | undefined;

/** By the value's path below a service; `[]` is every item of a list, `*` every key. */
export const VALUE_RULES: Readonly<Record<string, Rule>> = {
  "deploy.endpoint_mode": (text) => oneOf("vip", "dnsrr")(text.toLowerCase()),
  "deploy.update_config.failure_action": oneOf("pause", "continue", "rollback"),
  "deploy.update_config.delay": notNegative,
  "deploy.update_config.monitor": notNegative,
  "deploy.update_config.max_failure_ratio": ratio,
  "deploy.rollback_config.failure_action": oneOf("pause", "continue", "rollback"),
  "deploy.restart_policy.condition": oneOf("none", "on-failure", "any"),
  "deploy.restart_policy.delay": notNegative,
  "deploy.restart_policy.window": notNegative,
  "deploy.placement.constraints.[]": constraint,
  // Swarm itself stops below 4 MiB, the node that has to keep the limit below 6.
  "deploy.resources.limits.memory": memoryOf(6),
  "deploy.resources.reservations.memory": memoryOf(4),
  "deploy.resources.limits.cpus": cpus,
  "deploy.resources.reservations.cpus": cpus,
  "healthcheck.interval": atLeastAMillisecond,
  "healthcheck.timeout": atLeastAMillisecond,
  "healthcheck.start_period": atLeastAMillisecond,
  "volumes.[].bind.propagation": (text) =>
    oneOf("private", "rprivate", "shared", "rshared", "slave", "rslave")(text.toLowerCase()),
  "configs.[].uid": userNumber,
  "configs.[].gid": userNumber,
  "secrets.[].uid": userNumber,
  "secrets.[].gid": userNumber,
  hostname: template,
  "environment.*": template,
  "environment.[]": (line) => template(/=(.*)/s.exec(line)?.[1] ?? ""),
  "extra_hosts.*": address,
  "extra_hosts.[]": (line) => address(/[:=](.*)$/s.exec(line)?.[1] ?? ""),
  "ports.[].published": port,
  stop_signal: signal,
  working_dir: absolute,
};

function oneOf(...words: readonly string[]): Rule {
  return (text) => {
    if (text === "" || words.includes(text)) return undefined;
    const meant = nearest(text, words);
    return {
      why: `must be ${inWords(words)}`,
      hint: meant === undefined ? undefined : `Did you mean ${meant}?`,
    };
  };
}

function inWords(words: readonly string[]): string {
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1) ?? ""}`;
}

const NANOSECONDS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** A duration as Go reads it, `1h30m` or `-1.5s`, in nanoseconds. */
function nanoseconds(text: string): number | undefined {
  if (!/^[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[nuµμm]s|[smh]))+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/([\d.]+)([^\d.]+)/g)];
  const size = parts.reduce((sum, [, count, unit = ""]) => sum + Number(count) * (NANOSECONDS[unit] ?? 0), 0);
  return text.startsWith("-") ? -size : size;
}

function notNegative(text: string): Refusal | undefined {
  return (nanoseconds(text) ?? 0) < 0 ? { why: "must not be negative" } : undefined;
}

function atLeastAMillisecond(text: string): Refusal | undefined {
  const given = nanoseconds(text) ?? 0;
  return given !== 0 && given < 1e6 ? { why: "must be at least 1ms" } : undefined;
}

/** A number in the spelling that all of docker's readers share. */
function decimal(text: string): number | undefined {
  return /^[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d{1,3})?$/i.test(text) ? Number(text) : undefined;
}

function ratio(text: string): Refusal | undefined {
  const given = decimal(text) ?? 0;
  return given < 0 || given > 1 ? { why: "must be between 0 and 1" } : undefined;
}

function cpus(text: string): Refusal | undefined {
  const given = decimal(text) ?? 0;
  return given !== 0 && given < 0.001 ? { why: "must be at least 0.001" } : undefined;
}

function memoryOf(mebibytes: number): Rule {
  return (text) => {
    const [, count, unit = ""] = /^(\d+(?:\.\d*)?|\.\d+) ?([kmgtp]?)(?:i?b)?$/i.exec(text) ?? [];
    const bytes = Number(count ?? 0) * 1024 ** ("kmgtp".indexOf(unit.toLowerCase() || " ") + 1);
    if (bytes === 0 || bytes >= mebibytes * 1024 ** 2) return undefined;
    return {
      why: `must be at least ${mebibytes}m`,
      hint: unit === "" ? "Without a unit it is a number of bytes." : undefined,
    };
  };
}

const FIXED_KEYS = [
  "node.id",
  "node.hostname",
  "node.ip",
  "node.role",
  "node.platform.os",
  "node.platform.arch",
];
const LABEL_KEYS = ["node.labels.", "engine.labels."];

/** Swarmkit's manager/constraint: `key == value` or `key != value`. A key that is none matches no node, so no task would ever start. */
function constraint(text: string): Refusal | undefined {
  const operator = ["==", "!="].find((each) => text.includes(each));
  if (operator === undefined) return { why: "must have == or != between a key and a value" };
  const at = text.indexOf(operator);
  const [key, value] = [text.slice(0, at), text.slice(at + operator.length)].map((side) =>
    side.replace(/^[\s\u0085]+|(?<![\s\u0085])[\s\u0085]+$/g, ""),
  ) as [string, string];
  if (!/^[a-z0-9:\-_\t\n\f\r .*()?+[\]\\^$|/]+$/iu.test(value))
    return {
      why: `must have a value of letters, digits and :-_.*()?+[]\\^$|/ behind ${operator}`,
      hint: "Quotes within it are part of the value.",
    };
  const small = key.toLowerCase();
  const known =
    FIXED_KEYS.includes(small) || LABEL_KEYS.some((each) => small.startsWith(each) && small !== each);
  if (known && /^[a-z_][a-z0-9\-_.]+$/iu.test(key)) return undefined;
  const meant = nearest(key, FIXED_KEYS);
  return {
    why: `must begin with ${inWords([...FIXED_KEYS, ...LABEL_KEYS.map((each) => `${each}NAME`)])}`,
    hint: meant === undefined ? undefined : `Did you mean ${meant}?`,
  };
}

function port(text: string): Refusal | undefined {
  return (decimal(text) ?? 0) > 65_535 ? { why: "must be at most 65535" } : undefined;
}

/** The node gives the file to a user by number; it looks up no names. */
function userNumber(text: string): Refusal | undefined {
  return /^([-+]?\d+)?$/.test(text) ? undefined : { why: "must be a number" };
}

/** What Swarm's templates know when a service is created (swarmkit, template/context.go): by then labels have no values yet. */
const TEMPLATE_FIELDS =
  /^(\.Service(\.(ID|Name|Labels))?|\.Node(\.(ID|Hostname|Platform(\.(Architecture|OS))?))?|\.Task(\.(ID|Name|Slot))?)$/;

/** Swarm's own function, then those of Go's text/template and its keywords. */
const TEMPLATE_WORDS =
  /^(join|and|call|html|index|js|len|not|or|print|printf|println|slice|urlquery|eq|ge|gt|le|lt|ne|true|false|nil|block|break|continue|define|else|end|if|range|template|with)$/;

/** Swarm reads some values as Go templates. Only the first action is looked at: what it may not say, it may not say whatever follows. */
function template(text: string): Refusal | undefined {
  const action = /\{\{(?:-\s)?\s*(.*)/s.exec(text)?.[1];
  if (action === undefined) return undefined;
  if (!action.includes("}}")) return noTemplate("finds no }} behind its {{");
  const fields = /^(?:\.[A-Za-z]\w*)+/.exec(action)?.[0];
  if (fields !== undefined && !TEMPLATE_FIELDS.test(fields)) return noTemplate("knows no such field");
  const word = /^[A-Za-z_]\w*/.exec(action)?.[0];
  if (word !== undefined && !TEMPLATE_WORDS.test(word)) return noTemplate("knows no such function");
  return undefined;
}

function noTemplate(why: string): Refusal {
  return {
    why: `is a template to Swarm, which ${why}`,
    hint: 'Where the braces are meant as they stand, write {{"{{"}} for the opening ones.',
  };
}

/** What stands behind a blank is another name. */
function address(text: string): Refusal | undefined {
  const [given = ""] = text.trim().split(/\s/);
  if (given === "" || given === "host-gateway" || given.includes(":") || isV4(given)) return undefined;
  return { why: "must be an IP address or host-gateway" };
}

function isV4(text: string): boolean {
  return /^(?:\d{1,3}\.){3}\d{1,3}$/.test(text) && text.split(".").every((part) => Number(part) < 256);
}

const SIGNALS =
  /^(ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|UNUSED|URG|USR[12]|VTALRM|WINCH|XCPU|XFSZ|RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?)$/;

function signal(text: string): Refusal | undefined {
  const isSignal = /^[-+]?\d+$/.test(text)
    ? Number(text) !== 0
    : SIGNALS.test(text.toUpperCase().replace(/^SIG/, ""));
  return text === "" || isSignal
    ? undefined
    : { why: "must be the name or the number of a signal, such as SIGTERM" };
}

/** With room for the paths of Windows. */
function absolute(text: string): Refusal | undefined {
  return text === "" || isAbsolute(text) ? undefined : { why: "must be an absolute path" };
}

export function isAbsolute(path: string): boolean {
  return /^([/\\]|[A-Za-z]:)/.test(path);
}

/** A network's subnet, as `10.1.0.0/24`; of an IPv6 one only the form is looked at. */
export function subnet(text: string): Refusal | undefined {
  const [, start = "", size = ""] = /^([\da-fA-F.:]+)\/(\d{1,3})$/.exec(text) ?? [];
  const isV6 = start.includes(":");
  if ((isV4(start) && Number(size) <= 32) || (isV6 && Number(size) <= 128)) return undefined;
  return { why: "must be an address with the length of its prefix, such as 10.1.0.0/24" };
}
