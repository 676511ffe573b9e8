import { appendFileSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as core from "@actions/core";
import { type Problem, describe, messageOf } from "../errors.ts";
import { shortened } from "../foreign-text.ts";

/** Shorter values are masked by the runner alone: to replace every "1" ourselves would ruin what we print. */
const SHORTEST_REDACTED = 4;

/** Outputs made of clear inputs, paths and digests alone. Later steps work with them, so they must stay whole even where a secret looks alike. */
const IDENTIFIERS = new Set([
  "status",
  "reason",
  "stack-name",
  "version",
  "release",
  "image",
  "digest",
  "config-name",
  "rendered-file",
]);

/** The runner: its inputs, log, annotations, outputs and summary. Everything that leaves through it is freed of secrets first. */
export class Runner {
  readonly #secrets = new Set<string>();
  readonly #masked = new Set<string>();
  #group = false;

  /** As the workflow wrote it, blanks included. */
  input(name: string): string {
    return core.getInput(name, { trimWhitespace: false });
  }

  /** From now on `value`, its lines and its usual encodings are shown as ***. */
  mask(value: string): void {
    if (value.trim() === "" || this.#masked.has(value)) return;
    this.#masked.add(value);
    core.setSecret(value);
    const json = JSON.stringify(value).slice(1, -1);
    const base64 = Buffer.from(value).toString("base64");
    const forms = [
      value,
      ...value.split(/\r?\n/),
      json,
      base64,
      base64.replace(/=+$/, ""),
      encodeURIComponent(value),
      strictlyEncoded(value),
    ];
    for (const form of forms.map((each) => each.trim())) {
      if (form.length < SHORTEST_REDACTED || this.#secrets.has(form) || /^-----[A-Z0-9 ]+-----$/.test(form))
        continue;
      this.#secrets.add(form);
      if (form !== value) core.setSecret(form);
    }
  }

  redact(text: string): string {
    let clean = text;
    // Longest first: a secret that contains another one must not be left in halves.
    for (const secret of [...this.#secrets].toSorted((a, b) => b.length - a.length))
      clean = clean.replaceAll(secret, "***");
    return clean;
  }

  /** The same, with every text in it freed of secrets: whoever escapes a text would hide a secret in it from `redact`. */
  redactAll<T>(value: T): T {
    const clean = (part: unknown): unknown => {
      if (typeof part === "string") return this.redact(part);
      if (Array.isArray(part)) return part.map(clean);
      if (part === null || typeof part !== "object" || Object.getPrototypeOf(part) !== Object.prototype)
        return part;
      return Object.fromEntries(Object.entries(part).map(([key, each]) => [key, clean(each)]));
    };
    return clean(value) as T;
  }

  /** One line of ours. */
  say(line: string): void {
    core.info(harmless(this.redact(line)));
  }

  /** A line somebody else wrote (docker, a container): it is shown, and can't act as a workflow command. */
  quote(line: string): void {
    core.info(`  | ${harmless(shortened(this.redact(line)))}`);
  }

  /** Starts a folded section of the log; the next one, or `endGroup`, ends it. */
  group(title: string): void {
    this.endGroup();
    core.startGroup(harmless(this.redact(title)));
    this.#group = true;
  }

  endGroup(): void {
    if (this.#group) core.endGroup();
    this.#group = false;
  }

  warn(problem: Problem): void {
    core.warning(this.redact(describe(problem)), properties(problem));
  }

  /** One annotation for one cause; the step counts as failed. */
  fail(problem: Problem): void {
    core.error(this.redact(describe(problem)), properties(problem));
    process.exitCode = 1;
  }

  debug(text: string): void {
    core.debug(this.redact(text));
  }

  output(name: string, value: string): void {
    core.setOutput(name, this.#publicForm(name, value));
  }

  #publicForm(name: string, value: string): string {
    if (IDENTIFIERS.has(name)) return value;
    return /^(\{|\[[{\]])/.test(value) ? this.#redactJson(value) : this.redact(value);
  }

  /** In its texts only: a secret such as "null" or "200" would otherwise leave something that is no JSON. */
  #redactJson(json: string): string {
    return JSON.stringify(this.redactAll(JSON.parse(json) as unknown));
  }

  /** A summary that can't be written changes nothing about the deployment. */
  summary(markdown: string): void {
    const file = process.env.GITHUB_STEP_SUMMARY ?? "";
    if (file === "") return;
    try {
      appendFileSync(file, `${this.redact(markdown)}\n`);
    } catch (error) {
      this.warn({ message: `The job summary could not be written: ${messageOf(error)}.` });
    }
  }

  /** For the post step, which runs even where this one was killed. */
  remember(name: string, value: string): void {
    if (process.env.GITHUB_STATE) core.saveState(name, value);
  }

  recall(name: string): string {
    return core.getState(name);
  }

  /** Keeps a file for later steps (0600), under the runner's temporary folder; its path. */
  keepFile(name: string, text: string): string {
    const path = join(mkdtempSync(join(process.env.RUNNER_TEMP || tmpdir(), "swarm-stack-file-")), name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }
}

/** RFC 3986 leaves fewer characters alone than `encodeURIComponent` does. */
function strictlyEncoded(value: string): string {
  return encodeURIComponent(value).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function properties(problem: Problem): core.AnnotationProperties {
  const { place } = problem;
  return place === undefined ? {} : { file: place.file, startLine: place.line, startColumn: place.column };
}

/** The runner obeys `::` at the start of a line and `##[` anywhere, and takes a carriage return for a line's end. */
function harmless(line: string): string {
  return line
    .replace(/[\r\n]+/g, " ")
    .replace(/^(\s*):(?=:)/, "$1\u200b:")
    .replaceAll("##[", "#\u200b#[");
}
