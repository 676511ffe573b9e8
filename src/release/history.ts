import { type Problem, messageOf } from "../errors.ts";
import { type JsonObject, objectAt, textAt } from "../json.ts";
import { watched } from "../observe.ts";
import { type Plan, isEmpty } from "../plan.ts";
import { type Rollout } from "../begin.ts";
import { type Prepared } from "../prepare.ts";
import { type StoredRecord, decoded, encoded, joined, recordObjects, recordsOf } from "./record.ts";
import {
  type Belongings,
  type Release,
  type ReleaseFacts,
  type StaleObject,
  releaseOf,
  nameOf,
  staleObjects,
  titleOf,
} from "./release.ts";
import { type NewObject, type Survey } from "../swarm.ts";
import { together } from "../together.ts";
import { type Session, type World } from "../world.ts";

/** The releases of a stack that the swarm remembers. */
export interface History {
  /** The newest first. */
  readonly releases: readonly Release[];
  /** Records that are damaged, or that another version of this action has written. */
  readonly unreadable: readonly Problem[];
}

export function readHistory(records: readonly StoredRecord[], { compression }: World): History {
  const releases: Release[] = [];
  const unreadable: Problem[] = [];
  for (const record of records) {
    const release = read(record, compression);
    if (typeof release !== "string") releases.push(release);
    else
      unreadable.push({
        message: `The record of release #${record.number} on the swarm can't be read: ${release}.`,
        hint: `Look at it with: docker config inspect ${record.parts[0]?.name}`,
      });
  }
  return { releases, unreadable };
}

function read(record: StoredRecord, compression: World["compression"]): Release | string {
  const bytes = joined(record);
  if (bytes === undefined) return "a part of it is missing";
  let text: string;
  try {
    text = compression.expand(bytes);
  } catch (error) {
    return `it is damaged (${messageOf(error)})`;
  }
  const release = decoded(text);
  if (typeof release === "string" || release.number === record.number) return release;
  return `it says that it is release #${release.number}`;
}

/** What a story tells of its release; number, time and the run are the same for all of them. */
export interface NewRelease extends Omit<Belongings, "stack" | "services"> {
  readonly facts: Pick<
    ReleaseFacts,
    "version" | "image" | "digest" | "configName" | "commit" | "file" | "hidden"
  >;
  /** Which release this is again, after a rollback. */
  readonly origin?: number;
}

/**
 * After a good verdict: records what runs as a release, then tidies what no kept release, no service and no service's previous spec
 * needs. The stack runs by then, so whatever goes wrong here is told and changes nothing else. Where nothing was changed, and the newest
 * release is what runs, nothing is written.
 */
export async function keepRelease(
  made: NewRelease,
  { plan, drift }: Pick<Prepared, "plan" | "drift">,
  rollout: Rollout,
  session: Session,
): Promise<void> {
  if (isEmpty(plan) && isRecorded({ plan, drift })) return;
  const { voice } = rollout.world;
  voice.group("Record the release");
  try {
    const recorded = await recordRelease(made, plan, rollout, session);
    await tidy(recorded, rollout, session);
  } catch (error) {
    voice.warn({
      message: `This release could not be recorded on the swarm: ${messageOf(error)}`,
      hint: 'It runs all the same, but mode "rollback" can\'t come back to it.',
    });
  }
  voice.endGroup();
}

/** Whether the newest release is what runs of a plan. It is not where the step that sent it was killed before it could record it. */
export function isRecorded({ plan, drift }: Pick<Prepared, "plan" | "drift">): boolean {
  const ours = new Set(watched(plan.services).map(({ name }) => name));
  // A service that this action has left there, since it is not to prune, is in no later release.
  return drift?.every(({ service, change }) => change === "added" && !ours.has(service)) ?? false;
}

interface Recorded {
  readonly release: Release;
  /** The swarm and its records as they were a moment before. */
  readonly survey: Survey;
  /** Those of all stacks, as the engine lists them. */
  readonly services: readonly JsonObject[];
  readonly records: readonly StoredRecord[];
}

async function recordRelease(
  made: NewRelease,
  plan: Plan,
  rollout: Rollout,
  session: Session,
): Promise<Recorded> {
  const { swarm } = session;
  const [survey, services] = await together([swarm.survey(plan.stack), swarm.everyService()]);
  const records = recordsOf(survey.rawConfigs, plan.stack);
  const release = describe(made, records, survey, plan, rollout);
  await write(release, plan.stack, rollout, session);
  rollout.facts.recorded = nameOf(release);
  rollout.world.voice.say(`Recorded on the swarm as release ${titleOf(release)}.`);
  return { release, survey, services, records };
}

function describe(
  { facts, origin, ...made }: NewRelease,
  records: readonly StoredRecord[],
  survey: Survey,
  plan: Plan,
  { world }: Rollout,
): Release {
  const number = 1 + (records[0]?.number ?? 0);
  const { runUrl, actor, actionRef } = world.run;
  const at = new Date(world.clock.now()).toISOString();
  const services = new Set(watched(plan.services).map(({ serviceName }) => serviceName));
  return releaseOf(
    { ...facts, number, origin: origin ?? number, run: runUrl, actor, at, by: actionRef },
    { ...made, stack: plan.stack, services },
    survey,
  );
}

/** All parts, or none: half a record would be in the way of tidying. */
async function write(release: Release, stack: string, { world }: Rollout, { swarm }: Session): Promise<void> {
  const { voice } = world;
  const objects = recordObjects(stack, release, world.compression.compress(encoded(release)));
  if (objects.length > 1)
    voice.say(`The record is larger than one docker config should be: it has ${objects.length} parts.`);
  try {
    await together(objects.map(async (object) => await swarm.createRecord(object)));
  } catch (error) {
    await withdraw(objects, stack, swarm).catch((second: unknown) =>
      voice.say(`Parts of the record stay on the swarm: ${messageOf(second)}`),
    );
    throw error;
  }
}

async function withdraw(
  objects: readonly NewObject[],
  stack: string,
  swarm: Session["swarm"],
): Promise<void> {
  if (objects.length === 1) return;
  const { rawConfigs } = await swarm.survey(stack);
  const own = recordsOf(rawConfigs, stack).flatMap(({ parts }) => parts);
  const left = own.filter((part) =>
    objects.some(({ name, bytes }) => name === part.name && Buffer.from(bytes).equals(part.bytes)),
  );
  await together(left.map(async ({ id }) => await swarm.removeObject("config", id)));
}

/**
 * What tidying will find stale once a plan is carried out; `made` are the names that will be recorded. Whether another stack uses something
 * of this one, no survey knows: tidying asks that itself. Where nothing is to be changed, nothing is tidied.
 */
export function staleAfter(
  plan: Plan,
  made: Pick<Release, "configs" | "secrets">,
  survey: Survey,
  { inputs, world }: Rollout,
): StaleObject[] {
  if (isEmpty(plan)) return [];
  const others = recordsOf(survey.rawConfigs, plan.stack).slice(0, inputs.releases.keep - 1);
  const { releases, unreadable } = readHistory(others, world);
  if (unreadable.length > 0) return [];
  return staleObjects(plan.stack, survey, servicesAfter(plan, survey.rawServices), [made, ...releases]);
}

/** As the engine will list them: what was updated remembers its spec before. */
function servicesAfter({ services }: Plan, raw: readonly JsonObject[]): JsonObject[] {
  const kept = raw.flatMap((each): JsonObject[] => {
    const planned = services.find(({ before }) => before?.id === textAt(each, "ID"));
    if (planned?.change === "remove") return [];
    if (planned?.change !== "update" || planned.wanted === undefined) return [each];
    return [{ Spec: planned.wanted, PreviousSpec: objectAt(each, "Spec") }];
  });
  const made = services.flatMap(({ change, wanted }) =>
    change === "create" && wanted !== undefined ? [{ Spec: wanted }] : [],
  );
  return [...kept, ...made];
}

/** Old records first; then what only they needed. What can't be removed stays for the next time. */
async function tidy(
  { release, survey, services, records }: Recorded,
  { inputs, world }: Rollout,
  { swarm }: Session,
): Promise<void> {
  const { name: stack } = inputs.stack;
  const others = inputs.releases.keep - 1;
  const old = records.slice(others);
  const kept = readHistory(records.slice(0, others), world);
  const remove = async (what: string, kind: NewObject["kind"], id: string): Promise<void> => {
    try {
      await swarm.removeObject(kind, id);
      world.voice.say(`Removed ${what}.`);
    } catch (error) {
      world.voice.say(`${what} could not be removed: ${messageOf(error)}`);
    }
  };
  const parts = old.flatMap((each) => each.parts.map((part) => ({ ...part, number: each.number })));
  await together(
    parts.map(
      async ({ id, name, number }) => await remove(`${name}, the record of release #${number}`, "config", id),
    ),
  );
  if (kept.unreadable.length > 0) {
    kept.unreadable.forEach(({ message }) => world.voice.say(message));
    world.voice.say("So nobody knows what it needs, and configs and secrets of old releases stay.");
    return;
  }
  const stale = staleObjects(stack, survey, services, [release, ...kept.releases]);
  await together(
    stale.map(
      async ({ kind, id, name }) =>
        await remove(`the ${kind} ${name}, which no service and no kept release needs`, kind, id),
    ),
  );
}
