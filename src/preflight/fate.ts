import { type Consequence } from "../field-changes.ts";
import { type Node, type ServiceSpec, type Task } from "../swarm.ts";
import { constraintsOf, drivesAway, eligibility } from "./placement.ts";
import { isOnEachNode, modeOf } from "./subject.ts";

/** What becomes of a service's tasks by the nodes on which they may run; what is left out is as the update's order says. */
export interface Fate {
  /** Where only the placement is another one. */
  readonly ofPlacement?: Consequence;
  /** Where no task stays on its node, so that none has a successor there, whatever else is changed. */
  readonly ofAll?: Consequence;
}

/** `running`: the tasks of it that run before. */
export function fateOf(
  before: ServiceSpec | undefined,
  wanted: ServiceSpec,
  running: readonly Task[],
  nodes: readonly Node[],
): Fate {
  const mode = modeOf(wanted);
  if (before === undefined || !isOnEachNode(modeOf(before)) || !isOnEachNode(mode))
    return drivesAway(wanted, running, nodes) ? {} : { ofPlacement: "nothing" };
  if (!hasOtherConstraints(before, wanted)) return { ofPlacement: "nothing" };
  if (nodes.length === 0) return { ofPlacement: "in place" }; // Nobody knows more.
  const [had, has] = [placesOf(before, running, nodes), placesOf(wanted, running, nodes)];
  if (mode.kind === "global-job")
    return has.size > 0 ? {} : { ofAll: running.length > 0 ? "ends tasks" : "nothing" };
  const gains = [...has].some((id) => !had.has(id));
  const loses = [...had].some((id) => !has.has(id));
  const ofPlacement = consequenceOf(gains, loses, had.size, has.size);
  const stays = [...has].some((id) => had.has(id));
  return stays ? { ofPlacement } : { ofPlacement, ofAll: ofPlacement };
}

function consequenceOf(gains: boolean, loses: boolean, had: number, has: number): Consequence {
  if (!gains && !loses) return "nothing";
  if (had === 0) return "starts tasks";
  if (has === 0) return "ends tasks";
  return gains && loses ? "moves tasks" : "in place";
}

/** The nodes with a task of a global service. On a node that is paused one stays, though none would be made there. */
function placesOf(spec: ServiceSpec, running: readonly Task[], nodes: readonly Node[]): ReadonlySet<string> {
  const staying = running.filter((task) => !drivesAway(spec, [task], nodes)).map(({ nodeId }) => nodeId);
  return new Set([...eligibility(spec, nodes).nodes.map(({ id }) => id), ...staying]);
}

function hasOtherConstraints(one: ServiceSpec, other: ServiceSpec): boolean {
  const [a, b] = [one, other].map((spec) => JSON.stringify(constraintsOf(spec).toSorted()));
  return a !== b;
}
