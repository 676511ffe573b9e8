import { randomBytes } from "node:crypto";
import { refuseForeignConfigs } from "./apply.ts";
import { DRAFT_NAMES, type Deployment, type Naming, type Rollout, renderWith } from "./begin.ts";
import { type Plainness, holdsSecret, plainSince, secretFields } from "./field-changes.ts";
import { changesOf } from "./changes.ts";
import { differingParts, planDigest } from "./plan-digest.ts";
import { withoutDraftDigest } from "./image/reference.ts";
import { NAMING_KEY, definitionsOf } from "./definitions.ts";
import { type Problem, PreflightError, describe } from "./errors.ts";
import { type ImageLookup, type ResolvedImages, resolveImages } from "./image/resolve.ts";
import { type JsonObject, textAt } from "./json.ts";
import { holderIn, isLock } from "./lock.ts";
import { type Plan, type PlannedService, changed } from "./plan.ts";
import { plan as makePlan } from "./planning.ts";
import { type Drift, asReleased, driftSince } from "./release/drift.ts";
import { readHistory, staleAfter } from "./release/history.ts";
import { recordsOf } from "./release/record.ts";
import { type Release } from "./release/release.ts";
import { isInFlight, isUp } from "./rollout.ts";
import { type ServiceResult, driftLines, planLines } from "./report.ts";
import { type VersionedObject } from "./stack/configs.ts";
import { LABEL_PREFIX, MANAGED_LABEL, STACK_LABEL } from "./stack/defaults.ts";
import { type RenderedStack, pinned, printed } from "./stack/render.ts";
import { entriesOf, get } from "./stack/tree.ts";
import { type Known, settled, unsettledLines } from "./settle.ts";
import { type Finding, judged } from "./preflight/finding.ts";
import { lookedInto } from "./preflight/healthcheck.ts";
import { lacking } from "./preflight/lacking.ts";
import { preflight } from "./preflight/preflight.ts";
import { type NewObject, type Service, type Survey, type Task } from "./swarm.ts";
import { networkIdsOf, imageOf } from "./spec.ts";
import { compareTexts } from "./text-order.ts";
import { type Session } from "./world.ts";

/** What was asked for as soon as there was a connection. */
export interface Found {
  readonly survey: Survey;
  readonly images: ImageLookup;
}

/** What is to be done, decided. Nothing has been written to the swarm. */
export interface Prepared {
  readonly survey: Survey;
  readonly plan: Plan;
  /** What runs beside the newest release; undefined where no record tells what that was. */
  readonly drift: readonly Drift[] | undefined;
}

/** Beside the plan, what docker needs to carry it out. */
export interface PreparedDeployment extends Prepared {
  readonly stack: RenderedStack;
  /** Its text. */
  readonly file: string;
  readonly objects: readonly NewObject[];
  readonly images: ResolvedImages;
}

/**
 * Resolves every image, lets docker rehearse, and plans; tells the plan with all that was noticed, and refuses one that nobody approved, or
 * that can't end well. Writes nothing anywhere.
 */
export async function decide(
  digest: string,
  { survey, images: lookup }: Found,
  deployment: Deployment,
  session: Session,
): Promise<PreparedDeployment> {
  const { inputs, sources, draft, world, dockerMajor, facts } = deployment;
  const { voice } = world;
  const namingKey = namingKeyOf(survey, draft.stack);
  const naming = { key: namingKey.bytes, taken: takenByOthers(survey, inputs.stack.name) };
  const rendered = renderWith(digest, naming, deployment);
  facts.configName = rendered.envConfigName;
  const newest = newestRelease(survey, deployment);
  const drift = driftOf(newest, survey, deployment);
  // Registries are the slowest to answer.
  const images = await resolveImages(rendered, lookup, survey.services, inputs.image.repository);
  const stack = pinned(rendered, images.pins);
  const file = printed(stack);
  facts.renderedFile = world.files.keep(`${stack.name}.stack.yml`, withoutDraftDigest(file));
  const told = new Set(draft.stack.warnings.map(describe));
  const untold = rendered.warnings.filter((warning) => !told.has(describe(warning)));
  for (const warning of untold) voice.warn(warning);

  const versioned = stack.objects.map((object) => ({ ...object, labels: objectLabels(object, deployment) }));
  const objects = namingKey.isNew ? [namingKeyObject(namingKey.bytes), ...versioned] : versioned;
  refuseForeignConfigs(objects, survey);
  const { networks, prune } = inputs.stack;
  const { ignoreFindings } = inputs;
  const made = new Set([...networks, ...objects.map(({ name }) => name)]);
  const missing = lacking(stack, survey, made, ignoreFindings);
  const request = {
    stack,
    file,
    objects,
    survey,
    draft,
    digest,
    pins: images.pins,
    images: images.answers,
    networks,
    lacking: missing.names,
    prune,
    folder: sources.folder,
    dockerMajor,
  };
  const plan = await makePlan(request, session, voice);
  const plain: Plainness = (_field, value) => !holdsSecret(value, stack.borrowed);
  tellPlan({ plan, survey, drift }, { ...namesOf(objects), objects, newest, plain: () => plain }, deployment);
  const inside = await lookedInto(stack.root, plan, world.images, ignoreFindings);
  heed([...images.findings, ...missing.findings, ...preflight(stack, plan, survey), ...inside], deployment);
  return { stack, file, survey, plan, drift, objects, images };
}

/** Whether nobody else is at work on the stack, as far as can be seen: no lock, and no update on its way or stuck. */
export function isCalm(survey: Survey, deployment: Deployment): boolean {
  const known = knownOf(survey, serviceNamesIn(deployment), deployment);
  return (
    holderIn(survey, deployment.inputs.stack.name) === undefined && unsettledLines(survey, known).length === 0
  );
}

/** Full names of the services in the stack file. */
export function serviceNamesIn({ inputs, draft }: Deployment): ReadonlySet<string> {
  const services = entriesOf(get(draft.stack.root, "services"));
  return new Set(services.map(({ key }) => `${inputs.stack.name}_${key.text}`));
}

export function knownOf(survey: Survey, names: ReadonlySet<string>, rollout: Rollout): Known {
  const { name } = rollout.inputs.stack;
  // The record is read only where it matters.
  if (!survey.services.some((each) => isInFlight(each) || each.update?.state === "paused"))
    return { names, released: new Set() };
  const newest = newestRelease(survey, rollout);
  const released = newest === undefined ? new Set<string>() : asReleased(newest, name, survey);
  return { names, released };
}

/** Whether a plan that was made from the one survey is that of the other one, too. Nodes and tasks are no part of a plan. */
export function isSameGround(one: Survey, other: Survey): boolean {
  return groundOf(one) === groundOf(other);
}

/** Ids and versions: what has one of its own for each change. */
function groundOf({ networks, rawConfigs, rawSecrets, services }: Survey): string {
  return [
    ...networks.map((raw) => `network ${textAt(raw, "Id")}`),
    ...rawConfigs.filter((raw) => !isLock(raw)).map((raw) => `config ${textAt(raw, "ID")}`),
    ...rawSecrets.map((raw) => `secret ${textAt(raw, "ID")}`),
    ...versionsOf(services),
  ]
    .toSorted(compareTexts)
    .join();
}

/** What is another one after each change of a service; in an order of its own. */
export function versionsOf(services: readonly Service[]): string[] {
  return services.map(({ id, version }) => `service ${id} ${version}`).toSorted(compareTexts);
}

/** What is there once nothing of an earlier update is in flight or paused. */
export async function atRest(
  survey: Survey,
  names: ReadonlySet<string>,
  rollout: Rollout,
  { swarm }: Session,
): Promise<Survey> {
  const { inputs, world, facts } = rollout;
  const { clock, voice } = world;
  return await settled(survey, {
    stack: inputs.stack.name,
    swarm,
    clock,
    voice,
    timeoutMs: inputs.rollout.timeoutMs,
    known: knownOf(survey, names, rollout),
    onBack: (name) => (facts.returned = [...facts.returned, name]),
  });
}

/** What there is to know of a plan to tell it. `configs` and `secrets` are names that will be recorded with the release, used or not. */
interface Telling extends Pick<Release, "configs" | "secrets"> {
  readonly objects: readonly NewObject[];
  readonly newest: Release | undefined;
  /** Of what is to run, by the full name of a service. */
  readonly plain: (service: string) => Plainness;
}

/** Into the log and the facts; refuses a plan that nobody approved, or that would harm what runs. */
export function tellPlan(
  { plan, survey, drift = [] }: Prepared,
  { objects, newest, plain, ...made }: Telling,
  rollout: Rollout,
): void {
  const { inputs, world, facts } = rollout;
  const { voice } = world;
  const { secrets } = inputs.stack;
  const stale = staleAfter(plan, made, survey, rollout);
  const before = plainSince(newest, networkIdsOf(survey.networks));
  const discretion = { isSecret: secretsOf(rollout), before, after: plain };
  const changes = changesOf(plan, { survey, objects, stale, discretion });
  facts.changes = changes;
  const built = inputs.image.build === undefined ? "" : facts.digest;
  const definitions = definitionsOf(plan, survey, built, secrets.size > 0);
  facts.planDigest = planDigest(changes, { built, definitions, approved: inputs.stack.approvedPlan });
  facts.drift = [...drift];
  facts.services = plan.services.map(plannedResult);
  voice.group("Plan");
  for (const line of [...driftLines(facts.drift), ...planLines(changes, inputs.mode)]) voice.say(line);
  refuseOther(rollout);
  if (inputs.mode !== "plan") refusePaused(plan, survey.tasks);
  voice.endGroup();
}

/** Of configs and of secrets. */
export function namesOf(objects: readonly NewObject[]): Pick<Release, "configs" | "secrets"> {
  const names = (kind: NewObject["kind"]): string[] =>
    objects.filter((object) => object.kind === kind).map(({ name }) => name);
  return { configs: names("config"), secrets: names("secret") };
}

/** Whether a text holds a secret that this run was given, in whatever encoding the log would be freed of it. */
function secretsOf({ inputs, world: { voice } }: Rollout): (text: string) => boolean {
  const secrets = [...inputs.stack.secrets.values()];
  return (text) => holdsSecret(text, secrets) || voice.redactAll(text) !== text;
}

/** What a record is to say of a deployment's fields that may have a secret. */
export function hiddenIn(
  { plan, survey, stack }: Pick<PreparedDeployment, "plan" | "survey" | "stack">,
  rollout: Rollout,
): NonNullable<Release["hidden"]> {
  const wanted = plan.services.flatMap(({ wanted: spec }) => (spec === undefined ? [] : [spec]));
  const isSecret = secretsOf(rollout);
  return secretFields(
    wanted,
    networkIdsOf(survey.networks),
    (text) => isSecret(text) || holdsSecret(text, stack.borrowed),
  );
}

/** What was done to the stack behind our back; undefined where no record tells what we had left. */
export function driftOf(
  newest: Release | undefined,
  survey: Survey,
  rollout: Rollout,
): readonly Drift[] | undefined {
  if (newest === undefined) return undefined;
  return driftSince(newest, rollout.inputs.stack.name, survey, secretsOf(rollout));
}

export function newestRelease({ rawConfigs }: Survey, { inputs, world }: Rollout): Release | undefined {
  return readHistory(recordsOf(rawConfigs, inputs.stack.name).slice(0, 1), world).releases[0];
}

/** Another plan than the one that somebody has approved. */
function refuseOther({ inputs, facts }: Rollout): void {
  const { approvedPlan } = inputs.stack;
  if (approvedPlan === undefined) return;
  const different = differingParts(approvedPlan, facts.planDigest);
  if (different === undefined) return;
  const what = different.length === 0 ? "" : ` Different: ${different.join(", ")}.`;
  const message = `This is another plan than the one that "plan-digest" names.${what}`;
  const hint =
    "Nothing was changed. The log has the plan as it is now: plan and approve it again, with the same inputs in both jobs.";
  throw new PreflightError([{ message, hint }]);
}

/**
 * The swarm's own key for the names of secrets, so that a name seen in a log says nothing about the value. The first deployment that
 * has secrets makes it and creates it with its other configs. Should two do so at once, the slower one's secrets get new names the
 * next time: one roll too many, nothing lost.
 */
function namingKeyOf(survey: Survey, draft: RenderedStack): { bytes: Uint8Array; isNew: boolean } {
  const existing = survey.configs.find(({ name }) => name === NAMING_KEY)?.bytes;
  if (existing !== undefined) return { bytes: existing, isNew: false };
  const isNew = draft.objects.some(({ kind }) => kind === "secret");
  return { bytes: isNew ? randomBytes(32) : DRAFT_NAMES.key, isNew };
}

/** Two stacks may come to the same name: `a_b` with key `c`, and `a` with key `b_c`. */
function takenByOthers(survey: Survey, stack: string): Naming["taken"] {
  const others = (objects: readonly JsonObject[]): ReadonlySet<string> =>
    new Set(
      objects
        .filter((raw) => ![stack, ""].includes(textAt(raw, "Spec", "Labels", STACK_LABEL)))
        .map((raw) => textAt(raw, "Spec", "Name")),
    );
  const names = { config: others(survey.rawConfigs), secret: others(survey.rawSecrets) };
  return (kind, name) => names[kind].has(name);
}

function namingKeyObject(bytes: Uint8Array): NewObject {
  const labels = new Map([[MANAGED_LABEL, "true"]]);
  return { kind: "config", name: NAMING_KEY, bytes, labels, templateDriver: undefined };
}

function plannedResult({ name, change, before, wanted }: PlannedService): ServiceResult {
  return {
    name,
    change,
    imageBefore: imageOf(before?.spec),
    imageSent: withoutDraftDigest(imageOf(wanted)),
    imageAfter: withoutDraftDigest(imageOf(wanted ?? before?.spec)),
    state: change,
    detail: "",
    durationMs: undefined,
  };
}

/** Says what was noticed, and stops where something of it can't end well: all of that in one report. */
export function heed(findings: readonly Finding[], { inputs, world: { voice }, facts }: Rollout): void {
  const { heeded, errors, warnings, passed } = judged(findings, inputs.ignoreFindings);
  facts.findings = heeded;
  for (const { problem } of passed) voice.say(`Passed over, as "ignore-findings" says: ${describe(problem)}`);
  warnings.forEach((warning) => voice.warn(warning));
  if (errors.length > 0) throw new PreflightError(errors);
}

/** The same template sent again to a paused service takes down the healthy tasks that are left (SWARM 2.5 a). */
function refusePaused(plan: Plan, tasks: readonly Task[]): void {
  const problems = changed(plan).flatMap(({ before, sameTemplate }): Problem[] => {
    if (before?.update?.state.endsWith("paused") !== true || !sameTemplate || isUp(before, tasks)) return [];
    const message = `The service ${before.name} is paused in the middle of an earlier update to this very version (${before.update.message}).`;
    return [{ message, hint: `Bring it back first: docker service rollback ${before.name}` }];
  });
  if (problems.length > 0) throw new PreflightError(problems);
}

function objectLabels(object: VersionedObject, { inputs, world }: Deployment): Map<string, string> {
  const labels = new Map(object.labels);
  labels.set(STACK_LABEL, inputs.stack.name);
  const own = {
    stack: inputs.stack.name,
    key: object.key,
    version: inputs.image.version,
    commit: world.run.sha,
    run: world.run.runUrl,
  };
  for (const [key, value] of Object.entries(own)) labels.set(`${LABEL_PREFIX}${key}`, value);
  return labels;
}
