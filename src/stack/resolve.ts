import { applyComposeKeys, idleServices } from "./compose.ts";
import { type ReadFile, resolveEnvironment, tellBareNames } from "./environment.ts";
import { mergeFiles } from "./merge.ts";
import { type Findings, type Scope, addFindings, resolveTemplate } from "./template.ts";
import { type Mapping, clone, entriesOf, get } from "./tree.ts";

/** Each file by itself: every variable resolved, env files read into the environment. What is wrong goes into `findings`. */
export function resolveFiles(
  templates: readonly Mapping[],
  scope: Scope,
  strict: boolean,
  read: ReadFile,
  findings: Findings,
): Mapping[] {
  const folder = /^.*\//.exec(templates[0]?.place.file ?? "")?.[0] ?? "";
  const roots = templates.map(clone);
  const ofVariables = roots.map((root) => resolveTemplate(root, scope, strict));
  const idle = idleServices(roots, scope);
  roots.forEach((root, index) => {
    addFindings(findings, ofVariables[index] ?? {});
    resolveEnvironment(root, scope, folder, idle, read, findings);
  });
  return roots;
}

/** One file made of one or several: resolved, merged as docker merges, Compose-only keys translated; nothing of ours added yet. */
export function resolveStack(
  templates: readonly Mapping[],
  scope: Scope,
  strict: boolean,
  read: ReadFile,
  findings: Findings,
): Mapping {
  const root = mergeFiles(resolveFiles(templates, scope, strict, read, findings), findings);
  applyComposeKeys(root, scope, findings);
  tellBareNames(root, findings);
  if (findings.problems.length === 0 && entriesOf(get(root, "services")).length === 0)
    findings.problems.push({ message: "The stack file has no services.", place: root.place });
  return root;
}
