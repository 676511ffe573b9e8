import { createNeeds, refuseForeignConfigs, sendServices } from "./apply.ts";
import { Cancelled, type Problem, PreflightError, messageOf } from "./errors.ts";
import { headline } from "./failing-task.ts";
import { checkBuildFiles, login, publish } from "./image/publish.ts";
import { requireImage, resolveImages } from "./image/resolve.ts";
import { formatDuration } from "./inputs/duration.ts";
import { type Inputs } from "./inputs/inputs.ts";
import { type Watched, watched } from "./observe.ts";
import { type Plan, changed, isEmpty, withRealIds } from "./plan.ts";
import { checkByDocker, plan as makePlan } from "./planning.ts";
import { type Facts, type ServiceResult, imageOf, planLines } from "./report.ts";
import { restore } from "./restore.ts";
import { type RenderedStack, pinned, printed, render } from "./stack/render.ts";
import { type Sources, readSources } from "./sources.ts";
import { type NewConfig, type Survey } from "./swarm.ts";
import { type Watch, watch } from "./watch.ts";
import { type Session, type World } from "./world.ts";

/** Stands for a digest while the image is not there yet: all else about the file can be checked before anything is built. */
const NO_DIGEST_YET = `sha256:${"0".repeat(64)}`;

/** Mode `deploy`. Writes what it learns into `facts` as it goes; throws a `StopError` where it can't go on. */
export async function deploy(inputs: Inputs, world: World, facts: Facts): Promise<void> {
  const { voice } = world;
  facts.stackName = inputs.stack.name;
  facts.version = inputs.image.version;

  const dockerMajor = await dockerVersion(world);
  const sources = readSources(inputs.stack, world.files);
  checkBuildFiles(inputs.image, world.files);
  const draft = renderWith(NO_DIGEST_YET, inputs, sources, world, dockerMajor);
  await checkByDocker(world.docker, draft, sources.folder);

  const pushed = inputs.image.build === undefined ? undefined : await publish(inputs.image, world);
  if (pushed !== undefined) nameImage(pushed, inputs, facts);

  voice.group("Connect");
  await using session = await world.connect();
  facts.manager = session.swarm.address;
  voice.say(`Connected to the manager ${session.swarm.address}.`);
  await loginSwarm(inputs, session, world);
  const digest =
    pushed ?? (await requireImage(`${inputs.image.repository}:${inputs.image.version}`, session));
  nameImage(digest, inputs, facts);

  const prepared = await prepare(digest, inputs, sources, session, world, dockerMajor, facts);
  voice.endGroup();
  await rollOut(prepared, inputs, sources, session, world, dockerMajor, facts);
}

async function dockerVersion(world: World): Promise<number> {
  const { stdout } = await world.docker.run(["--version"]);
  return Number(/version (\d+)\./.exec(stdout)?.[1] ?? 0);
}

function nameImage(digest: string, inputs: Inputs, facts: Facts): void {
  facts.digest = digest;
  facts.image = `${inputs.image.repository}:${inputs.image.version}@${digest}`;
}

function renderWith(
  digest: string,
  inputs: Inputs,
  sources: Sources,
  world: World,
  dockerMajor: number,
): RenderedStack {
  const { stack, image } = inputs;
  const { folder } = sources;
  return render({
    template: sources.template,
    stack: stack.name,
    variables: stack.variables,
    secrets: stack.secrets,
    environment: world.environment,
    strict: stack.strict,
    defaults: { updateOrder: stack.updateOrder, failureAction: stack.failureAction },
    envFile: sources.envFile,
    envConfig: stack.envConfig,
    read: (path) => world.files.read(path.startsWith("/") || folder === "." ? path : `${folder}/${path}`),
    image: { ...image, digest },
    commit: world.run.sha,
    dockerMajor,
  });
}

/** What the swarm keeps for later pulls: the pull credential, or, where this step built nothing, the one that a build would have used. */
async function loginSwarm(inputs: Inputs, session: Session, world: World): Promise<void> {
  const { build, login: own, pullLogin, registryHost } = inputs.image;
  const credential = pullLogin ?? (build === undefined ? own : undefined);
  if (credential !== undefined)
    await login(session.docker, registryHost, credential, world.voice, "preflight");
}

interface Prepared {
  readonly stack: RenderedStack;
  readonly survey: Survey;
  readonly plan: Plan;
  readonly configs: readonly NewConfig[];
  readonly images: Awaited<ReturnType<typeof resolveImages>>;
}

async function prepare(
  digest: string,
  inputs: Inputs,
  sources: Sources,
  session: Session,
  world: World,
  dockerMajor: number,
  facts: Facts,
): Promise<Prepared> {
  const { voice } = world;
  const rendered = renderWith(digest, inputs, sources, world, dockerMajor);
  facts.configName = rendered.envConfigName;
  const survey = await settledSurvey(inputs, session, world);
  const images = await resolveImages(rendered, session, survey.services, inputs.image.repository);
  const stack = pinned(rendered, images.pins);
  facts.renderedFile = world.files.keep(`${stack.name}.stack.yml`, printed(stack));
  for (const warning of [...rendered.warnings, ...images.warnings]) voice.warn(warning);

  const configs = stack.configs.map((config) => ({ ...config, labels: configLabels(config, inputs, world) }));
  refuseForeignConfigs(configs, survey);
  const request = { stack, survey, images: images.answers, folder: sources.folder, dockerMajor };
  const plan = await makePlan(
    { ...request, networks: inputs.stack.networks, prune: inputs.stack.prune },
    session,
    voice,
  );
  facts.plan = plan;
  facts.services = plan.services.map((service) => ({
    name: service.name,
    change: service.change,
    imageBefore: imageOf(service.before?.spec),
    imageSent: imageOf(service.wanted),
    imageAfter: imageOf(service.wanted ?? service.before?.spec),
    state: service.change,
    detail: "",
    durationMs: undefined,
  }));
  voice.group("Plan");
  planLines(plan).forEach((line) => voice.say(line));
  refusePaused(plan);
  return { stack, survey, plan, configs, images };
}

/** An update in flight belongs to somebody: sending anything over it disarms its rollback (SWARM 2.5 b). */
async function settledSurvey(inputs: Inputs, session: Session, world: World): Promise<Survey> {
  const deadline = world.clock.now() + inputs.rollout.timeoutMs;
  for (let told = false; ; told = true) {
    const survey = await session.swarm.survey(inputs.stack.name);
    const busy = survey.services.filter(
      ({ update }) => update?.state === "updating" || update?.state === "rollback_started",
    );
    if (busy.length === 0) return survey;
    const names = busy.map(({ name }) => name).join(", ");
    if (!told) world.voice.say(`Waiting for an earlier update of ${names} to end.`);
    if (world.clock.now() >= deadline) {
      const hint = `See what holds it up: docker service ps ${busy[0]?.name ?? ""}; end it with docker service rollback ${busy[0]?.name ?? ""}.`;
      throw new PreflightError([
        {
          message: `An earlier update of ${names} is still in flight after ${formatDuration(inputs.rollout.timeoutMs)}.`,
          hint,
        },
      ]);
    }
    await world.clock.sleep(1000);
  }
}

/** The same template sent again to a paused service takes down the healthy tasks that are left (SWARM 2.5 a). */
function refusePaused(plan: Plan): void {
  const problems = changed(plan).flatMap(({ before, wanted }): Problem[] => {
    const state = before?.update?.state ?? "";
    const sameTemplate = JSON.stringify(before?.spec.TaskTemplate) === JSON.stringify(wanted?.TaskTemplate);
    if (!state.endsWith("paused") || !sameTemplate) return [];
    const message = `The service ${before?.name ?? ""} is paused in the middle of an earlier update to this very version (${before?.update?.message ?? ""}).`;
    return [{ message, hint: `Bring it back first: docker service rollback ${before?.name ?? ""}` }];
  });
  if (problems.length > 0) throw new PreflightError(problems);
}

function configLabels(
  config: RenderedStack["configs"][number],
  inputs: Inputs,
  world: World,
): Map<string, string> {
  const labels = new Map(config.labels);
  labels.set("com.docker.stack.namespace", inputs.stack.name); // `docker stack rm` takes it along.
  const own = {
    stack: inputs.stack.name,
    key: config.key,
    version: inputs.image.version,
    commit: world.run.sha,
    run: world.run.runUrl,
  };
  for (const [key, value] of Object.entries(own)) labels.set(`swarm-stack-deploy.${key}`, value);
  return labels;
}

async function rollOut(
  prepared: Prepared,
  inputs: Inputs,
  sources: Sources,
  session: Session,
  world: World,
  dockerMajor: number,
  facts: Facts,
): Promise<void> {
  const { voice, clock } = world;
  const { plan, survey } = prepared;
  const empty = isEmpty(plan);
  const oldFailures = new Set(
    (await session.swarm.tasks(plan.stack)).filter(({ state }) => state !== "running").map(({ id }) => id),
  );
  voice.group(empty ? "Nothing to send: making sure that all of it runs" : "Deploy and watch");
  try {
    const ids = await createNeeds(plan, prepared.configs, session, voice);
    const stage = { survey, images: prepared.images.answers, networks: ids.networks, configs: ids.configs };
    await sendServices(plan, prepared.stack, sources.folder, dockerMajor, stage, session, voice);
    const networkIds = new Map((await session.swarm.networks()).map(({ name, id }) => [name, id]));
    const services = watched(plan.services).map((each) => ({
      ...each,
      sent: withRealIds(each.sent, new Map([...ids.networks, ...ids.configs])),
    }));
    const { timeoutMs, stableForMs } = inputs.rollout;
    const request = {
      stack: plan.stack,
      services,
      oldFailures,
      networkIds,
      timeoutMs,
      stableForMs: empty ? 0 : stableForMs,
      endOnFailure: true,
    };
    const seen = await watch(session.swarm, clock, voice, request);
    facts.services = facts.services.map((service) => withVerdict(service, seen));
    facts.stories = seen.stories;
    if (seen.end === "stable") {
      facts.status = empty ? "unchanged" : "deployed";
      await prune(plan, session, world, facts);
      return;
    }
    facts.reason = "rollout";
    facts.problems = rolloutProblems(seen, timeoutMs);
    voice.endGroup();
  } catch (error) {
    voice.endGroup();
    await afterInterruption(
      error,
      async () => await afterFailure(inputs, prepared, oldFailures, session, world, facts),
      facts,
    );
    throw error;
  }
  await afterFailure(inputs, prepared, oldFailures, session, world, facts);
}

function withVerdict(service: ServiceResult, seen: Watch): ServiceResult {
  const verdict = seen.verdicts.get(service.name);
  if (verdict === undefined) return service;
  return {
    ...service,
    state: verdict.kind,
    detail: verdict.detail,
    durationMs: seen.convergedAt.get(service.name),
  };
}

/** One problem for each service that is to blame; those that were merely still on their way are in the table. */
function rolloutProblems(seen: Watch, timeoutMs: number): Problem[] {
  const blamed = [...seen.verdicts].filter(
    ([, { kind }]) => kind === (seen.end === "failed" ? "failed" : "progressing"),
  );
  return blamed.map(([name, verdict]) => {
    const story = seen.stories.find(({ service }) => service === name);
    if (seen.end === "timeout")
      return {
        message: `Service ${name} did not converge within ${formatDuration(timeoutMs)}: ${verdict.detail}.`,
      };
    const last = story?.lastWords;
    const cause =
      story === undefined
        ? ""
        : ` ${headline(story)}.${last === undefined || last === "" ? "" : ` Its last words: ${last}`}`;
    return { message: `Service ${name} failed: ${verdict.detail}.${cause}` };
  });
}

/** The last step of its own, once the verdict is in. */
async function prune(plan: Plan, session: Session, world: World, facts: Facts): Promise<void> {
  for (const { name, before } of plan.services.filter(({ change }) => change === "remove")) {
    if (before === undefined) continue;
    await session.swarm.removeService(before.id);
    world.voice.say(`${name}: removed, since the stack file no longer has it.`);
    facts.services = facts.services.map((service) =>
      service.name === name ? { ...service, state: "removed" } : service,
    );
  }
}

/** The first error is the story; that putting things back failed as well is told beside it. */
async function afterInterruption(error: unknown, putBack: () => Promise<void>, facts: Facts): Promise<void> {
  if (error instanceof Cancelled) {
    facts.aftermath = [
      "What had been sent goes on rolling out on the swarm; nothing was put back. Look at it with `docker stack ps`.",
    ];
    return;
  }
  try {
    await putBack();
  } catch (second) {
    facts.aftermath = [
      `The stack could not be put back: ${messageOf(second)}. Look at it with \`docker stack ps\`.`,
    ];
  }
}

async function afterFailure(
  inputs: Inputs,
  prepared: Prepared,
  oldFailures: ReadonlySet<string>,
  session: Session,
  world: World,
  facts: Facts,
): Promise<void> {
  const { plan } = prepared;
  if (isEmpty(plan) || changed(plan).length === 0) {
    facts.aftermath = ["Nothing was sent to the swarm."];
    return;
  }
  if (inputs.rollout.onFailure === "keep") {
    facts.aftermath = ['The stack was left as it is for inspection ("on-failure: keep").'];
    return;
  }
  const { voice, clock } = world;
  voice.group("Put the stack back as it was");
  const back = await restore(plan, session.swarm, clock, voice);
  const good = await watchRestored(back.services, inputs, prepared, oldFailures, session, world);
  voice.endGroup();
  const restored = new Set(back.services.map(({ name }) => name));
  facts.services = facts.services.map((service) => afterRestore(service, restored, new Set(back.removed)));
  facts.aftermath = [
    back.services.length > 0
      ? `Put back to what ran before: ${back.services.map(({ name }) => name).join(", ")}${good ? "; all of it runs." : "."}`
      : "",
    back.removed.length > 0 ? `Removed, since this deployment created it: ${back.removed.join(", ")}.` : "",
    good ? "" : "Not everything runs as before: look at the swarm with `docker stack ps`.",
    ...back.failures.map((failure) => `Could not be put back: ${failure}.`),
  ].filter((line) => line !== "");
  facts.aftermath.forEach((line) => voice.say(line));
}

async function watchRestored(
  services: readonly Watched[],
  inputs: Inputs,
  prepared: Prepared,
  oldFailures: ReadonlySet<string>,
  session: Session,
  world: World,
): Promise<boolean> {
  if (services.length === 0) return true;
  const failedBefore = new Set([
    ...oldFailures,
    ...(await session.swarm.tasks(prepared.plan.stack))
      .filter(({ state }) => state !== "running")
      .map(({ id }) => id),
  ]);
  const { timeoutMs, stableForMs } = inputs.rollout;
  const request = {
    stack: prepared.plan.stack,
    services,
    oldFailures: failedBefore,
    networkIds: new Map<string, string>(),
    timeoutMs,
    stableForMs: Math.min(stableForMs, 5000),
    endOnFailure: false,
  };
  const seen = await watch(session.swarm, world.clock, world.voice, request);
  return seen.end === "stable";
}

function afterRestore(
  service: ServiceResult,
  restored: ReadonlySet<string>,
  removed: ReadonlySet<string>,
): ServiceResult {
  if (removed.has(service.name))
    return { ...service, state: service.state === "failed" ? "failed" : "removed", imageAfter: "" };
  if (!restored.has(service.name)) return service;
  return {
    ...service,
    state: service.state === "failed" ? "failed" : "restored",
    imageAfter: service.imageBefore,
  };
}
