import { parseAllDocuments } from "yaml";

/** Where our reading of a template is not docker's, on purpose. Everything else has to be the same. */
export interface Difference {
  readonly name: string;
  /** The value of an environment variable in a stack file; or a whole stack file, where it has several lines. */
  readonly example: string;
  /** A second stack file, where it takes two to show. */
  readonly second?: string;
  /** What docker makes of the example, with SET=s, EMPTY= and no other variable. */
  readonly docker: string;
  readonly ours: string;
  readonly why: string;
  /** Whether our reading is the strict one. */
  readonly strict?: true;
  /** Whether a value in a stack file, with these variables, is a case of this difference. */
  readonly recognises?: (template: string, variables: ReadonlyMap<string, string>) => boolean;
  /** Docker's words about what it refuses and we take. */
  readonly forgives?: RegExp;
  /** Whether that is so of these files; without it, of any. */
  readonly forgivesIn?: (said: string, files: readonly string[]) => boolean;
  /** Our words about what we refuse and docker takes. */
  readonly insists?: RegExp;
}

/** In place of a value. */
export const REFUSED = "refused";
/** In place of a value, where the example is a whole file. */
export const ACCEPTED = "accepted";

/** The variables of all examples. */
export const EXAMPLE_VARIABLES: ReadonlyMap<string, string> = new Map([
  ["SET", "s"],
  ["EMPTY", ""],
]);

/** The stack files that an example stands for, by their paths. */
export function exampleFiles({ example, second }: Difference): [string, string][] {
  const value = `services: { web: { image: a, environment: { V: ${JSON.stringify(example)} } } }\n`;
  const first: [string, string] = ["stack.yml", example.includes("\n") ? example : value];
  return second === undefined ? [first] : [first, ["second.yml", second]];
}

/** One `$…` as docker's own pattern finds it (docker/cli, cli/compose/template/template.go). */
interface Token {
  readonly kind: "escaped" | "named" | "braced" | "invalid";
  /** Without `$` and braces. */
  readonly inside: string;
}

const TOKEN = /\$(?:(\$)|([_a-z][_a-z0-9]*(?::?[-?][^}]*)?)|\{([_a-z][_a-z0-9]*(?::?[-?][^}]*)?)\})?/gi;

function tokens(template: string): Token[] {
  return [...template.matchAll(TOKEN)].map(([, escaped, named, braced]) => {
    if (escaped !== undefined) return { kind: "escaped", inside: escaped };
    if (named !== undefined) return { kind: "named", inside: named };
    return braced === undefined ? { kind: "invalid", inside: "" } : { kind: "braced", inside: braced };
  });
}

const NAME = /^[_a-z][_a-z0-9]*/i;

function operandOf({ inside }: Token): string {
  return inside.replace(NAME, "").replace(/^:?[-?]/, "");
}

/** Docker looks for these in this order, anywhere in the braces. */
const OPERATORS = [":-", "-", ":?", "?"] as const;

function docksOnAnother({ inside }: Token): boolean {
  const operator = OPERATORS.find((each) => inside.includes(each));
  return operator !== undefined && inside.indexOf(operator) !== (NAME.exec(inside)?.[0].length ?? 0);
}

function fails(token: Token, variables: ReadonlyMap<string, string>): boolean {
  if (token.kind === "invalid") return true;
  const [name = ""] = NAME.exec(token.inside) ?? [];
  const value = variables.get(name);
  if (token.inside.startsWith(`${name}:?`)) return value === undefined || value === "";
  return token.inside.startsWith(`${name}?`) && value === undefined;
}

/** Whether a file has a key, and nothing for it. */
function isNothing(text: string, path: readonly string[]): boolean {
  const [document] = parseAllDocuments(text, { merge: true, uniqueKeys: false });
  return document?.hasIn(path) === true && (document.getIn(path) ?? null) === null;
}

export const DIFFERENCES: readonly Difference[] = [
  {
    name: "a default in a default",
    example: "${UNSET:-${EMPTY:-${SET}}}",
    docker: "${EMPTY:-${SET}}",
    ours: "s",
    why: "Docker ends the default at the first closing brace and leaves the rest as it stands.",
    recognises: (template) =>
      tokens(template).some(
        (token) => token.kind === "braced" && /\$(\{|[_a-z])/i.test(operandOf(token).replaceAll("$$", "")),
      ),
  },
  {
    name: "a text for a variable that is set",
    example: "${SET:+with-tls}",
    docker: REFUSED,
    ours: "with-tls",
    why: "Compose has `:+` and `+`, docker's stack files do not.",
    recognises: (template) => /(?<!\$)(\$\$)*\$\{[_a-z][_a-z0-9]*:?\+/i.test(template),
  },
  {
    name: "a dash behind a variable without braces",
    example: "app:$SET-alpine",
    docker: "app:s",
    ours: "app:s-alpine",
    why: "Docker takes the rest of the value for a default, and drops it.",
    recognises: (template) =>
      tokens(template).some(({ kind, inside }) => kind === "named" && /[-?]/.test(inside)),
  },
  {
    name: "a dash in the words behind `:?`",
    example: "${UNSET:?must - be set}",
    docker: " be set",
    ours: REFUSED,
    why: "Docker looks for `-` before it looks for `?`, so a requirement that has a dash in its words never stops it.",
    recognises: (template) =>
      tokens(template).some((token) => token.kind === "braced" && docksOnAnother(token)),
  },
  {
    name: "a mistake with a variable behind it",
    example: "${UNSET:?set it}${SET}",
    docker: "s",
    ours: REFUSED,
    why: "Docker keeps the error of the last variable only. So `admin:$2y$05$SET` passes, without the `$2` and the `$0`.",
    recognises: (template, variables) => {
      const all = tokens(template).filter(({ kind }) => kind !== "escaped");
      return all.some((token, index) => fails(token, variables) && index < all.length - 1);
    },
  },
  {
    name: "a doubled dollar in a default",
    example: "${UNSET:-a$$b}",
    docker: "a$$b",
    ours: "a$b",
    why: "`$$` is one dollar everywhere else.",
    recognises: (template) =>
      tokens(template).some((token) => token.kind === "braced" && operandOf(token).includes("$")),
  },
  {
    name: "a number or a boolean in quotes",
    example: "services:\n  web:\n    image: a\n    deploy:\n      replicas: '2'\n",
    docker: REFUSED,
    ours: ACCEPTED,
    why: "Compose takes it for the number that it is; a variable in its place would do for docker, too.",
    forgives: /must be a (boolean|integer|number)( or mapping)?$/,
  },
  {
    name: "a variable for a number, in a service with a dot in its name",
    example: "services:\n  v1.web:\n    image: a\n    deploy:\n      replicas: ${EMPTY:-2}\n",
    docker: REFUSED,
    ours: ACCEPTED,
    why: "Docker casts by the path of a value, which it splits at every dot.",
  },
  {
    name: "a key of Compose that Swarm can do without",
    example: "name: shop\nservices:\n  web:\n    image: a\n    mem_limit: 1g\n",
    docker: REFUSED,
    ours: ACCEPTED,
    why: "It is translated, or left out with a warning.",
    forgives:
      /Additional property \w+ is not allowed|forbidden properties|'shm_size' expected type|depends_on must be a list/,
  },
  {
    name: "half a key in one of several files",
    example: "services:\n  web:\n    image: a\n    cap_add:\n",
    second: "services:\n  web:\n    cap_add: [NET_ADMIN]\n",
    docker: REFUSED,
    ours: ACCEPTED,
    why: "What counts is the merged file; docker checks each for itself first.",
    forgives: /must be a (list|mapping|string)$|\w+ is required$|version mismatched .*<nil>/,
    // The same words are said of a value of the wrong kind.
    forgivesIn: (said, files) => {
      const path = /^(\S+) must be a /.exec(said)?.[1];
      return path === undefined || files.some((text) => isNothing(text, path.split(".")));
    },
  },
  {
    name: "a version without quotes",
    example: "version: 3.8\nservices:\n  web:\n    image: a\n",
    docker: REFUSED,
    ours: ACCEPTED,
    why: "It can mean one thing only. Whatever an older one says means the same in the newest.",
    forgives: /^refuses: version must be a string$/,
  },
  {
    name: "a line end that only docker knows",
    example: "services:\n  web:\n    image: a\n    labels:\n      a: 'b\u2028c'\n",
    docker: ACCEPTED,
    ours: REFUSED,
    why: "U+0085, U+2028 and U+2029 end a line in YAML 1.1, which docker reads, and in no editor: they came by accident.",
    insists: /ends a line to docker/,
  },
  {
    name: "no services at all",
    example: "services: {}\nnetworks: {}\n",
    docker: ACCEPTED,
    ours: REFUSED,
    why: "There is nothing to deploy, and what runs would be taken for services that the file no longer has.",
    insists: /has no services/,
  },
  {
    name: "an escape that YAML does not have",
    example: 'services:\n  web:\n    image: a\n    hostname: "a\\\'b"\n',
    docker: ACCEPTED,
    ours: REFUSED,
    why: "Between double quotes docker takes `\\'` for a quote. The mistake is named with its place.",
    insists: /Invalid escape sequence/,
  },
  {
    name: "braces that close left of where they belong",
    example: "services:\n  web: {\nimage: a }\n",
    docker: ACCEPTED,
    ours: REFUSED,
    why: "YAML wants what stands in braces or brackets further in than their key; docker does not look.",
    insists: /sufficiently indented/,
  },
  {
    name: "an item that a list has twice",
    example: "services:\n  web:\n    image: a\n    env_file: [/dev/null, /dev/null]\n",
    docker: REFUSED,
    ours: ACCEPTED,
    why: "It means the same once.",
    forgives: /array items\[\d+,\d+\] must be unique$/,
  },
  {
    name: "a variable that is not defined",
    example: "a${UNSET}b",
    docker: "ab",
    ours: REFUSED,
    why: "It is a mistake more often than a wish; `strict: false` makes it empty, with a warning.",
    strict: true,
  },
];
