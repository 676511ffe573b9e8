import { type Place, type Problem } from "../errors.ts";
import { type FindingId } from "./findings.ts";

/** One thing that stands against the deployment, or that it should know of. */
export interface Finding {
  readonly id: FindingId;
  readonly severity: "error" | "warning";
  readonly problem: Problem;
}

/** What is to stop the deployment, and what is only to be said; findings that are to be passed over are in neither. */
export function judged(
  findings: readonly Finding[],
  ignored: ReadonlySet<FindingId>,
): {
  readonly heeded: readonly Finding[];
  readonly errors: readonly Problem[];
  readonly warnings: readonly Problem[];
  readonly passed: readonly Finding[];
} {
  const heeded = findings.filter(({ id }) => !ignored.has(id));
  const problems = (severity: Finding["severity"]): Problem[] =>
    heeded.filter((each) => each.severity === severity).map(({ problem }) => problem);
  return {
    heeded,
    errors: problems("error"),
    warnings: problems("warning"),
    passed: findings.filter(({ id }) => ignored.has(id)),
  };
}

function finding(
  severity: Finding["severity"],
  id: FindingId,
  message: string,
  place: Place | undefined,
  fix: string,
): Finding {
  return { id, severity, problem: { message: `${message} [${id}]`, place, hint: fix } };
}

export const error = finding.bind(undefined, "error");
export const warning = finding.bind(undefined, "warning");
