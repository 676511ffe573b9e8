import { createHash } from "node:crypto";
import { type Inputs } from "./inputs/inputs.ts";
import { type Facts, summary } from "./report.ts";
import { type World } from "./world.ts";

/** GitHub refuses a longer comment. */
const MOST_CHARACTERS = 65_000;

/** With `comment: true`: one comment below the pull request, always with the newest plan. Not to be able to write it is a warning. */
export async function commentOn(inputs: Inputs, world: World, facts: Facts): Promise<void> {
  if (!inputs.comment || inputs.mode !== "plan") return;
  const { github, run, voice } = world;
  if (run.pullRequest === undefined) {
    voice.say(`No comment: this run belongs to no pull request (its event is "${run.event}").`);
    return;
  }
  const shown = voice.redactAll(facts);
  const whole = summary(shown);
  const markdown = whole.length <= MOST_CHARACTERS ? whole : summary(shown, "short");
  const text = run.runUrl === "" ? markdown : `${markdown}\n\n<sub>[The run](${run.runUrl})</sub>`;
  const answer = await github.comment(run.pullRequest, markerOf(inputs), text);
  if ("url" in answer) {
    voice.say(`The plan is in a comment: ${answer.url}`);
    return;
  }
  const message = `The plan could not be written below the pull request: ${answer.unknown}.`;
  const hint = answer.forbidden
    ? "Give the job `permissions: pull-requests: write`. A pull request from a fork has a token that may only read."
    : undefined;
  voice.warn({ message, hint });
}

/**
 * Nobody sees it; it tells the comment of this stack on this swarm from all others. Of the swarm's address it has so little of a digest that
 * it may be one of a million.
 */
function markerOf({ stack, target }: Inputs): string {
  const hosts = target?.kind === "ssh" ? target.managers.map(({ host }) => host).join() : target?.dockerHost;
  const where =
    hosts === undefined ? "" : ` at ${createHash("sha256").update(hosts).digest("hex").slice(0, 3)}`;
  return `<!-- swarm-stack-deploy: plan of ${stack.name}${where} -->`;
}
