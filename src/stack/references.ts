import { type Place, type Problem } from "../errors.ts";
import { type Mapping, type Node, entriesOf, get, textOf } from "./tree.ts";

/** Services that speak of a network, config, secret or volume which the file does not define. Docker would tell only after a part was created. */
export function undefinedReferences(root: Mapping): Problem[] {
  return entriesOf(get(root, "services")).flatMap(({ key, value: service }) =>
    [
      ...missing(root, "networks", networksOf(service), ["default"]),
      ...missing(root, "configs", listed(get(service, "configs"))),
      ...missing(root, "secrets", listed(get(service, "secrets"))),
      ...missing(root, "volumes", volumesOf(service)),
    ].map(({ kind, name, secret, place }) => ({
      message: `Service ${key.text} uses ${kind} "${secret === true ? "…" : name}", which the file does not define under ${kind}.`,
      place,
    })),
  );
}

interface Reference {
  readonly name: string;
  /** Made from a template, hence not to be repeated. */
  readonly secret?: boolean;
  readonly place: Place;
}

function missing(
  root: Mapping,
  kind: string,
  references: readonly Reference[],
  always: readonly string[] = [],
): (Reference & { kind: string })[] {
  const defined = new Set([...entriesOf(get(root, kind)).map(({ key }) => key.text), ...always]);
  return references.filter(({ name }) => !defined.has(name)).map((reference) => ({ ...reference, kind }));
}

export function isSubstituted(item: Node): boolean {
  return item.kind === "scalar"
    ? item.substituted === true
    : entriesOf(item).some(({ value }) => isSubstituted(value));
}

function listed(node: Node | undefined): Reference[] {
  if (node?.kind !== "sequence") return [];
  return node.items.flatMap((item) => {
    const name = sourceOf(item);
    return name === undefined ? [] : [{ name, secret: isSubstituted(item), place: item.place }];
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

/** Named volumes only: `data:/data`, or `type: volume` with a source. Paths and anonymous volumes need no definition. */
function volumesOf(service: Node): Reference[] {
  const volumes = get(service, "volumes");
  if (volumes?.kind !== "sequence") return [];
  return volumes.items.flatMap((item) => {
    const short = /^([A-Za-z0-9][\w.-]+):/.exec(textOf(item) ?? "")?.[1];
    const long = textOf(get(item, "type")) === "volume" ? textOf(get(item, "source")) : undefined;
    const name = short ?? long;
    return name === undefined ? [] : [{ name, secret: isSubstituted(item), place: item.place }];
  });
}
