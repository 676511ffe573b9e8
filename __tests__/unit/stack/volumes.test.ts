import { describe, expect, test } from "@jest/globals";
import { parseStackFile } from "../../../src/stack/stack-file.ts";
import { type Node, get, scalar } from "../../../src/stack/tree.ts";
import { volumeSections, volumeTarget } from "../../../src/stack/volumes.ts";

const short = (text: string): Node => scalar(text, { file: "f", line: 1, column: 1 });

function long(text: string): Node {
  const node = get(parseStackFile(`volume: ${text}`, "f"), "volume");
  if (node === undefined) throw new RangeError(text);
  return node;
}

describe("the sections of a short volume", () => {
  test.each<[string, string, string[]]>([
    ["a target alone", "/data", ["/data"]],
    ["a volume and a target", "db:/data", ["db", "/data"]],
    ["options", "db:/data:ro,nocopy", ["db", "/data", "ro,nocopy"]],
    ["a relative path", "./x:/data", ["./x", "/data"]],
    ["a path of the home folder", "~/x:/data", ["~/x", "/data"]],
    ["a Windows path", String.raw`C:\x`, [String.raw`C:\x`]],
    ["a Windows path and a target", String.raw`C:\x:/data:ro`, [String.raw`C:\x`, "/data", "ro"]],
    ["a Windows path with forward slashes", "c:/x:/data", ["c:/x", "/data"]],
    ["two Windows paths", String.raw`C:\x:D:\y:ro`, [String.raw`C:\x`, String.raw`D:\y`, "ro"]],
    ["a Windows path as the target", String.raw`db:D:\y`, ["db", String.raw`D:\y`]],
    ["a letter of any alphabet, as docker has it", "ß:x:/y", ["ß:x", "/y"]],
    ["a digit, which is no drive", String.raw`1:\x`, ["1", String.raw`\x`]],
    ["two letters, which are no drive", String.raw`CC:\x`, ["CC", String.raw`\x`]],
    ["a named pipe", "//./pipe/x:/pipe", ["//./pipe/x", "/pipe"]],
    ["nothing between colons, which docker refuses", "db::/data", ["db", "", "/data"]],
    ["nothing behind a colon, which docker refuses", "/data:", ["/data", ""]],
    ["nothing at all, which docker refuses", "", [""]],
  ])("%s: %s", (_fact, text, sections) => {
    expect(volumeSections(text)).toEqual(sections);
  });
});

describe("the target of a volume", () => {
  test.each([
    ["alone", "/data", "/data"],
    ["behind a volume", "db:/data", "/data"],
    ["before options", "db:/data:ro", "/data"],
    ["behind a path", "../x/y.conf:/etc/y.conf", "/etc/y.conf"],
    ["behind a Windows path", String.raw`C:\x:/data`, "/data"],
    ["a Windows path", String.raw`C:\x:D:\y`, String.raw`D:\y`],
    ["a Windows path alone", String.raw`C:\x`, String.raw`C:\x`],
    ["alone behind what looks like a drive", "a:/b", "a:/b"],
    ["with the slash at its end, which makes another one to docker", "db:/data/", "/data/"],
    ["of a letter", "a", "a"],
    ["of two letters", "ab", "ab"],
    ["of a letter and a colon, as short as docker reads nothing into it", "a:", "a:"],
    ["of two colons, as short as docker reads nothing into it", "::", "::"],
  ])("%s: %s", (_fact, text, target) => {
    expect(volumeTarget(short(text))).toBe(target);
  });

  test.each([
    ["in the long spelling", "{type: volume, source: db, target: /data}", "/data"],
    ["in the long spelling, of tmpfs", "{type: tmpfs, target: '/run'}", "/run"],
    [
      "in the long spelling, with a colon that separates nothing",
      "{type: bind, target: 'a:/b:/c'}",
      "a:/b:/c",
    ],
    ["missing", "{type: volume, source: db}", undefined],
    ["empty", "{type: volume, target: }", undefined],
    ["no text", "{type: volume, target: [/data]}", undefined],
    ["of a list, which docker refuses", "[/data]", undefined],
    ["of an item that is empty", "", undefined],
  ])("%s", (_fact, text, target) => {
    expect(volumeTarget(long(text))).toBe(target);
  });
});
