import { type Problem } from "../errors.ts";
import { type Mapping, type Node, entriesOf, isNull } from "./tree.ts";

/**
 * What is no list or mapping where docker takes nothing else, and the other way round. Docker checks each file by itself; merged with
 * another one a value of the wrong kind would be lost, and nobody would hear of it.
 */
export function wrongKinds(root: Mapping): Problem[] {
  return entriesOf(root).flatMap(({ key, value }) => wrongAt(value, key.text, key.text));
}

/** `pattern` is the path with `*` for a name that the author chose. */
function wrongAt(node: Node, pattern: string, path: string): Problem[] {
  const kinds = KINDS.get(pattern);
  if (kinds === undefined || isNull(node)) return []; // Half a key, for another file to complete.
  if (!kinds.includes(node.kind)) {
    if (node.kind === "scalar" && node.unresolved === true) return [];
    const wanted = kinds.map((kind) => IN_WORDS[kind]).join(" or ");
    return [{ message: `${path} must be ${wanted}.`, place: node.place }];
  }
  return entriesOf(node).flatMap(({ key, value }) =>
    wrongAt(value, `${pattern}.${SECTIONS.includes(pattern) ? "*" : key.text}`, `${path}.${key.text}`),
  );
}

const IN_WORDS = { scalar: "a single value", sequence: "a list", mapping: "a mapping" } as const;

const SECTIONS: readonly string[] = ["services", "networks", "volumes", "configs", "secrets"];

/** Keys of a service that docker reads (its schema, 3.13). What only Compose knows has several spellings there, and no say here. */
const OF_SERVICE: readonly (readonly [readonly Node["kind"][], string])[] = [
  [
    ["mapping"],
    `credential_spec deploy deploy.update_config deploy.rollback_config deploy.restart_policy deploy.resources deploy.resources.limits
     deploy.resources.reservations deploy.placement healthcheck logging logging.options ulimits`,
  ],
  [
    ["sequence"],
    `cap_add cap_drop configs ports secrets volumes deploy.placement.constraints deploy.placement.preferences
     deploy.resources.reservations.generic_resources`,
  ],
  [["mapping", "sequence"], "environment extra_hosts labels networks sysctls deploy.labels"],
  [["scalar", "sequence"], "command dns dns_search entrypoint healthcheck.test"],
  [
    ["scalar"],
    `hostname image init isolation oom_score_adj read_only stdin_open stop_grace_period stop_signal tty user working_dir deploy.mode
     deploy.endpoint_mode deploy.replicas logging.driver`,
  ],
];

const KINDS: ReadonlyMap<string, readonly Node["kind"][]> = new Map([
  ...SECTIONS.flatMap((section) => [section, `${section}.*`]).map((path) => [path, ["mapping"]] as const),
  ...OF_SERVICE.flatMap(([kinds, keys]) =>
    keys.split(/\s+/).map((key) => [`services.*.${key}`, kinds] as const),
  ),
]);
