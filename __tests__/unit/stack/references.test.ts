import { expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { undefinedReferences } from "../../../src/stack/references.ts";
import { parseStackFile } from "../../../src/stack/stack-file.ts";

/** What is amiss with a service `web` of these lines, in a file of these definitions. */
function found(service: string, definitions = ""): string[] {
  const text = `services:\n  web:\n    ${service}\n${definitions}\n`;
  return undefinedReferences(parseStackFile(text, "f")).map(inWords);
}

test.each([
  ["a config", "configs: [a]", "f:3:15", 'config "a"'],
  ["a config by its source", "configs: [{ source: a, target: /a }]", "f:3:15", 'config "a"'],
  ["a secret", "secrets: [a]", "f:3:15", 'secret "a"'],
  ["a secret by its source", "secrets: [{ source: a }]", "f:3:15", 'secret "a"'],
  ["a network", "networks: [a]", "f:3:16", 'network "a"'],
  ["a network with settings", "networks: { a: { aliases: [b] } }", "f:3:17", 'network "a"'],
  ["a named volume", 'volumes: ["data:/data"]', "f:3:15", 'volume "data"'],
  ["a named volume with a mode", 'volumes: ["my-data.v1:/data:ro"]', "f:3:15", 'volume "my-data.v1"'],
  [
    "a named volume in the long form",
    "volumes: [{ type: volume, source: data, target: /data }]",
    "f:3:15",
    'volume "data"',
  ],
])("%s that the file does not define is told, with its place", (_fact, service, place, what) => {
  const kind = what.split(" ")[0];
  expect(found(service)).toEqual([
    `${place}: Service web uses the ${what}, which the file does not define under ${kind}s.`,
  ]);
  // A definition of another kind is none.
  expect(
    found(service, "x-a: {}\nconfigs: {z: }\nsecrets: {z: }\nnetworks: {z: }\nvolumes: {z: }"),
  ).toHaveLength(1);
});

test.each([
  ["a config", "configs: [a]", "configs: {a: {external: true}}"],
  ["a secret", "secrets: [{ source: a }]", "secrets: {a: {file: x}}"],
  ["a network", "networks: { a: }", "networks: {a: }"],
  ["a volume", 'volumes: ["data:/data"]', "volumes: {data: }"],
  ["the default network, which every stack has", "networks: [default]", ""],
  ["an absolute path", 'volumes: ["/srv/data:/data"]', ""],
  ["a relative path", 'volumes: ["./data:/data", "../x:/x", "~/y:/y"]', ""],
  ["a bind in the long form", "volumes: [{ type: bind, source: /srv, target: /data }]", ""],
  ["a tmpfs", "volumes: [{ type: tmpfs, target: /data }]", ""],
  ["an anonymous volume", 'volumes: ["/data"]', ""],
  ["an anonymous volume in the long form", "volumes: [{ type: volume, target: /data }]", ""],
  ["one letter, which may be a drive", 'volumes: ["c:/data"]', ""],
  ["nothing at all", "image: a", ""],
])("fine: %s", (_fact, service, definitions) => {
  expect(found(service, definitions)).toEqual([]);
});
