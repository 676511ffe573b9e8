import { type Node, type Scalar, isNull } from "./tree.ts";

/**
 * What docker's YAML (gopkg.in/yaml.v3) makes of a scalar without quotes. Docker itself reads the file we print; these are for the few
 * places where we have to know before it does.
 */

/** A whole number as docker's YAML reads it without quotes: `0440` and `0o440` are octal, `1_000` is a thousand. */
export function wholeNumber(node: Node | undefined): number | undefined {
  const value = node?.kind === "scalar" && node.plain ? integer(node.text) : undefined;
  return value === undefined ? undefined : Number(value);
}

/** The text that docker makes of a value where it wants text, such as a label's: `1.50` is `1.5` to it, and `0123` is 83. */
export function asText(node: Node | undefined): string | undefined {
  if (node?.kind !== "scalar" || isNull(node)) return undefined;
  return isNumeric(node) ? (number(node.text) ?? date(node.text) ?? node.text) : node.text;
}

function isNumeric({ plain, tag }: Scalar): boolean {
  return tag === undefined ? plain : /(!|:)(int|float)>?$/.test(tag);
}

function number(text: string): string | undefined {
  const whole = integer(text);
  if (whole !== undefined && whole > -(2n ** 63n) && whole < 2n ** 64n) return String(whole);
  const digits = withoutUnderscores(text);
  if (!/^[-+]?(\.\d+|\d+(\.\d*)?)(e[-+]?\d+)?$/i.test(digits)) return undefined;
  return floating(Number(digits));
}

/** Only what starts like a number may be one. */
function withoutUnderscores(text: string): string {
  return /^[-+.\d]/.test(text) ? text.replaceAll("_", "") : text;
}

function integer(text: string): bigint | undefined {
  const digits = withoutUnderscores(text);
  if (!/^[-+]?(0|[1-9]\d*|0[0-7]+|0o[0-7]+|0x[\da-f]+|0b[01]+)$/i.test(digits)) return undefined;
  const size = BigInt(digits.replace(/^[-+]/, "").replace(/^0(?=[0-7]+$)/, "0o"));
  return digits.startsWith("-") ? -size : size;
}

/** As Go's %v: the shortest digits, with an exponent of two digits at least from a million on and below a ten-thousandth. */
function floating(value: number): string {
  const [digits = "", exponent = "0"] = value.toExponential().split("e");
  const power = Number(exponent);
  if (Object.is(value, -0)) return "-0";
  if (power >= -4 && power < 6) return String(value);
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

const DATE =
  /^(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d{1,9})?(Z|[-+]\d\d:\d\d))|(?: (\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d{1,9})?))?$/;

/** A date without quotes, as Go prints one. */
function date(text: string): string | undefined {
  const found = DATE.exec(text);
  if (found === null) return undefined;
  const [, year = "", month = "", day = "", h1, m1, s1, f1, zone = "Z", h2, m2, s2, f2] = found;
  const parts = [month, day, h1 ?? h2 ?? "0", m1 ?? m2 ?? "0", s1 ?? s2 ?? "0"];
  const [mm = "", dd = "", hour = "", minute = "", second = ""] = parts.map((part) => part.padStart(2, "0"));
  const moment = new Date(`${year}-${mm}-${dd}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(moment.getTime()) || moment.getUTCDate() !== Number(day)) return undefined;
  const offset = zone === "Z" ? "+0000 UTC" : `${zone.replace(":", "")} ${zone.replace(":", "")}`;
  const fraction = (f1 ?? f2 ?? "").replace(/\.?0*$/, "");
  return `${year}-${mm}-${dd} ${hour}:${minute}:${second}${fraction} ${offset}`;
}
