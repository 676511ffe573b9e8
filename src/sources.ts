import { InputError, type Problem } from "./errors.ts";
import { type Inputs, STACK_FILES } from "./inputs/inputs.ts";
import { type EnvFile, refusedBySwarm } from "./stack/configs.ts";
import { nearest } from "./stack/interpolate.ts";
import { parseStackFile } from "./stack/stack-file.ts";
import { type Mapping } from "./stack/tree.ts";
import { type Files } from "./world.ts";

/** The user's files, read and understood as far as that goes without variables. */
export interface Sources {
  readonly template: Mapping;
  /** As the workflow names it. */
  readonly stackFile: string;
  /** The folder that relative paths in the stack file start from. */
  readonly folder: string;
  readonly envFile: EnvFile | undefined;
}

/** Reads the stack file and the env file; what can't be read is named, with what stands there instead. */
export function readSources(stack: Inputs["stack"], files: Files): Sources {
  const problems: Problem[] = [];
  const stackFile = stack.file ?? STACK_FILES.find((name) => files.read(name) !== undefined);
  const bytes = stackFile === undefined ? undefined : files.read(stackFile);
  if (stackFile === undefined) {
    const hint = 'Set "stack-file". Is actions/checkout missing before this step?';
    problems.push({ message: `There is no stack file: none of ${STACK_FILES.join(", ")} exists.`, hint });
  } else if (bytes === undefined) {
    problems.push(unreadable("stack-file", stackFile, files));
  }
  const envFile = readEnvFile(stack.envFile, files, problems);
  if (bytes === undefined || stackFile === undefined || problems.length > 0) throw new InputError(problems);
  const template = parseStackFile(Buffer.from(bytes).toString("utf8"), stackFile);
  return { template, stackFile, folder: folderOf(stackFile), envFile };
}

function readEnvFile(path: string | undefined, files: Files, problems: Problem[]): EnvFile | undefined {
  if (path === undefined) return undefined;
  const bytes = files.read(path);
  if (bytes === undefined) {
    problems.push(unreadable("env-file", path, files));
    return undefined;
  }
  const refused = refusedBySwarm(bytes.byteLength);
  if (refused !== undefined) problems.push({ message: `The env file "${path}" ${refused}.` });
  return { path, bytes };
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
