import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { Runner } from "../../../src/io/actions.ts";
import { temporaryFolder } from "../../doubles/folder.ts";

const SECRET = "hunter2-hunter2";
let folder = temporaryFolder();
let written: string[] = [];
let runner = new Runner();
const before = { ...process.env };

beforeEach(() => {
  folder = temporaryFolder();
  written = [];
  runner = new Runner();
  jest.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    written.push(String(chunk));
    return true;
  });
  for (const name of ["OUTPUT", "STEP_SUMMARY", "STATE"]) {
    process.env[`GITHUB_${name}`] = join(folder.path, name);
    writeFileSync(join(folder.path, name), "");
  }
  process.env.RUNNER_TEMP = folder.path;
});

afterEach(() => {
  jest.restoreAllMocks();
  process.env = { ...before };
  process.exitCode = undefined;
  folder[Symbol.dispose]();
});

function log(): string {
  return written.join("");
}

/** The log without the lines that tell the runner what to mask. */
function shown(): string {
  return log()
    .split("\n")
    .filter((line) => !line.startsWith("::add-mask::"))
    .join("\n");
}

function file(name: string): string {
  return readFileSync(join(folder.path, name), "utf8");
}

describe("a secret", () => {
  test.each<[string, string]>([
    ["as it is", SECRET],
    ["in the middle of a line", `password=${SECRET};`],
    ["several times", `${SECRET} ${SECRET}`],
    ["in base64", Buffer.from(SECRET).toString("base64")],
    ["in base64 without padding", Buffer.from(SECRET).toString("base64").replace(/=+$/, "")],
    ["in a URL", encodeURIComponent(SECRET)],
  ])("is never shown: %s", (_fact, text) => {
    runner.mask(SECRET);
    runner.say(text);
    runner.quote(text);
    runner.group(text);
    runner.endGroup();
    runner.warn({ message: text, hint: text });
    runner.fail({ message: text });
    runner.debug(text);
    runner.output("x", text);
    runner.summary(text);
    for (const place of [shown(), file("OUTPUT"), file("STEP_SUMMARY")]) {
      expect(place).not.toContain(text);
      expect(place).toContain("***");
    }
  });

  test.each([
    ["with a quote, as JSON spells it", 'pass"word\\x', '{"a":"pass\\"word\\\\x"}'],
    ["with signs, as a URL spells it", "p&ss w/rd", "https://u:p%26ss%20w%2Frd@h"],
    ["with signs that RFC 3986 spells out", "p!ss'(word)*", "https://u:p%21ss%27%28word%29%2A@h"],
    ["line by line", "first line\nsecond line", "only the second line"],
    ["line by line, of Windows", "first line\r\nsecond line", "only the first line"],
    ["around which there are blanks", "  hunter2  ", "hunter2"],
  ])("is never shown: %s", (_fact, secret, text) => {
    runner.mask(secret);
    expect(runner.redact(text)).toContain("***");
    expect(runner.redact(text)).not.toMatch(/word|p%26ss|second line|first line|hunter2/);
  });

  test("that holds another one is not left in halves", () => {
    runner.mask("hunter");
    runner.mask("hunter22");
    expect(runner.redact("hunter22 hunter")).toBe("*** ***");
  });

  test("is made known to the runner, with each of its lines", () => {
    runner.mask("first line\nsecond line");
    expect(log()).toContain("::add-mask::first line%0Asecond line");
    expect(log()).toMatch(/^::add-mask::first line$/m);
    expect(log()).toMatch(/^::add-mask::second line$/m);
  });

  test("of a key file does not mask the frame that all keys have", () => {
    runner.mask("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n-----END OPENSSH PRIVATE KEY-----\n");
    expect(runner.redact("-----BEGIN OPENSSH PRIVATE KEY-----")).toBe("-----BEGIN OPENSSH PRIVATE KEY-----");
    expect(runner.redact("b3BlbnNzaC1r")).toBe("***");
  });

  test.each(["", " ", "\n"])("of nothing (%j) masks nothing", (nothing) => {
    runner.mask(nothing);
    expect(log()).toBe("");
    expect(runner.redact("a b")).toBe("a b");
  });

  test("of three characters is left to the runner's own masking", () => {
    runner.mask("abc");
    expect(log()).toContain("::add-mask::abc");
    expect(runner.redact("abcdef")).toBe("abcdef");
  });

  test.each([
    ["a word of JSON", "null"],
    ["a key", "status"],
    ["a number", "4200"],
    ["JSON's own signs", '":"x'],
  ])("that looks like JSON leaves an output valid JSON: %s", (_fact, secret) => {
    runner.mask(secret);
    runner.output("services", JSON.stringify([{ status: null, ms: 4200, detail: `a ${secret} b`, z: "x" }]));
    const [, json = ""] = file("OUTPUT").split("\n");
    expect(() => JSON.parse(json) as unknown).not.toThrow();
    expect(JSON.stringify(Object.values((JSON.parse(json) as object[])[0] ?? {}))).not.toContain(
      `a ${secret} b`,
    );
  });
});

describe("an output", () => {
  test.each([
    "status",
    "reason",
    "stack-name",
    "version",
    "release",
    "image",
    "digest",
    "config-name",
    "rendered-file",
  ])("%s stays whole, since later steps work with it", (name) => {
    runner.mask(SECRET);
    runner.output(name, `a-${SECRET}`);
    expect(file("OUTPUT").split("\n")[1]).toBe(`a-${SECRET}`);
  });

  test.each([
    ["plan", `{"a":"${SECRET}"}`, '{"a":"***"}'],
    ["services", `[{"a":"${SECRET}"}]`, '[{"a":"***"}]'],
    ["services", "[]", "[]"],
    ["deployment-id", SECRET, "***"],
    ["anything-else", `[${SECRET}] is no JSON`, "[***] is no JSON"],
  ])("%s loses its secrets: %s", (name, value, shownValue) => {
    runner.mask(SECRET);
    runner.output(name, value);
    expect(file("OUTPUT").split("\n")[1]).toBe(shownValue);
  });
});

describe("what somebody else wrote", () => {
  test.each([
    "::error::x",
    "::set-output name=a::b",
    "  ::stop-commands::t",
    "##[error]x",
    "a ##[command]x",
    "a\r::error::x",
    "a\n::error::x",
    "::add-mask::x",
  ])("%j can't act as a command", (line) => {
    runner.say(line);
    runner.quote(line);
    expect(log()).not.toMatch(/(^|[\r\n])\s*::/);
    expect(log()).not.toContain("##[");
    expect(log().trimEnd().split("\n")).toHaveLength(2);
  });

  test("is cut only once it is free of secrets", () => {
    runner.mask("hunter2-hunter2");
    runner.quote(`${"a".repeat(990)}hunter2-hunter2${"b".repeat(90)}`);
    expect(log()).toContain(`${"a".repeat(990)}***${"b".repeat(7)}… (83 more characters)`);
  });

  test("is marked as such", () => {
    runner.quote("hello");
    expect(log()).toBe("  | hello\n");
  });
});

describe("a problem", () => {
  const problem = {
    message: "It broke.",
    hint: "Mend it.",
    place: { file: "stack.yml", line: 3, column: 5 },
  };

  test("becomes an annotation at its place, and the step fails", () => {
    runner.fail(problem);
    expect(log()).toBe("::error file=stack.yml,line=3,col=5::stack.yml:3:5: It broke. Mend it.\n");
    expect(process.exitCode).toBe(1);
  });

  test("that is a warning fails nothing", () => {
    runner.warn({ message: "Beware." });
    expect(log()).toBe("::warning::Beware.\n");
    expect(process.exitCode).toBeUndefined();
  });
});

test("a group ends where the next one starts, and once", () => {
  runner.group("a");
  runner.group("b");
  runner.endGroup();
  runner.endGroup();
  expect(log()).toBe("::group::a\n::endgroup::\n::group::b\n::endgroup::\n");
});

test("an input comes as it was given, blanks included", () => {
  process.env["INPUT_SSH-PASSWORD"] = " p ";
  expect(runner.input("ssh-password")).toBe(" p ");
  expect(runner.input("ssh-user")).toBe("");
});

test("a kept file is for this user only, and holds what it must: it is not redacted", () => {
  runner.mask(SECRET);
  const path = runner.keepFile("shop.stack.yml", SECRET);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(path.startsWith(folder.path)).toBe(true);
  expect(readFileSync(path, "utf8")).toBe(SECRET);
});

test("outside of a runner nothing is lost but the summary", () => {
  delete process.env.GITHUB_STEP_SUMMARY;
  delete process.env.GITHUB_STATE;
  runner.summary("x");
  runner.remember("a", "b");
  expect(log()).toBe("");
});

test("what is escaped later is freed of secrets before, at every depth", () => {
  runner.mask("hun_ter*2<x>");
  expect(runner.redactAll({ a: ["x hun_ter*2<x>"], b: { c: 1, d: "hun_ter*2<x>!" } })).toEqual({
    a: ["x ***"],
    b: { c: 1, d: "***!" },
  });
});
