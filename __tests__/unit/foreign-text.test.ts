import { expect, test } from "@jest/globals";
import { brief, cited, printable, shortened, wholeWords } from "../../src/foreign-text.ts";

test.each([
  ["a colour", "\u001b[1;31mred\u001b[0m", "red"],
  ["control characters", "a\u0000b\u0007c\u007f", "abc"],
  ["a tab, which stays", "a\tb", "a\tb"],
])("what is shown has no %s", (_what, text, shown) => {
  expect(printable(text)).toBe(shown);
});

test.each([
  ["several lines", "one\r\n\n  two\rthree\n", "one two three"],
  ["a workflow command", "hello\n::set-output name=x::y", "hello ::set-output name=x::y"],
  ["colours", "\u001b[31mno\u001b[0m way", "no way"],
  ["nothing", " \n", ""],
  ["too much", "x".repeat(301), `${"x".repeat(300)}…`],
])("what is cited is one line: %s", (_what, text, shown) => {
  expect(cited(text)).toBe(shown);
});

test.each([
  ["several lines", "one\r\n\n  two\rthree\n", "one two three"],
  ["colours", "\u001b[31mno\u001b[0m way", "no way"],
  ["as much as there is room for", "x".repeat(80), "x".repeat(80)],
  ["too much", "x".repeat(81), `${"x".repeat(80)}…`],
  ["a letter of two halves at the end", `${"x".repeat(79)}😀!`, `${"x".repeat(79)}…`],
])("what is one value of several is brief: %s", (_what, text, shown) => {
  expect(brief(text)).toBe(shown);
});

test("a line is cut where it gets too long", () => {
  expect(shortened("a".repeat(1000))).toBe("a".repeat(1000));
  expect(shortened("a".repeat(1001))).toBe(`${"a".repeat(1000)}… (1 more characters)`);
});

test("no word is cut in two, since it may be a secret", () => {
  expect(wholeWords("a".repeat(300))).toBe("a".repeat(300));
  expect(wholeWords(`token: ${"s".repeat(300)}`)).toBe("token:… (301 more characters)");
  expect(wholeWords(`${"a".repeat(299)} secret`)).toBe(`${"a".repeat(299)}… (7 more characters)`);
});
