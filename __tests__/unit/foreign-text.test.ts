import { expect, test } from "@jest/globals";
import { cited, printable } from "../../src/foreign-text.ts";

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
