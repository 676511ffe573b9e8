import { ManagerRefusal } from "../errors.ts";
import { type Json, numberAt, objectAt, textAt } from "../json.ts";
import { type Locks, type StoredLock } from "../swarm.ts";
import { type Call, type Engine, json, messageIn, successful } from "./engine.ts";

/** Whoever finds it with `docker config inspect` should know what it is. An empty config is refused. */
const CONTENT = "Swarm Stack Deploy holds this while it deploys; the labels say for whom.\n";

/** Gone, or "update out of sequence", which engines call an internal error (20.10 to 28). */
const OUTDATED = [404, 409, 500];

/** `Locks` made of docker configs, over the Engine API. */
export class EngineLocks implements Locks {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async create(name: string, labels: StoredLock["labels"]): Promise<string | undefined> {
    const body = { Name: name, Labels: labels, Data: Buffer.from(CONTENT).toString("base64") };
    const answer = await unless([409], json(this.#engine, "/configs/create", write(body)));
    return answer === undefined ? undefined : textAt(answer, "ID");
  }

  async read(name: string): Promise<StoredLock | undefined> {
    const path = `/configs/${name}`;
    const { status, body, date } = await this.#engine.send(path, { aboutLock: true, evenCancelled: true });
    if (status === 404) return undefined;
    if (status !== 200) throw new ManagerRefusal(status, `GET ${path}`, messageIn(body));
    return toLock(JSON.parse(body.toString("utf8")) as Json, date);
  }

  /** The engine takes a spec without data for one whose data stays. */
  async relabel(name: string, lock: StoredLock, labels: StoredLock["labels"]): Promise<boolean> {
    const call = { ...write({ Name: name, Labels: labels }), query: { version: String(lock.version) } };
    const answer = await unless(OUTDATED, successful(this.#engine, `/configs/${lock.id}/update`, call));
    return answer !== undefined;
  }

  async remove(id: string): Promise<void> {
    const call: Call = { method: "DELETE", aboutLock: true, evenCancelled: true, repeatable: false };
    await unless([404], successful(this.#engine, `/configs/${id}`, call));
  }
}

/** Doing it twice does no harm: the second finds what the first has done. */
function write(body: Json): Call {
  return { method: "POST", body, aboutLock: true, evenCancelled: true, repeatable: true };
}

/** The answer, or undefined where the manager refused with such a status. */
async function unless<T>(statuses: readonly number[], answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ManagerRefusal && statuses.includes(error.status)) return undefined;
    throw error;
  }
}

function toLock(raw: Json, date: string): StoredLock {
  const labels = objectAt(raw, "Spec", "Labels");
  return {
    id: textAt(raw, "ID"),
    version: numberAt(raw, "Version", "Index"),
    labels: Object.fromEntries(Object.keys(labels).map((key) => [key, textAt(labels, key)])),
    createdAt: Date.parse(textAt(raw, "CreatedAt")),
    changedAt: Date.parse(textAt(raw, "UpdatedAt")),
    readAt: Date.parse(date),
  };
}
