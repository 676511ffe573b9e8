import { compareTexts } from "../text-order.ts";
import { wholeNumber } from "./readings.ts";
import { type Mapping, type Node, get, mapping, scalar, set, textOf } from "./tree.ts";
import { assumptionOf } from "./withheld.ts";

/** One published port of a service, in the long spelling. */
export interface PublishedPort {
  /** 0 where Swarm is to choose one. */
  readonly published: number;
  readonly node: Mapping;
}

/** A port has five digits at most; zeros before them are docker's to refuse or take, up to a number that nobody writes. */
const SHORT = /^(?:(.+):)?(?:(\d{1,20})(?:-(\d{1,20}))?)?:?(\d{1,20})(?:-(\d{1,20}))?(?:\/(tcp|udp|sctp))?$/i;

/** What one entry of `ports` publishes, by docker's short or long spelling; undefined where docker would refuse it. */
export function portsOf(entry: Node): PublishedPort[] | undefined {
  if (entry.kind === "mapping") {
    const published = get(entry, "published");
    const number = published === undefined ? 0 : wholeNumber(published);
    return number === undefined ? undefined : [{ published: number, node: entry }];
  }
  const assumption = assumptionOf(entry);
  const text = entry.kind === "scalar" ? String(wholeNumber(entry) ?? entry.text) : "";
  return shortPort(text)?.map(({ target, published, protocol }) => {
    const node = mapping(entry.place);
    const add = (key: string, value: string): void =>
      set(node, key, { ...scalar(value, entry.place, "plain"), ...assumption });
    add("mode", "ingress");
    add("target", String(target));
    if (published > 0) add("published", String(published));
    add("protocol", protocol);
    return { published, node };
  });
}

/** Whether a port is published on its node alone, as an engine reads the word; `node` is in the long spelling. */
export function isOnHost(node: Node): boolean {
  return /^host$/i.test(textOf(get(node, "mode")) ?? "");
}

/** The host's address that a short spelling asks for, and that Swarm does not heed; undefined where it names none or all of them. */
export function hostAddress(entry: Node): string | undefined {
  const address = entry.kind === "scalar" ? partsOf(entry.text).address : "";
  return address === "" || /^(0\.0\.0\.0|\[?::\]?)$/.test(address) ? undefined : address;
}

/** `[address:][host:]target[/protocol]`; the host's side and the target may be ranges. */
function partsOf(text: string): { address: string; host: string; target: string } {
  const parts = text.split(":");
  const target = parts.pop() ?? "";
  const host = parts.pop() ?? "";
  return { address: parts.join(":"), host, target };
}

interface Short {
  readonly target: number;
  readonly published: number;
  readonly protocol: string;
}

/** As docker's nat.ParsePortSpec and swarmopts.ConvertPortToPortConfig do it, in their order: by the text of `target/protocol`. */
function shortPort(text: string): Short[] | undefined {
  if (!SHORT.test(text)) return undefined;
  const { host, target } = partsOf(text);
  const [range = "", protocol = "tcp"] = target.split("/");
  const targets = rangeOf(range);
  const published = host === "" ? [] : rangeOf(host);
  const one = targets.length === 1;
  if (targets.length === 0 || (host !== "" && !one && published.length !== targets.length)) return undefined;
  if (host !== "" && published.length === 0) return undefined;
  const ports =
    one && published.length > 1
      ? published.map((each) => ({ target: targets[0] ?? 0, published: each }))
      : targets.map((each, index) => ({ target: each, published: published[index] ?? 0 }));
  const key = (port: { target: number }): string => `${port.target}/${protocol}`;
  return ports
    .map((port) => ({ ...port, protocol: protocol.toLowerCase() }))
    .toSorted((a, b) => compareTexts(key(a), key(b)));
}

function rangeOf(text: string): number[] {
  const [first = 0, last = first] = text.split("-").map(Number);
  if (!(first >= 0 && first <= last && last <= 65_535)) return [];
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
