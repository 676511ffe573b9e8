import { messageOf } from "./errors.ts";
import { shortImage } from "./image/reference.ts";
import { type Swarm, type Task } from "./swarm.ts";

/** What is known about one failed task, for a person who was not there. */
export interface TaskStory {
  readonly service: string;
  readonly slot: number;
  readonly node: string;
  readonly image: string;
  readonly state: string;
  readonly exitCode: number | undefined;
  /** Swarm's own words; empty for a task that ended by itself. */
  readonly error: string;
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
/** One line may be megabytes (a dump, a picture); the rest of it helps nobody who reads a log. */
const LINE_LENGTH = 1000;
const LAST_WORDS_LENGTH = 300;

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length)}… (${text.length - length} more characters)`;
}

/** Asks at once: Swarm forgets a task, and its logs, after four more attempts. A node that can't tell costs seconds, not the verdict. */
export async function tellStory(swarm: Swarm, service: string, task: Task): Promise<TaskStory> {
  const [node, logs] = await Promise.allSettled([
    task.nodeId === "" ? "" : swarm.nodeName(task.nodeId),
    swarm.taskLogs(task.id, LINES),
  ]);
  const { slot, image, state, exitCode, error } = task;
  const lines = logs.status === "fulfilled" ? logs.value : [];
  return {
    service,
    slot,
    image,
    state,
    exitCode,
    error,
    node: node.status === "fulfilled" ? node.value : task.nodeId,
    logs: lines.map(({ text }) => cut(text, LINE_LENGTH)),
    lastWords: cut((lines.findLast(({ stderr }) => stderr) ?? lines.at(-1))?.text ?? "", LAST_WORDS_LENGTH),
    logsMissing: logs.status === "rejected" ? messageOf(logs.reason) : undefined,
  };
}

/** `shop_web.2 on n1: task: non-zero exit (3)` */
export function headline(story: TaskStory): string {
  const where = `${story.service}${story.slot > 0 ? `.${story.slot}` : ""}${story.node === "" ? "" : ` on ${story.node}`}`;
  const ended =
    story.exitCode === undefined ? story.state : `${story.state} with exit code ${story.exitCode}`;
  return `Task ${where} (${shortImage(story.image)}): ${story.error === "" ? ended : story.error}`;
}
