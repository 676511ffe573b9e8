import { readFileSync, readdirSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative } from "node:path";
import { expect, test } from "@jest/globals";

/** Which files may import a package. A new line here is an architecture decision. */
const HOMES: Readonly<Record<string, readonly string[]>> = {
  "@actions/core": ["io/actions.ts"],
  "@actions/http-client": ["io/github.ts"],
  ssh2: [
    "io/ssh-ahead.ts",
    "io/ssh-authentication.ts",
    "io/ssh-connection.ts",
    "io/ssh-login.ts",
    "io/docker-way.ts",
    "io/private-key.ts",
  ],
  yaml: ["stack/stack-file.ts"],
};

const IMPORT = /^(?:import|export)\b(?:[^;"]*\bfrom)?\s*"([^"]+)"|\bimport\("([^"]+)"\)/gm;

interface Source {
  /** Below src. */
  readonly path: string;
  /** Without comments. */
  readonly code: string;
  readonly imports: readonly string[];
}

function read(folder: string): Source[] {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  return names.map((path) => {
    const text = readFileSync(join(folder, path), "utf8");
    const code = text.replace(/\/\*[^]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");
    const imports = [...code.matchAll(IMPORT)].map(([, name, lazy]) => name ?? lazy ?? "");
    return { path, code, imports };
  });
}

const sources = read("src");
const isWindow = ({ path }: Source): boolean => path === "main.ts" || path.startsWith("io/");
const inner = sources.filter((source) => !isWindow(source));

/** `deploy.ts imports io/engine.ts`, for every import that `wrong` names. */
function violations(from: readonly Source[], wrong: (name: string, source: Source) => boolean): string[] {
  return from.flatMap((source) =>
    source.imports.filter((name) => wrong(name, source)).map((name) => `${source.path} imports ${name}`),
  );
}

function target(name: string, { path }: Source): string {
  return relative("src", join("src", dirname(path), name));
}

test("the rules look at real files", () => {
  expect(sources.length).toBeGreaterThan(30);
  expect(sources.flatMap(({ imports }) => imports)).toEqual(
    expect.arrayContaining(["ssh2", "yaml", "@actions/core", "node:crypto"]),
  );
});

test("only main.ts and io/ itself look through a window", () => {
  expect(
    violations(inner, (name, source) => name.startsWith(".") && target(name, source).startsWith("io/")),
  ).toEqual([]);
});

test("nothing imports main.ts", () => {
  expect(
    violations(sources, (name, source) => name.startsWith(".") && target(name, source) === "main.ts"),
  ).toEqual([]);
});

test("every package has one home", () => {
  const isPackage = (name: string): boolean => !name.startsWith(".") && !name.startsWith("node:");
  expect(
    violations(sources, (name, { path }) => isPackage(name) && HOMES[name]?.includes(path) !== true),
  ).toEqual([]);
});

test("every package the action ships is used", () => {
  const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as {
    dependencies: Readonly<Record<string, string>>;
  };
  expect(Object.keys(dependencies).toSorted()).toEqual(Object.keys(HOMES).toSorted());
});

test("inner rooms know no Node module but crypto", () => {
  expect(violations(inner, (name) => name.startsWith("node:") && name !== "node:crypto")).toEqual([]);
});

test("Node's modules are called by their full names", () => {
  expect(violations(sources, (name) => builtinModules.includes(name))).toEqual([]);
});

test("local imports say .ts", () => {
  expect(violations(sources, (name) => name.startsWith(".") && !name.endsWith(".ts"))).toEqual([]);
});

test.each([
  ["the clock on the wall", /\bDate\.now\b|\bnew Date\(\)|\bperformance\./],
  ["timers", /\bset(Timeout|Interval|Immediate)\b/],
  ["the process", /\bprocess\./],
  ["the console", /\bconsole\./],
  ["the network", /\bfetch\(/],
])("inner rooms do not touch %s", (_what, pattern) => {
  expect(inner.filter(({ code }) => pattern.test(code)).map(({ path }) => path)).toEqual([]);
});

test("a function lives with what it serves: there is no drawer for the rest", () => {
  const names = [...sources, ...read("__tests__")].map(({ path }) => path);
  expect(
    names.filter((path) =>
      /(^|\/)(utils?|helpers?|common|misc|shared|types|constants|index)\.ts$/.test(path),
    ),
  ).toEqual([]);
});

test("no module is mocked: where a test would want that, a parameter is missing", () => {
  const mocks = /\bjest\s*\.\s*(mock|unstable_mockModule|doMock)\b/;
  const own = "house.test.ts";
  expect(
    read("__tests__")
      .filter(({ path, code }) => path !== own && mocks.test(code))
      .map(({ path }) => path),
  ).toEqual([]);
});
