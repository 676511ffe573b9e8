import { readFileSync } from "node:fs";

/** What of JSON Schema docs/plan.schema.json is written in. */
interface Schema {
  readonly $ref?: string;
  readonly oneOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly type?: "object" | "array" | "string" | "integer";
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
  readonly maxProperties?: number;
  readonly items?: Schema;
  readonly uniqueItems?: boolean;
  readonly minLength?: number;
  readonly pattern?: string;
  readonly minimum?: number;
}

const KNOWN: ReadonlySet<string> = new Set(
  (
    "$ref oneOf enum type properties required additionalProperties maxProperties " +
    "items uniqueItems minLength pattern minimum description"
  ).split(" "),
);

const PLAN = JSON.parse(readFileSync("docs/plan.schema.json", "utf8")) as Schema & {
  readonly $defs: Readonly<Record<string, Schema>>;
};

/** What is wrong with the output `plan` by docs/plan.schema.json, each with its place; none where it is as promised. */
export function offences(plan: string): string[] {
  const {
    $schema: _version,
    title: _title,
    $defs: _defs,
    ...root
  } = PLAN as unknown as Record<string, unknown>;
  return check(JSON.parse(plan), root, "plan");
}

function check(value: unknown, schema: Schema, where: string): string[] {
  const strange = Object.keys(schema).filter((key) => !KNOWN.has(key));
  if (strange.length > 0)
    throw new Error(`the schema uses ${strange.join(", ")}, which this check does not know`);
  const wrong: string[] = [];
  if (schema.$ref !== undefined) {
    const named = PLAN.$defs[schema.$ref.replace("#/$defs/", "")];
    if (named === undefined) throw new Error(`the schema has no ${schema.$ref}`);
    wrong.push(...check(value, named, where));
  }
  if (schema.oneOf !== undefined) {
    const results = schema.oneOf.map((each) => check(value, each, where));
    const fitting = results.filter((each) => each.length === 0);
    if (fitting.length !== 1)
      wrong.push(`${where} fits ${fitting.length} of its forms`, ...(results.at(-1) ?? []));
  }
  if (schema.enum !== undefined && !schema.enum.includes(value)) wrong.push(`${where} is ${String(value)}`);
  if (schema.type !== undefined && typeOf(value) !== schema.type)
    return [...wrong, `${where} is no ${schema.type}`];
  if (typeof value === "string") {
    if (value.length < (schema.minLength ?? 0)) wrong.push(`${where} is too short`);
    if (schema.pattern !== undefined && !new RegExp(schema.pattern, "u").test(value))
      wrong.push(`${where} is not like ${schema.pattern}`);
  }
  if (typeof value === "number" && value < (schema.minimum ?? -Infinity)) wrong.push(`${where} is too small`);
  if (Array.isArray(value)) {
    const items: readonly unknown[] = value;
    if (schema.uniqueItems === true && new Set(items).size < items.length)
      wrong.push(`${where} repeats itself`);
    const { items: each } = schema;
    if (each !== undefined) wrong.push(...items.flatMap((item, at) => check(item, each, `${where}[${at}]`)));
  } else if (typeof value === "object" && value !== null) wrong.push(...checkObject(value, schema, where));
  return wrong;
}

function checkObject(value: object, schema: Schema, where: string): string[] {
  const { properties = {}, required = [], additionalProperties = true, maxProperties = Infinity } = schema;
  const entries = Object.entries(value);
  const missing = required.filter((name) => !(name in value)).map((name) => `${where} lacks ${name}`);
  const extra = entries
    .filter(([name]) => !additionalProperties && !(name in properties))
    .map(([name]) => `${where} has ${name}`);
  const many = entries.length > maxProperties ? [`${where} has too much`] : [];
  const inner = entries.flatMap(([name, each]) =>
    properties[name] === undefined ? [] : check(each, properties[name], `${where}.${name}`),
  );
  return [...missing, ...extra, ...many, ...inner];
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}
