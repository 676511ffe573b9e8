import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { objection } from "../../../src/stack/objection.ts";
import { parseStackFile } from "../../../src/stack/stack-file.ts";
import { get, set } from "../../../src/stack/tree.ts";

/** What becomes of docker's words about a file. */
function told(reason: string, text: string): string {
  return inWords(objection(reason, parseStackFile(text, "stack.yml")));
}

/** Keys of a service with a dot in its name, one a line, the first in line 4. */
function service(...keys: readonly string[]): string {
  return `services:\n  w.eb:\n    image: i\n${keys.map((key) => `    ${key}\n`).join("")}`;
}

describe("docker names the path", () => {
  test.each([
    ["deploy: {replicas: x}", "services.w.eb.deploy.replicas must be a integer", "4:24"],
    ["deploy: {mode: [a]}", "services.w.eb.deploy.mode must be a string", "4:20"],
    ["ports: [{target: x}]", "services.w.eb.ports.0.target must be a integer", "4:22"],
    ["ports: [80, 81, {target: x}]", "services.w.eb.ports.2.target must be a integer", "4:30"],
    ['ports: ["a:b"]', "services.w.eb.ports.0 Does not match format 'ports'", "4:13"],
    ['ports: [80, "80:80/x"]', "services.w.eb.ports.1 Does not match format 'ports'", "4:17"],
    ['ports: "80"', "services.w.eb.ports must be a list", "4:12"],
    ["volumes: [{target: /x}]", "services.w.eb.volumes.0 type is required", "4:15"],
    ["stop_grace_period: 5x", "services.w.eb.stop_grace_period Does not match format 'duration'", "4:24"],
    ["environment: {A: {b: c}}", "services.w.eb.environment.A must be a string, number or null", "4:22"],
    ["environment: [A=b, 1]", "services.w.eb.environment.1 must be a string", "4:24"],
    ["healthcheck: {test: 1}", "services.w.eb.healthcheck.test must be a string", "4:25"],
    ["ulimits: {nofile: {soft: 1}}", "services.w.eb.ulimits.nofile hard is required", "4:23"],
    ["labels: {a.b.c: [1]}", "services.w.eb.labels.a.b.c must be a string, number or null", "4:21"],
    ["labels: {a: 1, a.b: [1]}", "services.w.eb.labels.a.b must be a string, number or null", "4:25"],
    ["cap_add: [A, A]", "services.w.eb.cap_add array items[0,1] must be unique", "4:14"],
    ["networks: {default: {aliases: x}}", "services.w.eb.networks.default.aliases must be a list", "4:35"],
    [
      "deploy: {update_config: {order: later}}",
      'services.w.eb.deploy.update_config.order services.w.eb.deploy.update_config.order must be one of the following: "start-first", "stop-first"',
      "4:37",
    ],
  ])("%s", (key, reason, place) => {
    expect(told(reason, service(key))).toBe(`stack.yml:${place}: Docker refuses the stack file: ${reason}.`);
  });

  test.each([
    ["of all services", "services: []\n", "services must be a mapping", "1:11"],
    ["of a service", "services: {w: []}\n", "services.w must be a mapping", "1:15"],
    ["of networks", "networks: []\n", "networks must be a mapping", "1:11"],
    ["of a volume", "volumes: {a: x}\n", "volumes.a must be a mapping or null", "1:14"],
    ["of a config", "configs: {a: {external: x}}\n", "configs.a.external must be a boolean", "1:25"],
    ["of a secret", "secrets:\n  a.b: [c]\n", "secrets.a.b must be a mapping", "2:8"],
    [
      "that leads on, where the file ends before",
      "services: {w: {deploy: x}}\n",
      "services.w.deploy.mode must be a string",
      "1:24",
    ],
    ["of a service that is not there", "x-a: b\nservices: {w: {}}\n", "services.v must be a mapping", "2:11"],
  ])("%s", (_fact, text, reason, place) => {
    expect(told(reason, text)).toBe(`stack.yml:${place}: Docker refuses the stack file: ${reason}.`);
  });

  test("of the longer of two services whose names start alike", () => {
    const text = "services:\n  w: {eb: {image: a}}\n  w.eb: {image: [b]}\n";
    expect(told("services.w.eb.image must be a string", text)).toMatch(/^stack\.yml:3:17: /);
  });
});

describe("docker does not know a key", () => {
  test.each([
    ["of a service", service("foo: 1"), "services.w.eb Additional property foo is not allowed", "4:5"],
    [
      "below deploy",
      service("deploy: {foo: 1}"),
      "services.w.eb.deploy Additional property foo is not allowed",
      "4:14",
    ],
    [
      "in a list",
      service("ports: [80, {foo: x}]"),
      "services.w.eb.ports.1 Additional property foo is not allowed",
      "4:18",
    ],
    ["of the file", "x-a: b\nfoo: 1\n", "(root) Additional property foo is not allowed", "2:1"],
    [
      "of a network",
      "networks: {a: {foo: 1}}\n",
      "networks.a Additional property foo is not allowed",
      "1:16",
    ],
    [
      "since it has a blank",
      'services: {"a b": {image: i}}\n',
      "services Additional property a b is not allowed",
      "1:12",
    ],
  ])("%s: the place is that of the key", (_fact, text, reason, place) => {
    expect(told(reason, text)).toBe(`stack.yml:${place}: Docker refuses the stack file: ${reason}.`);
  });

  test.each([
    ["replica", "Did you mean replicas?"],
    ["enviroment", "Did you mean environment?"],
    ["volume", undefined],
    ["foo_bar_baz", undefined],
  ])("%s may be near to one that it knows", (key, hint) => {
    const reason = `services.w.eb Additional property ${key} is not allowed`;
    expect(told(reason, service(`${key}: 1`))).toBe(
      `stack.yml:4:5: Docker refuses the stack file: ${reason}.${hint === undefined ? "" : ` ${hint}`}`,
    );
  });

  test("of the file may be near to one that it knows", () => {
    expect(told("(root) Additional property servces is not allowed", "servces: {}\n")).toMatch(
      /^stack\.yml:1:1: .* Did you mean services\?$/,
    );
  });

  test("that is nowhere to be found: the place is that of its parent", () => {
    expect(told("services.w.eb Additional property foo is not allowed", service())).toMatch(
      /^stack\.yml:3:5: /,
    );
  });
});

describe("docker names its own field", () => {
  const FAILED = "decoding failed due to the following error(s): ";

  test.each([
    [
      "deploy: {resources: {limits: {memory: 5Q}}}",
      "error decoding 'Deploy.Resources.Limits.memory': invalid suffix: 'q'",
      "4:43",
    ],
    [
      "volumes: [/a, ':/x']",
      "error decoding 'Volumes[1]': invalid spec: :/x: empty section between colons",
      "4:19",
    ],
    [`command: "a 'b"`, "error decoding 'Command': EOF found when expecting closing quote", "4:14"],
    ["healthcheck: {retries: -1}", "cannot parse 'HealthCheck.Retries', -1 overflows uint", "4:28"],
    ["deploy: {replicas: -1}", "cannot parse 'Deploy.Replicas', -1 overflows uint", "4:24"],
    ["ports: [{target: 80, published: -1}]", "cannot parse 'Ports[0].Published', -1 overflows uint", "4:37"],
    ["stop_grace_period: 5x", "error decoding 'stop_grace_period': unknown unit", "4:24"],
  ])("%s", (key, reason, place) => {
    expect(told(FAILED + reason, service(key))).toBe(
      `stack.yml:${place}: Docker refuses the stack file: ${FAILED}${reason}.`,
    );
  });

  test("and of several services the one with the value that it repeats is meant", () => {
    const text = "services:\n  a: {volumes: [vol:/x]}\n  b: {volumes: ['::/y']}\n";
    const reason = `${FAILED}error decoding 'Volumes[0]': invalid spec: ::/y: empty section between colons`;
    expect(told(reason, text)).toMatch(/^stack\.yml:3:17: /);
  });

  test.each([
    [
      "cannot parse 'Deploy.Replicas', -1 overflows uint",
      "  a: {deploy: {replicas: 1}}\n  b: {deploy: {replicas: -1}}\n",
      "3:26",
    ],
    [
      "error decoding 'Deploy.Resources.Limits.memory': invalid suffix: 'mo'",
      "  a: {deploy: {resources: {limits: {memory: 64m}}}}\n  b: {deploy: {resources: {limits: {memory: 64MO}}}}\n",
      "3:45",
    ],
    [
      "error decoding 'Command': EOF found when expecting closing quote",
      "  a: {command: sleep '5'}\n  b: {command: echo it's}\n  c: {command: sleep 5}\n",
      "3:16",
    ],
    [
      "json: unsupported value: +Inf",
      "  a: {environment: {E: 1.5}}\n  b: {environment: {F: .inf}}\n",
      "3:24",
    ],
  ])("nor one whose value only looks alike: %s", (reason, services, place) => {
    expect(told(FAILED + reason, `services:\n${services}`)).toMatch(`stack.yml:${place}: `);
  });

  test("and a service without it is not meant", () => {
    const text = "services:\n  a: {image: i}\n  b: {deploy: {replicas: -1}}\n";
    expect(told(`${FAILED}cannot parse 'Deploy.Replicas', -1 overflows uint`, text)).toMatch(
      /^stack\.yml:3:26: /,
    );
  });
});

describe("docker names a service, and what it does not like", () => {
  test.each([
    ["deploy: {mode: foo}", "service w.eb: Unknown mode: foo", "4:20"],
    [
      "deploy: {resources: {limits: {cpus: xyz}}}",
      "service w.eb: failed to parse xyz as a rational number",
      "4:41",
    ],
    ["networks: [front]", 'service w.eb: undefined network "front"', "4:16"],
    ["configs: [app, other]", 'service w.eb: undefined config "other"', "4:20"],
    ["secrets: [{source: token}]", 'service w.eb: undefined secret "token"', "4:24"],
    ["restart: sometimes", "service w.eb: unknown restart policy: sometimes", "4:14"],
  ])("%s: the place is that of the value", (key, reason, place) => {
    expect(told(reason, service(key))).toBe(`stack.yml:${place}: Docker refuses the stack file: ${reason}.`);
  });

  test.each([
    ["deploy: {resources: {limits: {cpus: x}}}", "service w.eb: failed to parse x as a rational number"],
    ["healthcheck: {disable: true, test: x}", "service w.eb: test and disable can't be set at the same time"],
    [
      "credential_spec: {file: a, registry: b}",
      'service w.eb: invalid credential spec: cannot specify both "File" and "Registry"',
    ],
  ])("%s: the place is that of the service, where it repeats no value", (key, reason) => {
    expect(told(reason, service(key))).toBe(`stack.yml:2:3: Docker refuses the stack file: ${reason}.`);
  });

  test("and the same value in another service is not meant", () => {
    const text = "services:\n  a: {hostname: front}\n  b:\n    networks: [front]\n";
    expect(told('service b: undefined network "front"', text)).toMatch(/^stack\.yml:4:16: /);
  });
});

describe("docker names what is defined beside the services", () => {
  test.each([
    [
      "a volume",
      "volumes: {a: {external: true, driver: x}}\n",
      'conflicting parameters "external" and "driver" specified for volume "a"',
      "1:11",
    ],
    [
      "a config",
      "configs: {a: {external: {name: x}, name: y}}\n",
      "config a: config.external.name and config.name conflict; only use config.name",
      "1:11",
    ],
    [
      "a network",
      "networks:\n  net:\n    external: {name: x}\n    name: y\n",
      "network net: network.external.name and network.name conflict; only use network.name",
      "2:3",
    ],
    [
      "a network of the swarm",
      "networks:\n  front:\n    external: true\n",
      'network "front" is declared as external, but it is not in the right scope: "local" instead of "swarm"',
      "2:3",
    ],
  ])("%s", (_fact, text, reason, place) => {
    expect(told(reason, text)).toBe(`stack.yml:${place}: Docker refuses the stack file: ${reason}.`);
  });
});

describe("docker names a value, and nothing else", () => {
  test.each([
    [
      "a mount",
      service("volumes: [{type: bind, target: /x}]"),
      'invalid mount config for type "bind": field Source must not be empty',
      "4:22",
    ],
    ["a name", service("hostname: no_such_thing"), "no_such_thing is no name", "4:15"],
    ["a part of a message", service("command: some-thing"), "(some-thing) is odd", "4:14"],
  ])("%s: the place is that of the value", (_fact, text, reason, place) => {
    expect(told(reason, text)).toBe(`stack.yml:${place}: Docker refuses the stack file: ${reason}.`);
  });

  test("and the longest one is meant", () => {
    expect(
      told(
        "no image of r.io/a/b here",
        "services:\n  a: {image: a, hostname: image}\n  b: {image: r.io/a/b}\n",
      ),
    ).toMatch(/^stack\.yml:3:14: /);
  });

  test("a value of one character says nothing", () => {
    expect(told("a x b", "x-a: 1\nservices: {w: {hostname: x}}\n")).toMatch(/^stack\.yml:1:1: /);
  });
});

describe("docker names the version", () => {
  test.each([
    ["at its place", 'services: {}\nversion: "3.99"\n', "2:10"],
    ["at the file's start, where it has none", "services: {}\n", "1:1"],
  ])("%s", (_fact, text, place) => {
    expect(told("unsupported Compose file version: 3.99", text)).toBe(
      `stack.yml:${place}: Docker refuses the stack file: unsupported Compose file version: 3.99.`,
    );
  });
});

describe("docker says only that some key is no text", () => {
  const REASON = "json: unsupported type: map[interface {}]interface {}";

  test.each([
    "1",
    "-1",
    "0x1F",
    "0123",
    "1_000",
    "1.5",
    "1e3",
    ".5",
    ".inf",
    "true",
    "False",
    "null",
    "~",
    "2024-01-02",
  ])("the place is that of the key %s", (key) => {
    expect(told(REASON, `services:\n  web:\n    labels: {a: b, ${key}: c}\n`)).toBe(
      `stack.yml:3:20: YAML does not read the key ${key} as text. Quote it.`,
    );
  });

  test("the first one is told, however deep", () => {
    const text = "services:\n  web: {ports: [{a: b}, {1: c}], labels: {2: d}}\n3: e\n";
    expect(told(REASON, text)).toBe("stack.yml:2:26: YAML does not read the key 1 as text. Quote it.");
  });

  test.each(["'1'", '"true"', "!!str 1", "1a", "v1", "1.2.3", "nothing", "truest"])("%s is text", (key) => {
    expect(told(REASON, `services: {web: {labels: {? ${key} : c}}}\n1: d\n`)).toBe(
      "stack.yml:2:1: YAML does not read the key 1 as text. Quote it.",
    );
  });

  test("without such a key docker's words are all there is", () => {
    expect(told(REASON, "services: {}\n")).toBe(`stack.yml:1:1: Docker refuses the stack file: ${REASON}.`);
  });

  test("in the words of another version, too", () => {
    expect(told("Non-string key in services: 1", "services: {1: {image: i}}\n")).toBe(
      "stack.yml:1:12: YAML does not read the key 1 as text. Quote it.",
    );
  });
});

test("docker's words end with one full stop, and not with two", () => {
  expect(told("It is full.", "services: {}\n")).toBe(
    "stack.yml:1:1: Docker refuses the stack file: It is full.",
  );
});

test("of several files the place is in that which has the value", () => {
  const root = parseStackFile("services: {w: {image: i}}", "1.yml");
  const web = get(root, "services", "w");
  const other = get(parseStackFile("a:\n  replicas: x", "2.yml"), "a");
  if (web?.kind !== "mapping" || other === undefined) throw new RangeError("no service");
  set(web, "deploy", other);
  expect(inWords(objection("services.w.deploy.replicas must be a integer", root))).toMatch(/^2\.yml:2:13: /);
});
