import { isPair, isScalar, parseAllDocuments, visit } from "yaml";
import { DIFFERENCES } from "./differences.ts";
import { folderWith } from "./docker.ts";
import { type Case, generate } from "./generate.ts";
import { type Disagreement, type Reading, disagreements, dockersReading, ourReading } from "./readings.ts";

/** What came of one case. */
export interface Verdict {
  readonly case: Case;
  readonly docker: Reading["kind"];
  /** The names of the intended differences that showed. */
  readonly known: readonly string[];
  /** What nothing excuses. */
  readonly disagreements: readonly Disagreement[];
}

/** Docker is mostly waiting for the kernel: a few at once fill two cores. */
const AT_ONCE = 3;

export async function judgeCorpus(
  docker: string,
  seed: number,
  numbers: readonly number[],
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  const left = numbers.values();
  const judgeOnes = async (): Promise<void> => {
    for (const number of left) verdicts.push(await judge(docker, generate(seed, number)));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, judgeOnes));
  return verdicts.toSorted((a, b) => a.case.number - b.case.number);
}

async function judge(docker: string, made: Case): Promise<Verdict> {
  using folder = folderWith([...made.beside, ...made.files.map(({ path, text }) => [path, text] as const)]);
  const stack = {
    folder: folder.path,
    files: made.files.map(({ path }) => path),
    variables: made.variables,
  };
  const [docks, ours] = await Promise.all([dockersReading(docker, stack), readOrCrash(docker, stack)]);
  if (typeof ours === "string") {
    return {
      case: made,
      docker: docks.kind,
      known: [],
      disagreements: [{ path: "", docker: docks.kind, ours }],
    };
  }
  const all = disagreements(docks, ours).map((each) => ({ each, known: excuseFor(each, made) }));
  return {
    case: made,
    docker: docks.kind,
    known: [...new Set(all.flatMap(({ known }) => (known === undefined ? [] : [known])))],
    disagreements: all.flatMap(({ each, known }) => (known === undefined ? [each] : [])),
  };
}

/** Whatever a template holds, only a `StackFileError` may come of it. */
async function readOrCrash(
  docker: string,
  stack: Parameters<typeof ourReading>[1],
): Promise<Reading | string> {
  try {
    return await ourReading(docker, stack);
  } catch (error) {
    return `crashes: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
}

/** The intended difference that explains a disagreement. */
function excuseFor({ path, docker, ours }: Disagreement, { files, variables }: Case): string | undefined {
  const texts = files.map(({ text }) => text);
  const spoken = DIFFERENCES.find(
    ({ forgives, forgivesIn = () => true, insists }) =>
      (ours === "accepts" && forgives?.test(docker) && forgivesIn(docker.replace(/^refuses: /, ""), texts)) ||
      (docker === "accepts" && insists?.test(ours)),
  );
  if (spoken !== undefined) return spoken.name;
  const suspects = texts.flatMap((text) => valuesAt(text, path.split(".").at(-1) ?? ""));
  return DIFFERENCES.find(({ recognises }) => suspects.some((text) => recognises?.(text, variables)))?.name;
}

/** The values that a file gives to a key, also as `key=value`; every value where there is no key, since all of the file was refused. */
function valuesAt(text: string, key: string): string[] {
  const found: string[] = [];
  for (const document of parseAllDocuments(text, { schema: "failsafe", uniqueKeys: false })) {
    visit(document, {
      Scalar: (place, { value }, ancestors) => {
        const parent = ancestors.at(-1);
        if (place === "key" || typeof value !== "string") return;
        const named = isPair(parent) && isScalar(parent.key) && parent.key.value === key;
        if (key === "" || named || value.startsWith(`${key}=`)) found.push(value);
      },
    });
  }
  return found;
}

/** All that somebody needs who wants to understand a disagreement. */
export function explained({ case: made, disagreements: all }: Verdict, repeat: string): string {
  const { files, beside, variables } = made;
  return [
    `case ${made.number}; to repeat it alone:\n  ${repeat}`,
    ...all.map(({ path, docker, ours }) =>
      [
        `at ${path === "" ? "all" : path}`,
        `  docker: ${shortened(docker, 600)}`,
        `  ours:   ${shortened(ours, 600)}`,
      ].join("\n"),
    ),
    ...files.map(({ path, text }) => `--- ${path}\n${shortened(text, 8_000)}`),
    ...[...beside].map(([path, text]) => `--- ${path} ${shortened(JSON.stringify(text), 500)}`),
    `--- variables\n${[...variables].map(([name, value]) => `${name}=${shortened(JSON.stringify(value), 200)}`).join("\n")}`,
  ].join("\n");
}

function shortened(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}… (${text.length - most} more)`;
}
