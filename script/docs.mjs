// Writes the input and output tables of README.md from action.yml, which is the only place where they are typed.
// `npm run docs` writes them; `npm run docs -- --check` writes nothing and exits 1 where they differ.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseDocument } from "yaml";

const README = fileURLToPath(new URL("../README.md", import.meta.url));
const ACTION = fileURLToPath(new URL("../action.yml", import.meta.url));

/** The entries of `inputs:` or `outputs:`, each with the group that the last comment line above it opens. */
function entries(document, section) {
  let group = "General";
  return document.get(section).items.map(({ key, value }) => {
    group = key.commentBefore?.trim() || group;
    return { group, name: key.value, ...value.toJSON() };
  });
}

function cell(text) {
  return text.trim().replace(/\s+/g, " ").replaceAll("|", "\\|");
}

function table(head, rows) {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function inputTables(inputs) {
  const groups = [...new Set(inputs.map(({ group }) => group))];
  const tables = groups.map((group) => {
    const rows = inputs
      .filter((input) => input.group === group)
      .map(({ name, description, default: value }) => [
        `\`${name}\``,
        value === undefined ? "" : `\`${value}\``,
        cell(description),
      ]);
    return `### ${group}\n\n${table(["Input", "Default", "Meaning"], rows)}`;
  });
  return tables.join("\n\n");
}

function outputTable(outputs) {
  const rows = outputs.map(({ name, description }) => [`\`${name}\``, cell(description)]);
  return table(["Output", "Meaning"], rows);
}

/** Puts `body` between the markers of `name`. */
function between(text, name, body) {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [start, end] = [text.indexOf(open), text.indexOf(close)];
  if (start === -1 || end < start) throw new Error(`README.md lacks the markers ${open} and ${close}.`);
  return `${text.slice(0, start + open.length)}\n\n${body}\n\n${text.slice(end)}`;
}

const action = parseDocument(readFileSync(ACTION, "utf8"));
const before = readFileSync(README, "utf8");
const withInputs = between(before, "inputs", inputTables(entries(action, "inputs")));
const after = between(withInputs, "outputs", outputTable(entries(action, "outputs")));

if (!process.argv.includes("--check")) {
  if (after !== before) writeFileSync(README, after);
} else if (after !== before) {
  console.error("The tables of README.md differ from action.yml. Run: npm run docs");
  process.exitCode = 1;
}
