import { expect, test } from "@jest/globals";
import { formatDuration, parseDuration } from "../../../src/inputs/duration.ts";

test.each([
  ["90s", 90_000],
  ["10m", 600_000],
  ["2h", 7_200_000],
  ["1h30m", 5_400_000],
  ["1h30m15s", 5_415_000],
  ["1m30s", 90_000],
  ["0s", 0],
])("%s is a duration", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each(["", "10", "s", "1.5m", "10 m", "30s1m", "-5s", "10M", "1d", "10ms", "1m1m", "10m\n"])(
  "%j is none",
  (text) => {
    expect(parseDuration(text)).toBeUndefined();
  },
);

test.each([
  [0, "0s"],
  [700, "0.7s"],
  [4200, "4.2s"],
  [15_000, "15s"],
  [59_990, "1m"],
  [60_000, "1m"],
  [92_000, "1m32s"],
  [3_600_000, "1h"],
  [3_661_000, "1h1m1s"],
  [7_200_400, "2h"],
])("%d ms are told as %s", (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});
