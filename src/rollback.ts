import { type Send, carryOut } from "./carry-out.ts";
import { plainSince } from "./field-changes.ts";
import { PreflightError } from "./errors.ts";
import { type JsonObject, textAt } from "./json.ts";
import { loginSwarm } from "./image/publish.ts";
import { parseImageReference } from "./image/reference.ts";
import { type Inputs } from "./inputs/inputs.ts";
import { lockOf } from "./lock.ts";
import { type Plan, planDeployment } from "./plan.ts";
import { type Rollout, connect } from "./begin.ts";
import { obstacles } from "./preflight/preflight.ts";
import { atRest, driftOf, heed, newestRelease, tellPlan } from "./prepare.ts";
import {
  type Renewed,
  chooseRelease,
  gone,
  noSuchRelease,
  otherContent,
  renewed,
} from "./release/going-back.ts";
import { type History, type NewRelease, keepRelease, readHistory } from "./release/history.ts";
import { recordsOf } from "./release/record.ts";
import { type Release, isOlderThan, titleOf } from "./release/release.ts";
import { type Facts } from "./report.ts";
import { sendSpecs } from "./send-specs.ts";
import { networkIdsOf, imageOf } from "./spec.ts";
import { type ServiceSpec, type Survey } from "./swarm.ts";
import { together } from "./together.ts";
import { type Session, type World } from "./world.ts";

/**
 * Mode `rollback`: all services of the stack return to an earlier release that the swarm remembers, by digest and with its configs and
 * secrets. Nothing is built and no stack file is read. It is watched and judged as a deployment is, and becomes a release of its own.
 */
export async function rollback(inputs: Inputs, world: World, facts: Facts): Promise<void> {
  facts.mode = "rollback";
  facts.stackName = inputs.stack.name;
  const rollout = { inputs, world, facts };

  await using session = await connect(rollout);
  await using lock = lockOf(inputs.stack.name, session, world);
  await together([lock.take(inputs.rollout.lockTimeoutMs), loginSwarm(inputs.image, session, world.voice)]);
  session.guard(lock);

  const found = await session.swarm.survey(inputs.stack.name);
  const history = readHistory(recordsOf(found.rawConfigs, inputs.stack.name), world);
  const release = choose(history, found, rollout, session);
  tellRelease(release, rollout);
  refuseIncomplete(release, found, world);
  const names = new Set(release.services.map((spec) => textAt(spec, "Name")));
  const survey = await atRest(found, names, rollout, session);
  const { plan } = planFor(release, survey, inputs, session);
  const newest = newestRelease(survey, rollout);
  const prepared = { plan, survey, drift: driftOf(newest, survey, rollout) };
  const { configs, secrets } = release;
  const plain = plainAgain(release, plan, survey);
  tellPlan(prepared, { configs, secrets, objects: [], newest, plain }, rollout);
  heed(obstacles(plan, survey), rollout);

  const send: Send = async (onSent) =>
    await sendSpecs(prepared, definitionsOf(release), world, session, onSent);
  if (!(await carryOut(prepared, send, rollout, session))) return;
  if (survey !== found) facts.status = "rolled-back"; // What an earlier run had left has gone back by itself.
  await keepRelease(againOf(release), prepared, rollout, session);
}

function choose(history: History, survey: Survey, { inputs, world }: Rollout, session: Session): Release {
  const { releases, unreadable } = history;
  unreadable.forEach((problem) => world.voice.warn(problem));
  const current = releases.slice(0, 1).find((newest) => runs(newest, survey, inputs, session));
  const { wanted } = inputs.releases;
  const chosen = chooseRelease(releases, current, wanted);
  if (chosen === undefined) throw new PreflightError([noSuchRelease(inputs.stack.name, releases, wanted)]);
  world.voice.say(
    current === undefined
      ? `What runs is no release that the swarm remembers.`
      : `What runs is release ${titleOf(current)}.`,
  );
  world.voice.say(`Going back to release ${titleOf(chosen)}.`);
  return chosen;
}

/** Whether the tasks are those of the release; what only surrounds them (replicas, labels, policies) may have been changed by hand. */
function runs(release: Release, survey: Survey, inputs: Inputs, session: Session): boolean {
  const { plan, missing } = planFor(release, survey, inputs, session);
  return (
    missing.length === 0 &&
    plan.services.every(
      ({ change, sameTemplate }) => change !== "create" && (change !== "update" || sameTemplate),
    )
  );
}

function tellRelease(release: Release, { inputs, world, facts }: Rollout): void {
  facts.version = release.version;
  facts.image = release.image;
  facts.digest = release.digest;
  facts.configName = release.configName;
  facts.renderedFile = world.files.keep(`${inputs.stack.name}.stack.yml`, release.file);
}

/** Where something is gone that can't be made from the record, nothing is written. */
function refuseIncomplete(release: Release, survey: Survey, world: World): void {
  const { missing, remade } = renewed(release, survey);
  if (missing.length > 0) throw new PreflightError(missing.map((each) => gone(each, release)));
  remade.forEach((each) => world.voice.warn({ message: otherContent(each, release) }));
}

function planFor(
  release: Release,
  survey: Survey,
  inputs: Inputs,
  session: Session,
): { readonly plan: Plan; readonly missing: Renewed["missing"] } {
  const { specs, networks, missing } = renewed(release, survey);
  const plan = planDeployment({
    stack: inputs.stack.name,
    wanted: specs.map((spec) => ({ spec, auth: authFor(spec, session) })),
    live: survey.services,
    networkIds: networkIdsOf(survey.networks),
    prune: inputs.stack.prune,
    stays: (service) => isOlderThan(release, service), // It ran beside the release, left by `prune: false`.
    needs: { networks: networks.map(({ name }) => name), configs: [], secrets: [] },
  });
  return { plan, missing };
}

/** Of what is sent again: the release's values, with the ids of today. */
function plainAgain(
  { hidden }: Release,
  { services }: Plan,
  { networks }: Survey,
): ReturnType<typeof plainSince> {
  const again = services.flatMap(({ wanted }) => (wanted === undefined ? [] : [wanted]));
  return plainSince({ services: again, hidden }, networkIdsOf(networks));
}

/** Where there are no credentials, the swarm uses those that it has kept for the service. */
function authFor(spec: ServiceSpec, session: Session): string | undefined {
  const reference = parseImageReference(imageOf(spec));
  return reference === undefined ? undefined : session.registryAuth(reference.domain);
}

function definitionsOf({ networks }: Release): ReadonlyMap<string, JsonObject> {
  return new Map(
    networks.flatMap(({ name, definition }) => (definition === undefined ? [] : [[name, definition]])),
  );
}

/** What is to be recorded: the release it is again, under a new number. */
function againOf(release: Release): NewRelease {
  const addressed = release.networks.filter(({ definition }) => definition?.IPAM !== undefined);
  return {
    facts: release,
    origin: release.origin,
    configs: release.configs,
    secrets: release.secrets,
    addressed: new Set(addressed.map(({ name }) => name)),
  };
}
