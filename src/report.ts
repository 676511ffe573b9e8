import { type Problem, type Reason, describe } from "./errors.ts";
import { type TaskStory, headline } from "./failing-task.ts";
import { type Change, type Changes, type ObjectChange, type ServiceChanges, countOf } from "./changes.ts";
import { type Consequence, type FieldChange } from "./field-changes.ts";
import { printable, shortened } from "./foreign-text.ts";
import { shortImage } from "./image/reference.ts";
import { formatDuration } from "./inputs/duration.ts";
import { type Mode } from "./inputs/inputs.ts";
import { type PlannedService, alters } from "./plan.ts";
import { type Finding } from "./preflight/finding.ts";
import { type Drift } from "./release/drift.ts";

type Status = "deployed" | "unchanged" | "planned" | "rolled-back" | "failed";

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
  /** What the plan is; undefined where there is none. */
  changes: Changes | undefined;
  /** Empty where there is no plan. */
  planDigest: string;
  drift: readonly Drift[];
  /** What stands against the plan, or is to be known of it; without what is to be passed over. */
  findings: readonly Finding[];
  /** What else there is to know about a plan, in sentences. */
  notes: readonly string[];
  services: readonly ServiceResult[];
  stories: readonly TaskStory[];
  /** Full names of services that an earlier run had left in the middle of an update, and that were sent back before anything else. */
  returned: readonly string[];
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
    changes: undefined,
    planDigest: "",
    drift: [],
    findings: [],
    notes: [],
    services: [],
    stories: [],
    returned: [],
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
    plan: JSON.stringify(planJson(facts)),
    changes: facts.changes === undefined ? "" : String(countOf(facts.changes)),
    "plan-digest": facts.planDigest,
    services: JSON.stringify(facts.services.map((service) => serviceJson(service, facts.stories))),
    "deployment-id": "",
  };
}

/** As docs/plan.schema.json describes it; without a plan there is at most what was found in the files. */
function planJson({ changes, drift, findings, planDigest }: Facts): unknown {
  const found = findings.map(findingJson);
  if (changes === undefined) return found.length === 0 ? {} : { findings: found };
  return { ...changes, changes: countOf(changes), drift, findings: found, digest: planDigest };
}

function findingJson({ id, severity, problem }: Finding): unknown {
  const { place, ...words } = problem;
  const where = place === undefined ? {} : { file: place.file, line: place.line };
  return { id, severity, message: describe(words), ...where };
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

const SIGNS: Readonly<Record<Change, string>> = {
  create: "+",
  update: "~",
  remove: "-",
  unchanged: "=",
  foreign: "?",
};

/** The plan as log lines: a diff that needs no colours. A deployment leaves out what it leaves alone, services excepted. */
export function planLines(changes: Changes, mode: Mode): string[] {
  const objects = objectsOf(changes).filter((each) => mode === "plan" || alters(each));
  return [
    ...objects.map(
      ({ kind, name, change, before }) =>
        `${SIGNS[change]} ${kind} ${name}${before === undefined ? "" : ` (in place of ${before})`}`,
    ),
    ...changes.services.flatMap((service) => serviceLines(service, mode)),
  ];
}

function serviceLines(
  { name, change, image, fields, details, consequence }: ServiceChanges,
  mode: Mode,
): string[] {
  const why = {
    create: "new",
    update: fields.join(", "),
    remove: mode === "rollback" ? "not in the release" : "no longer in the file",
    unchanged: "unchanged",
    foreign: `not in the ${mode === "rollback" ? "release" : "file"}: left alone`,
  };
  const line = `${SIGNS[change]} ${name}  ${shortImage(image)}  (${why[change]})`;
  if (change !== "update") return [line];
  return [line, ...details.map((detail) => `    ${detailLine(detail)}`), `    → ${TASKS[consequence]}`];
}

/** What a change means for the tasks of a service. */
const TASKS: Readonly<Record<Consequence, string>> = {
  "starts tasks": "its tasks are started",
  "ends tasks": "its tasks are ended",
  "restarts tasks": "its tasks are restarted: each one ends before its successor starts",
  rolling: "its tasks are replaced: each one's successor starts before it ends",
  "moves tasks": "its tasks end on nodes that are not meant any more, and start on others",
  "in place": "its tasks stay, or become more or fewer",
  nothing: "its tasks stay as they are",
};

/** `~ deploy.replicas: 1 → 3`; a value that could be a secret is not told. */
function detailLine({ field, change, before, after }: FieldChange): string {
  const sign = { added: "+", removed: "-", changed: "~" }[change];
  if (change !== "changed") return `${sign} ${field}: ${(before ?? after) || change}`;
  const isShown = before !== undefined || after !== undefined;
  return `${sign} ${field}: ${isShown ? `${side(before)} → ${side(after)}` : change}`;
}

function side(value: string | undefined): string {
  return value === undefined ? "(not shown)" : value || '""';
}

/** What was changed behind our back, as log lines. */
export function driftLines(drift: readonly Drift[]): string[] {
  return drift.flatMap(({ service, change, details }) => [
    `! ${service} was ${change} on the swarm since the last release`,
    ...details.map((detail) => `    ${detailLine(detail)}`),
  ]);
}

function objectsOf(changes: Changes): (ObjectChange & { readonly kind: string })[] {
  const { networks, configs, secrets, volumes } = changes;
  return Object.entries({ network: networks, config: configs, secret: secrets, volume: volumes }).flatMap(
    ([kind, all]) => all.map((each) => ({ ...each, kind })),
  );
}

/** GitHub drops a summary of more than a megabyte. */
const MOST_STORIES = 10;

/** The job summary, in GitHub's Markdown. `short`: without the details of a plan, for where there is no room for them. */
export function summary(facts: Facts, length: "whole" | "short" = "whole"): string {
  return [
    `## ${title(facts)}`,
    facts.problems.length > 0
      ? facts.problems.map((problem) => `- ${escapeMarkdown(describe(problem))}`).join("\n")
      : "",
    facts.aftermath.map(escapeMarkdown).join("  \n"),
    facts.notes.map(escapeMarkdown).join("  \n"),
    facts.mode === "plan" ? planMarkdown(facts, length) : servicesTable(facts),
    warningsMarkdown(facts, length),
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
    case "planned":
      return plannedTitle(what, facts);
    case "rolled-back":
      return `✅ ${what} runs again`;
    case "failed":
      return `❌ ${what} ${FAILED[facts.mode]}${facts.reason === "" ? "" : ` (${facts.reason})`}`;
  }
}

const FAILED: Readonly<Record<Mode, string>> = {
  deploy: "was not deployed",
  plan: "could not be planned",
  rollback: "was not brought back",
};

function plannedTitle(what: string, { changes, findings }: Facts): string {
  if (changes === undefined)
    return `📋 The files of ${what} are in order${findings.length === 0 ? "" : ", with warnings"}`;
  const count = countOf(changes);
  if (count === 0) return `📋 To deploy ${what} would change nothing`;
  return `📋 To deploy ${what} would change ${count === 1 ? "one thing" : `${count} things`}`;
}

/** Of a plan, where room is short. */
const MOST_ROWS = 150;

/** What is to be changed as a table, its fields folded, and then what stays. */
function planMarkdown({ changes, drift, mode, planDigest }: Facts, length: "whole" | "short"): string {
  if (changes === undefined) return "";
  const things = [
    ...changes.services.map((each) => ({ ...each, kind: "service", before: undefined })),
    ...objectsOf(changes).map((each) => ({ ...each, image: "", fields: [], consequence: undefined })),
  ];
  const rows = things.filter(alters).map(({ kind, name, change, before, image, fields, consequence }) => {
    const what = [
      image === "" ? "" : code(shortImage(image)),
      before === undefined ? "" : `in place of ${code(before)}`,
      fields.length === 0 ? "" : escapeMarkdown(fields.join(", ")),
    ].filter((part) => part !== "");
    const tasks = consequence === undefined ? "" : TASKS[consequence];
    return `| ${SIGNS[change]} | ${kind} | ${code(name)} | ${change} | ${what.join(" ")} | ${tasks} |`;
  });
  const shown = length === "short" ? rows.slice(0, MOST_ROWS) : rows;
  const table = ["| | | name | change | what | tasks |", "|---|---|---|---|---|---|", ...shown].join("\n");
  const lines = length === "short" ? [] : [...driftLines(drift), ...planLines(changes, mode)];
  return [
    drift.length === 0
      ? ""
      : `Changed on the swarm since the last release: ${drift.map(({ service }) => code(service)).join(", ")}.`,
    rows.length === 0 ? "" : table,
    shown.length < rows.length ? `${rows.length - shown.length} more are in the log of the run.` : "",
    lines.length === 0 ? "" : `<details><summary>The whole plan</summary>\n\n${fenced(lines)}\n\n</details>`,
    `<sub>Plan ${code(planDigest.slice(0, 19))}</sub>`,
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

/** What was found to be an error stands at the top, as a problem. */
function warningsMarkdown({ findings }: Facts, length: "whole" | "short"): string {
  const warnings = findings.filter(({ severity }) => severity === "warning");
  const shown = length === "short" ? warnings.slice(0, MOST_ROWS) : warnings;
  const lines = shown.map(({ problem }) => `- ⚠️ ${escapeMarkdown(describe(problem))}`);
  const left = warnings.length - shown.length;
  return [...lines, ...(left === 0 ? [] : [`- ${left} more are in the log of the run.`])].join("\n");
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
    // Behind nothing visible a service that is called `title` or `section` is no keyword.
    return [`    \u200b${name.replace(/[^\w.-]/g, "_")} : 0, ${Math.max(Math.round(durationMs), 1)}`];
  });
  if (bars.length === 0) return "";
  return [
    "```mermaid",
    "gantt",
    "    title Seconds from sending to running",
    "    dateFormat x",
    "    axisFormat %s", // Since the epoch, which is when the first was sent: %S starts anew each minute.
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
