import { createHash, createHmac } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import {
  type Kind,
  envConfigKey,
  refusedBySwarm,
  versionObjects,
  versionedName,
} from "../../../src/stack/configs.ts";
import { parseStackFile, printStackFile } from "../../../src/stack/stack-file.ts";
import { type Findings, scopeOf } from "../../../src/stack/template.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 12);
const KEY = Buffer.alloc(32, 1);
const keyed = (text: string, key: Uint8Array = KEY): string =>
  createHmac("sha256", key).update(text).digest("hex").slice(0, 12);

describe("the name of a secret", () => {
  test("tells the stack and the key; of the content only who has the naming key learns anything", () => {
    expect(versionedName("shop", "token", bytes("hunter2"), KEY)).toBe(`shop_token_${keyed("hunter2")}`);
    expect(versionedName("shop", "token", bytes("hunter2"), KEY)).not.toContain(digest("hunter2"));
  });

  test("is the same for the same content and key, and another for another content or key", () => {
    const name = (content: string, key: number) =>
      versionedName("s", "k", bytes(content), Buffer.alloc(32, key));
    expect(name("a", 1)).toBe(name("a", 1));
    expect(name("a", 1)).not.toBe(name("b", 1));
    expect(name("a", 1)).not.toBe(name("a", 2));
  });

  test("has at most 64 characters, and one too long stays distinct", () => {
    const [a, b] = ["a", "b"].map((end) => versionedName("s", "k".repeat(64) + end, bytes("x"), KEY));
    expect(a).toHaveLength(64);
    expect(a).not.toBe(b);
    expect(a?.endsWith(`_${keyed("x")}`)).toBe(true);
  });
});

describe("the name of a config", () => {
  test("tells the stack, the key and the content", () => {
    expect(versionedName("shop", "app_env", bytes("A=1\n"))).toBe(`shop_app_env_${digest("A=1\n")}`);
  });

  test("is the same for the same content, and another for another", () => {
    expect(versionedName("s", "k", bytes("a"))).toBe(versionedName("s", "k", bytes("a")));
    expect(versionedName("s", "k", bytes("a"))).not.toBe(versionedName("s", "k", bytes("b")));
  });

  test.each([50, 51, 52, 53, 64, 200])(
    "has at most 64 characters, and one too long stays distinct (%d)",
    (length) => {
      const [a, b] = ["a", "b"].map((end) => versionedName("s", "k".repeat(length - 3) + end, bytes("x")));
      expect(a).toMatch(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9]$/);
      expect(a).not.toBe(b);
      expect(a?.endsWith(`_${digest("x")}`)).toBe(true);
    },
  );
});

test.each<[Kind | undefined, number, RegExp | undefined]>([
  ["config", 0, /is empty, and Swarm keeps no empty config$/],
  ["config", 1, undefined],
  ["config", 1_023_999, undefined],
  ["config", 1_024_000, /configs must be smaller than 1024000$/],
  [undefined, 1_023_999, undefined],
  [undefined, 1_024_000, /configs must be smaller than 1024000$/],
  ["secret", 0, /is empty, and Swarm keeps no empty secret$/],
  ["secret", 1, undefined],
  ["secret", 511_999, undefined],
  ["secret", 512_000, /has 512000 bytes, and Swarm's secrets must be smaller than 512000$/],
])("what Swarm thinks of a %s of %d bytes", (kind, size, words) => {
  const refused = refusedBySwarm(size, kind);
  if (words === undefined) expect(refused).toBeUndefined();
  else expect(refused).toMatch(words);
});

describe("the config that the env file fills", () => {
  const found = (text: string, file = ".env", asked?: string): string => {
    const answer = envConfigKey([parseStackFile(text, "f")], file, asked);
    return "key" in answer ? `${answer.kind} ${answer.key}` : inWords(answer.problem);
  };
  const services = (configs: string): string =>
    `services: {web: {configs: ${configs}}}\nconfigs: {app: {external: true}, other: {external: true}}`;

  test.each([
    [
      "mounted at a path that ends in its name",
      services("[{source: app, target: /opt/www/.env}]"),
      ".env",
      "app",
    ],
    [
      "wherever the env file lies",
      services("[{source: app, target: /.env}, {source: other, target: /x}]"),
      "config/prod/.env",
      "app",
    ],
    [
      "mounted by two services",
      "services: {a: {configs: [{source: app, target: /.env}]}, b: {configs: [{source: app, target: /x/.env}]}}\nconfigs: {app: {}}",
      ".env",
      "app",
    ],
    ["in the short form, which mounts at the root", services("[app, other]"), "conf/app", "app"],
    ["with a folder from a variable", services("[{source: app, target: '${ROOT}/.env'}]"), ".env", "app"],
  ])("is the one %s", (_fact, text, file, key) => {
    expect(found(text, file)).toBe(`config ${key}`);
  });

  test("is the one asked for, whatever is mounted where", () => {
    expect(found(services("[{source: app, target: /.env}]"), ".env", "other")).toBe("config other");
  });

  test.each([
    ["may be a secret", "secrets: {s: {external: true}}", "s", "secret s"],
    ["may be a secret without a definition", "secrets: {s: }", "s", "secret s"],
    ["beside configs", "configs: {c: {}}\nsecrets: {s: {file: x}}", "s", "secret s"],
    ["is the config where a secret has the same key", "configs: {a: {}}\nsecrets: {a: {}}", "a", "config a"],
  ])("that is asked for %s", (_fact, text, asked, key) => {
    expect(found(text, ".env", asked)).toBe(key);
  });

  test("is never a secret by its mount: that one has to be asked for", () => {
    const text = "services: {web: {secrets: [{source: s, target: /.env}]}}\nsecrets: {s: {external: true}}";
    expect(found(text)).toMatch(/^No config is mounted/);
  });

  test.each([
    [
      "no config is mounted there",
      services("[{source: app, target: /x.env}]"),
      undefined,
      /^No config is mounted at a path that ends in "\.env"\. The stack file has the configs app, other\. .*"env-config"/,
    ],
    [
      "two are",
      services("[{source: app, target: /.env}, {source: other, target: /x/.env}]"),
      undefined,
      /^Several configs \(app, other\) are mounted/,
    ],
    ["the file has no configs", "services: {web: {}}", undefined, /The stack file has no configs\./],
    [
      "the key asked for does not exist",
      services("[]"),
      "ap",
      /^"env-config" is "ap", which is no key under configs or secrets\. The stack file has the configs app, other\.$/,
    ],
    [
      "the key asked for is of neither kind",
      "secrets: {s: {external: true}}",
      "t",
      /^"env-config" is "t", which is no key under configs or secrets\. The stack file has no configs\. The stack file has the secrets s\.$/,
    ],
    [
      "the key asked for is of neither kind, and there are both",
      "configs: {a: {}}\nsecrets: {s: {external: true}, r: {external: true}}",
      "t",
      /The stack file has the configs a\. The stack file has the secrets s, r\.$/,
    ],
  ])("is a question where %s", (_fact, text, asked, words) => {
    expect(found(text, ".env", asked)).toMatch(words);
  });
});

describe("what is versioned", () => {
  const files: Readonly<Record<string, string>> = { "./nginx.conf": "server {}", "empty.conf": "" };
  const version = (text: string, envKey?: string, kind: Kind = "config", namingKey: Uint8Array = KEY) => {
    const root = parseStackFile(text, "stack.yml");
    const env =
      envKey === undefined ? undefined : { kind, key: envKey, file: { path: ".env", bytes: bytes("A=1") } };
    const findings: Findings = { problems: [], warnings: [] };
    const sources = {
      stack: "shop",
      namingKey,
      taken: () => false,
      env,
      scope: scopeOf([new Map([["MOTD", "$hello"]])], {}),
      read: (path: string) => (files[path] === undefined ? undefined : bytes(files[path])),
    };
    const objects = versionObjects(root, sources, findings);
    const { problems } = findings;
    return {
      names: objects.map(({ name }) => name),
      objects,
      problems: problems.map(inWords),
      printed: printStackFile(root),
    };
  };

  test.each([
    ["a file", "file: ./nginx.conf", "server {}"],
    ["content", "content: |\n      a\n      b", "a\nb\n"],
    ["a variable", "environment: MOTD", "$hello"],
  ])("%s is named after what is in it", (_fact, definition, content) => {
    const { names, objects, printed, problems } = version(`configs:\n  app:\n    ${definition}\n`);
    expect(problems).toEqual([]);
    expect(names).toEqual([`shop_app_${digest(content)}`]);
    expect(Buffer.from(objects[0]?.bytes ?? []).toString()).toBe(content);
    expect(objects[0]).toMatchObject({ kind: "config", key: "app" });
    expect(printed).toBe(
      `configs:\n  app:\n    external: true # versioned by content\n    name: "shop_app_${digest(content)}" # versioned by content\n`,
    );
  });

  test("the env file fills its key, even where the stack file calls it external", () => {
    expect(version("configs: {app_v1.0: {external: true}}", "app_v1.0").names).toEqual([
      `shop_app_v1.0_${digest("A=1")}`,
    ]);
  });

  test("an external one stays as it is", () => {
    const { names, printed } = version("configs: {app: {external: true, name: other}}");
    expect(names).toEqual([]);
    expect(printed).toBe("configs:\n  app:\n    external: true\n    name: other\n");
  });

  test("a variable with nearly that name is suggested", () => {
    expect(version("configs: {a: {environment: MOTDS}}").problems).toEqual([
      "stack.yml:1:28: The variable MOTDS is not defined. Did you mean MOTD?",
    ]);
  });

  test("what docker does not know of a definition is left for docker to refuse", () => {
    const { printed } = version("configs: {a: {content: x, lables: {l: v}, labels: [l, l]}}");
    expect(printed).toContain("lables:\n      l: v\n    labels:\n      - l\n      - l\n");
  });

  test("numbers and dates among the labels become the text that docker makes of them", () => {
    const labels = "{a: 0123, b: 1.50, c: 1e3, d: 2026-11-25, e: '0123', f: yes}";
    const [object] = version(`configs: {a: {content: x, labels: ${labels}}}`).objects;
    expect(Object.fromEntries(object?.labels ?? [])).toEqual({
      a: "83",
      b: "1.5",
      c: "1000",
      d: "2026-11-25 00:00:00 +0000 UTC",
      e: "0123",
      f: "yes",
    });
  });

  test("labels and template driver go along", () => {
    const { objects } = version(
      "configs: {a: {content: x, template_driver: golang, labels: {l: v, e: }}, b: {content: x, labels: [l=v=w]}}",
    );
    expect(objects.map(({ labels, templateDriver }) => [Object.fromEntries(labels), templateDriver])).toEqual(
      [
        [{ l: "v", e: "" }, "golang"],
        [{ l: "v=w" }, undefined],
      ],
    );
  });

  test.each([
    [
      "a file that is not there",
      "file: nope.conf",
      'stack.yml:3:11: The file "nope.conf" of config app can\'t be read. It must be a file; its path starts at the folder of the first stack file.',
    ],
    [
      "a variable that is not there",
      "environment: NOPE",
      'stack.yml:3:18: The variable NOPE is not defined. The content of config app comes from it: give it in "variables" or "secrets".',
    ],
    [
      "an empty file",
      "file: empty.conf",
      'stack.yml:2:3: The file "empty.conf" of config app is empty, and Swarm keeps no empty config.',
    ],
    [
      "empty content",
      'content: ""',
      "stack.yml:2:3: The content of config app is empty, and Swarm keeps no empty config.",
    ],
    [
      "too much content",
      `content: ${"x".repeat(1_024_000)}`,
      "stack.yml:2:3: The content of config app has 1024000 bytes, and Swarm's configs must be smaller than 1024000.",
    ],
  ])("%s is refused at its place", (_fact, definition, message) => {
    expect(version(`configs:\n  app:\n    ${definition}\n`).problems).toEqual([message]);
  });

  describe("secrets", () => {
    test.each([
      ["a file", "file: ./nginx.conf", "server {}"],
      ["content", 'content: "a"', "a"],
      ["a variable", "environment: MOTD", "$hello"],
    ])("%s is named after what is in it, by way of the key", (_fact, definition, content) => {
      const { names, objects, printed, problems } = version(`secrets:\n  app:\n    ${definition}`);
      expect(problems).toEqual([]);
      expect(names).toEqual([`shop_app_${keyed(content)}`]);
      expect(objects).toMatchObject([{ kind: "secret", key: "app" }]);
      expect(Buffer.from(objects[0]?.bytes ?? []).toString()).toBe(content);
      expect(printed).toBe(
        `secrets:\n  app:\n    external: true # versioned by content\n    name: "shop_app_${keyed(content)}" # versioned by content\n`,
      );
    });

    test("of the same content keep their name; with another key they have another", () => {
      const named = (key: number) =>
        version("secrets: {a: {content: x}}", undefined, "secret", Buffer.alloc(32, key)).names;
      expect(named(1)).toEqual([`shop_a_${keyed("x")}`]);
      expect(named(1)).toEqual(named(1));
      expect(named(2)).toEqual([`shop_a_${keyed("x", Buffer.alloc(32, 2))}`]);
      expect(named(2)).not.toEqual(named(1));
    });

    test("that are external stay as they are", () => {
      const { objects, printed, problems } = version("secrets: {app: {external: true, name: other}}");
      expect({ objects, problems }).toEqual({ objects: [], problems: [] });
      expect(printed).toBe("secrets:\n  app:\n    external: true\n    name: other\n");
    });

    test("take labels and template driver along", () => {
      const { objects } = version("secrets: {a: {content: x, template_driver: golang, labels: {l: v}}}");
      expect(objects).toMatchObject([{ labels: new Map([["l", "v"]]), templateDriver: "golang" }]);
    });

    test("may share a key with a config: each has its own name", () => {
      const { objects } = version("secrets: {a: {content: x}}\nconfigs: {a: {content: x}}");
      expect(objects.map(({ kind, name }) => [kind, name])).toEqual([
        ["config", `shop_a_${digest("x")}`],
        ["secret", `shop_a_${keyed("x")}`],
      ]);
    });

    test.each<[Kind, Kind, string]>([
      ["secret", "config", `shop_a_${keyed("A=1")}`],
      ["config", "secret", `shop_a_${digest("A=1")}`],
    ])("the env file fills the %s that it is for, and not the %s of the same key", (kind, other, name) => {
      const text = "configs: {a: {external: true}}\nsecrets: {a: {external: true}}";
      const { objects, printed } = version(text, "a", kind);
      expect(objects).toMatchObject([{ kind, key: "a", name, bytes: bytes("A=1") }]);
      expect(printed).toContain(
        `${kind}s:\n  a:\n    external: true # versioned by content\n    name: "${name}"`,
      );
      expect(printed).toMatch(new RegExp(`${other}s:\n  a:\n    external: true\n(?!    )`));
    });
  });

  test.each([
    [
      "a file that is not there",
      "file: nope.key",
      'stack.yml:3:11: The file "nope.key" of secret app can\'t be read. It must be a file; its path starts at the folder of the first stack file.',
    ],
    [
      "a variable that is not there",
      "environment: NOPE",
      'stack.yml:3:18: The variable NOPE is not defined. The content of secret app comes from it: give it in "variables" or "secrets".',
    ],
    [
      "an empty file",
      "file: empty.conf",
      'stack.yml:2:3: The file "empty.conf" of secret app is empty, and Swarm keeps no empty secret.',
    ],
    [
      "too much content",
      `content: ${"x".repeat(512_000)}`,
      "stack.yml:2:3: The content of secret app has 512000 bytes, and Swarm's secrets must be smaller than 512000.",
    ],
  ])("%s of a secret is refused at its place", (_fact, definition, message) => {
    const { objects, problems } = version(`secrets:\n  app:\n    ${definition}`);
    expect(problems).toEqual([message]);
    expect(objects).toEqual([]);
  });

  test("half of what a config may hold is all that a secret may", () => {
    const text = "x".repeat(511_999);
    expect(version(`secrets: {a: {content: ${text}}}`).problems).toEqual([]);
    expect(version(`configs: {a: {content: ${text}x}}`).problems).toEqual([]);
    expect(version(`secrets: {a: {content: ${text}x}}`).problems).toHaveLength(1);
  });
});
