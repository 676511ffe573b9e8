import { type Problem, StackFileError } from "./errors.ts";
import { type Inputs, STACK_FILES } from "./inputs/inputs.ts";
import { type EnvFile, refusedBySwarm } from "./stack/configs.ts";
import { nearest } from "./stack/interpolate.ts";
import { cleanPath } from "./stack/paths.ts";
import { parseStackFile } from "./stack/stack-file.ts";
import { type Mapping } from "./stack/tree.ts";
import { NOTHING_WITHHELD, StandIns, type Withheld } from "./stack/withheld.ts";
import { type Files } from "./world.ts";

/** The user's files, read and understood as far as that goes without variables. */
export interface Sources {
  /** The stack files, in the order in which they are merged. */
  readonly templates: readonly Mapping[];
  /** See `folderOfStack`. */
  readonly folder: string;
  readonly envFile: EnvFile | undefined;
  /** The path of the env file where something stands in for it, since it is withheld. */
  readonly withheldEnvFile: string | undefined;
  /** What could not be read, and what stands there instead; what is no YAML. */
  readonly unread: { readonly missing: readonly Problem[]; readonly malformed: readonly Problem[] };
  readonly warnings: readonly Problem[];
}

/** Reads the stack files and the env file, as far as they can be read. */
export function readSources(
  stack: Inputs["stack"],
  files: Files,
  withheld: Withheld = NOTHING_WITHHELD,
): Sources {
  const missing: Problem[] = [];
  const found = stack.files.length > 0 ? stack.files : defaultFile(files, missing);
  const read = found.flatMap((path) => {
    const bytes = files.read(path);
    if (bytes === undefined) missing.push(unreadable("stack-file", path, files));
    return bytes === undefined ? [] : [{ path: cleanPath("", path), bytes }];
  });
  const standIns = new StandIns(withheld);
  const envFile = readEnvFile(stack.envFile, files, standIns, missing);
  const [withheldEnvFile] = standIns.files;
  const malformed: Problem[] = [];
  const warnings: Problem[] = [];
  const templates = parseAll(read, malformed, warnings);
  return {
    templates,
    folder: folderOfStack(stack),
    envFile,
    withheldEnvFile,
    unread: { missing, malformed },
    warnings,
  };
}

/** The folder of the first stack file, which relative paths in all of them start from. Without one it is sought in the workspace itself. */
export function folderOfStack({ files }: Pick<Inputs["stack"], "files">): string {
  return folderOf(cleanPath("", files[0] ?? ""));
}

function defaultFile(files: Files, problems: Problem[]): string[] {
  const path = STACK_FILES.find((name) => files.read(name) !== undefined);
  if (path !== undefined) return [path];
  const hint = 'Set "stack-file". Is actions/checkout missing before this step?';
  problems.push({ message: `There is no stack file: none of ${STACK_FILES.join(", ")} exists.`, hint });
  return [];
}

function parseAll(
  files: readonly { path: string; bytes: Uint8Array }[],
  malformed: Problem[],
  warnings: Problem[],
): Mapping[] {
  return files.flatMap(({ path, bytes }) => {
    try {
      return [parseStackFile(bytes, path, warnings)];
    } catch (error) {
      if (!(error instanceof StackFileError)) throw error;
      for (const problem of error.problems) malformed.push(problem);
      return [];
    }
  });
}

function readEnvFile(
  path: string | undefined,
  files: Files,
  standIns: StandIns,
  problems: Problem[],
): EnvFile | undefined {
  if (path === undefined) return undefined;
  const bytes = standIns.forFile(path, files.read(path));
  if (bytes === undefined) {
    problems.push(unreadable("env-file", path, files));
    return undefined;
  }
  const refused = refusedBySwarm(bytes.byteLength);
  if (refused === undefined) return { path, bytes };
  problems.push({ message: `The env file "${path}" ${refused}.` });
  return undefined;
}

function unreadable(input: string, path: string, files: Files): Problem {
  const folder = folderOf(path);
  const names = files.list(folder);
  const near = nearest(path.split("/").pop() ?? path, names);
  const exists = files.exists(path);
  const what = exists ? "can't be read as a file" : "does not exist";
  const prefix = folder === "." ? "" : `${folder}/`;
  const hint =
    near !== undefined && !exists
      ? `Did you mean ${prefix}${near}?`
      : "Paths start at the workspace; is actions/checkout missing before this step?";
  return { message: `"${input}" is "${path}", which ${what}.`, hint };
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash === -1 ? "." : path.slice(0, slash) || "/";
}
