import { type Random } from "./random.ts";
import { BARE_ELSEWHERE, BARE_REFUSED, type Variables } from "./values.ts";
import { type Tree, type TreeMap, raw } from "./yaml-text.ts";

/** Puts something that docker probably refuses into one place of one file. */
export function spoil(trees: TreeMap[], random: Random, variables: Variables): void {
  const at = random.whole(0, trees.length - 1);
  const root = trees[at] ?? {};
  trees[at] = random.chance(0.25)
    ? { ...root, ...random.pick(inFile(variables)) }
    : inService(root, random, random.pick(inServices(random, variables)));
}

/** The values of environment variables of their own, so that nothing else may differ. */
export function addDifference(trees: TreeMap[], random: Random, variables: Variables): void {
  const [set = "X"] = variables.names("word");
  const [unset = "X", other = "Y"] = variables.unset;
  const templates = [
    `\${${unset}:-\${${set}}}`,
    `\${${set}-\${${unset}:-a}}`,
    `\${${unset}:-$${set}}`,
    `\${${unset}:-a$$b}`,
    `$${set}-alpine`,
    `$${unset}?x`,
    `$${set}:-x}y`,
    `\${${set}:+x}`,
    `\${${unset}+x}`,
    `\${${set}:?must-be-set}`,
    `\${${unset}-a:-b}`,
    `\${${unset}:?set it}\${${set}}`,
    `$(x) $${other}`,
  ];
  const chosen = random.some(templates, 1, 2).map((template, index) => [`DIFFERENT_${index}`, template]);
  const environment = random.chance(0.5) ? chosen.map((pair) => pair.join("=")) : Object.fromEntries(chosen);
  trees[0] = inService(trees[0] ?? {}, random, { environment });
}

function inService(root: TreeMap, random: Random, patch: TreeMap): TreeMap {
  const services = (root["services"] ?? {}) as TreeMap;
  const name = random.pick([...Object.keys(services), "spare"]);
  return {
    ...root,
    services: { ...services, [name]: { ...((services[name] ?? { image: "spare" }) as TreeMap), ...patch } },
  };
}

/** What is wrong in a service; each has the same chance, so a group that has many ways is one entry. */
function inServices(random: Random, variables: Variables): readonly TreeMap[] {
  const [missing = "X"] = variables.unset;
  const one = (...choices: readonly Tree[]): Tree => random.pick(choices);
  const update = (update_config: TreeMap): TreeMap => ({ deploy: { update_config } });
  return [
    { labels: { a: raw(random.pick(BARE_ELSEWHERE)) } },
    { labels: { a: raw(random.pick(BARE_REFUSED)) } },
    { labels: { [random.pick(["a", "b"])]: raw(random.pick(FOREIGN_BREAKS)) } },
    {
      labels: raw(
        random.pick([
          '{ 1: "a" }',
          "{ true: a }",
          "{ ~: a }",
          "{ 0123: a }",
          "{ a: b, a: c }",
          "{ ? a : b }",
        ]),
      ),
    },
    { environment: { A: variables.broken() } },
    { environment: one("A=b", ["A=b", "A=b"], [{ A: "b" }], { A: ["b"] }, [1]) },
    { image: variables.broken() },
    { command: one(["a", variables.broken()], "unbalanced 'quote") },
    {
      deploy: {
        replicas: one(
          "two",
          "3",
          "",
          1.5,
          `$${missing}`,
          "1${X:-.5}",
          "${X:- 1}",
          "${X:-99999999999999999999}",
        ),
      },
    },
    { deploy: { resources: { limits: { cpus: raw("0.5") } } } },
    { deploy: { resources: { limits: { pids: "${X:-10}" } } } },
    update({ delay: "ten" }),
    update({ order: `\${${missing}:-sideways}` }),
    update({
      max_failure_ratio: one("${X:-x}", "${X:-0x10}", "${X:-1_0}", "${X:-inf}", "${X:-1e400}", "${X:- 1}"),
    }),
    { tty: one("${X:-1}", "${X:-0}", "${X:-maybe}", "${X:-t}", "yes", "${X:- on}") },
    { init: "${X:-true}" },
    { oom_score_adj: "${X:-10}" },
    { shm_size: 67108864 },
    { colour: "blue" },
    { extends: { service: "a" } },
    { mem_limit: "1g" },
    { depends_on: { db: { condition: "service_healthy" } }, pull_policy: "always" },
    { restart: one("always:3", "") },
    { env_file: one("missing.env", "", ["."], [".env", ".env"]) },
    {
      ports: one(
        ["a:b"],
        ["80:80", "80:80"],
        [{ target: "80" }],
        ["1-3:1-2"],
        [""],
        [raw("!!str 80:80")],
        ["80:80/xyz"],
      ),
    },
    {
      volumes: one(
        [""],
        [":/x"],
        ["a:b:c:d"],
        [{ type: "bind", target: "/x" }],
        [{ source: "a", target: "/b" }],
      ),
    },
    { networks: { n: { colour: 1 } } },
    { ulimits: one({ nofile: { soft: 1 } }, { nofile: "1" }, { NOFILE: 1 }) },
    { healthcheck: { interval: 10 } },
    { configs: one({ c: {} }, [{ target: "/x" }], [1]) },
    { "<<": one(raw("*nowhere"), raw("a"), [1], [[{}]], {}, []) },
    { stop_grace_period: one(10, "10", "1d", "") },
  ];
}

/** Line ends to YAML 1.1 and letters to YAML 1.2, where they are not escaped. */
const FOREIGN_BREAKS = [
  '"a\u0085b"',
  "a\u0085b",
  "'a\u2028b'",
  '"a \u2029 b"',
  "a\u2028b",
  '"a\ufeffb"',
  "a\ufeffb",
];

function inFile(variables: Variables): readonly TreeMap[] {
  return [
    ...["2", "3.14", "latest", raw("3.8"), raw("3"), null, "3.3", "3.0"].map((version) => ({ version })),
    { name: "shop" },
    { services: null },
    { services: [] },
    { services: { "with.dot": { image: "a", deploy: { replicas: "${X:-2}" } } } },
    { services: { "with blank": { image: "a" } } },
    ...[null, [], { v: { external: true, driver: "x" } }, { v: "x" }].map((volumes) => ({ volumes })),
    { networks: { n: { external: { name: "a" }, name: "b" } } },
    { configs: { "with.dot": { external: "${X:-true}" } } },
    ...[null, {}, { content: "x" }, { external: false }].map((c) => ({ configs: { c } })),
    { secrets: { s: { driver: "a", file: "b" } } },
    { "x-broken": { deep: [variables.broken()] } },
    { "x-bare": raw("@a") },
  ];
}
