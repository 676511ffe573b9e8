import { expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { refusedByEngine } from "../../../src/stack/engine-rules.ts";
import { mergeFiles } from "../../../src/stack/merge.ts";
import { parseStackFile } from "../../../src/stack/stack-file.ts";
import { EXAMPLES, fileOf } from "../../stacks/refused-by-engine.ts";

function found(lines: string): string[] {
  return refusedByEngine(parseStackFile(fileOf(lines), "f"), "shop").map(inWords);
}

test.each(EXAMPLES)("refused: $says", ({ wrong, says }) => {
  const [first, ...more] = found(wrong);
  expect(first?.slice(0, says.length + 2)).toBe(`f:${says}`);
  expect(more).toEqual([]);
});

test.each(EXAMPLES)("fine is what nearly is: $says", ({ fine }) => {
  expect(found(fine)).toEqual([]);
});

test("all that is wrong is told at once, in the order of the services", () => {
  expect(found("stop_signal: X\n    working_dir: y\n    volumes: [z]")).toEqual([
    expect.stringContaining("f:4:18: services.web.stop_signal"),
    expect.stringContaining("f:5:18: services.web.working_dir"),
    expect.stringContaining("f:6:15: A volume of service web"),
  ]);
});

test.each([
  [
    "null",
    "deploy: { endpoint_mode: , update_config: , placement: { constraints: , preferences: [{ spread: }] } }",
  ],
  [
    "lists and mappings where a value should be",
    "stop_signal: [a]\n    hostname: { b: c }\n    volumes: [[a]]\n    ports: {}",
  ],
  [
    "values where a list or mapping should be",
    "deploy: a\n    healthcheck: b\n    volumes: c\n    networks: d\n    ports: e",
  ],
  ["no health check", "healthcheck: { test: [] }"],
  ["a health check in one line", "healthcheck: { test: curl localhost }"],
  [
    "what docker itself refuses",
    "deploy: { update_config: { delay: soon, max_failure_ratio: x }, resources: { limits: { memory: 5Q, cpus: 1/7 } } }",
  ],
  [
    "a drive of Windows",
    'volumes: ["c:/data", { type: npipe, source: x, target: "\\\\\\\\.\\\\pipe\\\\x" }]\n    working_dir: C:\\app',
  ],
  [
    "empty text",
    "stop_signal: ''\n    working_dir: ''\n    hostname: ''\n    configs: [{ source: c, uid: '', gid: '' }]",
  ],
  ["an address behind a blank", 'extra_hosts: ["a: 10.0.0.1", "b:10.0.0.1 c", "d"]'],
  ["braces in a name without a value", 'environment: ["{{ a }}"]'],
  ["a path that a template begins", 'volumes: [{ type: volume, target: "{{.Task.Name}}" }]'],
  [
    "a network that exists already",
    "services:\n  web:\n    networks: [a]\nnetworks: { a: { external: true, name: a.b, driver: bridge } }",
  ],
])("left to others: %s", (_fact, lines) => {
  expect(found(lines)).toEqual([]);
});

test("of all the ports that two services publish, each entry is told once", () => {
  const service = "    image: a\n    ports: [1-65535:1-65535]\n";
  expect(found(`services:\n  a:\n${service}  b:\n${service}`)).toEqual([
    "f:7:13: Service b publishes port 1/tcp that service a publishes already, at line 4.",
  ]);
});

test("a port that two services publish is told with the file of the other one, where there are two", () => {
  const [a, b] = ["a", "b"].map((name) =>
    parseStackFile(`services:\n  ${name}:\n    ports: ["80:80"]`, `${name}.yml`),
  );
  if (a === undefined || b === undefined) throw new Error("two files");
  expect(refusedByEngine(mergeFiles([a, b], { problems: [], warnings: [] }), "shop").map(inWords)).toEqual([
    "b.yml:3:13: Service b publishes port 80/tcp that service a publishes already, in a.yml at line 3.",
  ]);
});

test("a file of nothing", () => {
  expect(refusedByEngine(parseStackFile("services:\n", "f"), "shop")).toEqual([]);
});
