import { describe, expect, test } from "@jest/globals";
import { parseStackFile } from "../../../src/stack/stack-file.ts";
import { hostAddress, portsOf } from "../../../src/stack/ports.ts";
import { type Node, entriesOf, get, scalar, textOf } from "../../../src/stack/tree.ts";

const PLACE = { file: "stack.yml", line: 7, column: 9 };
const short = (text: string): Node => scalar(text, PLACE);

function item(text: string): Node {
  const node = get(parseStackFile(`port: ${text}`, "stack.yml"), "port");
  if (node === undefined) throw new RangeError(text);
  return node;
}

/** `ingress 80:8080/tcp`, without the published port where Swarm is to choose one. */
function inShort(entry: Node): string[] | undefined {
  return portsOf(entry)?.map(({ published, node }) => {
    const [mode, target, written, protocol] = ["mode", "target", "published", "protocol"].map((key) =>
      textOf(get(node, key)),
    );
    expect(Number(written ?? 0)).toBe(published);
    return `${mode ?? ""} ${written === undefined ? "" : `${written}:`}${target ?? ""}/${protocol ?? ""}`;
  });
}

describe("the short spelling publishes", () => {
  test.each<[string, string, string[]]>([
    ["a port that Swarm chooses", "80", ["ingress 80/tcp"]],
    ["a port of the nodes", "8080:80", ["ingress 8080:80/tcp"]],
    ["UDP", "53:53/udp", ["ingress 53:53/udp"]],
    ["SCTP", "1:2/sctp", ["ingress 1:2/sctp"]],
    ["a protocol in capitals", "53:53/UDP", ["ingress 53:53/udp"]],
    ["TCP by name", "80/tcp", ["ingress 80/tcp"]],
    [
      "a range, each port of it Swarm's choice",
      "80-82",
      ["ingress 80/tcp", "ingress 81/tcp", "ingress 82/tcp"],
    ],
    ["a range by a range", "8000-8001:80-81", ["ingress 8000:80/tcp", "ingress 8001:81/tcp"]],
    [
      "one port as several",
      "8000-8002:80",
      ["ingress 8000:80/tcp", "ingress 8001:80/tcp", "ingress 8002:80/tcp"],
    ],
    ["a range of one port", "80-80:81-81", ["ingress 80:81/tcp"]],
    ["a range of UDP", "1-2:1-2/udp", ["ingress 1:1/udp", "ingress 2:2/udp"]],
    [
      "a range in the order of text, as docker sorts it",
      "9-10:9-10",
      ["ingress 10:10/tcp", "ingress 9:9/tcp"],
    ],
    [
      "a range of longer numbers in the order of text, too",
      "98-101",
      ["ingress 100/tcp", "ingress 101/tcp", "ingress 98/tcp", "ingress 99/tcp"],
    ],
    [
      "several ports for one target in the order of numbers",
      "9-11:80",
      ["ingress 9:80/tcp", "ingress 10:80/tcp", "ingress 11:80/tcp"],
    ],
    ["nothing before the colon, which is Swarm's choice", ":80", ["ingress 80/tcp"]],
    ["port 0, which is Swarm's choice", "0:80", ["ingress 80/tcp"]],
    ["a range from 0", "0-1:80", ["ingress 80/tcp", "ingress 1:80/tcp"]],
    ["noughts in front, which make it no octal number", "0120:0080", ["ingress 120:80/tcp"]],
    ["the highest port", "65535:65535", ["ingress 65535:65535/tcp"]],
    ["on an address, which Swarm does not heed", "127.0.0.1:8080:80", ["ingress 8080:80/tcp"]],
    ["on an address, without a port", "127.0.0.1::80", ["ingress 80/tcp"]],
    ["a range on an address", "127.0.0.1:80-81:80-81/udp", ["ingress 80:80/udp", "ingress 81:81/udp"]],
    ["on an IPv6 address", "[::1]:8080:80", ["ingress 8080:80/tcp"]],
    ["on an IPv6 address without brackets", "2001:db8::1:8080:80", ["ingress 8080:80/tcp"]],
    ["on an IPv6 address, without a port", "[::1]::80", ["ingress 80/tcp"]],
  ])("%s: %s", (_fact, text, ports) => {
    expect(inShort(short(text))).toEqual(ports);
  });

  test.each([
    ["decimal", "80", "ingress 80/tcp"],
    ["octal", "0120", "ingress 80/tcp"],
    ["hexadecimal", "0x50", "ingress 80/tcp"],
    ["with an underscore", "8_080", "ingress 8080/tcp"],
    ["in quotes, hence decimal", "'0120'", "ingress 120/tcp"],
  ])("a number as docker's YAML reads it: %s", (_fact, text, port) => {
    expect(inShort(item(text))).toEqual([port]);
  });

  test("at the place where it is written, with numbers that docker takes for such", () => {
    const [port] = portsOf(short("8080:80")) ?? [];
    expect(port?.node.place).toEqual(PLACE);
    expect(entriesOf(port?.node).map(({ key, value }) => [key.text, value])).toEqual([
      ["mode", scalar("ingress", PLACE, "plain")],
      ["target", scalar("80", PLACE, "plain")],
      ["published", scalar("8080", PLACE, "plain")],
      ["protocol", scalar("tcp", PLACE, "plain")],
    ]);
  });
});

test.each([
  ["nothing", ""],
  ["a word", "web"],
  ["two words", "a:b"],
  ["nothing behind the colon", "80:"],
  ["a protocol alone", "/tcp"],
  ["a protocol that Swarm does not have", "80/icmp"],
  ["a range that runs backwards", "82-80"],
  ["a range without an end", "80-"],
  ["a range without a start", "-80"],
  ["a range by a single port", "80:80-82"],
  ["two ranges of different lengths", "80-81:80-82"],
  ["a target above all ports", "80:65536"],
  ["a published port above all ports", "65536:80"],
  ["a range that ends above all ports", "65535-65536:80"],
  ["a fraction", "1.5"],
  ["a hexadecimal number", "0x50"],
  ["a blank at the end", "80:80 "],
  ["a blank behind the protocol", "80:80/tcp "],
  ["a variable", "$PORT"],
])("%s is no port, as docker says too: %j", (_fact, text) => {
  expect(portsOf(short(text))).toBeUndefined();
});

describe("the long spelling", () => {
  test.each([
    ["publishes what it says", "{target: 80, published: 8080}", 8080],
    ["publishes an octal number, as docker's YAML reads it", "{target: 80, published: 0120}", 80],
    ["publishes a hexadecimal number", "{target: 80, published: 0x1F90}", 8080],
    ["without a published port leaves it to Swarm", "{target: 80}", 0],
    ["with 0 leaves it to Swarm", "{target: 80, published: 0, mode: host}", 0],
    ["without a target is docker's to refuse", "{published: 8080}", 8080],
  ])("%s", (_fact, text, published) => {
    const entry = item(text);
    expect(portsOf(entry)).toEqual([{ published, node: entry }]);
    expect(portsOf(entry)?.[0]?.node).toBe(entry);
  });

  test.each([
    ["a word", "{target: 80, published: web}"],
    ["a range, which only Compose knows", "{target: 80, published: 80-81}"],
    ["text, though it is a number", "{target: 80, published: '8080'}"],
    ["nothing", "{target: 80, published: }"],
    ["a list", "{target: 80, published: [80]}"],
  ])("that publishes %s is no port", (_fact, text) => {
    expect(portsOf(item(text))).toBeUndefined();
  });
});

test("a list is no port", () => {
  expect(portsOf(item("[80]"))).toBeUndefined();
});

describe("the host's address of a port", () => {
  test.each([
    ["the node itself", "127.0.0.1:80:80", "127.0.0.1"],
    ["one of many", "10.0.0.5::80/udp", "10.0.0.5"],
    ["for a range", "10.0.0.5:80-81:80-81", "10.0.0.5"],
    ["IPv6 in brackets", "[::1]:80:80", "[::1]"],
    ["IPv6 without brackets", "2001:db8::1:80:80", "2001:db8::1"],
  ])("%s is told: %s", (_fact, text, address) => {
    expect(hostAddress(short(text))).toBe(address);
  });

  test.each([
    ["a port alone", "80"],
    ["no address", "80:80"],
    ["nothing before the colon", ":80"],
    ["all addresses", "0.0.0.0:80:80"],
    ["all addresses of IPv6", "[::]:80:80"],
    ["all addresses of IPv6, without brackets", ":::80:80"],
  ])("%s asks for nothing that Swarm does not do: %s", (_fact, text) => {
    expect(hostAddress(short(text))).toBeUndefined();
  });

  test("the long spelling has no place for one", () => {
    expect(hostAddress(item("{target: 80, published: 80}"))).toBeUndefined();
  });
});
