import { type Place, type Problem } from "../errors.ts";
import { type Mapping, type Node, entriesOf, get, scalarsOf, textOf } from "./tree.ts";

/** Services that speak of a network, config, secret or volume which the file does not define. Docker would tell only after a part was created. */
export function undefinedReferences(root: Mapping): Problem[] {
  const defined = new Map(
    Object.keys(SINGULAR).map((kind) => [
      kind,
      new Set(entriesOf(get(root, kind)).map(({ key }) => key.text)),
    ]),
  );
  defined.get("networks")?.add("default"); // Docker makes it.
  return entriesOf(get(root, "services")).flatMap(({ key, value: service }) => {
    const used = {
      networks: networksOf(service),
      configs: listed(get(service, "configs")),
      secrets: listed(get(service, "secrets")),
      volumes: volumesOf(service),
    };
    return Object.entries(used).flatMap(([kind, references]) =>
      references
        .filter(({ name }) => defined.get(kind)?.has(name) !== true)
        .map(({ name, secret, place }) => ({
          message: `Service ${key.text} uses the ${SINGULAR[kind as keyof typeof SINGULAR]} "${secret === true ? "…" : name}", which the file does not define under ${kind}.`,
          place,
        })),
    );
  });
}

const SINGULAR = { networks: "network", configs: "config", secrets: "secret", volumes: "volume" };

interface Reference {
  readonly name: string;
  /** Made from a template, hence not to be repeated. */
  readonly secret?: boolean;
  readonly place: Place;
}

/** Whether a variable of it is missing, which is told at its own place. */
export function isUnresolved(item: Node): boolean {
  return scalarsOf(item).some(({ unresolved }) => unresolved === true);
}

/** Whether anything of it was made from a variable, and so may not be repeated. */
export function isSubstituted(item: Node): boolean {
  return scalarsOf(item).some(({ substituted }) => substituted === true);
}

function listed(node: Node | undefined): Reference[] {
  if (node?.kind !== "sequence") return [];
  return node.items.flatMap((item) => {
    const name = sourceOf(item);
    if (name === undefined || isUnresolved(item)) return [];
    return [{ name, secret: isSubstituted(item), place: item.place }];
  });
}

/** What an item of a service's configs or secrets names, in its short or long spelling. */
export function sourceOf(item: Node): string | undefined {
  return textOf(item) ?? textOf(get(item, "source"));
}

/** The networks of a service, as a list or as a mapping. */
export function networksOf(service: Node): Reference[] {
  const networks = get(service, "networks");
  const keys = entriesOf(networks).map(({ key }) => ({ name: key.text, place: key.place }));
  return [...keys, ...listed(networks)];
}

/** Keys of the networks that services are on; who names none is on `default`. */
export function networksUsedBy(root: Mapping): ReadonlySet<string> {
  const services = entriesOf(get(root, "services"));
  return new Set(
    services.flatMap(({ value }) => {
      const own = networksOf(value).map(({ name }) => name);
      return own.length === 0 ? ["default"] : own;
    }),
  );
}

/** Named volumes only: `data:/data`, or `type: volume` with a source. Paths and anonymous volumes need no definition. */
function volumesOf(service: Node): Reference[] {
  const volumes = get(service, "volumes");
  if (volumes?.kind !== "sequence") return [];
  return volumes.items.flatMap((item) => {
    const short = /^([A-Za-z0-9][\w.-]+):/.exec(textOf(item) ?? "")?.[1];
    const long = textOf(get(item, "type")) === "volume" ? textOf(get(item, "source")) : undefined;
    const name = short ?? long;
    if (name === undefined || isUnresolved(item)) return [];
    return [{ name, secret: isSubstituted(item), place: item.place }];
  });
}
