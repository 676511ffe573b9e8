import { type Problem } from "./errors.ts";
import { type TaskStory, headline, tellStory } from "./failing-task.ts";
import { formatDuration } from "./inputs/duration.ts";
import { type Observation, type WatchRequest, observe } from "./observe.ts";
import { attemptLines, healthLines, noLogs } from "./report.ts";
import { type Verdict } from "./rollout.ts";
import { type Swarm, type Task } from "./swarm.ts";
import { compareTexts } from "./text-order.ts";
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
  let last: Observation = {
    elapsedMs: 0,
    verdicts: new Map(),
    tasks: [],
    stableMs: undefined,
    end: undefined,
  };
  for await (last of observe(swarm, clock, request)) {
    for (const [name, verdict] of last.verdicts) {
      if (verdict.kind === "converged") convergedAt.set(name, convergedAt.get(name) ?? last.elapsedMs);
      else convergedAt.delete(name);
      const line = `${name}: ${verdict.kind === "converged" ? "✓ " : verdict.kind === "failed" ? "✗ " : ""}${verdict.detail}`;
      if (said.get(name) !== line) voice.say(`[${formatDuration(last.elapsedMs).padStart(6)}] ${line}`);
      said.set(name, line);
      // When time is over, what is still on its way is the story.
      if (verdict.kind === (last.end === "timeout" ? "progressing" : "failed") && last.end !== undefined)
        stories.push(...(await tellStories(swarm, name, verdict.tasks, last.tasks, voice)));
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
  culprits: readonly Task[],
  tasks: readonly Task[],
  voice: Voice,
): Promise<TaskStory[]> {
  const byAge = culprits.toSorted((a, b) => compareTexts(a.createdAt, b.createdAt));
  const chosen = [...new Set([byAge[0], byAge.at(-1)])].filter((task) => task !== undefined);
  const stories = await Promise.all(chosen.map(async (task) => await tellStory(swarm, service, task, tasks)));
  for (const story of stories) {
    voice.say(headline(story));
    for (const line of attemptLines(story)) voice.quote(line);
    for (const line of healthLines(story)) voice.quote(line);
    for (const line of story.logs.length > 0 ? story.logs : [noLogs(story)]) voice.quote(line);
    if (story.cause !== "") voice.say(story.cause);
  }
  return stories;
}

/** One problem for each service that is to blame; those that were merely still on their way are in the table. */
export function rolloutProblems(seen: Watch, timeoutMs: number): Problem[] {
  const blamed = [...seen.verdicts].filter(([, { kind }]) =>
    seen.end === "failed" ? kind === "failed" : kind !== "converged",
  );
  if (blamed.length === 0) {
    const time = formatDuration(timeoutMs);
    return [{ message: `The stack did not stay as it was sent for long enough within ${time}.` }];
  }
  return blamed.map(([name, { detail }]) => {
    const story = seen.stories.find(({ service }) => service === name);
    // The headline says it already.
    const what = seen.end === "failed" && story?.error === detail ? "" : `: ${detail}`;
    const judged =
      seen.end === "timeout" ? ` did not converge within ${formatDuration(timeoutMs)}` : " failed";
    return {
      message: [`Service ${name}${judged}${what}.`, ...(story === undefined ? [] : told(story))].join(" "),
    };
  });
}

/** A task that never had a node adds nothing to the scheduler's words. */
function told(story: TaskStory): string[] {
  const where = story.node === "" && story.error !== "" ? "" : `${headline(story)}.`;
  const lastWords = story.lastWords === "" ? "" : `Its last words: “${story.lastWords}”.`;
  return [where, lastWords, story.cause].filter((part) => part !== "");
}
