import { type Problem, StackFileError } from "../errors.ts";
import { applyComposeKeys } from "./compose.ts";
import { type ReadFile, resolveEnvironment } from "./environment.ts";
import { mergeFiles } from "./merge.ts";
import { type Findings, type Scope, once, resolveTemplate } from "./template.ts";
import { type Mapping, clone } from "./tree.ts";

export interface Resolved {
  readonly root: Mapping;
  readonly warnings: readonly Problem[];
}

/**
 * One file made of one or several: every variable resolved, env files and Compose-only keys translated, merged as docker merges;
 * nothing of ours added yet. Throws a `StackFileError` with all that is wrong in all of them, and with what was `known` to be wrong.
 */
export function resolveStack(
  templates: readonly Mapping[],
  scope: Scope,
  strict: boolean,
  read: ReadFile,
  known: readonly Problem[] = [],
): Resolved {
  const findings: Findings = { problems: [...known], warnings: [] };
  const folder = /^.*\//.exec(templates[0]?.place.file ?? "")?.[0] ?? "";
  const files = templates.map((template) => {
    const root = clone(template);
    const { problems, warnings } = resolveTemplate(root, scope, strict);
    findings.problems.push(...problems);
    findings.warnings.push(...warnings);
    resolveEnvironment(root, scope, folder, read, findings);
    return root;
  });
  const root = mergeFiles(files, findings);
  applyComposeKeys(root, scope, findings);
  if (findings.problems.length > 0) throw new StackFileError(once(findings.problems));
  return { root, warnings: once(findings.warnings) };
}
