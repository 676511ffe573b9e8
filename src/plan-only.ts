import { type Deployment, begin, connect, lookupFor, nameImage, referenceOf } from "./begin.ts";
import { NO_DIGEST_YET } from "./image/reference.ts";
import { ImageLookup, inWords } from "./image/resolve.ts";
import { type Inputs, type RunContext } from "./inputs/inputs.ts";
import { type Finding } from "./preflight/finding.ts";
import { lookedInto } from "./preflight/healthcheck.ts";
import { withoutSwarm } from "./preflight/preflight.ts";
import { count } from "./preflight/subject.ts";
import { decide, heed, knownOf, serviceNamesIn } from "./prepare.ts";
import { WRITES_NOTHING } from "./lock.ts";
import { refuseOlder } from "./commit-order.ts";
import { type Facts } from "./report.ts";
import { unsettledLines } from "./settle.ts";
import { get } from "./stack/tree.ts";
import { NOTHING_WITHHELD, type Withheld, isAssumed } from "./stack/withheld.ts";
import { together } from "./together.ts";
import { type World } from "./world.ts";
import { imageOf } from "./spec.ts";

/**
 * Mode `plan`: everything up to the decision, and nothing more. It builds nothing, takes no lock, and writes nothing to the swarm. Without
 * a manager it checks the files alone.
 */
export async function planOnly(inputs: Inputs, world: World, facts: Facts): Promise<void> {
  facts.mode = "plan";
  facts.stackName = inputs.stack.name;
  facts.version = inputs.image.version;
  const withheld = inputs.target === undefined ? withheldFrom(inputs, world.run) : NOTHING_WITHHELD;
  const deployment = await begin(inputs, world, facts, withheld);
  if (inputs.target === undefined) {
    facts.configName = deployment.draft.stack.envConfigName;
    heed(await foundInFiles(deployment), deployment);
    unknownLines(deployment).forEach((line) => note(line, deployment));
    note(`There is no manager to ask, so only the files were checked${verdict(facts)}.`, deployment);
    facts.status = "planned";
    return;
  }

  await using session = await connect(deployment);
  session.guard(WRITES_NOTHING);
  await using images = lookupFor(deployment, session);
  const looks = together([session.swarm.survey(inputs.stack.name), digestOrNone(images, deployment)]);
  images.askAhead(deployment.draft.stack);
  const [survey, digest] = await looks;
  unsettledLines(survey, knownOf(survey, serviceNamesIn(deployment), deployment)).forEach((line) =>
    note(line, deployment),
  );
  await refuseOlder(inputs, survey, world);
  await decide(digest, { survey, images }, deployment, session);
  facts.status = "planned";
}

/** What of a service tells whether its health check can run, but for the variable PATH, which nobody keeps secret. */
const LOOKED_AT = ["image", "healthcheck", "working_dir", "init", "volumes", "configs", "secrets", "deploy"];

/**
 * What of the preflight needs neither a swarm nor a registry. An image by its tag alone may be another one there than on this runner, so
 * only one by its digest is looked into.
 */
async function foundInFiles({ inputs, world, draft }: Deployment): Promise<readonly Finding[]> {
  const { stack } = draft;
  const { plan } = await draft.checked;
  const certain = plan.services.filter(
    ({ name, wanted }) =>
      imageOf(wanted).includes("@") &&
      !LOOKED_AT.some((key) => isAssumed(get(stack.root, "services", name, key))),
  );
  const inside = await lookedInto(
    stack.root,
    { ...plan, services: certain },
    world.images,
    inputs.ignoreFindings,
  );
  return [...withoutSwarm(stack, plan), ...inside];
}

function verdict({ findings }: Facts): string {
  if (findings.length === 0) return ": nothing is wrong with them";
  return findings.length === 1 ? ", with one warning" : `, with ${findings.length} warnings`;
}

/**
 * A run for a fork gets no secrets and no variables, so there any name may have a value elsewhere, and any file may be written from one.
 * In any other run the workflow's own names are all there are, and only a secret that it gives and that is empty may be one without a value.
 */
function withheldFrom({ stack }: Inputs, run: RunContext): Withheld {
  if (run.withheldFrom !== undefined) return { hasName: () => true, hasFiles: true };
  return { hasName: (name) => stack.secrets.get(name) === "", hasFiles: false };
}

/** What the check of the files did not see, so that nobody takes it for a complete one. */
function unknownLines({ draft, sources, world }: Deployment): string[] {
  const { names, files } = draft.stack.standIns;
  const paths = [...new Set([sources.withheldEnvFile ?? [], files].flat())];
  const from = world.run.withheldFrom;
  const why =
    from === undefined
      ? "since the secrets of these names are empty"
      : `since a pull request from ${from} gets no secrets and no variables`;
  const variables = names.map(({ name, meant }) =>
    meant === undefined ? name : `${name} (or is ${meant} meant?)`,
  );
  return [...unknown(variables, "variable", why), ...unknown(paths, "file", why)];
}

function unknown(names: readonly string[], noun: string, why: string): string[] {
  if (names.length === 0) return [];
  const [are, them] = names.length === 1 ? ["is", "it"] : ["are", "them"];
  return [
    `${count(names.length, noun)} ${are} not known here, ${why}: ${names.join(", ")}. Some value stands in for ${them}.`,
  ];
}

/**
 * The digest of an image that exists. One that the deployment builds gets a new digest, also where its tag exists already: the image
 * says when it was made. That one is missing which should be there is told, and is no failure: it may come before the deployment.
 */
async function digestOrNone(images: ImageLookup, deployment: Deployment): Promise<string> {
  const { inputs, facts } = deployment;
  const image = referenceOf(inputs);
  facts.image = image;
  if (inputs.image.build !== undefined) {
    note(`The image ${image} is planned by its tag. The deployment builds and pushes it.`, deployment);
    return NO_DIGEST_YET;
  }
  const answer = await images.ask(image);
  if (answer.kind === "found") {
    nameImage(answer.digest, deployment);
    return answer.digest;
  }
  const why = `The image ${image} is planned by its tag (${inWords(answer)}).`;
  note(`${why} A deployment needs it: it builds nothing.`, deployment);
  return NO_DIGEST_YET;
}

/** In the log, the summary and the comment. */
function note(line: string, { world, facts }: Deployment): void {
  world.voice.say(line);
  facts.notes = [...facts.notes, line];
}
