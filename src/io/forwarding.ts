import { HELD_BACK } from "../apply.ts";
import { type JsonObject, numberAt, objectAt, textAt } from "../json.ts";
import { createdBy, writesService } from "../plan.ts";
import { OUT_OF_SEQUENCE, TRIES } from "../restore.ts";
import { canonicalSpec, networkIdsOf } from "../spec.ts";
import { type Survey } from "../swarm.ts";
import { type Created, type Write } from "../world.ts";
import { json } from "./engine.ts";
import { type PatientEngine, pause } from "./steady-engine.ts";
import { type OnWrite } from "./stand-in.ts";
import { type WriteAnswer, sendWrite } from "./write.ts";

export interface Forwarding {
  readonly onWrite: OnWrite;
  /** So far. */
  readonly created: Created;
}

/**
 * Passes on to the manager what several dockers write at once, until one of them fails. What more than one of them asks for, such as the
 * stack's own network, is created once and all hear the one answer; one after the other, since two networks made at once may get one
 * subnet (Docker 28, "Pool overlaps"). `onSent` hears which services the manager took; one that got no answer may have been taken.
 */
export function forwarding(
  engine: PatientEngine,
  survey: Survey,
  signal: AbortSignal,
  onSent: (serviceName: string) => void,
): Forwarding {
  const created = {
    networks: new Map<string, string>(),
    configs: new Map<string, string>(),
    secrets: new Map<string, string>(),
  };
  const common = new Map<string, Promise<WriteAnswer>>();
  let last: Promise<unknown> = Promise.resolve();
  let failed = false;

  const send = async (write: Write, query: string): Promise<WriteAnswer> => {
    if (failed) return { status: 409, body: { message: HELD_BACK } };
    const name = textAt(write.body, "Name");
    try {
      const answer = await sendAsPlanned(engine, survey, write, query, signal);
      const kind = createdBy(write.path);
      if (answer.status >= 300) failed = true;
      else if (kind !== undefined)
        created[kind].set(name, textAt(answer.body, "ID") || textAt(answer.body, "Id")); // A network has the other one.
      else if (writesService(write.path)) onSent(name);
      return answer;
    } catch (error) {
      failed = true;
      if (writesService(write.path)) onSent(name);
      throw error;
    }
  };

  const sendOnce = async (write: Write, query: string): Promise<WriteAnswer> => {
    const what = `${write.path}${query} ${textAt(write.body, "Name")}`;
    let asked = common.get(what);
    if (asked === undefined) {
      asked = last.then(async () => await send(write, query));
      common.set(what, asked);
      last = asked.catch(() => undefined); // Whoever asked hears of it; the next one is then held back.
    }
    return await asked;
  };

  return {
    created,
    onWrite: async (write, query) => await (writesService(write.path) ? send : sendOnce)(write, query),
  };
}

/**
 * An update names the version that the survey saw. Where the orchestrator has written to the service since, the version is read again;
 * where somebody else has, the refusal stands: the plan was not made for that.
 */
async function sendAsPlanned(
  engine: PatientEngine,
  survey: Survey,
  write: Write,
  query: string,
  signal: AbortSignal,
): Promise<WriteAnswer> {
  for (let attempt = 1, named = query; ; attempt += 1) {
    const answer = await sendWrite(engine, write, named, signal);
    const stale = answer.status >= 400 && OUT_OF_SEQUENCE.test(textAt(answer.body, "message"));
    const version = stale && attempt < TRIES ? await versionNow(engine, survey, write) : undefined;
    if (version === undefined) return answer;
    const parameters = new URLSearchParams(query);
    parameters.set("version", String(version));
    named = `?${parameters.toString()}`;
    await pause(attempt, signal);
  }
}

/** Of the service that an update is for; undefined where its spec is no longer the one that the survey saw. */
async function versionNow(
  engine: PatientEngine,
  { services, networks }: Survey,
  { path }: Write,
): Promise<number | undefined> {
  const [, id = ""] = /^\/services\/([^/]+)\/update$/.exec(path) ?? [];
  const before = services.find((service) => service.id === id);
  if (before === undefined) return undefined;
  const live = objectAt(await json(engine, `/services/${id}`));
  const ids = networkIdsOf(networks);
  const canonical = (spec: JsonObject): string => JSON.stringify(canonicalSpec(spec, ids));
  return canonical(objectAt(live, "Spec")) === canonical(before.spec)
    ? numberAt(live, "Version", "Index")
    : undefined;
}
