import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { CORPUS, stackFilesIn, variablesIn } from "../stacks/corpus.ts";
import { type Verdict, explained, judgeCorpus } from "./corpus.ts";
import { ACCEPTED, DIFFERENCES, EXAMPLE_VARIABLES, REFUSED, exampleFiles } from "./differences.ts";
import { findDocker, folderWith } from "./docker.ts";
import { SPELLINGS, meetings, mergedWrongly } from "./merging.ts";
import { type Reading, disagreements, dockersReading, ourReading } from "./readings.ts";

// Does docker read our print as it reads the templates themselves? Asked of the docker CLI on this machine, which needs no engine:
//   export NODE_OPTIONS=--experimental-vm-modules
//   ORACLE_SEED=7 ORACLE_COUNT=20000 npx jest oracle    another corpus
//   ORACLE_SEED=7 ORACLE_CASE=123 npx jest oracle       one case of it

const docker = findDocker();
const seed = Number(process.env.ORACLE_SEED ?? 1);
const count = Number(process.env.ORACLE_COUNT ?? 2000);
const only = process.env.ORACLE_CASE;
const numbers = only === undefined ? Array.from({ length: count }, (_, number) => number) : [Number(only)];

test(
  `stacks made from seed ${seed} mean to docker what they mean to us`,
  async () => {
    const start = performance.now();
    const verdicts = await judgeCorpus(docker, seed, numbers);
    process.stdout.write(summary(verdicts, performance.now() - start));
    const wrong = verdicts.filter((verdict) => verdict.disagreements.length > 0);
    // An error's message is shown as it is, line by line.
    if (wrong.length > 0) throw new Error(told(wrong));
    // A corpus that docker refuses proves nothing.
    const accepted = verdicts.filter((verdict) => verdict.docker === "accepted").length;
    expect(accepted / verdicts.length).toBeGreaterThanOrEqual(only === undefined ? 0.75 : 0);
  },
  // About 25 ms a case on two cores; ten times that on a busy machine.
  numbers.length * 1000 + 60_000,
);

function summary(verdicts: readonly Verdict[], ms: number): string {
  const known = new Map<string, number>();
  for (const name of verdicts.flatMap((verdict) => verdict.known))
    known.set(name, (known.get(name) ?? 0) + 1);
  const refused = verdicts.filter((verdict) => verdict.docker === "refused").length;
  return [
    `oracle: seed ${seed}, ${verdicts.length} cases in ${(ms / 1000).toFixed(1)} s, ${refused} of them refused by docker`,
    ...[...known].map(([name, times]) => `  intended: ${name} × ${times}`),
    "",
  ].join("\n");
}

function repeat({ case: made }: Verdict): string {
  return `ORACLE_SEED=${seed} ORACLE_CASE=${made.number} NODE_OPTIONS=--experimental-vm-modules npx jest oracle`;
}

function told(wrong: readonly Verdict[]): string {
  const shown = wrong.slice(0, 3).map((verdict) => explained(verdict, repeat(verdict)));
  const rest = wrong.slice(3).map((verdict) => verdict.case.number);
  const more = rest.length === 0 ? [] : [`… and ${rest.length} more: ${rest.join(" ")}`];
  return [`${wrong.length} of these stacks do not:`, ...shown, ...more].join("\n\n");
}

describe("what several files say is merged as docker merges it:", () => {
  test.each(Object.keys(SPELLINGS))("%s", async (key) => {
    const wrong = await mergedWrongly(docker, key, meetings(key, 200));
    expect([wrong.length, ...wrong.slice(0, 10)]).toEqual([0]);
  });
});

describe("a stack as people write them means the same to docker and to us", () => {
  test.each(readdirSync(CORPUS))("%s", async (name) => {
    const path = join(CORPUS, name);
    const [files, variables] = [stackFilesIn(path), variablesIn(path)];
    const stack = { folder: path, files, variables: new Map(Object.entries(variables)) };
    const docks = await dockersReading(docker, stack);
    expect(docks).toMatchObject({ kind: "accepted" });
    expect(disagreements(docks, await ourReading(docker, stack, true))).toEqual([]);
  });
});

describe("our reading differs on purpose:", () => {
  test.each(DIFFERENCES)("$name", async (difference) => {
    const files = exampleFiles(difference);
    using folder = folderWith(files);
    const stack = { folder: folder.path, files: files.map(([path]) => path), variables: EXAMPLE_VARIABLES };
    const docks = await dockersReading(docker, stack);
    const ours = await ourReading(docker, stack, difference.strict ?? false);
    expect([inShort(docks), inShort(ours)]).toEqual([difference.docker, difference.ours]);
    expect(difference.docker).not.toBe(difference.ours);
  });
});

/** The value of the example's variable; for a whole file whether it is one. */
function inShort(reading: Reading): string {
  if (reading.kind === "refused") return REFUSED;
  const value = at(reading.meaning, "services", "web", "environment", "V");
  return typeof value === "string" ? value : ACCEPTED;
}

function at(value: unknown, ...path: readonly string[]): unknown {
  let current = value;
  for (const key of path) {
    current = typeof current === "object" && current !== null ? Reflect.get(current, key) : undefined;
  }
  return current;
}
