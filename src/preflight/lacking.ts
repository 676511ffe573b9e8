import { textAt } from "../json.ts";
import { type Needs } from "../plan.ts";
import { externalName, isExternal } from "../stack/configs.ts";
import { isSubstituted, networksUsedBy, sourceOf } from "../stack/references.ts";
import { type RenderedStack } from "../stack/render.ts";
import { type Node as TreeNode, entriesOf, get } from "../stack/tree.ts";
import { type Survey } from "../swarm.ts";
import { type Finding, error } from "./finding.ts";
import { type FindingId } from "./findings.ts";

/**
 * What the file takes for granted and the swarm does not have: external networks, configs and secrets that a service uses. `made` are
 * the names of those that this deployment creates. Told before docker is rehearsed, which would stop at the first; so what is to be passed
 * over is left to docker.
 */
export function lacking(
  { root }: RenderedStack,
  survey: Survey,
  made: ReadonlySet<string>,
  ignored: ReadonlySet<FindingId>,
): { readonly findings: readonly Finding[]; readonly names: Needs } {
  const findings: Finding[] = [];
  const names = { networks: [] as string[], configs: [] as string[], secrets: [] as string[] };
  const services = entriesOf(get(root, "services")).map(({ value }) => value);
  const existing = {
    networks: new Set(survey.networks.flatMap((raw) => [textAt(raw, "Name"), textAt(raw, "Id")])),
    configs: new Set(survey.configs.flatMap(({ name, id }) => [name, id])),
    secrets: new Set(survey.secrets.flatMap(({ name, id }) => [name, id])),
  };
  const used = {
    networks: networksUsedBy(root),
    configs: usedOf(services, "configs"),
    secrets: usedOf(services, "secrets"),
  };
  for (const kind of ["networks", "configs", "secrets"] as const) {
    const singular = kind.slice(0, -1) as "network" | "config" | "secret";
    for (const { key, value } of entriesOf(get(root, kind))) {
      if (!used[kind].has(key.text) || !isExternal(value)) continue;
      const name = externalName(key.text, value);
      if (made.has(name) || (kind === "networks" && EVERYWHERE.test(name))) continue;
      // A variable's value may be a secret: then its key stands for the name.
      const isHidden = isSubstituted(value);
      const called = isHidden ? key.text : name;
      const what = `The ${singular} ${called} is external, and`;
      const found = existing[kind].has(name);
      if (found && (kind !== "networks" || reachesAll(survey, name))) continue;
      const finding = found
        ? error(
            "network-scope",
            `${what} it ends at the manager: its scope is not swarm, so no service can be on it.`,
            key.place,
            "Create an overlay network, and name that one.",
          )
        : error(
            `missing-${singular}`,
            `${what} the swarm has none of ${isHidden ? "the name that its variables give" : "this name"}.`,
            key.place,
            CREATE[kind](isHidden ? "NAME" : name),
          );
      if (ignored.has(finding.id)) continue;
      names[kind].push(name);
      findings.push(finding);
    }
  }
  return { findings, names };
}

/** Networks that each node has on its own, and that a service may use. */
const EVERYWHERE = /^(bridge|host)$/;

const CREATE: Readonly<Record<keyof Needs, (name: string) => string>> = {
  networks: (name) =>
    `Name it in the input "networks", or run: docker network create --driver overlay --attachable ${name}`,
  configs: (name) => `Give it content or file instead of external, or run: docker config create ${name} FILE`,
  secrets: (name) =>
    `Give it environment or file instead of external, or run: docker secret create ${name} FILE`,
};

function usedOf(services: readonly TreeNode[], kind: string): ReadonlySet<string> {
  const items = services.flatMap((service) => {
    const list = get(service, kind);
    return list?.kind === "sequence" ? list.items : [];
  });
  return new Set(items.map((item) => sourceOf(item) ?? ""));
}

function reachesAll({ networks }: Survey, name: string): boolean {
  const called = networks.filter((raw) => textAt(raw, "Name") === name || textAt(raw, "Id") === name);
  return called.some((raw) => ["swarm", ""].includes(textAt(raw, "Scope")));
}
