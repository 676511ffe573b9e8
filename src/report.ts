import { type Problem, type Reason, describe } from "./errors.ts";
import { type TaskStory, headline } from "./failing-task.ts";
import { printable, shortened } from "./foreign-text.ts";
import { shortImage } from "./image/reference.ts";
import { formatDuration } from "./inputs/duration.ts";
import { type Mode } from "./inputs/inputs.ts";
import { type JsonObject, textAt } from "./json.ts";
import { type Plan, type PlannedService } from "./plan.ts";

type Status = "deployed" | "unchanged" | "rolled-back" | "failed";

/** What became of one service. */
export interface ServiceResult {
  readonly name: string;
  readonly change: PlannedService["change"];
  readonly imageBefore: string;
  /** What this deployment sent, or would have sent. */
  readonly imageSent: string;
  /** What runs in the end; empty where nothing does. */
  readonly imageAfter: string;
  /** `converged`, `failed`, `progressing`; `removed` and `restored` say what we did about it; `unknown` where nobody could be asked. */
  readonly state: string;
  /** `2/2 running`, or what stands in the way. */
  readonly detail: string;
  /** From sending the first service to this one's convergence; undefined where it never converged. */
  readonly durationMs: number | undefined;
}

/** Everything known so far. A deployment fills it as it goes, so that a failure at any point still reports all of it. */
export interface Facts {
  status: Status;
  mode: Mode;
  reason: Reason | "";
  stackName: string;
  version: string;
  image: string;
  digest: string;
  configName: string;
  renderedFile: string;
  /** What the swarm's history calls this release; empty where none was recorded. */
  recorded: string;
  /** The manager in use. */
  manager: string;
  plan: Plan | undefined;
  services: readonly ServiceResult[];
  stories: readonly TaskStory[];
  /** What was done about a failed rollout, in sentences. */
  aftermath: readonly string[];
  problems: readonly Problem[];
}

export function noFacts(): Facts {
  return {
    status: "failed",
    mode: "deploy",
    reason: "",
    stackName: "",
    version: "",
    image: "",
    digest: "",
    configName: "",
    renderedFile: "",
    recorded: "",
    manager: "",
    plan: undefined,
    services: [],
    stories: [],
    aftermath: [],
    problems: [],
  };
}

/** The outputs of the contract; every one of them is always written. */
export function outputs(facts: Facts): Readonly<Record<string, string>> {
  return {
    status: facts.status,
    reason: facts.reason,
    "stack-name": facts.stackName,
    version: facts.version,
    release: facts.version,
    image: facts.image,
    digest: facts.digest,
    "config-name": facts.configName,
    "rendered-file": facts.renderedFile,
    plan: JSON.stringify(planJson(facts.plan)),
    services: JSON.stringify(facts.services.map((service) => serviceJson(service, facts.stories))),
    "deployment-id": "",
  };
}

function planJson(plan: Plan | undefined): unknown {
  if (plan === undefined) return {};
  const services = plan.services.map(({ name, change, fields }) => ({ name, change, fields }));
  return { stack: plan.stack, services, ...plan.needs };
}

function serviceJson(service: ServiceResult, stories: readonly TaskStory[]): unknown {
  const failingTasks = stories
    .filter((story) => story.service === service.name)
    .map(({ slot, node, image, state, exitCode, error, oomKilled, cause, attempts }) => ({
      slot,
      node,
      image,
      state,
      exitCode,
      error,
      oomKilled,
      cause,
      attempts,
    }));
  return { ...service, failingTasks };
}

/** The image of a service spec; empty without one. */
export function imageOf(spec: JsonObject | undefined): string {
  return textAt(spec, "TaskTemplate", "ContainerSpec", "Image");
}

/** The plan as log lines. */
export function planLines(plan: Plan, mode: Mode): string[] {
  const sign = { create: "+", update: "~", remove: "-", unchanged: "=", foreign: "?" };
  const services = plan.services.map(({ name, change, fields, wanted, before }) => {
    const image = shortImage(imageOf(wanted ?? before?.spec));
    const why = {
      create: "new",
      update: fields.join(", "),
      remove: mode === "rollback" ? "not in the release" : "no longer in the file",
      unchanged: "unchanged",
      foreign: `not in the ${mode === "rollback" ? "release" : "file"}: left alone`,
    };
    return `${sign[change]} ${name}  ${image}  (${why[change]})`;
  });
  return [
    ...plan.needs.networks.map((name) => `+ network ${name}`),
    ...plan.needs.configs.map((name) => `+ config ${name}`),
    ...plan.needs.secrets.map((name) => `+ secret ${name}`),
    ...services,
  ];
}

/** GitHub drops a summary of more than a megabyte. */
const MOST_STORIES = 10;

/** The job summary, in GitHub's Markdown. */
export function summary(facts: Facts): string {
  return [
    `## ${title(facts)}`,
    facts.problems.length > 0
      ? facts.problems.map((problem) => `- ${escapeMarkdown(describe(problem))}`).join("\n")
      : "",
    facts.aftermath.map(escapeMarkdown).join("  \n"),
    servicesTable(facts),
    timeline(facts.services),
    ...facts.stories.slice(0, MOST_STORIES).map(storyMarkdown),
    facts.stories.length > MOST_STORIES
      ? `${facts.stories.length - MOST_STORIES} more failed tasks are in the log.`
      : "",
    footer(facts),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

function title(facts: Facts): string {
  const what = `${code(facts.stackName || "stack")}${facts.version === "" ? "" : ` ${code(facts.version)}`}`;
  switch (facts.status) {
    case "deployed":
      return `✅ ${what} is deployed`;
    case "unchanged":
      return `✅ ${what} was already running: nothing changed`;
    case "rolled-back":
      return `✅ ${what} runs again`;
    case "failed":
      return `❌ ${what} was not ${facts.mode === "rollback" ? "brought back" : "deployed"}${facts.reason === "" ? "" : ` (${facts.reason})`}`;
  }
}

function servicesTable(facts: Facts): string {
  if (facts.services.length === 0) return "";
  const icons: Readonly<Record<string, string>> = {
    converged: "✅",
    failed: "❌",
    progressing: "⏳",
    removed: "➖",
    restored: "↩️",
    unknown: "❔",
  };
  const rows = facts.services.map((service) => {
    const took = service.durationMs === undefined ? "" : formatDuration(service.durationMs);
    const cells = [
      `${icons[service.state] ?? ""} ${service.state}`,
      code(service.name),
      service.change,
      imageCell(service),
      escapeMarkdown(service.detail),
      took,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return ["| | service | change | image | tasks | took |", "|---|---|---|---|---|---|", ...rows].join("\n");
}

/** `registry/app:v1 → :v2 → :v1`: before, sent, and in the end, without saying the same thing twice. */
function imageCell(service: ServiceResult): string {
  const stages = [service.imageBefore, service.imageSent, service.imageAfter].filter((image) => image !== "");
  const images = stages.map(shortImage).filter((image, index, all) => image !== all[index - 1]);
  const repository = images[0]?.replace(/(:[^/:@]+)?(@.*)?$/, "") ?? "";
  const sameName = (image: string): boolean => /^[:@]/.test(image.slice(repository.length));
  return images
    .map((image, index) =>
      index > 0 && image.startsWith(repository) && sameName(image) ? image.slice(repository.length) : image,
    )
    .map(code)
    .join(" → ");
}

/** A picture of who took how long; GitHub draws Mermaid in summaries. */
function timeline(services: readonly ServiceResult[]): string {
  const bars = services.flatMap(({ name, durationMs, change }) => {
    if (durationMs === undefined || (change !== "create" && change !== "update")) return [];
    return [`    ${name.replace(/[^\w.-]/g, "_")} : 0, ${Math.max(Math.round(durationMs), 1)}`];
  });
  if (bars.length === 0) return "";
  return [
    "```mermaid",
    "gantt",
    "    title Seconds from sending to running",
    "    dateFormat x",
    "    axisFormat %S",
    ...bars,
    "```",
  ].join("\n");
}

function storyMarkdown(story: TaskStory): string {
  const parts = [
    story.cause, // Wholly our own words.
    attemptsTable(story),
    story.healthChecks.length > 0 ? `Last health checks:\n\n${fenced(healthLines(story))}` : "",
    fenced(story.logs.length > 0 ? story.logs : [noLogs(story)]),
  ].filter((part) => part !== "");
  return `<details open><summary>${oneLine(escapeHtml(headline(story)))}</summary>\n\n${parts.join("\n\n")}\n\n</details>`;
}

/** What came before in the same place; a table of one row would repeat the headline. */
function attemptsTable({ attempts }: TaskStory): string {
  if (attempts.length < 2) return "";
  const rows = attempts.map(({ createdAt, image, state, exitCode, error }) => {
    const cells = [timeOf(createdAt), code(shortImage(image)), state, exitCode?.toString() ?? "", error];
    return `| ${cells.map((cell, column) => (column === 1 ? cell : escapeMarkdown(cell))).join(" | ")} |`;
  });
  return ["| task made | image | state | exit code | error |", "|---|---|---|---|---|", ...rows].join("\n");
}

/** The same for the log. */
export function attemptLines({ attempts }: TaskStory): string[] {
  if (attempts.length < 2) return [];
  return attempts.map(({ createdAt, image, state, exitCode, error }) => {
    const ended = exitCode === undefined ? state : `${state} (${exitCode})`;
    return `${timeOf(createdAt)} ${shortImage(image)}: ${ended}${error === "" ? "" : `: ${error}`}`;
  });
}

/** `2026-08-01T10:00:00.123456789Z` to the second. */
function timeOf(rfc3339: string): string {
  return rfc3339.replace(/\.\d+/, "").replace("T", " ");
}

/** What the last health checks printed, line by line. */
export function healthLines({ healthChecks }: TaskStory): string[] {
  return healthChecks.map(
    ({ exitCode, output }) =>
      `health check, exit code ${exitCode}: ${output === "" ? "(wrote nothing)" : output}`,
  );
}

/** What to say in place of a task's last words. */
export function noLogs(story: TaskStory): string {
  if (story.state === "pending" || story.state === "rejected") return "(this task never started)";
  return story.logsMissing === undefined
    ? "(this task wrote nothing)"
    : `(its log could not be read: ${story.logsMissing})`;
}

function footer(facts: Facts): string {
  const parts = [
    facts.image === "" ? "" : `Image ${code(facts.image)}`,
    facts.configName === "" ? "" : `env config ${code(facts.configName)}`,
    facts.recorded === "" ? "" : `release ${code(facts.recorded)}`,
    facts.manager === "" ? "" : `manager ${code(facts.manager)}`,
  ].filter((part) => part !== "");
  return parts.length === 0 ? "" : `<sub>${parts.join(" · ")}</sub>`;
}

/** A fence longer than any run of backticks inside can't be closed from inside. */
function fenced(lines: readonly string[]): string {
  const text = lines.map((line) => shortened(printable(line))).join("\n");
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}text\n${text}\n${fence}`;
}

/** Between HTML's inline tags GitHub still reads Markdown, but not in entities. */
function code(text: string): string {
  const inert = escapeHtml(text).replace(
    /[\\`*[\]|~!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])/g,
    (char) => `&#${char.charCodeAt(0)};`,
  );
  return `<code>${oneLine(inert)}</code>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Text from elsewhere must not become a link, an image, a mention or a table cell of its own. */
function escapeMarkdown(text: string): string {
  const inert = escapeHtml(text)
    .replace(/[\\`*_[\]|~#!]|:(?=\/\/)|(?<=\bwww)\./gi, "\\$&")
    .replaceAll("@", "@\u200b");
  return oneLine(inert);
}

/** A blank line would end a table, an item or an HTML block. */
function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, " ");
}
