import { messageOf } from "./errors.ts";
import { wholeWords } from "./foreign-text.ts";
import { shortImage } from "./image/reference.ts";
import { likelyCause } from "./likely-cause.ts";
import { samePlace } from "./rollout.ts";
import { compareTexts } from "./text-order.ts";
import { type ContainerFacts, type Swarm, type Task } from "./swarm.ts";

/** One task of a slot, or, in a global service, of a node. */
interface Attempt {
  /** RFC 3339, by the manager's clock. */
  readonly createdAt: string;
  readonly image: string;
  readonly state: string;
  readonly exitCode: number | undefined;
  readonly error: string;
}

/** What is known about one failed task, or one that does not come up, for a person who was not there. */
export interface TaskStory {
  readonly service: string;
  readonly slot: number;
  readonly node: string;
  readonly image: string;
  readonly state: string;
  readonly exitCode: number | undefined;
  /** Swarm's own words; empty for a task that ended by itself. */
  readonly error: string;
  /** Whether the kernel ended it for want of memory; undefined where its node could not be asked. */
  readonly oomKilled: boolean | undefined;
  /** What the last health checks printed, with their exit codes, oldest first; empty where its node could not be asked, too. */
  readonly healthChecks: ContainerFacts["probes"];
  /** The tasks that the swarm remembers in its place, oldest first; this one is the last. */
  readonly attempts: readonly Attempt[];
  /** What this looks like, and what to do next; empty where nothing can be said. */
  readonly cause: string;
  /** The last lines that this very task wrote. */
  readonly logs: readonly string[];
  /**
   * The last line of standard error, or else of standard output: the two come by separate ways, so that which of them was really
   * last can't be told. Empty without any.
   */
  readonly lastWords: string;
  /** Why there are no lines, where the swarm could not tell them. */
  readonly logsMissing: string | undefined;
}

const LINES = 50;
const PROBES = 3;
/**
 * Asks at once: Swarm forgets a task, and its logs, after four more attempts. What can't be told in time costs seconds, not the verdict.
 * `tasks` are those of the stack.
 */
export async function tellStory(
  swarm: Swarm,
  service: string,
  task: Task,
  tasks: readonly Task[],
): Promise<TaskStory> {
  const ran = task.containerId !== "";
  const [node, logs, container] = await Promise.allSettled([
    task.nodeId === "" ? "" : swarm.nodeName(task.nodeId),
    ran ? swarm.taskLogs(task.id, LINES) : [],
    swarm.containerFacts(task),
  ]);
  const { slot, image, state, exitCode, error } = task;
  const lines = logs.status === "fulfilled" ? logs.value : [];
  const facts = container.status === "fulfilled" ? container.value : undefined;
  const lastWords = (lines.findLast(({ stderr }) => stderr) ?? lines.at(-1))?.text ?? "";
  return {
    service,
    slot,
    image,
    state,
    exitCode,
    error,
    oomKilled: facts?.outOfMemory,
    healthChecks: (facts?.probes ?? []).slice(-PROBES).map((probe) => ({
      exitCode: probe.exitCode,
      output: probe.output.trim(),
    })),
    attempts: attemptsOf(task, tasks),
    cause: likelyCause({ state, exitCode, error, container: facts, lastWords }),
    node: node.status === "fulfilled" ? node.value : task.nodeId,
    logs: lines.map(({ text }) => text),
    lastWords: wholeWords(lastWords),
    logsMissing: logs.status === "rejected" ? messageOf(logs.reason) : undefined,
  };
}

function attemptsOf(task: Task, tasks: readonly Task[]): Attempt[] {
  return tasks
    .filter((each) => each.serviceId === task.serviceId && samePlace(each, task))
    .filter((each) => each.id === task.id || each.createdAt < task.createdAt)
    .toSorted((a, b) => compareTexts(a.createdAt, b.createdAt))
    .map(({ createdAt, image, state, exitCode, error }) => ({ createdAt, image, state, exitCode, error }));
}

/** `shop_web.2 on n1: task: non-zero exit (3)` */
export function headline(story: TaskStory): string {
  const where = `${story.service}${story.slot > 0 ? `.${story.slot}` : ""}${story.node === "" ? "" : ` on ${story.node}`}`;
  const ended =
    story.exitCode === undefined ? story.state : `${story.state} with exit code ${story.exitCode}`;
  const memory = story.oomKilled === true ? ", out of memory" : "";
  return `Task ${where} (${shortImage(story.image)}): ${story.error === "" ? ended : story.error}${memory}`;
}
