import { Random } from "./random.ts";
import {
  type Anchor,
  type Making,
  deploy,
  environment,
  extension,
  flag,
  healthcheck,
  labels,
  logging,
  service,
  updateConfig,
  value,
  whole,
} from "./service-fields.ts";
import { addDifference, spoil } from "./spoil.ts";
import { BARE_ELSEWHERE, Variables } from "./values.ts";
import { type Tree, type TreeMap, anchored, raw, spell } from "./yaml-text.ts";

/** Stack files, merged in this order, with all that they need. */
export interface Case {
  readonly number: number;
  readonly files: readonly StackText[];
  /** Files beside the stack files, by their path. */
  readonly beside: ReadonlyMap<string, string>;
  readonly variables: ReadonlyMap<string, string>;
}

interface StackText {
  readonly path: string;
  readonly text: string;
}

/** Case `number` of the corpus that `seed` makes. */
export function generate(seed: number, number: number): Case {
  const random = Random.forCase(seed, number);
  const variables = new Variables(random);
  const beside = envFiles(random, variables);
  const count = random.pick([1, 1, 1, 1, 2, 2, 3]);
  const version = random.pick(VERSIONS);
  const names = {
    services: random.some(["web", "api", "worker", "db", "with-dash", "with_under", "A1"], 1, 4),
    networks: random.some(["front", "back", "default", "net-1", "Net_2"], 1, 4),
    volumes: random.some(["data", "cache", "vol_1", "Vol-2", "v_3"], 1, 4),
    configs: random.some(["settings", "nginx_conf", "c-1", "C_2"], 1, 3),
    secrets: random.some(["password", "tls_key", "s-1"], 1, 3),
  };
  const trees = Array.from({ length: count }, (_, index) => {
    const anchors = new Set(random.chance(0.4) ? random.some(ANCHORS) : []);
    const minor = MINOR.get(version) ?? 13;
    const making: Making = {
      random,
      variables,
      minor,
      ...names,
      envFiles: [...beside.keys()],
      anchors,
      extended: index === 0,
    };
    return stackTree(making, index === 0 ? version : (random.pick(sameVersions(version)) ?? version), index);
  });
  if (random.chance(RISKY)) spoil(trees, random, variables);
  else if (random.chance(DIFFERENT)) addDifference(trees, random, variables);
  const paths = ["stack.yml", random.pick(["stack.prod.yml", "deploy/production.yml"]), "local/third.yaml"];
  return {
    number,
    files: trees.map((tree, index) => ({ path: paths[index] ?? `${index}.yml`, text: spell(tree, random) })),
    beside,
    variables: withHome(variables.values, random),
  };
}

/** The share of cases with something that docker is likely to refuse. */
const RISKY = 0.12;
/** The share of cases with something that we read in another way on purpose. */
const DIFFERENT = 0.05;

type Version = string | undefined;

const VERSIONS: readonly Version[] = [
  undefined,
  undefined,
  undefined,
  "3.8",
  "3.8",
  "3.7",
  "3",
  "",
  "3.4",
  "3.5",
  "3.6",
  "3.9",
  "3.10",
  "3.11",
  "3.12",
  "3.13",
];

/** Those that say which; the others are the newest. */
const MINOR: ReadonlyMap<Version, number> = new Map(
  Array.from({ length: 10 }, (_, index): [string, number] => [`3.${index + 4}`, index + 4]),
);

/** Docker merges files of the same version only, however that is spelled. */
function sameVersions(version: Version): readonly Version[] {
  return (MINOR.get(version) ?? 13) === 13 ? [undefined, "3", "3.13", ""] : [version];
}

const ANCHORS: readonly Anchor[] = ["env", "labels", "logging", "deploy", "update", "healthcheck", "service"];

/** `~` in the path of a mount is this variable. */
function withHome(values: ReadonlyMap<string, string>, random: Random): ReadonlyMap<string, string> {
  return random.chance(0.3) ? new Map([...values, ["HOME", "/home/some one"]]) : values;
}

function stackTree(making: Making, version: Version, index: number): TreeMap {
  const { random } = making;
  const [fewest, density] =
    index === 0 ? [1, random.pick([0.2, 0.35, 0.5])] : [0, random.pick([0.15, 0.3, 0.6])];
  const services = random.some(making.services, fewest);
  const section = (make: () => TreeMap): TreeMap | undefined => random.maybe(index === 0 ? 0.9 : 0.5, make);
  const tree: TreeMap = {
    version,
    ...extensions(making),
    services:
      services.length > 0
        ? Object.fromEntries(services.map((name) => [name, service(making, density)]))
        : undefined,
    networks: section(() => definitions(making, making.networks, network)),
    volumes: section(() => definitions(making, making.volumes, volume)),
    configs: section(() => definitions(making, making.configs, fileObject)),
    secrets: section(() => definitions(making, making.secrets, secret)),
  };
  return tree;
}

/** `x-` blocks, with the anchors that the services use. */
function extensions(making: Making): TreeMap {
  const { random, anchors } = making;
  const none: Making = { ...making, anchors: new Set() };
  const content: Readonly<Record<Anchor, () => Tree>> = {
    env: () => mapOf(() => environment(none)),
    labels: () => mapOf(() => labels(none)),
    logging: () => logging(none),
    deploy: () => deploy(none),
    update: () => updateConfig(none),
    healthcheck: () => healthcheck(none),
    service: () => ({ image: "base:1", ...service(none, 0.15) }),
  };
  const blocks = [...anchors].map((name): [string, Tree] => [name, anchored(name, content[name]())]);
  const free = random.maybe(0.15, () => ({
    "x-anything": extension(making),
    "x-bare": random.some(BARE_ELSEWHERE, 1, 3).map(raw),
  }));
  if (blocks.length === 0) return free ?? {};
  return random.chance(0.3)
    ? { ...free, "x-templates": Object.fromEntries(blocks) }
    : { ...free, ...Object.fromEntries(blocks.map(([name, tree]) => [`x-${name}`, tree])) };
}

/** A merge key takes mappings only. */
function mapOf(make: () => Tree): Tree {
  for (;;) {
    const made = make();
    if (!Array.isArray(made)) return made;
  }
}

function definitions(making: Making, names: readonly string[], define: (making: Making) => Tree): TreeMap {
  return Object.fromEntries(making.random.some(names).map((name) => [name, define(making)]));
}

function network(making: Making): Tree {
  const { random, variables, minor } = making;
  return random.pick<() => Tree>([
    () => null,
    () => ({ external: random.pick<Tree>([true, { name: "proxy" }]) }),
    () => ({
      external: flag(making),
      name: minor >= 5 ? random.maybe(0.4, () => variables.typed("word")) : undefined,
    }),
    () => ({
      name: minor >= 5 ? random.maybe(0.3, () => variables.typed("word")) : undefined,
      driver: random.maybe(0.6, () => "overlay"),
      driver_opts: random.maybe(0.4, () => ({
        encrypted: random.pick<Tree>(["true", "", 1]),
        mtu: raw("01450"),
      })),
      attachable: random.maybe(0.4, () => flag(making)),
      internal: random.maybe(0.3, () => flag(making)),
      ipam: random.maybe(0.3, () => ({ driver: "default", config: [{ subnet: "10.1.0.0/24" }] })),
      labels: random.maybe(0.3, () => labels(making)),
      "x-net": minor >= 7 ? random.maybe(0.1, () => extension(making)) : undefined,
    }),
  ])();
}

function volume(making: Making): Tree {
  const { random, variables } = making;
  return random.pick<() => Tree>([
    () => null,
    () => ({}),
    () => ({ external: true, name: random.maybe(0.4, () => variables.typed("word")) }),
    () => ({
      name: random.maybe(0.3, () => variables.typed("word")),
      driver: random.maybe(0.5, () => "local"),
      driver_opts: random.maybe(0.5, () => ({
        type: "nfs",
        o: `addr=10.0.0.1,rw,$$x`,
        device: ":/x",
        n: raw("0644"),
      })),
      labels: random.maybe(0.4, () => labels(making)),
    }),
  ])();
}

function fileObject(making: Making): TreeMap {
  const { random, variables, minor } = making;
  const external: TreeMap = { external: random.pick<Tree>([true, minor < 5 ? true : "${NO_SUCH:-yes}"]) };
  const file: TreeMap = {
    file: random.pick(["./settings.conf", "../outside.txt", "/etc/hostname", "${NO_SUCH:-a}.txt"]),
    labels: random.maybe(0.3, () => labels(making)),
    template_driver: minor >= 8 ? random.maybe(0.2, () => "golang") : undefined,
    "x-obj": minor >= 7 ? random.maybe(0.1, () => value(making)) : undefined,
  };
  return {
    ...(random.chance(0.4) ? external : file),
    name: minor >= 5 ? random.maybe(0.3, () => variables.typed("word")) : undefined,
  };
}

function secret(making: Making): Tree {
  const { random, minor } = making;
  if (minor >= 8 && random.chance(0.15))
    return { driver: "vault", driver_opts: { path: "a", ttl: whole(making) } };
  return fileObject({ ...making, random });
}

/** Env files, as docker reads them: no quotes, no escapes, no substitution. */
function envFiles(random: Random, variables: Variables): Map<string, string> {
  const files = random.some(["app.env", "app-2.env", ".env", "config/app.prod.env"], 0, 2);
  const bare = [...random.some([...variables.values.keys()], 0, 2), ...variables.unset.slice(1)];
  return new Map(
    files.map((path) => {
      const content = random.some([...ENV_LINES, ...bare], 0, 10).join("\n");
      const end = random.pick(["\n", "\n", ""]);
      const text = `${random.chance(0.1) ? "\ufeff" : ""}${content}${end}`;
      return [path, random.chance(0.15) ? text.replaceAll("\n", "\r\n") : text];
    }),
  );
}

const ENV_LINES: readonly string[] = [
  "APP_ENV=production",
  "A=from a file",
  'QUOTED="in quotes"',
  "SINGLE='in single quotes'",
  "HASH=a #b",
  "# a comment = here",
  "  # indented comment",
  "",
  "   ",
  "  INDENTED=x",
  "TRAILING=blanks  ",
  "TABBED=\ta\t",
  "EMPTY=",
  "EQUALS=a=b==c",
  "DOLLAR=$HOME ${TAG} $$",
  "BACKSLASH=a\\nb\\",
  "DATABASE_URL=postgres://u:p@db/x?a=b",
  "lower=1",
  "WITH.DOT=2",
  "WITH-DASH=3",
  "UNICODE=日本 🐳",
  "NEL=a\u0085b",
  "LS=a\u2028b",
  "日本=key",
  "A=twice",
  "\u00a0NBSP=x",
  "\fFORMFEED=x",
  "\vVT=x\v",
  "BRACES={{.Node.Hostname}}",
];
