import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { StackFileError } from "../../../src/errors.ts";
import { parseKeyValues } from "../../../src/inputs/key-values.ts";
import { readEnvFile } from "../../../src/stack/env-file.ts";
import { interpolate } from "../../../src/stack/interpolate.ts";
import { printed, render } from "../../../src/stack/render.ts";
import { parseStackFile } from "../../../src/stack/stack-file.ts";
import { scopeOf } from "../../../src/stack/template.ts";
import { Random } from "../../oracle/random.ts";
import { renderRequest } from "../../doubles/stack.ts";

// Nobody's file may crash the action, hang it, or end in an error that is not one of ours.
//   FUZZ_SEED=7 FUZZ_COUNT=100000 npm run test:unit -- fuzz    another stream of files

const seed = Number(process.env.FUZZ_SEED ?? 1);
const count = Number(process.env.FUZZ_COUNT ?? 1000);

const REQUEST = renderRequest({
  stack: "fuzz",
  variables: new Map([["A", "a$b"]]),
  secrets: new Map([["S", "s3cret"]]),
  environment: { HOME: "/root" },
  strict: false,
  read: () => Buffer.from("B=2\n"),
});

/** The text that docker would get, or nothing where we refuse the files; any other end is a failure. */
function rendered(...files: readonly (string | Uint8Array)[]): string | undefined {
  try {
    const templates = files.map((file, index) => parseStackFile(file, `${index}.yml`));
    return printed(render({ ...REQUEST, templates }));
  } catch (error) {
    if (!(error instanceof StackFileError)) throw error;
    for (const { place, message } of error.problems) {
      expect(place?.line ?? 1).toBeGreaterThan(0);
      expect(message).not.toBe("");
    }
    return undefined;
  }
}

/** Runs the cases; a failure names the one that it took. */
function cases(run: (random: Random) => void): void {
  for (let number = 0; number < count; number += 1) {
    try {
      run(Random.forCase(seed, number));
    } catch (error) {
      throw new Error(`case ${number} of seed ${seed}`, { cause: error });
    }
  }
}

function bytes(random: Random, most: number): Uint8Array {
  return Uint8Array.from({ length: random.whole(0, most) }, () => random.whole(0, 255));
}

const PIECES = (
  "services: networks: configs: secrets: volumes: web: image: deploy: environment: ports: command: healthcheck: env_file: labels: " +
  "content: file: external: name: version: << x-a: mem_limit: profiles: restart: depends_on: extends: " +
  "$A ${A} ${A:-b} ${A:?c} ${N ${ $$ $ } { [ ] , : - ? * & | > ' \" # % @ ` ! ~ null true 0 1.5 0x1F 2024-01-01 80:80 a b/c *x &x !!str"
).split(" ");

/** What looks like a stack file from afar. */
function soup(random: Random): string {
  return Array.from({ length: random.whole(1, 60) }, () => {
    const piece = random.pick(PIECES);
    return piece + random.pick(["", " ", " ", "\n", "\n  ", "\n    ", "\n      ", "\t", "\r\n"]);
  }).join("");
}

const REAL = readdirSync("__tests__/stacks", { recursive: true, encoding: "utf8" })
  .map((name) => join("__tests__/stacks", name))
  .filter((path) => path.endsWith(".yml") && statSync(path).isFile())
  .map((path) => readFileSync(path));

/** A real file in which a few bytes were hit. */
function damaged(random: Random): Uint8Array {
  let file = Buffer.from(random.pick(REAL));
  for (let hit = random.whole(1, 4); hit > 0; hit -= 1) {
    const at = random.whole(0, file.length - 1);
    const length = random.whole(1, 30);
    const other = random.pick(REAL);
    const from = random.whole(0, other.length - 1);
    const into = random.pick([
      bytes(random, 3),
      Buffer.alloc(0),
      other.subarray(from, from + length),
      Buffer.from(random.pick(PIECES)),
    ]);
    file = Buffer.concat([file.subarray(0, at), into, file.subarray(at + random.whole(0, length))]);
  }
  return file;
}

function withoutComments(text: string | undefined): unknown {
  return text === undefined ? undefined : parse(text, { schema: "failsafe", logLevel: "silent" });
}

describe("whatever stands in a stack file, it is rendered or refused at a place:", () => {
  test.each([
    ["random bytes", (random: Random) => bytes(random, 200)],
    ["words of a stack file in no order", soup],
  ])("%s", (_what, file) => {
    let refused = 0;
    cases((random) => {
      if (rendered(file(random)) === undefined) refused += 1;
    });
    expect(refused).toBeGreaterThan(count / 2);
  });

  test("real files with damage, alone and merged; what is rendered can be read again, and then says the same", () => {
    let taken = 0;
    cases((random) => {
      const files = Array.from({ length: random.whole(1, 2) }, () => damaged(random));
      const text = rendered(...files);
      if (text === undefined) return;
      taken += 1;
      // Docker's second pass must find nothing to replace: neither does ours.
      expect(withoutComments(rendered(text))).toEqual(withoutComments(text));
    });
    expect(taken).toBeGreaterThan(count / 50); // Most damage is found, but not all of it is one.
  });
});

test("whatever stands in an env file, each line is taken, or refused at its line", () => {
  const scope = scopeOf([new Map([["A", "a"]])], {});
  cases((random) => {
    const file = random.chance(0.5) ? bytes(random, 200) : Buffer.from(soup(random).replaceAll(":", "="));
    const lines = Buffer.from(file).toString("latin1").split("\n").length;
    const { values, problems, warnings } = readEnvFile(file, "web.env", scope);
    expect(values.size).toBeLessThanOrEqual(lines);
    for (const { place } of [...problems, ...warnings]) expect(place?.line).toBeLessThanOrEqual(lines);
  });
});

test("whatever stands in variables, every line is a value or a problem that names its line", () => {
  cases((random) => {
    const text = random.pick([
      () => Buffer.from(bytes(random, 200)).toString("utf8"),
      () => soup(random).replaceAll(":", "="),
      () => `{"A": "${soup(random)}`,
      () => JSON.stringify({ [random.pick(PIECES)]: random.pick(PIECES), B: [1], C: null }, null, 2),
      () => `A<<EOF\n${soup(random)}\nEOF\n${random.pick(PIECES)}`,
    ])();
    const { values, problems } = parseKeyValues("secrets", text);
    for (const key of values.keys()) expect(key).toMatch(/^[A-Za-z_][A-Za-z0-9_]*$/);
    for (const { message } of problems) expect(message).toMatch(/^"secrets", line \d+: /);
  });
});

test("whatever stands in a template, it is resolved to the end", () => {
  cases((random) => {
    const template = Array.from({ length: random.whole(1, 40) }, () =>
      random.pick([
        "$",
        "{",
        "}",
        "A",
        "N",
        ":-",
        "-",
        ":?",
        "?",
        ":+",
        "+",
        ":",
        " ",
        "é",
        "$$",
        "${A",
        "${N:-",
      ]),
    ).join("");
    const { text, unresolved } = interpolate(template, (name) => (name === "A" ? "$A${N}" : undefined));
    expect(typeof text).toBe("string");
    for (const { offset } of unresolved) expect(template.charAt(offset)).toBe("$");
  });
});

describe("a megabyte of one thing ends", () => {
  const MiB = 1024 * 1024;
  const filled = (piece: string): string => piece.repeat(MiB / piece.length);
  test.each([
    ["open brackets", filled("[")],
    ["open braces", filled("{a: ")],
    ["dashes", filled("- ")],
    ["indentation", Array.from({ length: 1400 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n")],
    ["anchors", `a: [${filled("&a x, ")}]`],
    ["aliases", `a: &a x\nb: [${filled("*a, ")}]`],
    [
      "anchors of their own",
      `a:\n${Array.from({ length: 60_000 }, (_, n) => ` - &a${n} b\n - *a${n}\n`).join("")}`,
    ],
    ["merge keys", `a: &a {x: 1}\nb:\n${filled(" - <<: *a\n")}`],
    ["comments", filled("# a\n")],
    ["documents", filled("---\na: b\n")],
    ["quotes", `a: "${filled("\\n")}"`],
    ["a value before a block at the end", `a: "${filled("x")}"\nb: |\n  c\n`],
    ["undefined variables", `a: "${filled("$NOT_THERE ")}"`],
    ["undefined variables, one behind the other", `a: "${filled("$a")}"`],
    [
      "undefined variables of many names",
      `a: "${Array.from({ length: 60_000 }, (_, n) => `$NAME_${n}`).join(" ")}"`,
    ],
    ["open variables", `a: "${filled("${A:-")}"`],
    ["dollars", `a: "${filled("$")}"`],
    ["keys", `a:\n${Array.from({ length: 90_000 }, (_, n) => `  k${n}: v\n`).join("")}`],
    ["services", `services:\n${Array.from({ length: 40_000 }, (_, n) => `  s${n}: {image: a}\n`).join("")}`],
    ["list items", `services: {a: {image: a, ports: [${filled("'80', ")}]}}`],
    ["tabs", filled("\t")],
    ["NULs", filled("\0")],
    ["line ends", filled("\r\n")],
  ])("%s", (_what, text) => {
    expect(() => rendered(text)).not.toThrow();
  });
});
