import { type TaskStory, headline, tellStory } from "./failing-task.ts";
import { formatDuration } from "./inputs/duration.ts";
import { type Observation, type WatchRequest, observe } from "./observe.ts";
import { noLogs } from "./report.ts";
import { type Verdict } from "./rollout.ts";
import { type Swarm } from "./swarm.ts";
import { type Clock, type Voice } from "./world.ts";

export interface Watch {
  readonly end: NonNullable<Observation["end"]>;
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** When each service converged, in milliseconds since it was sent. */
  readonly convergedAt: ReadonlyMap<string, number>;
  readonly stories: readonly TaskStory[];
}

/** Watches until the end, telling every change as it happens and, of a failed task, all that can be known. */
export async function watch(swarm: Swarm, clock: Clock, voice: Voice, request: WatchRequest): Promise<Watch> {
  const said = new Map<string, string>();
  const convergedAt = new Map<string, number>();
  const stories: TaskStory[] = [];
  let last: Observation = { elapsedMs: 0, verdicts: new Map(), stableMs: undefined, end: undefined };
  for await (last of observe(swarm, clock, request)) {
    for (const [name, verdict] of last.verdicts) {
      if (verdict.kind === "converged") convergedAt.set(name, convergedAt.get(name) ?? last.elapsedMs);
      else convergedAt.delete(name);
      const line = `${name}: ${verdict.kind === "converged" ? "✓ " : verdict.kind === "failed" ? "✗ " : ""}${verdict.detail}`;
      if (said.get(name) !== line) voice.say(`[${formatDuration(last.elapsedMs).padStart(6)}] ${line}`);
      said.set(name, line);
      if (last.end === "failed" && verdict.kind === "failed")
        stories.push(...(await tellStories(swarm, name, verdict, voice)));
    }
  }
  return {
    end: last.end ?? "timeout",
    verdicts: last.verdicts,
    convergedAt,
    stories,
  };
}

/** The first culprit and the latest one: between them lie only repetitions. */
async function tellStories(
  swarm: Swarm,
  service: string,
  verdict: Extract<Verdict, { kind: "failed" }>,
  voice: Voice,
): Promise<TaskStory[]> {
  const byAge = verdict.tasks.toSorted((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  const chosen = [...new Set([byAge[0], byAge.at(-1)])].filter((task) => task !== undefined);
  const stories = await Promise.all(chosen.map(async (task) => await tellStory(swarm, service, task)));
  for (const story of stories) {
    voice.say(headline(story));
    for (const line of story.logs.length > 0 ? story.logs : [noLogs(story)]) voice.quote(line);
  }
  return stories;
}
