import { gzipSync } from "node:zlib";
import { expect, test } from "@jest/globals";
import { gzip } from "../../../src/io/gzip.ts";

test("what was compressed comes back, and is smaller", () => {
  const text = `{"ä": "${"x".repeat(10_000)}"}`;
  const bytes = gzip.compress(text);
  expect(bytes.byteLength).toBeLessThan(200);
  expect(gzip.expand(bytes)).toBe(text);
});

test("what is cut short, or is something else, is refused", () => {
  expect(() => gzip.expand(gzip.compress("text").subarray(0, 10))).toThrow("unexpected end of file");
  expect(() => gzip.expand(Buffer.from("text"))).toThrow("incorrect header check");
});

test("a few bytes can't fill the memory", () => {
  expect(() => gzip.expand(gzipSync(Buffer.alloc(65 * 1024 * 1024)))).toThrow(/larger than/);
});
