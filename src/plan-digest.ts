import { createHash } from "node:crypto";
import { type Changes, type ObjectChange } from "./changes.ts";
import { type Definitions, NAMING_KEY } from "./definitions.ts";
import { NEW_IMAGE } from "./field-changes.ts";
import { NO_DIGEST_YET } from "./image/reference.ts";
import { byName, compareTexts } from "./text-order.ts";

/** What a plan's digest is made of, beside what is shown. */
export interface DigestRequest {
  /** The digest of an image that the deployment itself builds, which nobody could know beforehand; else empty. */
  readonly built: string;
  readonly definitions: Definitions;
  /** The digest that this one is to be held against. */
  readonly approved?: string | undefined;
}

/**
 * What `plan-digest` says about a plan: a digest of all that was shown and of each service's whole definition, and after it eight digits
 * for each thing in it, so that a later plan can tell what is different. It says nothing about a secret: what may be one has a part in it
 * by a keyed digest alone. Where the approved one comes from a time without a naming key, this one is told as it would have been then.
 */
export function planDigest(changes: Changes, { built, definitions, approved = "" }: DigestRequest): string {
  const keyless = changes.configs.some(isNewKey) || approved.includes(` config:${NAMING_KEY}=`);
  const named = keyless ? beforeNamingKey(changes) : changes;
  const defined = knowsNoDefinition(approved) ? [] : [...definitions];
  const text = (part: unknown): string => withoutBuilt(JSON.stringify(part), built);
  const parts = [
    ...named.services.map((each) => ["service", each] as const),
    ...named.networks.map((each) => ["network", each] as const),
    ...named.configs.map((each) => ["config", each] as const),
    ...named.secrets.map((each) => ["secret", each] as const),
    ...named.volumes.map((each) => ["volume", each] as const),
  ].map(([kind, each]) => `${kind}:${each.name}=${sha256(text(each)).slice(0, 8)}`);
  const definitionParts = defined.map(([name, digits]) => `${DEFINITION}:${name}=${digits.slice(0, 8)}`);
  const whole = [text(named), ...(defined.length === 0 ? [] : [JSON.stringify(defined)])].join("\n");
  return [`sha256:${sha256(whole)}`, ...[...parts, ...definitionParts].toSorted(compareTexts)].join(" ");
}

const DEFINITION = "definition";

/** The swarm had no naming key when it was made. Of a digest without its parts nobody can tell, so it is taken for one that has them. */
function knowsNoDefinition(approved: string): boolean {
  return approved.trim().includes(" ") && !approved.includes(` ${DEFINITION}:`);
}

/** What is different, in the order of the alphabet: `service web`, `config shop_env_0123`. Undefined where both are of one plan. */
export function differingParts(approved: string, present: string): string[] | undefined {
  const [[a = "", ...before], [b = "", ...after]] = [approved, present].map((text) =>
    text.trim().split(/\s+/),
  ) as [string[], string[]];
  if (a === b) return undefined;
  const only = [
    ...before.filter((part) => !after.includes(part)),
    ...after.filter((part) => !before.includes(part)),
  ];
  const names = new Set(only.map((part) => part.replace(/=[0-9a-f]*$/, "").replace(":", " ")));
  return [...names].flatMap((name) => inWords(name, names)).toSorted(compareTexts);
}

/** Where what is shown of a service is the same, the log can't tell why its plan is another one. */
function inWords(name: string, all: ReadonlySet<string>): string[] {
  if (!name.startsWith(`${DEFINITION} `)) return [name];
  const service = name.replace(DEFINITION, "service");
  return all.has(service) ? [] : [`${service} (in what a plan does not show)`];
}

function withoutBuilt(text: string, built: string): string {
  const digests = [NO_DIGEST_YET, built].filter((digest) => digest !== "");
  return digests
    .flatMap((digest) => [`@${digest}`, `@${digest.slice(0, SHORT_DIGEST)}`])
    .reduce((rest, digest) => rest.replaceAll(digest, ""), text)
    .replaceAll(NEW_IMAGE, "");
}

/** `sha256:` and the twelve digits that are shown. */
const SHORT_DIGEST = 19;

/**
 * Where the swarm has no key for the names of secrets yet, each run makes its own, and with it other names. Any stack may be the one
 * that brings the key, also between a plan and its deployment.
 */
function beforeNamingKey(changes: Changes): Changes {
  const text = changes.secrets.reduce(
    (all, { name, change }) =>
      change === "create" ? all.replaceAll(name, name.replace(/[0-9a-f]{12}$/, "")) : all,
    JSON.stringify(changes),
  );
  const named = JSON.parse(text) as Changes;
  const configs = named.configs.filter(({ name }) => name !== NAMING_KEY);
  return {
    ...named,
    configs: byName([...configs, { name: NAMING_KEY, change: "create" }]),
    secrets: byName(named.secrets),
  };
}

const isNewKey = ({ name, change }: ObjectChange): boolean => name === NAMING_KEY && change === "create";

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
