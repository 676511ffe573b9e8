import { type Place, type Problem } from "../errors.ts";
import { applyComposeKeys, idleServices } from "./compose.ts";
import { type ReadFile, resolveEnvironment, tellBareNames } from "./environment.ts";
import { mergeFiles } from "./merge.ts";
import { type Findings, type Scope, addFindings, resolveTemplate } from "./template.ts";
import { type Mapping, clone, entriesOf, get, scalarsOf } from "./tree.ts";

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

/** Of values that something stands in for: what is wrong with such a one says nothing of the file. */
function assumedPlaces(root: Mapping): Place[] {
  return scalarsOf(root).flatMap(({ assumed, place }) => (assumed === true ? [place] : []));
}

/** One file made of one or several: resolved, merged as docker merges, Compose-only keys translated; nothing of ours added yet. */
export function resolveStack(
  templates: readonly Mapping[],
  scope: Scope,
  strict: boolean,
  read: ReadFile,
  findings: Findings,
): Mapping {
  const files = resolveFiles(templates, scope, strict, read, findings);
  const assumed = new Set(files.flatMap(assumedPlaces));
  const later: Findings = { problems: [], warnings: [] };
  const root = mergeFiles(files, later);
  applyComposeKeys(root, scope, later);
  tellBareNames(root, later);
  const isCertain = ({ place }: Problem): boolean => place === undefined || !assumed.has(place);
  addFindings(findings, {
    problems: later.problems.filter(isCertain),
    warnings: later.warnings.filter(isCertain),
  });
  if (findings.problems.length === 0 && entriesOf(get(root, "services")).length === 0)
    findings.problems.push({ message: "The stack file has no services.", place: root.place });
  return root;
}
