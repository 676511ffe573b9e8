import { describe, expect, test } from "@jest/globals";
import { type Problem, StackFileError, describe as inWords } from "../../../src/errors.ts";
import { applyComposeKeys } from "../../../src/stack/compose.ts";
import { COMPOSE_KEYS, COMPOSE_SPELLINGS } from "../../../src/stack/compose-keys.ts";
import { printed as printedStack, render } from "../../../src/stack/render.ts";
import { parseStackFile, printStackFile } from "../../../src/stack/stack-file.ts";
import { type Findings, scopeOf } from "../../../src/stack/template.ts";
import { renderRequest } from "../../doubles/stack.ts";

interface Applied {
  readonly printed: string;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

function apply(text: string, variables: Readonly<Record<string, string>> = {}): Applied {
  const root = parseStackFile(text, "stack.yml");
  const findings: Findings = { problems: [], warnings: [] };
  applyComposeKeys(root, scopeOf([new Map(Object.entries(variables))], {}), findings);
  return {
    printed: printStackFile(root),
    problems: findings.problems.map(inWords),
    warnings: findings.warnings.map(inWords),
  };
}

/** Keys of the service web, one a line, the first in line 3. */
function service(...keys: readonly string[]): Applied {
  return apply(`services:\n  web:\n${keys.map((key) => `    ${key}\n`).join("")}`);
}

/** What is printed below the service web. */
function keysOf({ printed }: Applied): string {
  return printed.replace(/^services:\n {2}web:\n/, "").replaceAll(/^ {4}/gm, "");
}

/** A stack that has nothing but the key at `path`, in block style; and where this key stands. */
function stackWith(path: string, value: string): { text: string; named: string; place: string } {
  let [text, indent, dash] = ["", "", ""];
  let place = "";
  const names: string[] = [];
  for (const part of path.split(".")) {
    if (part === "[]") {
      dash = "- ";
      continue;
    }
    const name = part === "*" ? "some" : part;
    names.push(name);
    place = `stack.yml:${text.split("\n").length}:${indent.length + dash.length + 1}`;
    text += `${indent}${dash}${name}:\n`;
    indent += dash === "" ? "  " : "    ";
    dash = "";
  }
  return { text: `${text.trimEnd()} ${value}\n`, named: names.join("."), place };
}

/** Whatever a key may have for a value. */
const VALUES = ["text", "[a, b]", "{a: b}", "true", ""];

const withFate = (fate: string): string[] =>
  COMPOSE_KEYS.filter((key) => key.fate === fate).map(({ path }) => path);
const whyOf = (path: string): string => COMPOSE_KEYS.find((key) => key.path === path)?.why ?? "";

describe("the table", () => {
  test("has each key once", () => {
    const paths = COMPOSE_KEYS.map(({ path }) => path);
    expect(paths.toSorted()).toEqual([...new Set(paths)].toSorted());
  });

  test("has no key below another one, which would never be met", () => {
    const paths = COMPOSE_KEYS.map(({ path }) => path);
    expect(paths.filter((path) => paths.some((other) => path.startsWith(`${other}.`)))).toEqual([]);
  });

  test("says why, in sentences, where it is not a translation", () => {
    const others = COMPOSE_KEYS.filter(({ fate }) => fate !== "translated");
    expect(others.filter(({ why }) => !/^[A-Z].*\.$/.test(why))).toEqual([]);
  });

  test("translates what it says that it translates, and nothing else", () => {
    expect(COMPOSE_KEYS.filter(({ translate }) => translate !== undefined).map(({ path }) => path)).toEqual(
      withFate("translated"),
    );
  });
});

test.each(withFate("refused"))("%s is refused at its place, whatever its value", (path) => {
  for (const value of VALUES) {
    const { text, named, place } = stackWith(path, value);
    expect(apply(text)).toMatchObject({
      problems: [`${place}: ${named} can't be deployed to a swarm. ${whyOf(path)}`],
      warnings: [],
    });
  }
});

test.each(withFate("dropped"))("%s is left out with a warning at its place, whatever its value", (path) => {
  for (const value of VALUES) {
    const { text, named, place } = stackWith(path, value);
    const { printed, problems, warnings } = apply(text);
    expect(warnings).toEqual([`${place}: ${named} is left out. ${whyOf(path)}`]);
    expect(problems).toEqual([]);
    expect(printed).not.toContain(`${named.split(".").at(-1) ?? ""}:`);
  }
});

describe("a key is translated, with a mark that says what from", () => {
  const TRANSLATIONS: readonly (readonly [string, string, string])[] = [
    ["mem_limit", "512m", 'deploy:\n  resources:\n    limits:\n      memory: "512m" # from mem_limit\n'],
    [
      "mem_reservation",
      "1g",
      'deploy:\n  resources:\n    reservations:\n      memory: "1g" # from mem_reservation\n',
    ],
    ["cpus", "0.5", 'deploy:\n  resources:\n    limits:\n      cpus: "0.5" # from cpus\n'],
    ["pids_limit", "100", "deploy:\n  resources:\n    limits:\n      pids: 100 # from pids_limit\n"],
    ["scale", "3", "deploy:\n  replicas: 3 # from scale\n"],
    ["restart", "always", "deploy:\n  restart_policy:\n    condition: any # from restart\n"],
  ];

  test.each(TRANSLATIONS)("%s: %s", (key, value, deploy) => {
    const applied = service(`${key}: ${value}`);
    expect(keysOf(applied)).toBe(deploy);
    expect(applied).toMatchObject({ problems: [], warnings: [] });
  });

  test("every one of the table", () => {
    expect(TRANSLATIONS.map(([key]) => `services.*.${key}`)).toEqual(withFate("translated"));
  });

  test.each([
    [
      "mem_limit: 1g",
      "deploy: {resources: {limits: {cpus: '1'}}}",
      'limits:\n      cpus: "1"\n      memory: "1g" # from mem_limit\n',
    ],
    [
      "mem_limit: 1g",
      "deploy: {resources: }",
      'deploy:\n  resources:\n    limits:\n      memory: "1g" # from mem_limit\n',
    ],
    ["scale: 3", "deploy: {labels: {a: b}}", "deploy:\n  labels:\n    a: b\n  replicas: 3 # from scale\n"],
    ["scale: 3", "deploy:", "deploy:\n  replicas: 3 # from scale\n"],
    [
      "restart: always",
      "deploy: {replicas: 2}",
      "replicas: 2\n  restart_policy:\n    condition: any # from restart\n",
    ],
    ["restart: always", "deploy: {restart_policy: }", "restart_policy:\n    condition: any # from restart\n"],
  ])("beside what deploy has already: %s and %s", (key, deploy, expected) => {
    for (const keys of [
      [key, deploy],
      [deploy, key],
    ]) {
      const applied = service(...keys);
      expect(keysOf(applied)).toContain(expected);
      expect(applied).toMatchObject({ problems: [], warnings: [] });
    }
  });

  test("several of them, at one target", () => {
    expect(keysOf(service("mem_limit: 1g", "cpus: 2", "scale: 3", "mem_reservation: 1m"))).toBe(
      [
        "deploy:",
        "  resources:",
        "    limits:",
        '      memory: "1g" # from mem_limit',
        '      cpus: "2" # from cpus',
        "    reservations:",
        '      memory: "1m" # from mem_reservation',
        "  replicas: 3 # from scale",
        "",
      ].join("\n"),
    );
  });

  test("in each service on its own", () => {
    const { printed } = apply("services: {a: {scale: 1}, b: {scale: 2}, c: {image: i}}");
    expect(printed).toContain("  a:\n    deploy:\n      replicas: 1 # from scale\n");
    expect(printed).toContain("  b:\n    deploy:\n      replicas: 2 # from scale\n");
    expect(printed).toContain("  c:\n    image: i\n");
  });

  test.each(["-1", "0"])("but no limit of processes, which is %s to Compose, is none", (value) => {
    const applied = service("image: i", `pids_limit: ${value}`);
    expect(applied.printed).not.toMatch(/pids/);
    expect(applied).toMatchObject({ problems: [], warnings: [] });
  });

  test.each(["mem_limit", "mem_reservation", "cpus", "pids_limit", "scale", "restart"])(
    "but %s without a value says nothing",
    (key) => {
      const applied = service("image: i", `${key}:`);
      expect(keysOf(applied)).toBe("image: i\n");
      expect(applied).toMatchObject({ problems: [], warnings: [] });
    },
  );
});

describe("what deploy says itself wins, with a warning at the other one", () => {
  test.each([
    ["mem_limit: 1g", "deploy: {resources: {limits: {memory: 2g}}}", "deploy.resources.limits.memory"],
    [
      "mem_reservation: 1g",
      "deploy: {resources: {reservations: {memory: 2g}}}",
      "deploy.resources.reservations.memory",
    ],
    ["cpus: 1", "deploy: {resources: {limits: {cpus: '2'}}}", "deploy.resources.limits.cpus"],
    ["pids_limit: 5", "deploy: {resources: {limits: {pids: 6}}}", "deploy.resources.limits.pids"],
    ["scale: 1", "deploy: {replicas: 2}", "deploy.replicas"],
    ["scale: 1", "deploy: {replicas: 0}", "deploy.replicas"],
    ["restart: always", "deploy: {restart_policy: {condition: none}}", "deploy.restart_policy"],
    ["restart: 'no'", "deploy: {restart_policy: {condition: none}}", "deploy.restart_policy"],
    ["restart: always", "deploy: {restart_policy: {delay: 5s}}", "deploy.restart_policy"],
    ["restart: always", "deploy: {restart_policy: {}}", "deploy.restart_policy"],
  ])("%s beside %s", (key, deploy, decides) => {
    const applied = service(deploy, key);
    expect(keysOf(applied)).toBe(keysOf(service(deploy)));
    expect(applied.problems).toEqual([]);
    expect(applied.warnings).toEqual([
      `stack.yml:4:5: services.web.${key.split(":")[0] ?? ""} is left out. ${decides} decides.`,
    ]);
  });
});

describe("restart", () => {
  test.each([
    ["always", "condition: any # from restart\n"],
    ["unless-stopped", "condition: any # from restart\n"],
    ["on-failure", "condition: on-failure # from restart\n    max_attempts: 0 # from restart\n"],
    ["on-failure:3", "condition: on-failure # from restart\n    max_attempts: 3 # from restart\n"],
    ["'always'", "condition: any # from restart\n"],
  ])("of %s becomes a policy, as docker makes it", (value, policy) => {
    const applied = service(`restart: ${value}`);
    expect(keysOf(applied)).toBe(`deploy:\n  restart_policy:\n    ${policy}`);
    expect(applied).toMatchObject({ problems: [], warnings: [] });
  });

  test.each(["'no'", '"no"', "no"])(
    "of %s is left out with a warning, since docker does not heed it",
    (value) => {
      const applied = service("image: i", `restart: ${value}`);
      expect(keysOf(applied)).toBe("image: i\n");
      expect(applied.problems).toEqual([]);
      expect(applied.warnings).toEqual([
        "stack.yml:4:5: services.web.restart is left out. Docker does not heed it: Swarm starts the task again. To stop that write deploy.restart_policy: {condition: none}.",
      ]);
    },
  );

  test.each(["sometimes", "on-failure:x", "Always"])("of %s is refused at its place", (value) => {
    expect(service("image: i", `restart: "${value}"`)).toMatchObject({
      problems: [
        `stack.yml:4:14: services.web.restart is "${value}", which docker refuses. Write always, unless-stopped, on-failure or on-failure:3.`,
      ],
      warnings: [],
    });
  });
});

describe("where something else stands in the way of a translation, docker's own check says so", () => {
  test.each(["mem_limit: 1g", "scale: 2", "restart: always"])("%s", (key) => {
    const applied = service("deploy: [a]", key);
    expect(keysOf(applied)).toBe("deploy:\n  - a\n");
    expect(applied).toMatchObject({ problems: [], warnings: [] });
  });
});

describe("a key has a fate only where it has that meaning", () => {
  test.each([
    ["an extension's", "x-a:\n  build: .\n  mem_limit: 1g\n"],
    ["a volume's name", "volumes:\n  name:\n  include:\n"],
    ["a service's name", "services:\n  build:\n    image: i\n  extends:\n    image: i\n"],
    [
      "a network's name in a service",
      "services:\n  web:\n    networks:\n      priority:\n      mac_address:\n",
    ],
    ["a variable", "services:\n  web:\n    environment:\n      build: x\n      privileged: y\n"],
    ["a label", "services:\n  web:\n    labels:\n      runtime: x\n"],
    ["a sysctl", "services:\n  web:\n    sysctls:\n      cpus: x\n"],
    ["an item of a list", "services:\n  web:\n    cap_add:\n      - privileged\n"],
    ["a network's own name", "networks:\n  front:\n    name: x\n    driver: overlay\n"],
    ["a network's subnet", "networks:\n  front:\n    ipam:\n      config:\n        - subnet: 10.0.0.0/24\n"],
  ])("%s is none", (_fact, text) => {
    expect(apply(text)).toEqual({ printed: text, problems: [], warnings: [] });
  });
});

test("everything that is wrong is told, each at its place", () => {
  const applied = apply(
    [
      "name: shop",
      "include: [a.yml]",
      "services:",
      "  a:",
      "    build: .",
      "    gpus: all",
      "  b:",
      "    image: i",
      "    ports:",
      "      - target: 80",
      "      - target: 81",
      "        host_ip: 127.0.0.1",
      "    networks:",
      "      front:",
      "        priority: 1",
      "",
    ].join("\n"),
  );
  expect(applied.problems).toEqual([
    expect.stringMatching(/^stack\.yml:2:1: include can't be deployed to a swarm\./),
    expect.stringMatching(/^stack\.yml:6:5: services\.a\.gpus can't be deployed to a swarm\./),
    expect.stringMatching(/^stack\.yml:12:9: services\.b\.ports\.host_ip can't be deployed to a swarm\./),
  ]);
  expect(applied.warnings).toEqual([
    expect.stringMatching(/^stack\.yml:1:1: name is left out\./),
    expect.stringMatching(/^stack\.yml:5:5: services\.a\.build is left out\./),
    expect.stringMatching(/^stack\.yml:15:9: services\.b\.networks\.front\.priority is left out\./),
  ]);
});

describe("a service with profiles", () => {
  const text =
    'services:\n  web:\n    image: i\n  debug:\n    image: d\n    profiles: [debug, "dev tools"]\n';
  const leftOut =
    "stack.yml:6:15: Service debug is left out: it belongs to the profile debug, dev tools. To deploy it, name the profile in the variable COMPOSE_PROFILES, or take profiles away.";

  test.each<[string, Readonly<Record<string, string>>]>([
    ["without the variable", {}],
    ["where the variable is empty", { COMPOSE_PROFILES: "" }],
    ["where the variable names another", { COMPOSE_PROFILES: "prod,debugger,de" }],
  ])("is left out %s, with a warning at its profiles", (_fact, variables) => {
    expect(apply(text, variables)).toEqual({
      printed: "services:\n  web:\n    image: i\n",
      problems: [],
      warnings: [leftOut],
    });
  });

  test.each([
    ["its first", "debug"],
    ["another one", "dev tools"],
    ["one of several", "prod,debug"],
    ["one among blanks", " prod , debug "],
    ["all", "*"],
  ])("stays where the variable names %s, and has none then", (_fact, COMPOSE_PROFILES) => {
    expect(apply(text, { COMPOSE_PROFILES })).toEqual({
      printed: "services:\n  web:\n    image: i\n  debug:\n    image: d\n",
      problems: [],
      warnings: [],
    });
  });

  test("that are an empty list belongs to all occasions", () => {
    expect(service("image: i", "profiles: []")).toMatchObject({
      printed: "services:\n  web:\n    image: i\n",
      problems: [],
      warnings: [],
    });
  });

  test("is not looked at where it is left out", () => {
    const { problems, warnings } = apply("services: {a: {profiles: [x], gpus: all, build: .}}");
    expect(problems).toEqual([]);
    expect(warnings).toHaveLength(1);
  });
});

describe("the version", () => {
  test.each([
    ["3.8 without quotes", "3.8", '"3.8"'],
    ["3.8 with quotes", '"3.8"', '"3.8"'],
    ["3 without quotes", "3", '"3"'],
    ["3.10 without quotes, which is not 3.1", "3.10", '"3.10"'],
    ["3.0", "'3.0'", '"3.0"'],
    ["one that is still to come, which docker may know", "3.99", '"3.99"'],
    ["empty", '""', '""'],
  ])("%s is text to docker", (_fact, written, printed) => {
    expect(apply(`version: ${written}\n`)).toEqual({
      printed: `version: ${printed}\n`,
      problems: [],
      warnings: [],
    });
  });

  test.each(["1", "2", '"2"', "2.4", "4", "3.", "3.x", "v3", "3.8.1", "latest"])(
    "%s is refused at its place",
    (written) => {
      const text = written.replaceAll('"', "");
      expect(apply(`x-a: b\nversion: ${written}\n`)).toMatchObject({
        problems: [
          `stack.yml:2:10: The format version "${text}" is none that docker stack deploy takes. Write version: "3.9" once the keys that changed since are gone, or leave it out.`,
        ],
        warnings: [],
      });
    },
  );
});

describe("a port on an address of the node", () => {
  test("is published on all of them, with a warning at its place", () => {
    const applied = service("ports:", "  - '80:80'", "  - 127.0.0.1:81:81", "  - '[::1]::82'");
    expect(applied.problems).toEqual([]);
    expect(applied.warnings).toEqual([
      "stack.yml:5:9: Service web publishes 127.0.0.1:81:81 on every address of the node: Swarm can't narrow it to 127.0.0.1. A firewall has to.",
      "stack.yml:6:9: Service web publishes [::1]::82 on every address of the node: Swarm can't narrow it to [::1]. A firewall has to.",
    ]);
  });

  test("that means all of them needs no warning", () => {
    expect(service("ports: ['0.0.0.0:80:80', '80:81', 82]").warnings).toEqual([]);
  });
});

describe("a health check that is switched off", () => {
  test.each([
    ["in one place", "healthcheck: {test: x, disable: true}", "stack.yml:3:25"],
    ["in the other order", "healthcheck: {disable: true, test: [CMD, x]}", "stack.yml:3:40"],
  ])("has no test, which docker refuses, with a warning at its place: %s", (_fact, key, place) => {
    const applied = service(key);
    expect(keysOf(applied)).toBe("healthcheck:\n  disable: true\n");
    expect(applied.problems).toEqual([]);
    expect(applied.warnings).toEqual([
      `${place}: services.web.healthcheck.test is left out. healthcheck.disable decides.`,
    ]);
  });

  test.each([
    ["that is not", "healthcheck: {test: x, disable: false}"],
    ["that says nothing about it", "healthcheck: {test: x}"],
    ["without a test", "healthcheck: {disable: true}"],
  ])("and one %s stays as it is", (_fact, key) => {
    const text = `services:\n  web:\n    ${key}\n`;
    expect(apply(text)).toEqual({
      printed: printStackFile(parseStackFile(text, "f")),
      problems: [],
      warnings: [],
    });
  });
});

describe("a key that docker ignores without a word is left out with one", () => {
  test.each([
    ["of a config", "configs: [{source: a, traget: /x}]", "configs.traget", "27", "Did you mean target?"],
    ["of a secret", "secrets: [{source: a, modes: 1}]", "secrets.modes", "27", "Did you mean mode?"],
    [
      "of a bind mount",
      "volumes: [{type: bind, bind: {foo: 1}}]",
      "volumes.bind.foo",
      "35",
      "Docker ignores it.",
    ],
    [
      "of a volume",
      "volumes: [{type: volume, volume: {nocpy: true}}]",
      "volumes.volume.nocpy",
      "39",
      "Did you mean nocopy?",
    ],
    [
      "of tmpfs",
      "volumes: [{type: tmpfs, tmpfs: {sise: 1}}]",
      "volumes.tmpfs.sise",
      "37",
      "Did you mean size?",
    ],
  ])("%s", (_fact, key, named, column, hint) => {
    const applied = service(key);
    expect(applied.problems).toEqual([]);
    expect(applied.warnings).toEqual([`stack.yml:3:${column}: services.web.${named} is left out. ${hint}`]);
    expect(applied.printed).not.toContain(named.split(".").at(-1));
  });

  test.each([
    ["configs: [{source: a, target: /x, uid: '1', gid: '2', mode: 0440}]"],
    ["secrets: [{source: a, target: x, uid: '1', gid: '2', mode: 0440}]"],
    ["volumes: [{type: bind, source: /x, target: /y, bind: {propagation: shared}}]"],
    ["volumes: [{type: volume, source: x, target: /y, volume: {nocopy: true, subpath: z}}]"],
    ["volumes: [{type: tmpfs, target: /y, tmpfs: {size: 100}}]"],
    ["volumes: [{type: cluster, target: /y, cluster: {}}]"],
    ["ports: [{foo: 1}]"],
    ["foo: 1"],
  ])("and what docker takes, or refuses by itself, stays: %s", (key) => {
    const text = `services:\n  web:\n    ${key}\n`;
    expect(apply(text)).toEqual({
      printed: printStackFile(parseStackFile(text, "f")),
      problems: [],
      warnings: [],
    });
  });
});

describe("the spellings of the table", () => {
  /** Each is one of a whole stack file: what is printed of it, and what is said about it. */
  interface Example {
    readonly text: string;
    readonly printed?: readonly string[];
    readonly gone?: string;
    readonly told?: string;
  }

  const web = (...keys: readonly string[]): string =>
    `services:\n  web:\n    image: a\n${keys.map((key) => `    ${key}\n`).join("")}`;

  const EXAMPLES: ReadonlyMap<string, readonly Example[]> = new Map([
    [
      "`services.*.profiles`",
      [
        {
          text: `${web()}  debug:\n    image: b\n    profiles: [debug]\n`,
          gone: "debug",
          told: "stack.yml:6:15: Service debug is left out",
        },
        {
          text: `${web()}  tools:\n    image: b\n    profiles: [chosen]\n`,
          printed: ["  tools:\n    image: b\n"],
        },
      ],
    ],
    [
      "`services.*.env_file` with `path`",
      [
        {
          text: web("env_file: [{path: .env, format: raw}]"),
          printed: ['"A": "b" # from .env'],
          gone: "env_file",
        },
        {
          text: web("env_file: [{path: no.env, required: false}]"),
          gone: "env_file",
          told: 'stack.yml:4:16: The env file "no.env" of service web can\'t be read;',
        },
      ],
    ],
    [
      "`configs.*`, `secrets.*` with `content` or `environment`",
      [
        {
          text: `${web()}configs: {a: {content: x}}\n`,
          printed: ["# versioned by content"],
          gone: "content: x",
        },
        {
          text: `${web()}configs: {a: {environment: MOTD}}\n`,
          printed: ["# versioned by content"],
          gone: "MOTD",
        },
        {
          text: `${web()}secrets: {a: {content: x}}\n`,
          printed: ["# versioned by content"],
          gone: "content: x",
        },
        {
          text: `${web()}secrets: {a: {environment: MOTD}}\n`,
          printed: ["# versioned by content"],
          gone: "MOTD",
        },
      ],
    ],
    [
      "`configs.*.name`, `secrets.*.name` beside a source of content",
      [
        {
          text: `${web()}configs:\n  a: {content: x, name: given}\n`,
          gone: "given",
          told: "stack.yml:5:25: The config a is named after its content",
        },
        {
          text: `${web()}secrets:\n  a: {content: x, name: given}\n`,
          gone: "given",
          told: "stack.yml:5:25: The secret a is named after its content",
        },
      ],
    ],
    [
      'numbers and booleans in quotes, such as `replicas: "2"`, `published: "80"`, `mode: "0440"`',
      [
        { text: web('deploy: {replicas: "2"}'), printed: ["replicas: 2\n"] },
        {
          text: web('ports: [{target: "80", published: "8080"}]'),
          printed: ["target: 80\n", "published: 8080\n"],
        },
        {
          text: `${web('configs: [{source: a, mode: "0440"}]')}configs: {a: {external: true}}\n`,
          printed: ["mode: 0440\n"],
        },
        { text: web('read_only: "true"'), printed: ["read_only: true\n"] },
      ],
    ],
    [
      "`healthcheck.test` beside `healthcheck.disable: true`",
      [
        {
          text: web("healthcheck: {disable: true, test: x}"),
          printed: ["disable: true\n"],
          gone: "test:",
          told: "stack.yml:4:40: services.web.healthcheck.test is left out.",
        },
      ],
    ],
    [
      "any key but `name` below `networks.*`, `configs.*` or `secrets.*` with `external`",
      [
        {
          text: `${web()}networks:\n  a: {external: true, driver: overlay}\n`,
          told: "stack.yml:5:23: networks.a.driver is not read, since it is external.",
        },
        {
          text: `${web()}configs:\n  a: {external: true, content: x}\n`,
          gone: "content",
          told: "stack.yml:5:23: configs.a.content is not read, since it is external.",
        },
        {
          text: `${web()}secrets:\n  a: {external: true, driver: x}\n`,
          told: "stack.yml:5:23: secrets.a.driver is not read, since it is external.",
        },
      ],
    ],
    [
      "`secrets.*.driver_opts` without a `driver`",
      [
        {
          text: `${web()}secrets:\n  a: {content: x, driver_opts: {b: c}}\n`,
          gone: "driver_opts",
          told: "The secret a has no driver, so its driver_opts are left out.",
        },
      ],
    ],
    [
      "the tags `!reset` and `!override`",
      [
        {
          text: web("ports: !reset []"),
          told: "Docker ignores the tag !reset. Files are merged as docker stack deploy merges them",
        },
      ],
    ],
    [
      "a key that nobody knows below `configs`, `secrets`, and `bind`, `volume` or `tmpfs` in `volumes`",
      [
        {
          text: web("volumes: [{type: tmpfs, target: /x, tmpfs: {foo: 1}}]"),
          gone: "foo",
          told: "stack.yml:4:49: services.web.volumes.tmpfs.foo is left out.",
        },
      ],
    ],
    [
      '`ports: ["127.0.0.1:80:80"]`',
      [
        {
          text: web('ports: ["127.0.0.1:80:80"]'),
          told: "stack.yml:4:13: Service web publishes 127.0.0.1:80:80 on every address of the node",
        },
      ],
    ],
    ["`version: 3.8` without quotes", [{ text: `version: 3.8\n${web()}`, printed: ['version: "3'] }]],
    [
      "`version` of 1, 2, or anything that is not 3 or 3.0 to 3.13",
      [
        { text: `version: "2.4"\n${web()}`, told: 'stack.yml:1:10: The format version "2.4"' },
        { text: `version: 1\n${web()}`, told: 'stack.yml:1:10: The format version "1"' },
      ],
    ],
  ]);

  const REQUEST = renderRequest({
    variables: new Map([
      ["COMPOSE_PROFILES", "chosen"],
      ["MOTD", "hello"],
    ]),
    read: (path) => (path === ".env" ? Buffer.from("A=b\n") : undefined),
    image: {
      registry: "r.io",
      project: "shop",
      repository: "r.io/shop",
      version: "v1",
      tags: [],
      digest: "",
    },
  });

  function rendered(text: string): Applied {
    try {
      const warnings: Problem[] = [];
      const stack = render({ ...REQUEST, templates: [parseStackFile(text, "stack.yml", warnings)] });
      warnings.push(...stack.warnings);
      return { printed: printedStack(stack), problems: [], warnings: warnings.map(inWords) };
    } catch (error) {
      if (!(error instanceof StackFileError)) throw error;
      return { printed: "", problems: error.problems.map(inWords), warnings: [] };
    }
  }

  test("have each an example", () => {
    expect([...EXAMPLES.keys()]).toEqual(COMPOSE_SPELLINGS.map(({ what }) => what));
  });

  test.each(COMPOSE_SPELLINGS.map(({ what, fate }) => [what, fate] as const))("%s: %s", (what, fate) => {
    for (const { text, printed = [], gone, told } of EXAMPLES.get(what) ?? []) {
      const result = rendered(text);
      for (const part of printed) expect(result.printed).toContain(part);
      if (gone !== undefined) expect(result.printed).not.toContain(gone);
      const said = told === undefined ? [] : [expect.stringContaining(told)];
      const refused = fate === "refused";
      expect(result.problems).toEqual(refused ? said : []);
      if (!refused) expect(result.warnings).toEqual(said);
      if (fate === "dropped") expect(told).toBeDefined();
    }
  });
});
