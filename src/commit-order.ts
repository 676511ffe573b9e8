import { PreflightError } from "./errors.ts";
import { type Inputs } from "./inputs/inputs.ts";
import { ownLabel } from "./release/release.ts";
import { type Survey } from "./swarm.ts";
import { type World } from "./world.ts";

/** The commit that is live by the newest release record of the stack; undefined where there is none. */
export function liveCommit({ rawConfigs }: Survey, stack: string): string | undefined {
  const releases = rawConfigs
    .filter((raw) => ownLabel(raw, "stack") === stack && /^\d+$/.test(ownLabel(raw, "release")))
    .toSorted((a, b) => Number(ownLabel(b, "release")) - Number(ownLabel(a, "release")));
  const [newest] = releases;
  return newest === undefined ? undefined : ownLabel(newest, "commit") || undefined;
}

/**
 * A push must not take the stack back: of two pushes in a row the older one's job may come last, and old runs are run again by mistake.
 * Where nobody can tell the order, the log says so, and the deployment goes on.
 */
export async function refuseOlder(
  inputs: Inputs,
  survey: Survey,
  { run, github, voice }: World,
): Promise<void> {
  if (run.event !== "push" || inputs.rollout.allowOlder || survey.services.length === 0) return;
  const { name } = inputs.stack;
  const live = liveCommit(survey, name);
  if (live === run.sha) return;
  if (live === undefined) {
    voice.say(`No release on the swarm says which commit of ${name} is live, so this one may be older.`);
    return;
  }
  const older = await github.isAncestor(run.sha, live);
  if (older === true) {
    const message = `The commit ${run.sha.slice(0, 7)} is older than ${live.slice(0, 7)}, which is live: it is one of its ancestors.`;
    const hint =
      "Nothing was changed. To go back on purpose, set `allow-older: true`, or deploy by hand (workflow_dispatch).";
    throw new PreflightError([{ message, hint }]);
  }
  if (older === false) return;
  voice.say(
    `Whether the commit ${run.sha.slice(0, 7)} is older than ${live.slice(0, 7)}, which is live, can't be told: ${older.unknown}.`,
  );
}
