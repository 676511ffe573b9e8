import { type JsonObject, listAt, objectAt, textAt } from "../json.ts";
import { type Plan } from "../plan.ts";
import { isExternal } from "../stack/configs.ts";
import { STACK_LABEL } from "../stack/defaults.ts";
import { isSubstituted, networksUsedBy } from "../stack/references.ts";
import { type Entry, type Mapping, type Node as TreeNode, entriesOf, get, textOf } from "../stack/tree.ts";
import { type ServiceSpec, type Survey } from "../swarm.ts";
import { compareTexts } from "../text-order.ts";
import { type Finding, error, warning } from "./finding.ts";
import { type Rule } from "./subject.ts";

/** What is there already and stays as it was made, whatever the file says now: docker changes neither a network nor a volume. */

/** Looked at also where nothing is to be sent: that nothing changes is then the surprise. */
export function keptNetworks(root: Mapping, { stack }: Plan, { networks }: Survey): Finding[] {
  const used = networksUsedBy(root);
  return entriesOf(get(root, "networks")).flatMap(({ key, value }) => {
    if (!used.has(key.text) || isExternal(value)) return [];
    const name = nameOnSwarm(stack, { key, value });
    const live = networks.find(
      (raw) => textAt(raw, "Name") === name && textAt(raw, "Labels", STACK_LABEL) === stack,
    );
    const fields = live === undefined ? [] : differingFields(value, live);
    if (fields.length === 0) return [];
    const message = `The network ${key.text} is on the swarm with another definition (${fields.join(", ")}), and docker does not change a network that is there: it stays as it is.`;
    const called = isSubstituted(value) ? "NAME" : name;
    const fix = `Give it another key, which makes a new one, or take the stack down and remove it first: docker network rm ${called}`;
    return [warning("network-differs", message, (get(value, fields[0] ?? "") ?? key).place, fix)];
  });
}

/** One that docker would create, since it goes by the stack's label, and that the engine would refuse by its name. */
export function takenNetworks(root: Mapping, { stack, networks = [] }: Plan, survey: Survey): Finding[] {
  return networks.flatMap((name) => {
    const isThere = survey.networks.some(
      (raw) => textAt(raw, "Name") === name && textAt(raw, "Driver") === DRIVER,
    );
    if (!isThere) return [];
    const entry = entriesOf(get(root, "networks")).find((each) => name === nameOnSwarm(stack, each));
    const message = `The network ${name}, which docker would create for the stack, is on the swarm already and is not the stack's, so the engine would refuse it.`;
    const fix = `Write external: true and name: ${name} for it, give it another key, or remove it if nothing needs it: docker network rm ${name}`;
    return [error("network-name-taken", message, (entry?.key ?? root).place, fix)];
  });
}

/** Of a network or volume of the stack's own. */
function nameOnSwarm(stack: string, { key, value }: Entry): string {
  return textOf(get(value, "name")) ?? `${stack}_${key.text}`;
}

const DRIVER = "overlay";
/** The engine's own notes, such as the list of VXLAN ids. */
const ENGINES_OWN = "com.docker.network.driver.overlay.";

function differingFields(file: TreeNode, live: JsonObject): string[] {
  const options = new Map(
    entriesOf(get(file, "driver_opts")).map(({ key, value }) => [key.text, textOf(value) ?? ""]),
  );
  const made = objectAt(live, "Options");
  const all = new Set([
    ...options.keys(),
    ...Object.keys(made).filter((key) => !key.startsWith(ENGINES_OWN)),
  ]);
  const subnets = subnetsOf(file);
  const hasSubnets = listAt(live, "IPAM", "Config").map((each) => textAt(each, "Subnet"));
  const differs: Readonly<Record<string, boolean>> = {
    driver: (textOf(get(file, "driver")) ?? DRIVER) !== textAt(live, "Driver"),
    driver_opts: [...all].some((key) => !(key in made) || !isSame(options.get(key), textAt(made, key))),
    internal: isOn(get(file, "internal")) !== (live.Internal === true),
    attachable: isOn(get(file, "attachable")) !== (live.Attachable === true),
    // Without one in the file the engine has chosen.
    ipam: subnets.length > 0 && subnets.toSorted().join() !== hasSubnets.toSorted().join(),
  };
  return Object.keys(differs).filter((field) => differs[field] === true);
}

/** A number may be spelt in several ways. */
function isSame(file: string | undefined, live: string): boolean {
  return file === live || (Boolean(file) && live !== "" && Number(file) === Number(live));
}

function subnetsOf(file: TreeNode): string[] {
  const config = get(file, "ipam", "config");
  const items = config?.kind === "sequence" ? config.items : [];
  return items.flatMap((item) => textOf(get(item, "subnet")) ?? []);
}

/** As docker reads a boolean. */
function isOn(node: TreeNode | undefined): boolean {
  return /^(true|y|yes|on)$/i.test(textOf(node) ?? "");
}

/** A node makes a volume when the first task needs it. */
export const keptVolumes: Rule = ({ name, spec, before, place }, root) => {
  const stack = textAt(spec, "Labels", STACK_LABEL);
  const earlier = volumesOf(before);
  const changed = [...volumesOf(spec)].filter(([volume, options]) => {
    const had = earlier.get(volume);
    return had !== undefined && had !== options;
  });
  return changed.map(([volume]) => {
    const entry = entriesOf(get(root, "volumes")).find((each) => volume === nameOnSwarm(stack, each));
    const called = entry?.key.text ?? volume;
    const message = `Service ${name} has the volume ${called} with another driver or other options now, and a node that has the volume already keeps it as it was made.`;
    const fix =
      "Give it another key, which makes a new one, or remove it from its nodes first, with what is in it: docker volume rm";
    return warning("volume-differs", message, (entry?.key ?? { place }).place, fix);
  });
};

/** Names of volumes to what makes them what they are. */
function volumesOf(spec: ServiceSpec | undefined): ReadonlyMap<string, string> {
  const mounts = listAt(spec, "TaskTemplate", "ContainerSpec", "Mounts");
  const named = mounts.filter((each) => textAt(each, "Type") === "volume" && textAt(each, "Source") !== "");
  return new Map(
    named.map((mount) => {
      const driver = textAt(mount, "VolumeOptions", "DriverConfig", "Name") || "local";
      const options = Object.entries(objectAt(mount, "VolumeOptions", "DriverConfig", "Options"));
      return [
        textAt(mount, "Source"),
        JSON.stringify([driver, options.toSorted(([a], [b]) => compareTexts(a, b))]),
      ];
    }),
  );
}
