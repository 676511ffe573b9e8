import { type Place, type Problem } from "../errors.ts";
import { type Scope } from "./template.ts";

export interface EnvFileValues {
  /** In the order of the file; of a name given twice, the last value. The place is that of the line. */
  readonly values: ReadonlyMap<string, { readonly text: string; readonly place: Place }>;
  /** Docker would refuse the file. */
  readonly problems: readonly Problem[];
  /** Docker takes the line, but with another meaning than its author seems to have had in mind. */
  readonly warnings: readonly Problem[];
}

/**
 * Reads a service's `env_file` as `docker stack deploy` does (docker/cli, pkg/kvfile): everything behind the first `=` is the value,
 * quotes, comments and blanks included. Compose has another dialect; a line that was written for it gets a warning. No message repeats
 * a value, which may be a secret.
 */
export function readEnvFile(bytes: Uint8Array, file: string, scope: Scope): EnvFileValues {
  const values = new Map<string, { text: string; place: Place }>();
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  for (const { line, place } of linesOf(bytes, file, problems)) {
    const equals = line.indexOf("=");
    const name = equals === -1 ? line : line.slice(0, equals);
    const problem = nameProblem(name, place);
    if (problem !== undefined) {
      problems.push(problem);
      continue;
    }
    if (equals === -1) {
      const text = scope.lookup(name) ?? scope.standIns.forName(name);
      if (text !== undefined) values.set(name, { text, place });
      else warnings.push(withoutValue(place));
      continue;
    }
    const value = line.slice(equals + 1);
    values.set(name, { text: value, place });
    if (name.startsWith("\ufeff")) warnings.push(marked(place));
    const why = composeDialect(value, scope);
    if (why === undefined) continue;
    const hint = "docker stack deploy takes everything behind the = as it is.";
    warnings.push({
      message: `${name}: ${why}`,
      hint,
      place: { ...place, column: place.column + equals + 1 },
    });
  }
  return { values, problems, warnings };
}

/** The lines that say something, without the blanks in front of them. */
function linesOf(bytes: Uint8Array, file: string, problems: Problem[]): { line: string; place: Place }[] {
  const text = new TextDecoder("utf-8").decode(bytes); // Takes a byte order mark away.
  const strict = Buffer.from(text).toString("latin1");
  const given = Buffer.from(bytes)
    .toString("latin1")
    .replace(/^\u00ef\u00bb\u00bf/, "");
  const exact = strict === given;
  const found: { line: string; place: Place }[] = [];
  text.split("\n").forEach((raw, index) => {
    const whole = raw.replace(/\r$/, "");
    // A byte order mark within the file is no blank to docker, but a part of the name.
    const line = whole.replace(/^(?:(?!\ufeff)[\s\u0085])+/, "");
    const place = { file, line: index + 1, column: whole.length - line.length + 1 };
    if (!exact && line.includes("\ufffd"))
      problems.push({ message: "This line of the env file is no UTF-8 text.", place });
    else if (line !== "" && !line.startsWith("#")) found.push({ line, place });
  });
  return found;
}

function nameProblem(name: string, place: Place): Problem | undefined {
  if (name === "") return { message: "There is no name before the equals sign.", place };
  if (/^export[ \t]/.test(name))
    return { message: 'Docker refuses "export" in an env file.', hint: "Take the word away.", place };
  if (/[ \t]/.test(name))
    return { message: "Docker refuses a name with blanks in it.", hint: "Write NAME=value.", place };
  return undefined;
}

/** Files from Windows, one behind the other. */
function marked(place: Place): Problem {
  const message = "A byte order mark stands in front of this name, and becomes part of it.";
  return { message, hint: "Take it away: only the first of a file is none of its text.", place };
}

/** Such a line may be the rest of a key that was pasted: nothing of it is repeated. */
function withoutValue(place: Place): Problem {
  const message =
    "This line has no equals sign, and no variable of that name is defined: the service gets nothing from it.";
  const hint = "Write NAME=value. A value can't go on in the next line.";
  return { message, hint, place };
}

/** What the author seems to have meant, and docker does not do; undefined where both read the same. */
function composeDialect(value: string, scope: Scope): string | undefined {
  const bare = value.trim();
  if (/^(["']).*\1$/s.test(bare) && bare.length > 1) return "the quotes become part of the value.";
  if (/^(["'])(?!.*\1)/s.test(bare)) return "a quote opens here; a value can't go on in the next line.";
  if (/^(["']).*\1\s+#/s.test(bare)) return "the quotes and the comment become part of the value.";
  if (/\s#/.test(value)) return "what looks like a comment becomes part of the value.";
  if (/\$\{[A-Za-z_]/.test(value)) return "variables are not replaced here.";
  const names = [...value.matchAll(/\$([A-Za-z_]\w*)/g)].map(([, name = ""]) => name);
  if (names.some((name) => scope.lookup(name) !== undefined)) return "variables are not replaced here.";
  if (bare !== value) return "the blanks around the value become part of it.";
  return undefined;
}
