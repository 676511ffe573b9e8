import { type Place, type Problem } from "../errors.ts";
import { isExternal } from "./configs.ts";
import { hostNetworks } from "./defaults.ts";
import { type Refusal, VALUE_RULES, isAbsolute, subnet } from "./engine-values.ts";
import { cleanPath } from "./paths.ts";
import { isOnHost, portsOf } from "./ports.ts";
import { isSubstituted, isUnresolved, networksOf } from "./references.ts";
import { type Entry, type Mapping, type Node, type Scalar, entriesOf, get, isNull, textOf } from "./tree.ts";
import { volumeTarget } from "./volumes.ts";

/**
 * What docker's own checks let through and an engine refuses, when a part of the stack may have been sent already; and what an engine
 * takes though no node can run it, so that its tasks would be rejected, or wait, for ever. The rules are those of swarmkit
 * (manager/controlapi, manager/constraint, template) and of the node's daemon. Each was seen on the engines 20.10 and 28.5. What only
 * some nodes refuse, by their runtime, their kernel or their system, is theirs to say.
 */
export function refusedByEngine(root: Mapping, stack: string): Problem[] {
  const services = entriesOf(get(root, "services"));
  const onHost = hostNetworks(root);
  return [
    ...services.flatMap((service) => [
      ...badName("service", `${stack}_${service.key.text}`, service.key),
      ...badValues(service),
      ...badHealthTest(service),
      ...updatedJob(service),
      ...portsBehindDnsrr(service),
      ...besideHostNetwork(service, onHost),
      ...badMounts(service, root),
    ]),
    ...portsPublishedTwice(services),
    ...badNetworks(root, stack),
  ];
}

/** Swarm's own rule for the names of services and networks. */
const NAME = /^[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?$/;
const LONGEST_NAME = 63;

function badName(kind: string, name: string, { place, substituted }: Scalar): Problem[] {
  const whose = `The ${kind}'s name on the swarm${substituted === true ? "" : `, ${name},`}`;
  if (!NAME.test(name)) {
    const hint = "Letters, digits, - and _ can stand in it, and a letter or digit at its end.";
    return [{ message: `${whose} is none that Swarm takes.`, hint, place }];
  }
  if (name.length <= LONGEST_NAME) return [];
  return [{ message: `${whose} has ${name.length} characters, and Swarm takes ${LONGEST_NAME}.`, place }];
}

const RULES = Object.entries(VALUE_RULES).map(([path, rule]) => ({ steps: path.split("."), rule }));

function badValues({ key, value: service }: Entry): Problem[] {
  return RULES.flatMap(({ steps, rule }) =>
    valuesAt(service, steps, ["services", key.text]).flatMap((found) => {
      const refusal = rule(found.node.text);
      return refusal === undefined ? [] : [refused(found, refusal)];
    }),
  );
}

interface Found {
  /** As one would say it: `services.web.stop_signal`. */
  readonly path: string;
  readonly node: Scalar;
}

/** The values at a path, where they are given; `[]` is every item, `*` every key. */
function valuesAt(
  node: Node | undefined,
  [step, ...steps]: readonly string[],
  path: readonly string[],
): Found[] {
  if (step === undefined)
    return node?.kind === "scalar" && !isNull(node) && node.unresolved !== true
      ? [{ path: path.join("."), node }]
      : [];
  if (step === "[]") return itemsOf(node).flatMap((item) => valuesAt(item, steps, path));
  return entriesOf(node)
    .filter(({ key }) => step === "*" || step === key.text)
    .flatMap(({ key, value }) => valuesAt(value, steps, [...path, key.text]));
}

/** An environment's value is not repeated either: it may come from an env file. */
function refused({ path, node }: Found, { why, hint }: Refusal): Problem {
  const shown = node.substituted === true || path.includes(".environment") ? "" : ` "${node.text}"`;
  return { message: `${path}${shown} ${why}.`, hint, place: node.place };
}

function itemsOf(node: Node | undefined): readonly Node[] {
  return node?.kind === "sequence" ? node.items : [];
}

/** With any other first word the check never runs, and the task stays "starting". An engine crashes over CMD with nothing behind it. */
function badHealthTest({ key, value }: Entry): Problem[] {
  const [first, ...command] = itemsOf(get(value, "healthcheck", "test"));
  const word = textOf(first);
  if (first === undefined || word === undefined || word === "NONE" || isUnresolved(first)) return [];
  const known = word === "CMD" || word === "CMD-SHELL";
  if (known && command.length > 0) return [];
  const what = known ? `has no command behind ${word}` : "must begin with CMD, CMD-SHELL or NONE";
  const hint = "No task would get beyond starting.";
  return [{ message: `The health check of service ${key.text} ${what}.`, hint, place: first.place }];
}

function updatedJob({ key, value }: Entry): Problem[] {
  const update = get(value, "deploy", "update_config");
  const mode = textOf(get(value, "deploy", "mode")) ?? "";
  if (update === undefined || isNull(update) || !mode.endsWith("-job")) return [];
  return [
    {
      message: `Service ${key.text} is a job, and Swarm takes no update_config for one.`,
      place: update.place,
    },
  ];
}

interface Publication {
  readonly service: string;
  /** The entry of `ports`. */
  readonly entry: Node;
  /** 0 where Swarm is to choose. */
  readonly number: number;
  readonly protocol: string;
  readonly onHost: boolean;
}

/** An engine takes any word for a protocol and a mode, and reads those that it does not know as tcp and ingress. */
function publications({ key, value }: Entry): Publication[] {
  return itemsOf(get(value, "ports")).flatMap((entry) =>
    (portsOf(entry) ?? []).map(({ published, node }) => ({
      service: key.text,
      entry,
      number: published,
      protocol: /^(udp|sctp)$/i.exec(textOf(get(node, "protocol")) ?? "")?.[0].toLowerCase() ?? "tcp",
      onHost: isOnHost(node),
    })),
  );
}

function ingressEntries(service: Entry): Node[] {
  return [...new Set(publications(service).flatMap(({ onHost, entry }) => (onHost ? [] : [entry])))];
}

function portsBehindDnsrr(service: Entry): Problem[] {
  if (textOf(get(service.value, "deploy", "endpoint_mode"))?.toLowerCase() !== "dnsrr") return [];
  return ingressEntries(service).map(({ place }) => ({
    message: `Service ${service.key.text} has endpoint_mode dnsrr, with which no port can be published in ingress mode.`,
    hint: "Publish it in mode: host, or leave the endpoint_mode out.",
    place,
  }));
}

/** A task on its node's own network can't be on another one, and ingress is one. */
function besideHostNetwork(service: Entry, onHost: ReadonlySet<string>): Problem[] {
  const networks = networksOf(service.value);
  const others = networks.filter(({ name }) => !onHost.has(name));
  if (others.length === networks.length) return [];
  const on = `Service ${service.key.text} is on its node's own network, and no task can be on that and another one`;
  const ports = ingressEntries(service).map(({ place }) => ({
    message: `${on}, which a port in ingress mode needs.`,
    hint: "Leave the ports out: they are the node's already.",
    place,
  }));
  return [...others.map(({ place }) => ({ message: `${on}.`, place })), ...ports];
}

/** Those who publish one port: the first of each service, and the first in ingress mode, are all that a later one can meet. */
class Published {
  readonly #byService = new Map<string, Publication>();
  #first: Publication | undefined;
  #onIngress: Publication | undefined;

  rivalOf({ service, onHost }: Publication): Publication | undefined {
    return this.#byService.get(service) ?? (onHost ? this.#onIngress : this.#first);
  }

  add(port: Publication): void {
    if (!this.#byService.has(port.service)) this.#byService.set(port.service, port);
    this.#first ??= port;
    if (!port.onHost) this.#onIngress ??= port;
  }
}

/** Each node may publish one of its ports for several services; an ingress port is one for the whole swarm. An entry is told once. */
function portsPublishedTwice(services: readonly Entry[]): Problem[] {
  const earlier = new Map<string, Published>();
  const problems = new Map<Node, Problem>();
  const known = services
    .flatMap(publications)
    .filter(({ number, entry }) => number > 0 && !isUnresolved(entry));
  for (const port of known) {
    const which = `${port.number}/${port.protocol}`;
    const same = earlier.get(which) ?? new Published();
    earlier.set(which, same);
    const other = same.rivalOf(port);
    same.add(port);
    if (other === undefined || problems.has(port.entry)) continue;
    const what = isSubstituted(port.entry) ? "a port" : `port ${which}`;
    const whom = other.service === port.service ? "it" : `service ${other.service}`;
    const message = `Service ${port.service} publishes ${what} that ${whom} publishes already, ${seenFrom(port.entry.place, other.entry.place)}.`;
    problems.set(port.entry, { message, place: port.entry.place });
  }
  return [...problems.values()];
}

function seenFrom(here: Place, { file, line }: Place): string {
  return `${file === here.file ? "" : `in ${file} `}at line ${line}`;
}

function badMounts({ key, value }: Entry, root: Mapping): Problem[] {
  const mounted = new Set<string>();
  return itemsOf(get(value, "volumes")).flatMap((item) => {
    if (item.kind === "sequence" || isNull(item) || isUnresolved(item)) return []; // Docker's own check names the wrong type.
    const target = volumeTarget(item) ?? "";
    const path = isTemplate(target) ? target : cleanPath("", target);
    const again: Refusal | undefined = mounted.has(path)
      ? { why: "mounts at the same path as another one" }
      : undefined;
    mounted.add(path);
    const refusal = badTarget(item, target, root) ?? again;
    if (refusal === undefined) return [];
    const { place } = get(item, "target") ?? item;
    return [{ message: `A volume of service ${key.text} ${refusal.why}.`, hint: refusal.hint, place }];
  });
}

const isTemplate = (text: string): boolean => text.includes("{{");

/** Templates and the paths of Windows are left to the node. */
function badTarget(item: Node, target: string, root: Mapping): Refusal | undefined {
  const letter = /^([A-Za-z]):/.exec(textOf(item) ?? "")?.[1];
  if (letter !== undefined && get(root, "volumes", letter) !== undefined)
    return {
      why: "named by a single letter is a drive of Windows to docker",
      hint: "Give it a longer name.",
    };
  if (target === "") return { why: "has no target" };
  if (isTemplate(target)) return undefined;
  if (!isAbsolute(target)) return { why: "must be mounted at an absolute path" };
  return cleanPath("", target) === "/" ? { why: "can't be mounted at the root" } : undefined;
}

/** Those that exist on one node only, and those that every engine has already. */
const LOCAL_DRIVERS = /^(bridge|host|null|macvlan|ipvlan)$/;
const PREDEFINED = /^(bridge|host|none|default)$/;

/** Docker makes only the networks that a service is on. */
function badNetworks(root: Mapping, stack: string): Problem[] {
  const used = new Set(
    entriesOf(get(root, "services")).flatMap(({ value }) => {
      const names = networksOf(value).map(({ name }) => name);
      return names.length === 0 ? ["default"] : names;
    }),
  );
  return entriesOf(get(root, "networks"))
    .filter(({ key, value }) => used.has(key.text) && !isExternal(value))
    .flatMap((network) => badNetwork(network, stack));
}

function badNetwork({ key, value }: Entry, stack: string): Problem[] {
  const given = get(value, "name");
  const named = given?.kind === "scalar" && (textOf(given) ?? "") !== "" ? given : undefined;
  const driver = get(value, "driver");
  const problems =
    named !== undefined && PREDEFINED.test(named.text)
      ? [
          {
            message: `Network ${key.text} is one that every engine has already.`,
            hint: "Write external: true beside its name.",
            place: named.place,
          },
        ]
      : badName("network", named?.text ?? `${stack}_${key.text}`, named ?? key);
  if (driver !== undefined && LOCAL_DRIVERS.test(textOf(driver) ?? ""))
    problems.push({
      message: `Network ${key.text} has a driver whose networks end at their node, and Swarm takes none of them for a service.`,
      hint: "Leave the driver out: overlay is the one that spans nodes.",
      place: driver.place,
    });
  return [...problems, ...badSubnets(value, key.text)];
}

function badSubnets(network: Node, key: string): Problem[] {
  return itemsOf(get(network, "ipam", "config")).flatMap((item) => {
    const node = get(item, "subnet") ?? item;
    const refusal = isUnresolved(node) ? undefined : subnet(textOf(node) ?? "");
    if (refusal === undefined) return [];
    return [{ message: `A subnet of network ${key} ${refusal.why}.`, hint: refusal.hint, place: node.place }];
  });
}
