import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { InputError, StackFileError, describe as inWords } from "../../../src/errors.ts";
import { type RenderRequest, pinned, printed, render } from "../../../src/stack/render.ts";
import { parseStackFile } from "../../../src/stack/stack-file.ts";
import { renderRequest } from "../../doubles/stack.ts";

const DIGEST = `sha256:${"0a".repeat(32)}`;
const ENV = "APP_KEY=$2b$10$abc\n";

function request(text: string, changes: Partial<RenderRequest> = {}): RenderRequest {
  const base = renderRequest();
  const image = { ...base.image, tags: ["latest"], digest: DIGEST };
  return { ...base, image, templates: [parseStackFile(text, "stack.yml")], ...changes };
}

function problems(text: string, changes: Partial<RenderRequest> = {}): string[] {
  try {
    render(request(text, changes));
    return [];
  } catch (error) {
    return error instanceof StackFileError ? error.problems.map(inWords) : [String(error)];
  }
}

describe("a stack file of years ago deploys as it stands", () => {
  const text = readFileSync("__tests__/stacks/hyperf.yml", "utf8");
  const image = {
    registry: "r.io/acme",
    project: "hyperf-demo",
    repository: "r.io/acme/hyperf-demo",
    version: "test",
    tags: [],
    digest: DIGEST,
  };
  const stack = render(
    request(text, { stack: "hyperf", image, envFile: { path: ".env", bytes: Buffer.from(ENV) } }),
  );
  const configName = `hyperf_hyperf_v1.0_${createHash("sha256").update(ENV).digest("hex").slice(0, 12)}`;

  test("with the pushed image, pinned", () => {
    expect(stack.services).toEqual([{ name: "hyperf", image: `r.io/acme/hyperf-demo:test@${DIGEST}` }]);
  });

  test("with the env file as a config named after its content", () => {
    expect(stack.envConfigName).toBe(configName);
    expect(stack.objects).toMatchObject([
      { kind: "config", key: "hyperf_v1.0", name: configName, bytes: Buffer.from(ENV) },
    ]);
  });

  test("and otherwise as its author wrote it", () => {
    expect(printed(stack)).toBe(`version: "3" # set by Swarm Stack Deploy
services:
  hyperf:
    image: "r.io/acme/hyperf-demo:test@${DIGEST}" # pinned by Swarm Stack Deploy
    environment:
      - "APP_PROJECT=hyperf"
      - "APP_ENV=test"
    ports:
      - 9501:9501
    deploy:
      replicas: 1
      restart_policy:
        condition: on-failure
        delay: 5s
        max_attempts: 5
      update_config:
        parallelism: 2
        delay: 5s
        order: start-first
        failure_action: rollback # set by Swarm Stack Deploy
      labels:
        swarm-stack-deploy.managed: "true" # set by Swarm Stack Deploy
      rollback_config:
        order: start-first # set by Swarm Stack Deploy
    networks:
      - hyperf_net
    configs:
      - source: hyperf_v1.0
        target: /opt/www/.env
configs:
  hyperf_v1.0:
    external: true # versioned by content
    name: "${configName}" # versioned by content
networks:
  hyperf_net:
    external: true
`);
  });

  test("without a warning", () => {
    expect(stack.warnings).toEqual([]);
  });
});

test.each([
  ["REGISTRY_URL", "r.io/acme"],
  ["PROJECT_NAME", "shop"],
  ["VERSION", "v1"],
  ["STACK_NAME", "shop"],
  ["IMAGE", `r.io/acme/shop:v1@${DIGEST}`],
  ["IMAGE_DIGEST", DIGEST],
  ["GIT_SHA", "abc"],
])("the action's own variable %s", (name, value) => {
  const stack = render(request(`services: {web: {image: a, environment: {V: $${name}}}}`));
  expect(printed(stack)).toContain(`V: "${value}"`);
});

test("ENV_CONFIG is the config's name on the swarm, and undefined without an env file", () => {
  const text =
    "services: {web: {image: a, configs: [{source: c, target: /.env}], environment: {V: $ENV_CONFIG}}}\nconfigs: {c: {external: true}}";
  const stack = render(request(text, { envFile: { path: ".env", bytes: Buffer.from(ENV) } }));
  expect(printed(stack)).toContain(`V: "${stack.envConfigName}"`);
  expect(problems(text)).toEqual([expect.stringContaining("The variable ENV_CONFIG is not defined.")]);
});

describe("ENV_CONFIG of an env file that fills a secret", () => {
  const text =
    "services: {web: {image: a, secrets: [s], environment: {V: $ENV_CONFIG}}}\nsecrets: {s: {external: true}}";
  const filled = (key: number, content = ENV) =>
    render(
      request(text, {
        envFile: { path: ".env", bytes: Buffer.from(content) },
        envConfig: "s",
        namingKey: Buffer.alloc(32, key),
      }),
    );

  test("is the secret's name on the swarm, made with the naming key", () => {
    const digest = createHmac("sha256", Buffer.alloc(32, 1)).update(ENV).digest("hex").slice(0, 12);
    const stack = filled(1);
    expect(stack.envConfigName).toBe(`shop_s_${digest}`);
    expect(stack.objects).toMatchObject([
      { kind: "secret", key: "s", name: stack.envConfigName, bytes: Buffer.from(ENV) },
    ]);
    expect(printed(stack)).toContain(`V: "${stack.envConfigName}"`);
    expect(printed(stack)).toContain(
      `secrets:\n  s:\n    external: true # versioned by content\n    name: "${stack.envConfigName}"`,
    );
  });

  test("depends on the content and on the key", () => {
    expect(filled(1).envConfigName).toBe(filled(1).envConfigName);
    expect(filled(2).envConfigName).not.toBe(filled(1).envConfigName);
    expect(filled(1, "APP_KEY=other\n").envConfigName).not.toBe(filled(1).envConfigName);
  });

  test("says nothing of the content, which the file that docker gets does not hold either", () => {
    expect(printed(filled(1))).not.toContain("APP_KEY");
  });
});

test("a config's name does not depend on the naming key", () => {
  const text = "services: {web: {image: a}}\nconfigs: {c: {content: x}}";
  const [one] = render(request(text)).objects;
  const [two] = render(request(text, { namingKey: Buffer.alloc(32, 2) })).objects;
  expect(one?.name).toBe(two?.name);
});

test("secrets beat variables, which beat the action's own, which beat the environment", () => {
  const stack = render(
    request("services: {web: {image: a, environment: {V: '$A $B $VERSION $C'}}}", {
      secrets: new Map([["A", "secret"]]),
      variables: new Map([
        ["A", "var"],
        ["B", "var"],
        ["VERSION", "var"],
      ]),
      environment: { A: "env", B: "env", VERSION: "env", C: "env" },
    }),
  );
  expect(printed(stack)).toContain('V: "secret var var env"');
});

test("what the step's environment or an env file gives may be a secret, what is given as a variable is none", () => {
  const stack = render(
    request("services: {web: {image: a, env_file: .env, environment: {V: '$A $B $C $ON', BARE: null}}}", {
      secrets: new Map([["A", "secret"]]),
      variables: new Map([["B", "var"]]),
      environment: { A: "env a", B: "env b", C: "env c", ON: "true", BARE: "env bare", UNUSED: "env unused" },
      read: () => Buffer.from("PIN=from file\nDEBUG=1\n"),
    }),
  );
  expect(stack.borrowed.toSorted()).toEqual(["env bare", "env c", "from file"]);
});

test("a secret full of dollars arrives as it is: docker reads two as one", () => {
  const stack = render(
    request("services: {web: {image: a, environment: {V: $S}}}", {
      secrets: new Map([["S", '$2b$10$x ${HOME} "q"\n$$']]),
    }),
  );
  expect(printed(stack)).toContain(
    String.raw`V: "$$2b$$10$$x $\${HOME} \"q\"\n$$$$"`.replace("$\\$", "$$$$"),
  );
});

describe("which images are pinned to what was pushed", () => {
  test.each([
    ["the version", "r.io/acme/shop:v1", true],
    ["a further tag", "r.io/acme/shop:latest", true],
    ["no tag, where latest was pushed", "r.io/acme/shop", true],
    ["$IMAGE, which has the digest already", "$IMAGE", true],
    ["another tag of the same repository", "r.io/acme/shop:v0", false],
    ["another repository", "r.io/acme/web:v1", false],
    ["another registry", "shop:v1", false],
  ])("%s", (_fact, image, pin) => {
    const [service] = render(request(`services: {web: {image: "${image}"}}`)).services;
    expect(service?.image.endsWith(`@${DIGEST}`)).toBe(pin);
    expect(service?.image.split("@")).toHaveLength(pin ? 2 : 1);
  });

  test("another digest stays", () => {
    const image = `r.io/acme/shop:v1@sha256:${"f".repeat(64)}`;
    expect(render(request(`services: {web: {image: "${image}"}}`)).services).toEqual([
      { name: "web", image },
    ]);
  });

  test("other images are pinned by what their registry says", () => {
    const stack = pinned(
      render(request("services: {web: {image: nginx:1}, db: {image: pg:1}}")),
      new Map([["nginx:1", `nginx:1@${DIGEST}`]]),
    );
    expect(stack.services).toEqual([
      { name: "web", image: `nginx:1@${DIGEST}` },
      { name: "db", image: "pg:1" },
    ]);
    expect(printed(stack)).toContain(`image: "nginx:1@${DIGEST}"`);
  });
});

test("a value that came from a variable is refused without being repeated", () => {
  const text = "services: {web: {image: a, stop_signal: $S, environment: {V: $S}, volumes: ['/x:$T']}}";
  const told = problems(text, {
    secrets: new Map([
      ["S", "hunter2{{"],
      ["T", "hunter2"],
    ]),
  });
  expect(told).toEqual([
    expect.stringContaining("services.web.environment.V is a template"),
    expect.stringContaining("services.web.stop_signal must be"),
    expect.stringContaining("A volume of service web must be"),
  ]);
  expect(told.join()).not.toContain("hunter2");
});

describe("what can't be deployed", () => {
  test.each([
    [
      "a service without image",
      "services:\n  web: {}",
      [
        "stack.yml:2:3: Service web has no image. Swarm builds nothing: write image: $IMAGE for the one this step builds.",
      ],
    ],
    [
      "an empty image",
      "services:\n  web:\n    image:",
      [expect.stringContaining("Service web has no image.")],
    ],
    [
      "an image that is none",
      "services:\n  web:\n    image: A B",
      ['stack.yml:3:12: "A B", the image of service web, is no image reference.'],
    ],
    ["no services", "services: {}", [expect.stringContaining("The stack file has no services.")]],
    ["no services at all", "networks: {}", [expect.stringContaining("The stack file has no services.")]],
    [
      "what only an engine would refuse",
      "services:\n  web:\n    image: a\n    stop_signal: SIGFOO",
      [expect.stringContaining('stack.yml:4:18: services.web.stop_signal "SIGFOO" must be')],
    ],
    [
      "two mistakes",
      "services: {a: {image: $NIL}, b: {image: $NIX}}",
      [expect.stringContaining("NIL"), expect.stringContaining("NIX")],
    ],
  ])("%s", (_fact, text, expected) => {
    expect(problems(text)).toEqual(expected);
  });

  test("a mistake behind an anchor is told once, of the first of the services that have it", () => {
    const text = (services: string): string =>
      `x-d: &d {image: a, env_file: nope.env, extends: x}\nservices: {${services}}`;
    expect(problems(text("a: *d"))).toEqual([
      expect.stringMatching(/^stack.yml:1:\d+: The env file "nope.env" of service a can't be read\. Its/),
      expect.stringMatching(/^stack.yml:1:\d+: services.a.extends can't be deployed to a swarm\. /),
    ]);
    expect(problems(text("a: *d, b: {<<: *d}, c: *d"))).toEqual([
      expect.stringContaining("of service a can't be read. The same goes for 2 more services."),
      expect.stringContaining(
        "services.a.extends can't be deployed to a swarm. The same goes for 2 more services.",
      ),
    ]);
    expect(problems("services:\n  a: {extends: x, image: a}\n  b: {extends: x, image: a}")).toHaveLength(2);
  });

  test("an env file that no config wants", () => {
    const envFile = { path: ".env", bytes: Buffer.from(ENV) };
    expect(problems("services: {web: {image: a}}", { envFile })).toEqual([
      expect.stringContaining("No config is mounted"),
    ]);
  });
});

test("the template stays as it is, so that it can be rendered again with the real digest", () => {
  const template = parseStackFile("services: {web: {image: $IMAGE}}\nconfigs: {c: {content: $VERSION}}", "f");
  const first = printed(render(request("a: b", { templates: [template] })));
  expect(printed(render(request("a: b", { templates: [template] })))).toBe(first);
});

test("docker can be given some of the services only, with all else", () => {
  const stack = render(request("services: {a: {image: x}, b: {image: y}}\nnetworks: {n: {external: true}}"));
  const some = printed(stack, new Set(["b"]));
  expect(some).not.toContain("image: x");
  expect(some).toContain("image: y");
  expect(some).toContain("networks:");
  expect(printed(stack)).toContain("image: x");
});

test("printing what was rendered leaves nothing for docker to substitute", () => {
  const stack = render(request('services: {web: {image: a, command: "echo $$HOME $${X}"}}'));
  expect(printed(stack)).toContain('command: "echo $$HOME $${X}"');
});

describe("all that is wrong is told at once", () => {
  test("a missing variable beside an image, a reference, and a config without content", () => {
    const text = [
      "services:",
      "  web: {image: 'A B', environment: {V: $NIL}, configs: [nope]}",
      "  db: {image: '$NO:v1', volumes: ['${NO}:/data'], env_file: '$NO.env'}",
      "configs:",
      "  c: {file: nope.conf}",
      "  d: {content: $NIX}",
    ].join("\n");
    expect(problems(text)).toEqual([
      expect.stringContaining("stack.yml:2:40: The variable NIL is not defined."),
      expect.stringContaining("stack.yml:3:16: The variable NO is not defined."),
      expect.stringContaining("stack.yml:3:36: The variable NO is not defined."),
      expect.stringContaining("stack.yml:3:62: The variable NO is not defined."),
      expect.stringContaining("stack.yml:6:16: The variable NIX is not defined."),
      expect.stringContaining('stack.yml:5:13: The file "nope.conf" of config c can\'t be read.'),
      expect.stringContaining('stack.yml:2:57: Service web uses the config "nope"'),
      expect.stringContaining('stack.yml:2:16: "A B", the image of service web, is no image reference.'),
    ]);
  });

  test("a value that lacks its variable is no second mistake", () => {
    const service =
      "{image: $A, stop_signal: $B, ports: ['$C'], volumes: ['$D:/x'], healthcheck: {test: [$E]}, deploy: {mode: $F, update_config: {failure_action: $G}}}";
    expect(problems(`services: {web: ${service}}`)).toEqual(
      ["A", "B", "C", "D", "E", "F", "G"].map((name) =>
        expect.stringContaining(`The variable ${name} is not defined.`),
      ),
    );
  });

  test("what is missing or no YAML stands beside the variables of the other files, with the warnings", () => {
    const unread = { missing: [{ message: "No such file." }], malformed: [{ message: "No YAML." }] };
    const refuse = (): unknown =>
      render(
        request(
          "services: {web: {image: $NIL, hostname: $ENV_CONFIG, env_file: {path: .env, required: false}}}",
          { unread },
        ),
      );
    expect(refuse).toThrow(InputError);
    expect(
      problems("services: {web: {image: a, configs: [c]}}", { unread: { ...unread, missing: [] } }),
    ).toEqual(["No YAML."]);
    try {
      refuse();
    } catch (error) {
      const { problems: all, warnings } = error as InputError;
      expect(all.map(inWords)).toEqual([
        "No such file.",
        "No YAML.",
        expect.stringContaining("stack.yml:1:25: The variable NIL is not defined."),
      ]);
      expect(warnings.map(inWords)).toEqual([expect.stringContaining('The env file ".env" of service web')]);
    }
  });

  test("with strict: false the undefined variables are told as warnings although something else is wrong", () => {
    try {
      render(request("services: {web: {image: $NIL, environment: {A: $NIX}}}", { strict: false }));
      throw new Error("it was taken");
    } catch (error) {
      expect((error as StackFileError).warnings.map(inWords)).toEqual([
        expect.stringContaining("The variable NIL is not defined and becomes empty."),
        expect.stringContaining("The variable NIX is not defined and becomes empty."),
      ]);
    }
  });
});
