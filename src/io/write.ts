import { Cancelled } from "../errors.ts";
import { type Json, type JsonObject, at, numberAt, textAt } from "../json.ts";
import { writesService } from "../plan.ts";
import { canonicalSpec, networkIdsOf } from "../spec.ts";
import { type Write } from "../world.ts";
import { now } from "./clock.ts";
import { type Engine, json } from "./engine.ts";
import { type PatientEngine, pause, saysNoLeader } from "./steady-engine.ts";

export interface WriteAnswer {
  readonly status: number;
  readonly body: Json;
}

/** The writes of `docker stack deploy`, whose outcome can be looked up. */
function isKnown(path: string): boolean {
  return writesService(path) || path === NETWORK;
}
const NETWORK = "/networks/create";

/**
 * Sends a write to the manager, once. Where the answer is lost, or the swarm lost its leader over it, nobody knows whether it happened:
 * then the swarm is asked what is there, and the write is sent again only if it is not what was meant.
 */
export async function sendWrite(
  engine: PatientEngine,
  write: Write,
  query: string,
  signal: AbortSignal,
): Promise<WriteAnswer> {
  const { method, path, body, auth } = write;
  const startedAt = now();
  for (let attempt = 1; ; attempt += 1) {
    let answer: WriteAnswer | undefined;
    let isFinal = false;
    try {
      const raw = await engine.send(`${path}${query}`, { method, body, auth, repeatable: false });
      answer = { status: raw.status, body: parsed(raw.body) };
      isFinal = !saysNoLeader(raw);
      // A refusal of the second try may be due to the first one, which was carried out late.
      if (isFinal && (attempt === 1 || raw.status < 400)) return answer;
    } catch (error) {
      if (error instanceof Cancelled || !isKnown(path) || engine.isOver(startedAt)) throw error;
    }
    const done = await alreadyDone(engine, write, query); // Reading waits for the connection and for a leader.
    if (done !== undefined) return done;
    if (answer !== undefined && (isFinal || engine.isOver(startedAt))) return answer;
    await pause(attempt, signal);
  }
}

/** The answer that the write would have got, where the swarm has what it was to bring about. */
async function alreadyDone(
  engine: Engine,
  { path, body }: Write,
  query: string,
): Promise<WriteAnswer | undefined> {
  if (path === NETWORK) return await networkOf(engine, body);
  if (!writesService(path)) return undefined;
  const name = textAt(body, "Name");
  const filters = JSON.stringify({ name: [name] });
  const found = (await json(engine, "/services", { query: { filters } })) as readonly JsonObject[];
  const live = found.find((service) => textAt(service, "Spec", "Name") === name);
  if (live === undefined) return undefined;
  const version = Number(new URLSearchParams(query).get("version"));
  // An update that did not happen leaves the version as it was; the scheduler's own marks come only after one.
  if (!path.endsWith("/create") && numberAt(live, "Version", "Index") === version) return undefined;
  const networks = networkIdsOf((await json(engine, "/networks")) as readonly JsonObject[]);
  const [has, meant] = [at(live, "Spec") as JsonObject, body].map((spec) => canonicalSpec(spec, networks));
  if (JSON.stringify(has) !== JSON.stringify(meant)) return undefined;
  return path.endsWith("/create")
    ? { status: 201, body: { ID: textAt(live, "ID") } }
    : { status: 200, body: {} };
}

/** A stack's network is known by its name and labels. */
async function networkOf(engine: Engine, body: JsonObject): Promise<WriteAnswer | undefined> {
  const name = textAt(body, "Name");
  const labels = JSON.stringify(at(body, "Labels"));
  const all = (await json(engine, "/networks")) as readonly JsonObject[];
  const live = all.find(
    (each) => textAt(each, "Name") === name && JSON.stringify(at(each, "Labels")) === labels,
  );
  return live === undefined ? undefined : { status: 201, body: { Id: textAt(live, "Id") } };
}

function parsed(body: Buffer): Json {
  return body.length === 0 ? {} : (JSON.parse(body.toString("utf8")) as Json);
}
