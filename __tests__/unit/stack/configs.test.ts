import { createHash } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { envConfigKey, refusedBySwarm, versionConfigs, versionedName } from "../../../src/stack/configs.ts";
import { parseStackFile, printStackFile } from "../../../src/stack/stack-file.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 12);

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

test.each([
  [0, /is empty/],
  [1, undefined],
  [1_023_999, undefined],
  [1_024_000, /smaller than 1024000/],
])("what Swarm thinks of %d bytes", (size, words) => {
  const refused = refusedBySwarm(size);
  if (words === undefined) expect(refused).toBeUndefined();
  else expect(refused).toMatch(words);
});

describe("the config that the env file fills", () => {
  const found = (text: string, file = ".env", asked?: string): string => {
    const answer = envConfigKey(parseStackFile(text, "f"), file, asked);
    return "key" in answer ? answer.key : inWords(answer.problem);
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
    expect(found(text, file)).toBe(key);
  });

  test("is the one asked for, whatever is mounted where", () => {
    expect(found(services("[{source: app, target: /.env}]"), ".env", "other")).toBe("other");
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
      /^"env-config" is "ap", which is no key under configs\. The stack file has the configs app, other\.$/,
    ],
    [
      "a secret is asked for",
      "secrets: {s: {external: true}}",
      "s",
      /^"env-config" is "s", a secret; filling secrets is not supported yet/,
    ],
  ])("is a question where %s", (_fact, text, asked, words) => {
    expect(found(text, ".env", asked)).toMatch(words);
  });
});

describe("versioned configs", () => {
  const files: Readonly<Record<string, string>> = { "./nginx.conf": "server {}", "empty.conf": "" };
  const version = (text: string, envKey?: string) => {
    const root = parseStackFile(text, "stack.yml");
    const env =
      envKey === undefined ? undefined : { key: envKey, file: { path: ".env", bytes: bytes("A=1") } };
    const { configs, problems } = versionConfigs(root, {
      stack: "shop",
      env,
      lookup: (name) => (name === "MOTD" ? "$hello" : undefined),
      read: (path) => (files[path] === undefined ? undefined : bytes(files[path])),
    });
    return {
      names: configs.map(({ name }) => name),
      configs,
      problems: problems.map(inWords),
      printed: printStackFile(root),
    };
  };

  test.each([
    ["a file", "file: ./nginx.conf", "server {}"],
    ["content", "content: |\n      a\n      b", "a\nb\n"],
    ["a variable", "environment: MOTD", "$hello"],
  ])("%s is named after what is in it", (_fact, definition, content) => {
    const { names, configs, printed, problems } = version(`configs:\n  app:\n    ${definition}`);
    expect(problems).toEqual([]);
    expect(names).toEqual([`shop_app_${digest(content)}`]);
    expect(Buffer.from(configs[0]?.bytes ?? []).toString()).toBe(content);
    expect(printed).toBe(
      `configs:\n  app:\n    external: true\n    name: "shop_app_${digest(content)}" # versioned by content\n`,
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

  test("labels and template driver go along", () => {
    const { configs } = version(
      "configs: {a: {content: x, template_driver: golang, labels: {l: v, e: }}, b: {content: x, labels: [l=v=w]}}",
    );
    expect(configs.map(({ labels, templateDriver }) => [Object.fromEntries(labels), templateDriver])).toEqual(
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
      'stack.yml:3:11: The file "nope.conf" of config app can\'t be read.',
    ],
    [
      "a variable that is not there",
      "environment: NOPE",
      "stack.yml:3:18: The variable NOPE of config app is not defined.",
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
    expect(version(`configs:\n  app:\n    ${definition}`).problems).toEqual([message]);
  });
});
