import { expect, test } from "@jest/globals";
import { asText } from "../../../src/stack/readings.ts";
import { scalar } from "../../../src/stack/tree.ts";

const PLACE = { file: "f", line: 1, column: 1 };

/** What docker stack config 28.2.2 makes of each as a label. */
test.each([
  ["0123", "83"],
  ["0o17", "15"],
  ["0x1F", "31"],
  ["0b11", "3"],
  ["-0123", "-83"],
  ["+12", "12"],
  ["1_000", "1000"],
  ["08", "8"],
  ["0778", "778"],
  ["00", "0"],
  ["-0", "0"],
  ["9007199254740993", "9007199254740993"],
  ["12345678901234567890", "12345678901234567890"],
  ["123456789012345678901", "1.2345678901234568e+20"],
  ["1.50", "1.5"],
  ["1.0", "1"],
  [".5", "0.5"],
  ["1.", "1"],
  ["-0.0", "-0"],
  ["1_0.5", "10.5"],
  ["1e3", "1000"],
  ["1e-5", "1e-05"],
  ["0.0001", "0.0001"],
  ["123456789.5", "1.234567895e+08"],
  ["1e22", "1e+22"],
  ["2001-01-01", "2001-01-01 00:00:00 +0000 UTC"],
  ["2001-1-2", "2001-01-02 00:00:00 +0000 UTC"],
  ["2001-01-01T10:00:00Z", "2001-01-01 10:00:00 +0000 UTC"],
  ["2001-01-01 10:00:00", "2001-01-01 10:00:00 +0000 UTC"],
  ["2001-01-01T10:00:00.50+02:00", "2001-01-01 10:00:00.5 +0200 +0200"],
  ["2001-13-01", "2001-13-01"],
  ["2001-02-30", "2001-02-30"],
  ["0x", "0x"],
  ["0b102", "0b102"],
  ["1e", "1e"],
  ["_1", "_1"],
  ["1:30", "1:30"],
  ["yes", "yes"],
])("%s without quotes is %s as text", (text, read) => {
  expect(asText(scalar(text, PLACE, "plain"))).toBe(read);
  expect(asText(scalar(text, PLACE))).toBe(text);
});

test("nothing is no text", () => {
  expect(asText(scalar("~", PLACE, "plain"))).toBeUndefined();
  expect(asText(undefined)).toBeUndefined();
});

test("a tag decides over quotes", () => {
  expect(asText({ ...scalar("0123", PLACE), tag: "tag:yaml.org,2002:int" })).toBe("83");
  expect(asText({ ...scalar("0123", PLACE, "plain"), tag: "tag:yaml.org,2002:str" })).toBe("0123");
});
