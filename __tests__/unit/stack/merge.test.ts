import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { mergeFiles } from "../../../src/stack/merge.ts";
import { parseStackFile, printStackFile } from "../../../src/stack/stack-file.ts";
import { type Findings } from "../../../src/stack/template.ts";
import { type Mapping, type Node, isNull } from "../../../src/stack/tree.ts";

type Value = string | null | readonly Value[] | { readonly [key: string]: Value };

/** Texts, lists and mappings, whatever their spelling; null for an empty value. */
function valueOf(node: Node): Value {
  switch (node.kind) {
    case "scalar":
      return isNull(node) ? null : node.text;
    case "sequence":
      return node.items.map(valueOf);
    case "mapping":
      return Object.fromEntries(node.entries.map(({ key, value }) => [key.text, valueOf(value)]));
  }
}

interface Merged {
  readonly root: Mapping;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** `1.yml`, `2.yml` and so on. */
function merge(...texts: readonly string[]): Merged {
  const findings: Findings = { problems: [], warnings: [] };
  const files = texts.map((text, index) => parseStackFile(text, `${index + 1}.yml`));
  const root = mergeFiles(files, findings);
  return { root, problems: findings.problems.map(inWords), warnings: findings.warnings.map(inWords) };
}

/** What becomes of a service w whose keys are spread over several files. */
function service(...texts: readonly string[]): { keys: Value; warnings: readonly string[] } {
  const { root, problems, warnings } = merge(...texts.map((text) => `services:\n  w: {${text}}`));
  expect(problems).toEqual([]);
  return { keys: valueOf(root), warnings };
}

const services = (w: Value): Value => ({ services: { w } });

describe("one file alone", () => {
  const text =
    'services:\n  w: {ports: ["80:80", "80:80/udp"], volumes: [vol:/a, other:/a], cap_add: [A, A], environment: [A=1, A=2]}\nx-a: {b: c}\n';

  test("stays as it is, also where several would lose something", () => {
    const { root, warnings } = merge(text);
    expect(printStackFile(root)).toBe(printStackFile(parseStackFile(text, "f")));
    expect(warnings).toEqual([]);
  });

  test("is needed", () => {
    expect(() => merge()).toThrow(RangeError);
  });
});

describe("the files", () => {
  test.each<[string, string[], Value]>([
    [
      "have each its services",
      ["services: {b: {image: b}}", "services: {a: {image: a}}"],
      { services: { b: { image: "b" }, a: { image: "a" } } },
    ],
    [
      "add keys to each other's services",
      ["services: {w: {image: a}}", "services: {w: {hostname: b}}"],
      services({ image: "a", hostname: "b" }),
    ],
    [
      "are merged in their order",
      ["services: {w: {image: a, hostname: x}}", "services: {w: {image: b}}", "services: {w: {hostname: z}}"],
      services({ image: "b", hostname: "z" }),
    ],
    [
      "may have services that the first has none of",
      ["x-a: b", "services: {w: {image: a}}"],
      { "x-a": "b", services: { w: { image: "a" } } },
    ],
    [
      "may have no services",
      ["services: {w: {image: a}}", "volumes: {v: }"],
      { services: { w: { image: "a" } }, volumes: { v: null } },
    ],
    [
      "replace a network, as a whole",
      ["networks: {a: {driver: x, attachable: true}, b: }", "networks: {a: {driver: y}}"],
      { networks: { a: { driver: "y" }, b: null } },
    ],
    [
      "replace a volume, as a whole",
      ["volumes: {a: {driver: x, labels: {k: v}}}", "volumes: {a: , c: }"],
      { volumes: { a: null, c: null } },
    ],
    [
      "replace a config, as a whole",
      ["configs: {a: {file: ./x, labels: {k: v}}}", "configs: {a: {external: true}}"],
      { configs: { a: { external: "true" } } },
    ],
    [
      "replace a secret, as a whole",
      ["secrets: {a: {external: true, name: x}}", "secrets: {a: {external: true}, b: {file: y}}"],
      { secrets: { a: { external: "true" }, b: { file: "y" } } },
    ],
    ["keep an extension to themselves: the first one's stays", ["x-a: 1", "x-a: 2\nx-b: 3"], { "x-a": "1" }],
    [
      "keep a key that docker does not know, so that docker refuses it",
      ["services: {w: {image: a}}", "servces: {}"],
      { services: { w: { image: "a" } }, servces: {} },
    ],
  ])("%s", (_fact, texts, merged) => {
    const { root, problems, warnings } = merge(...texts);
    expect(valueOf(root)).toEqual(merged);
    expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
  });

  test("leave the services in the order in which they are met", () => {
    const { root } = merge("services: {c: {}, a: {}}", "services: {b: {}, a: {}}");
    expect(printStackFile(root).match(/[abc](?=:)/g)).toEqual(["c", "a", "b"]);
  });

  test("leave each value its place", () => {
    const { root } = merge("services: {w: {hostname: a, user: b}}", "services:\n  w:\n    hostname: c");
    const w = root.entries[0]?.value;
    const keys = w?.kind === "mapping" ? w.entries[0]?.value : undefined;
    const places = keys?.kind === "mapping" ? keys.entries.map(({ value }) => value.place) : [];
    expect(places).toEqual([
      { file: "2.yml", line: 3, column: 15 },
      { file: "1.yml", line: 1, column: 35 },
    ]);
  });
});

describe("the version", () => {
  test.each([
    ["is the same in both", 'version: "3.8"', 'version: "3.8"'],
    ["is spelled without quotes in one", "version: 3.8", 'version: "3.8"'],
    ["is missing in both", "x-a: 1", "x-b: 1"],
    ["is 3 in one, which means the newest, and missing in the other", 'version: "3"', "x-b: 1"],
    ["is missing in one, and 3 in the other", "x-a: 1", 'version: "3"'],
    ["is missing in one, and the newest in the other", "x-a: 1", 'version: "3.13"'],
    ["is empty in one, and missing in the other", 'version: ""', "x-a: 1"],
  ])("%s: such files are merged", (_fact, first, second) => {
    expect(merge(first, second).problems).toEqual([]);
  });

  test.each([
    ["in another", 'version: "3.8"', 'version: "3.7"', "2.yml:1:10", "3.8 in the first one, 3.7 here"],
    ["in none", 'version: "3.8"', "x-a: 1", "2.yml:1:1", "3.8 in the first one, none here"],
    ["only here", "x-a: 1", "x-b: 2\nversion: '3.8'", "2.yml:2:10", "none in the first one, 3.8 here"],
    [
      "in 3, which means the newest",
      "version: '3.9'",
      "version: '3'",
      "2.yml:1:10",
      "3.9 in the first one, 3 here",
    ],
    [
      "in 3.0, which does not mean the newest",
      "version: '3'",
      "version: '3.0'",
      "2.yml:1:10",
      "3 in the first one, 3.0 here",
    ],
  ])("that differs %s is refused at its place", (_fact, first, second, place, words) => {
    expect(merge(first, second).problems).toEqual([
      `${place}: The files differ in their version: ${words}. Docker merges files of one version only.`,
    ]);
  });

  test("is compared with that of the first file, in each of the others", () => {
    expect(merge("version: '3.8'", "version: '3.7'", "version: '3.8'", "version: '3.9'").problems).toEqual([
      expect.stringContaining(
        "2.yml:1:10: The files differ in their version: 3.8 in the first one, 3.7 here.",
      ),
      expect.stringContaining(
        "4.yml:1:10: The files differ in their version: 3.8 in the first one, 3.9 here.",
      ),
    ]);
  });
});

describe("a later value", () => {
  test.each<[string, string, string, Value]>([
    ["replaces text", "hostname: a", "hostname: b", { hostname: "b" }],
    ["replaces a switch by true", "tty: false", "tty: true", { tty: "true" }],
    [
      "replaces a length of time",
      "stop_grace_period: 1s",
      "stop_grace_period: 2m",
      { stop_grace_period: "2m" },
    ],
    [
      "replaces a number below deploy",
      "deploy: {replicas: 2}",
      "deploy: {replicas: 3}",
      { deploy: { replicas: "3" } },
    ],
    [
      "is added to what deploy has",
      "deploy: {replicas: 2}",
      "deploy: {mode: global}",
      { deploy: { replicas: "2", mode: "global" } },
    ],
    [
      "is added, however deep",
      "deploy: {resources: {limits: {memory: 1g}}}",
      "deploy: {resources: {limits: {cpus: '1'}, reservations: {memory: 1m}}}",
      { deploy: { resources: { limits: { memory: "1g", cpus: "1" }, reservations: { memory: "1m" } } } },
    ],
    ["stands where nothing was", "deploy: ", "deploy: {mode: global}", { deploy: { mode: "global" } }],
    ["that is missing changes nothing", "deploy: {mode: global}", "deploy: ", { deploy: { mode: "global" } }],
  ])("%s", (_fact, first, second, merged) => {
    expect(service(first, second)).toEqual({ keys: services(merged), warnings: [] });
  });
});

describe("a later value that is empty to docker leaves the earlier one", () => {
  test.each<[string, string, string]>([
    ["empty text", "hostname: a", 'hostname: ""'],
    ["false, of a switch", "tty: true", "tty: false"],
    ["false, of a switch that may be unset", "init: true", "init: false"],
    ["false, in capitals", "tty: true", "tty: FALSE"],
    ["0", "oom_score_adj: 5", "oom_score_adj: 0"],
    ["0 with a sign", "oom_score_adj: 5", "oom_score_adj: -0"],
    ["0 in hexadecimal", "oom_score_adj: 5", "oom_score_adj: 0x0"],
    [
      "0.0",
      "deploy: {update_config: {max_failure_ratio: 0.5}}",
      "deploy: {update_config: {max_failure_ratio: 0.0}}",
    ],
    [
      "0e3",
      "deploy: {update_config: {max_failure_ratio: 0.5}}",
      "deploy: {update_config: {max_failure_ratio: 0e3}}",
    ],
    ["0s, of a length of time", "stop_grace_period: 5s", "stop_grace_period: 0s"],
    ["0 without a unit", "stop_grace_period: 5s", "stop_grace_period: '0'"],
    ["0h0m", "healthcheck: {interval: 5s}", "healthcheck: {interval: 0h0m}"],
    ["-0.0s", "deploy: {restart_policy: {delay: 5s}}", "deploy: {restart_policy: {delay: -0.0s}}"],
    [
      "0 bytes, of memory",
      "deploy: {resources: {limits: {memory: 1g}}}",
      "deploy: {resources: {limits: {memory: '0'}}}",
    ],
    ["0b", "deploy: {resources: {limits: {memory: 1g}}}", "deploy: {resources: {limits: {memory: 0b}}}"],
    ["0 processes", "deploy: {resources: {limits: {pids: 5}}}", "deploy: {resources: {limits: {pids: 0}}}"],
    [
      "0 of a node's",
      "deploy: {placement: {max_replicas_per_node: 2}}",
      "deploy: {placement: {max_replicas_per_node: 0}}",
    ],
    ["an empty mode", "deploy: {mode: global}", 'deploy: {mode: ""}'],
    ["an empty mapping", "deploy: {mode: global}", "deploy: {}"],
    ["an empty list", "cap_add: [A]", "cap_add: []"],
  ])("%s", (_fact, first, second) => {
    expect(service(first, second)).toEqual(service(first));
  });
});

describe("0 counts where docker can tell it from nothing", () => {
  test.each<[string, string, string, Value]>([
    ["replicas", "deploy: {replicas: 2}", "deploy: {replicas: 0}", { deploy: { replicas: "0" } }],
    [
      "parallelism of an update",
      "deploy: {update_config: {parallelism: 2}}",
      "deploy: {update_config: {parallelism: 0}}",
      { deploy: { update_config: { parallelism: "0" } } },
    ],
    [
      "parallelism of a rollback",
      "deploy: {rollback_config: {parallelism: 2}}",
      "deploy: {rollback_config: {parallelism: 0}}",
      { deploy: { rollback_config: { parallelism: "0" } } },
    ],
    [
      "attempts",
      "deploy: {restart_policy: {max_attempts: 2}}",
      "deploy: {restart_policy: {max_attempts: 0}}",
      { deploy: { restart_policy: { max_attempts: "0" } } },
    ],
    ["retries", "healthcheck: {retries: 2}", "healthcheck: {retries: 0}", { healthcheck: { retries: "0" } }],
    [
      "CPUs, which are text to docker",
      "deploy: {resources: {limits: {cpus: '1'}}}",
      "deploy: {resources: {limits: {cpus: '0'}}}",
      { deploy: { resources: { limits: { cpus: "0" } } } },
    ],
    ["a user, which is text", "user: a", "user: '0'", { user: "0" }],
    ["false in quotes, which is text", "hostname: a", "hostname: 'false'", { hostname: "false" }],
  ])("%s", (_fact, first, second, merged) => {
    expect(service(first, second)).toEqual({ keys: services(merged), warnings: [] });
  });
});

describe("0, false or empty text where another type is due stays, for docker to refuse:", () => {
  test.each<[string, string, string, Value]>([
    ["a number for a user", "user: '1000'", "user: 0", { user: "0" }],
    ["a number for a name", "hostname: a", "hostname: 0x0", { hostname: "0x0" }],
    [
      "a number for a length of time",
      "stop_grace_period: 5s",
      "stop_grace_period: 0",
      { stop_grace_period: "0" },
    ],
    ["a number for a switch", "tty: true", "tty: 0", { tty: "0" }],
    ["false for a folder", "working_dir: /a", "working_dir: false", { working_dir: "false" }],
    ["false for a number", "oom_score_adj: 5", "oom_score_adj: false", { oom_score_adj: "false" }],
    [
      "a number for CPUs",
      "deploy: {resources: {limits: {cpus: '1'}}}",
      "deploy: {resources: {limits: {cpus: 0}}}",
      { deploy: { resources: { limits: { cpus: "0" } } } },
    ],
    ["text for a number", "deploy: {replicas: 2}", "deploy: {replicas: ''}", { deploy: { replicas: "" } }],
    ["text for a switch", "tty: true", "tty: ''", { tty: "" }],
  ])("%s", (_fact, first, second, merged) => {
    expect(service(first, second)).toEqual({ keys: services(merged), warnings: [] });
  });
});

describe("lists", () => {
  test.each<[string, string, string, Value]>([
    ["are appended", "cap_add: [B, A]", "cap_add: [C]", { cap_add: ["B", "A", "C"] }],
    [
      "are appended, and have what both have once",
      "cap_drop: [A, B]",
      "cap_drop: [B, C]",
      { cap_drop: ["A", "B", "C"] },
    ],
    ["of one may be text", "dns: 1.1.1.1", "dns: 2.2.2.2", { dns: ["1.1.1.1", "2.2.2.2"] }],
    ["of either spelling are appended", "dns_search: x", "dns_search: [y, x]", { dns_search: ["x", "y"] }],
    ["of either spelling, the other way round", "dns: [x, y]", "dns: z", { dns: ["x", "y", "z"] }],
    ["of tmpfs are appended, too", "tmpfs: /a", "tmpfs: [/b]", { tmpfs: ["/a", "/b"] }],
    [
      "of constraints have what both have twice, as docker's",
      "deploy: {placement: {constraints: [a, b]}}",
      "deploy: {placement: {constraints: [b, c]}}",
      { deploy: { placement: { constraints: ["a", "b", "b", "c"] } } },
    ],
    [
      "of mappings are appended, whatever they are",
      "deploy: {placement: {preferences: [{spread: a}]}}",
      "deploy: {placement: {preferences: [{spread: a}, {spread: b}]}}",
      { deploy: { placement: { preferences: [{ spread: "a" }, { spread: "a" }, { spread: "b" }] } } },
    ],
  ])("%s", (_fact, first, second, merged) => {
    expect(service(first, second)).toEqual({ keys: services(merged), warnings: [] });
  });
});

describe("a command", () => {
  test.each<[string, string, string, Value]>([
    ["replaces the earlier one", "command: a b", "command: [c]", { command: ["c"] }],
    ["replaces it as text", "command: [a, b]", "command: c", { command: "c" }],
    ["of an empty word replaces it", "command: a", 'command: [""]', { command: [""] }],
    ["that is empty text leaves it", "command: a", 'command: ""', { command: "a" }],
    ["of blanks leaves it", "command: a", 'command: " "', { command: "a" }],
    ["that is an empty list leaves it", "command: [a]", "command: []", { command: ["a"] }],
    ["is one, and the entrypoint another", "command: a", "entrypoint: b", { command: "a", entrypoint: "b" }],
  ])("%s", (_fact, first, second, merged) => {
    expect(service(first, second)).toEqual({ keys: services(merged), warnings: [] });
  });

  test.each<[string, string, Value]>([
    ["entrypoint: a b", "entrypoint: [c]", { entrypoint: ["c"] }],
    ["entrypoint: a b", "entrypoint: []", { entrypoint: "a b" }],
  ])("and an entrypoint is merged alike: %s and %s", (first, second, merged) => {
    expect(service(first, second)).toEqual({ keys: services(merged), warnings: [] });
  });
});

describe("an environment", () => {
  test.each<[string, string, string, Value]>([
    ["is merged name by name", "{A: b, C: d}", "{A: x, E: f}", { A: "x", C: "d", E: "f" }],
    ["of two lists becomes a mapping", "[A=b, C=d]", "[A=x, E=f]", { A: "x", C: "d", E: "f" }],
    ["of a list below a mapping", "[A=b, C=d]", "{A: x}", { A: "x", C: "d" }],
    ["of a mapping below a list", "{A: b, C: d}", "[A=x]", { A: "x", C: "d" }],
    ["keeps the equals signs of a value", "[A=b=c]", "[D=e==]", { A: "b=c", D: "e==" }],
    ["keeps a value that an empty one follows", "{A: b}", '{A: ""}', { A: "b" }],
    ["keeps a value that a bare name follows", "{A: b}", "[A]", { A: "b" }],
    ["keeps a value that an empty one of a list follows", "[A=b]", "[A=]", { A: "b" }],
    ["keeps a value that none follows", "[A=b]", "{A: }", { A: "b" }],
    ["replaces an empty value", "{A: ''}", "{A: b}", { A: "b" }],
    ["replaces an empty value by none", "{A: ''}", "[A]", { A: null }],
    ["replaces none by an empty value", "[A]", "[A=]", { A: "" }],
    ["counts 0 for a value", "{A: 1}", "{A: 0}", { A: "0" }],
    ["has the last one of a name that a list has twice", "[A=1, A=2]", "[B=3]", { A: "2", B: "3" }],
    ["may be empty in the first", "{}", "[A=b]", { A: "b" }],
    ["may be empty in the second", "[A=b]", "{}", { A: "b" }],
  ])("%s", (_fact, first, second, environment) => {
    expect(service(`environment: ${first}`, `environment: ${second}`)).toEqual({
      keys: services({ environment }),
      warnings: [],
    });
  });

  test("of a list has text for values, which no YAML reads as a number or as nothing", () => {
    const { root } = merge(
      "services: {w: {environment: [A=1, B=, C=null, D]}}",
      "services: {w: {environment: {}}}",
    );
    expect(printStackFile(root)).toContain('"A": "1"\n');
    expect(printStackFile(root)).toContain('"B": ""\n');
    expect(printStackFile(root)).toContain('"C": "null"\n');
    expect(printStackFile(root)).toMatch(/"D":\s*$/m);
  });
});

describe("labels", () => {
  test.each<[string, string, string, Value]>([
    ["are merged name by name", "{a: b, c: d}", "{a: x, e: f}", { a: "x", c: "d", e: "f" }],
    ["of two lists become a mapping", "[a=b, c]", "[a=x=y]", { a: "x=y", c: null }],
    ["of either spelling", "{a: b}", "[a=c, d=e]", { a: "c", d: "e" }],
    ["may become empty, unlike an environment", "{a: b}", '{a: ""}', { a: "" }],
    ["may become empty by a bare name", "{a: b}", "[a]", { a: null }],
  ])("%s", (_fact, first, second, labels) => {
    expect(service(`labels: ${first}`, `labels: ${second}`)).toEqual({
      keys: services({ labels }),
      warnings: [],
    });
  });

  test.each<[string, string, string, Value]>([
    ["of deploy", "deploy: {labels: {a: b}}", "deploy: {labels: [a=c]}", { deploy: { labels: { a: "c" } } }],
    ["sysctls", "sysctls: {a: 1}", "sysctls: [a=2, b=3]", { sysctls: { a: "2", b: "3" } }],
    [
      "of an image that is built",
      "build: {labels: [a=b]}",
      "build: {labels: {a: c}}",
      { build: { labels: { a: "c" } } },
    ],
    [
      "arguments of a build",
      "build: {args: [a=b]}",
      "build: {args: {c: d}}",
      { build: { args: { a: "b", c: "d" } } },
    ],
  ])("and their like are merged in the same way: %s", (_fact, first, second, merged) => {
    expect(service(first, second)).toEqual({ keys: services(merged), warnings: [] });
  });
});

describe("hosts", () => {
  test.each<[string, string, string, Value]>([
    ["are appended: a name may have several addresses", "['a:1']", "['a:2']", ["a:1", "a:2"]],
    ["that both have are there once", "['a:1', 'b:2']", "['a:1']", ["a:1", "b:2"]],
    [
      "of a mapping become lines in the order of text",
      "{b: 1.1.1.1, a: '::1'}",
      "['c:3']",
      ["a:::1", "b:1.1.1.1", "c:3"],
    ],
    [
      "of a mapping come behind those of a list",
      "['c:3']",
      "{b: 1.1.1.1, a: '::1'}",
      ["c:3", "a:::1", "b:1.1.1.1"],
    ],
    ["without an address are lost, as in docker's own reading", "{a: }", "{b: 1.1.1.1}", ["b:1.1.1.1"]],
  ])("%s", (_fact, first, second, hosts) => {
    expect(service(`extra_hosts: ${first}`, `extra_hosts: ${second}`)).toEqual({
      keys: services({ extra_hosts: hosts }),
      warnings: [],
    });
  });
});

describe("limits of a user", () => {
  test.each<[string, string, string, Value]>([
    ["replace each other one by one", "{nofile: 1, nproc: 2}", "{nofile: 3}", { nofile: "3", nproc: "2" }],
    [
      "replace a single one by two",
      "{nofile: 1}",
      "{nofile: {soft: 2, hard: 3}}",
      { nofile: { soft: "2", hard: "3" } },
    ],
    ["replace two by a single one", "{nofile: {soft: 2, hard: 3}}", "{nofile: 1}", { nofile: "1" }],
    ["may become 0", "{nofile: 1}", "{nofile: 0}", { nofile: "0" }],
  ])("%s", (_fact, first, second, ulimits) => {
    expect(service(`ulimits: ${first}`, `ulimits: ${second}`)).toEqual({
      keys: services({ ulimits }),
      warnings: [],
    });
  });
});

describe("a health check", () => {
  const appended = (place: string): string =>
    `${place}: Service w: docker appends this test to the one of an earlier file. Write the test into one of the files only.`;

  test.each<[string, string, string, Value]>([
    ["of two commands", "[CMD, a]", "[CMD, b]", ["CMD", "a", "CMD", "b"]],
    ["of two texts", "a", "b", ["CMD-SHELL", "a", "CMD-SHELL", "b"]],
    ["of a text and a command", "a", "[CMD, b]", ["CMD-SHELL", "a", "CMD", "b"]],
    ["of a command and a text", "[CMD, a]", "b", ["CMD", "a", "CMD-SHELL", "b"]],
    ["of a text and an empty one", "a", '""', ["CMD-SHELL", "a", "CMD-SHELL", ""]],
  ])(
    "%s has one behind the other, as docker's, with a warning at the later one",
    (_fact, first, second, result) => {
      expect(service(`healthcheck: {test: ${first}}`, `healthcheck: {test: ${second}}`)).toEqual({
        keys: services({ healthcheck: { test: result } }),
        warnings: [appended("2.yml:2:27")],
      });
    },
  );

  test.each<[string, string, string, Value]>([
    ["in the first file", "{test: a}", "{retries: 2}", { test: "a", retries: "2" }],
    ["in the second file", "{retries: 2}", "{test: a}", { retries: "2", test: "a" }],
    [
      "in the first, and switched off in the second",
      "{test: a}",
      "{disable: true}",
      { test: "a", disable: "true" },
    ],
  ])("whose test is only %s needs no warning", (_fact, first, second, healthcheck) => {
    expect(service(`healthcheck: ${first}`, `healthcheck: ${second}`)).toEqual({
      keys: services({ healthcheck }),
      warnings: [],
    });
  });
});

describe("logging", () => {
  test.each<[string, string, string, Value]>([
    [
      "of one driver has the options of both",
      "{driver: x, options: {a: 1, b: 2}}",
      "{driver: x, options: {a: 3, c: 4}}",
      { driver: "x", options: { a: "3", b: "2", c: "4" } },
    ],
    [
      "of another driver is replaced as a whole",
      "{driver: x, options: {a: 1}}",
      "{driver: y, options: {b: 2}}",
      { driver: "y", options: { b: "2" } },
    ],
    ["of another driver loses its options", "{driver: x, options: {a: 1}}", "{driver: y}", { driver: "y" }],
    [
      "without a driver gets the later one",
      "{options: {a: 1}}",
      "{driver: y, options: {b: 2}}",
      { options: { a: "1", b: "2" }, driver: "y" },
    ],
    [
      "keeps its driver where the later one has none",
      "{driver: x, options: {a: 1}}",
      "{options: {b: 2}}",
      { driver: "x", options: { a: "1", b: "2" } },
    ],
    [
      "keeps its driver where the later one is empty",
      "{driver: x, options: {a: 1}}",
      '{driver: "", options: {b: 2}}',
      { driver: "x", options: { a: "1", b: "2" } },
    ],
    [
      "has options that become empty",
      "{driver: x, options: {a: 1}}",
      '{options: {a: ""}}',
      { driver: "x", options: { a: "" } },
    ],
    [
      "takes options beside none, where there is a place for them",
      "{driver: x, options: {}}",
      "{options: {b: 2}}",
      { driver: "x", options: { b: "2" } },
    ],
    [
      "keeps all where the later one is empty",
      "{driver: x, options: {a: 1}}",
      "{}",
      { driver: "x", options: { a: "1" } },
    ],
  ])("%s", (_fact, first, second, logging) => {
    expect(service(`logging: ${first}`, `logging: ${second}`)).toEqual({
      keys: services({ logging }),
      warnings: [],
    });
  });

  test.each<[string, string, string, Value]>([
    ["of the same driver", "{driver: x}", "{driver: x, options: {a: 1}}", { driver: "x" }],
    ["of no driver", "{driver: x}", "{options: {a: 1}}", { driver: "x" }],
    ["of a driver that the earlier file leaves open", "{}", "{driver: y, options: {a: 1}}", { driver: "y" }],
  ])(
    "without options loses the later ones %s, as docker's, with a warning",
    (_fact, first, second, logging) => {
      const { keys, warnings } = service(`logging: ${first}`, `logging: ${second}`);
      expect(keys).toEqual(services({ logging }));
      expect(warnings).toEqual([
        expect.stringMatching(
          /^2\.yml:2:\d+: Service w: docker loses these logging options, since an earlier file has logging without options\. Write them into the earlier file\.$/,
        ),
      ]);
    },
  );

  test.each<[string, string, string]>([
    ["the earlier", "logging: {driver: x, options: {a: 1}}", "hostname: x"],
    ["the later", "hostname: x", "logging: {driver: x, options: {a: 1}}"],
  ])("of %s file alone stays as it is", (_fact, first, second) => {
    expect(service(first, second)).toEqual({
      keys: services({ hostname: "x", logging: { driver: "x", options: { a: "1" } } }),
      warnings: [],
    });
  });

  test("tells the place of the options that are lost", () => {
    expect(service("logging: {driver: x}", "logging: {options: {a: 1}}").warnings.join()).toMatch(
      /^2\.yml:2:26: /,
    );
  });
});

describe("networks of a service", () => {
  test.each<[string, string, string, Value]>([
    ["are added", "[a]", "[b]", { a: null, b: null }],
    ["are added, of either spelling", "[a]", "{b: {aliases: [x]}}", { a: null, b: { aliases: ["x"] } }],
    [
      "of either spelling, the other way round",
      "{a: {aliases: [x]}}",
      "[b]",
      { a: { aliases: ["x"] }, b: null },
    ],
    ["that both have are there once", "[a, b]", "[b, a]", { a: null, b: null }],
    [
      "keep their options where a list names them again",
      "{a: {aliases: [x]}}",
      "[a]",
      { a: { aliases: ["x"] } },
    ],
    ["get options where a list names them before", "[a]", "{a: {aliases: [x]}}", { a: { aliases: ["x"] } }],
    ["have the later aliases", "{a: {aliases: [x]}}", "{a: {aliases: [y]}}", { a: { aliases: ["y"] } }],
    [
      "have the later aliases, though there are none",
      "{a: {aliases: [x], driver_opts: {k: v}}}",
      "{a: {aliases: []}}",
      { a: { driver_opts: { k: "v" }, aliases: [] } },
    ],
    [
      "have a later address",
      "{a: {ipv4_address: 1.1.1.1, ipv6_address: '::1'}}",
      "{a: {ipv4_address: 2.2.2.2}}",
      { a: { ipv4_address: "2.2.2.2", ipv6_address: "::1" } },
    ],
    [
      "have the earlier address where the later one is empty",
      "{a: {ipv6_address: '::1'}}",
      '{a: {ipv6_address: ""}}',
      { a: { ipv6_address: "::1" } },
    ],
    [
      "have the later options of a driver where there were no options",
      "{a: }",
      "{a: {driver_opts: {k: v}}}",
      { a: { driver_opts: { k: "v" } } },
    ],
  ])("%s", (_fact, first, second, networks) => {
    expect(service(`networks: ${first}`, `networks: ${second}`).keys).toEqual(services({ networks }));
  });

  test("keep what a single file says, whatever the other one's service has", () => {
    expect(service("networks: [b, a]", "hostname: x").keys).toEqual(
      services({ networks: ["b", "a"], hostname: "x" }),
    );
  });
});

describe("ports", () => {
  const ingress = (published: string, target: string, protocol = "tcp"): Value => ({
    mode: "ingress",
    target,
    published,
    protocol,
  });

  test.each<[string, string, string, Value]>([
    [
      "are added in the order of their numbers",
      "['80:80']",
      "['9:90']",
      [ingress("9", "90"), ingress("80", "80")],
    ],
    ["replace an earlier one of the same published port", "['80:80']", "['80:81']", [ingress("80", "81")]],
    [
      "replace one of the long spelling",
      "[{target: 80, published: 80, mode: host}]",
      "['80:80']",
      [ingress("80", "80")],
    ],
    [
      "of the long spelling stay as they are",
      "['80:80']",
      "[{target: 80, published: 80, mode: host}]",
      [{ target: "80", published: "80", mode: "host" }],
    ],
    [
      "replace one that Swarm chooses by another",
      "[80]",
      "[81]",
      [{ mode: "ingress", target: "81", protocol: "tcp" }],
    ],
    [
      "replace one of a range",
      "['8000-8001:80-81']",
      "['8001:9']",
      [ingress("8000", "80"), ingress("8001", "9")],
    ],
    ["may be the same in both", "['53:53/udp']", "['53:53/udp']", [ingress("53", "53", "udp")]],
    ["of the second file alone are not touched", "[]", "['80:80']", [ingress("80", "80")]],
    [
      "of the first file alone are written out",
      "['90:90', '80:80']",
      "[]",
      [ingress("80", "80"), ingress("90", "90")],
    ],
  ])("%s", (_fact, first, second, ports) => {
    expect(service(`ports: ${first}`, `ports: ${second}`)).toEqual({
      keys: services({ ports }),
      warnings: [],
    });
  });

  const loses = (place: string, which: string): string =>
    `${place}: Service w: docker loses this port: of several files it keeps one port ${which}. Write all of the service's ports into one file.`;

  test.each<[string, string, string, Value, string[]]>([
    [
      "of one published port, for two protocols",
      "ports: ['53:53/tcp', '53:53/udp']",
      "hostname: x",
      [ingress("53", "53", "udp")],
      [loses("1.yml:2:15", "published as 53")],
    ],
    [
      "that Swarm chooses",
      "ports: [80, 81, 82]",
      "hostname: x",
      [{ mode: "ingress", target: "82", protocol: "tcp" }],
      [loses("1.yml:2:15", "without a published port"), loses("1.yml:2:19", "without a published port")],
    ],
    [
      "of one published port in the second file",
      "ports: ['80:80']",
      "ports: ['81:1', '81:2']",
      [ingress("80", "80"), ingress("81", "2")],
      [loses("2.yml:2:15", "published as 81")],
    ],
    [
      "of one published port in the first file, that the second one replaces",
      "ports: ['80:1', '80:2']",
      "ports: ['80:3']",
      [ingress("80", "3")],
      [loses("1.yml:2:15", "published as 80")],
    ],
    [
      "of a range",
      "ports: ['80-82']",
      "hostname: x",
      [{ mode: "ingress", target: "82", protocol: "tcp" }],
      [loses("1.yml:2:15", "without a published port"), loses("1.yml:2:15", "without a published port")],
    ],
  ])(
    "are lost where docker loses them, with a warning: those %s",
    (_fact, first, second, ports, warnings) => {
      const result = service(first, second);
      expect(result.keys).toMatchObject({ services: { w: { ports } } });
      expect(result.warnings).toEqual(warnings);
    },
  );

  test("of a service that only the second file has stay as they are", () => {
    const { root, warnings } = merge(
      "services: {v: {image: a}}",
      "services: {w: {ports: [80, '53:53', '53:53/udp']}}",
    );
    expect(valueOf(root)).toMatchObject({ services: { w: { ports: ["80", "53:53", "53:53/udp"] } } });
    expect(warnings).toEqual([]);
  });

  test("that docker refuses stay for docker to refuse", () => {
    expect(service("ports: [web, '80:80']", "ports: ['80:81']")).toEqual({
      keys: services({ ports: ["web", "80:80", "80:81"] }),
      warnings: [],
    });
  });
});

describe("volumes", () => {
  test.each<[string, string, string, Value]>([
    [
      "are added in the order of their targets",
      "[vol:/z, vol:/b]",
      "[vol:/a]",
      ["vol:/a", "vol:/b", "vol:/z"],
    ],
    ["replace an earlier one of the same target", "[vol:/data]", "['other:/data:ro']", ["other:/data:ro"]],
    [
      "replace one of another spelling",
      "[vol:/data]",
      "[{type: tmpfs, target: /data}]",
      [{ type: "tmpfs", target: "/data" }],
    ],
    ["replace one that has no name", "[/data]", "[./x:/data]", ["./x:/data"]],
    ["differ by the slash at the end", "[vol:/data]", "[vol:/data/]", ["vol:/data", "vol:/data/"]],
    [
      "differ by a Windows drive",
      String.raw`['C:\x:D:\y']`,
      String.raw`['C:\x:E:\y', 'vol:D:\y']`,
      [String.raw`vol:D:\y`, String.raw`C:\x:E:\y`],
    ],
    [
      "are in the order of bytes",
      "[vol:/a, vol:/_]",
      "[vol:/Z, 'vol:/10', 'vol:/9']",
      ["vol:/10", "vol:/9", "vol:/Z", "vol:/_", "vol:/a"],
    ],
  ])("%s", (_fact, first, second, volumes) => {
    expect(service(`volumes: ${first}`, `volumes: ${second}`)).toEqual({
      keys: services({ volumes }),
      warnings: [],
    });
  });

  const loses = (place: string): string =>
    `${place}: Service w: docker loses this item, since a later one has the same target.`;

  test.each<[string, string, string, Value, string[]]>([
    [
      "the first file",
      "volumes: [vol:/data, other:/data]",
      "hostname: x",
      ["other:/data"],
      [loses("1.yml:2:17")],
    ],
    [
      "the second file",
      "volumes: [vol:/data]",
      "volumes: [vol:/b, {type: volume, source: x, target: /b}]",
      [{ type: "volume", source: "x", target: "/b" }, "vol:/data"],
      [loses("2.yml:2:17")],
    ],
    [
      "both",
      "volumes: [vol:/data, other:/data]",
      "volumes: [a1:/data, a2:/data]",
      ["a2:/data"],
      [loses("1.yml:2:17"), loses("2.yml:2:17")],
    ],
  ])(
    "that share a target in %s are lost but for the last, with a warning",
    (_fact, first, second, volumes, warnings) => {
      const result = service(first, second);
      expect(result.keys).toMatchObject({ services: { w: { volumes } } });
      expect(result.warnings).toEqual(warnings);
    },
  );
});

describe.each(["configs", "secrets"])("%s of a service", (key) => {
  test.each<[string, string, string, Value]>([
    ["are added in the order of their sources", "[b]", "[c, a]", ["a", "b", "c"]],
    [
      "replace an earlier one of the same source",
      "[b, a]",
      "[{source: a, target: x}]",
      [{ source: "a", target: "x" }, "b"],
    ],
    ["may be the same in both", "[a]", "[a]", ["a"]],
  ])("%s", (_fact, first, second, items) => {
    expect(service(`${key}: ${first}`, `${key}: ${second}`)).toEqual({
      keys: services({ [key]: items }),
      warnings: [],
    });
  });

  test("that share a source are lost but for the last, with a warning", () => {
    const items = "[{source: a, target: /x}, {source: a, target: /y}]";
    expect(service(`${key}: ${items}`, "hostname: x")).toEqual({
      keys: services({ [key]: [{ source: "a", target: "/y" }], hostname: "x" }),
      warnings: ["1.yml:2:17: Service w: docker loses this item, since a later one has the same source."],
    });
  });
});

test("of three files each meets what the two before it have become", () => {
  const { keys, warnings } = service(
    "ports: ['80:80'], environment: [A=1, B=2], cap_add: [X]",
    "ports: ['81:81'], environment: {A: 3}, cap_add: [Y]",
    "ports: ['80:90'], environment: {C: 4}, cap_add: [X, Z]",
  );
  expect(keys).toEqual(
    services({
      ports: [
        { mode: "ingress", target: "90", published: "80", protocol: "tcp" },
        { mode: "ingress", target: "81", published: "81", protocol: "tcp" },
      ],
      environment: { A: "3", B: "2", C: "4" },
      cap_add: ["X", "Y", "Z"],
    }),
  );
  expect(warnings).toEqual([]);
});

test("a mapping in an environment's list stays for docker to refuse", () => {
  expect(service("environment: [A=b]", "environment: [{C: d}]")).toEqual({
    keys: services({ environment: [{ C: "d" }] }),
    warnings: [],
  });
});

describe("what docker refuses in one of the files is a problem there:", () => {
  const wrong = (...texts: readonly string[]): readonly string[] => merge(...texts).problems;
  const web = "services: {w: {image: a}}";

  test.each<[string, string, string]>([
    ["a list of services", "services: [{db: {image: pg}}]", "11: services must be a mapping."],
    ["text for services", "services: db", "11: services must be a mapping."],
    ["text for a service", "services: {w: nginx}", "15: services.w must be a mapping."],
    ["a list of networks", "networks: [net]", "11: networks must be a mapping."],
    ["a list of volumes", "volumes: [data]", "10: volumes must be a mapping."],
    ["a list of secrets", "secrets: [a]", "10: secrets must be a mapping."],
    ["text for configs", "configs: ./x", "10: configs must be a mapping."],
    ["text for a config", "configs: {a: ./x}", "14: configs.a must be a mapping."],
  ])("%s", (_fact, text, told) => {
    expect(wrong(web, text)).toEqual([`2.yml:1:${told}`]);
    expect(wrong(text, web)).toEqual([`1.yml:1:${told}`]);
    expect(wrong(text)).toEqual([`1.yml:1:${told}`]);
  });

  test.each<[string, string, string]>([
    ["text for ports", 'ports: "443:443"', "14: services.w.ports must be a list."],
    ["a mapping for ports", "ports: {80: 80}", "14: services.w.ports must be a list."],
    ["text for volumes", "volumes: './x:/x'", "16: services.w.volumes must be a list."],
    ["text for secrets", "secrets: b", "16: services.w.secrets must be a list."],
    ["text for logging", "logging: syslog", "16: services.w.logging must be a mapping."],
    [
      "text for an environment",
      "environment: A=1",
      "20: services.w.environment must be a mapping or a list.",
    ],
    ["text for networks", "networks: x", "17: services.w.networks must be a mapping or a list."],
    [
      "a mapping for a command",
      "command: {a: b}",
      "16: services.w.command must be a single value or a list.",
    ],
    ["a list for a mapping", "deploy: [a]", "15: services.w.deploy must be a mapping."],
    ["a mapping for a list", "cap_add: {a: b}", "16: services.w.cap_add must be a list."],
    ["a list for a user", "user: [a]", "13: services.w.user must be a single value."],
    ["text deep within", "deploy: {labels: x}", "24: services.w.deploy.labels must be a mapping or a list."],
  ])("%s", (_fact, text, told) => {
    const other = "services:\n  w: {image: a}";
    expect(wrong(other, `services:\n  w: {${text}}`)).toEqual([`2.yml:2:${told}`]);
    expect(wrong(`services:\n  w: {${text}}`, other)).toEqual([`1.yml:2:${told}`]);
  });

  test.each([
    ["half a key", "services: {w: {ports: , deploy: , networks: }, v: }\nvolumes: "],
    [
      "what only one of docker's spellings is",
      "services: {w: {networks: {n: }, labels: [a=b], dns: 1.1.1.1}}",
    ],
    ["what only Compose reads", "services: {w: {build: ., extends: a, depends_on: {v: {}}}}\nx-a: [b]"],
  ])("%s is none", (_fact, text) => {
    expect(wrong(web, text)).toEqual([]);
  });
});
