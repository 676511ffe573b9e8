import { describe, expect, test } from "@jest/globals";
import { decoded, encoded, joined, recordObjects, recordsOf } from "../../../src/release/record.ts";
import { recorded, release, stored } from "../../doubles/release.ts";

test("a release comes back as it went", () => {
  const network = { name: "shop_side", id: "n1", definition: { Driver: "overlay" } };
  const whole = release({
    number: 4,
    origin: 2,
    configs: ["a"],
    secrets: ["b"],
    hidden: { shop_web: ["environment.A", "command"] },
    networks: [network, { name: "proxy", id: "n2", definition: undefined }],
  });
  expect(decoded(encoded(whole))).toEqual(whole);
});

test("of an older record nobody knows which values may be secrets", () => {
  const { hidden, ...older } = release();
  expect(hidden).toEqual({});
  expect(decoded(JSON.stringify({ format: 1, ...older }))).toEqual({ ...older, hidden: undefined });
});

test.each([
  ["no JSON", "{", "it is no JSON"],
  ["another format", '{"format":2}', "it has the format 2, and this version of the action knows 1"],
  ["something else", '"x"', "it has the format undefined, and this version of the action knows 1"],
  ["no number", '{"format":1,"services":[]}', "it is incomplete"],
  ["a service without a name", '{"format":1,"number":1,"services":[{}]}', "it is incomplete"],
])("%s is no release", (_fact, text, why) => {
  expect(decoded(text)).toBe(why);
});

describe("on the swarm", () => {
  test("a record says by its labels whose it is, and carries docker's own for what belongs to a stack", () => {
    const [only, ...more] = recordObjects("shop", release({ number: 12 }), Buffer.from("x"));
    expect(more).toEqual([]);
    expect(only?.name).toBe("swarm-stack-deploy_release_shop_12");
    expect(Object.fromEntries(only?.labels ?? [])).toEqual({
      "com.docker.stack.namespace": "shop",
      "swarm-stack-deploy.managed": "true",
      "swarm-stack-deploy.release": "12",
      "swarm-stack-deploy.stack": "shop",
      "swarm-stack-deploy.version": "v12",
      "swarm-stack-deploy.commit": "0123456789abcdef",
      "swarm-stack-deploy.run": "https://github.com/acme/shop/actions/runs/1",
      "swarm-stack-deploy.actor": "dev",
      "swarm-stack-deploy.part": "1/1",
    });
  });

  test("names of long stacks are cut, and each part has its own", () => {
    const stack = "s".repeat(63);
    const names = [1, 2].flatMap((number) =>
      recordObjects(stack, release({ number }), Buffer.alloc(500_001)).map(({ name }) => name),
    );
    expect(new Set(names).size).toBe(4);
    expect(names.every((name) => name.length <= 64)).toBe(true);
  });

  test("a large one is split, and joined again in the order of its parts", () => {
    const bytes = Buffer.from(Array.from({ length: 1_200_000 }, (_, at) => at % 251));
    const parts = recordObjects("shop", release(), bytes);
    expect(parts.map((part) => part.bytes.byteLength)).toEqual([500_000, 500_000, 200_000]);
    const [record] = recordsOf(parts.map(stored).toReversed(), "shop");
    expect(Buffer.from(joined(record ?? { number: 0, parts: [] }) ?? []).equals(bytes)).toBe(true);
  });

  test.each([0, 1, 2])("without its part %i nothing is joined", (missing) => {
    const parts = recordObjects("shop", release(), Buffer.alloc(1_200_000)).map(stored).toSpliced(missing, 1);
    const [record] = recordsOf(parts, "shop");
    expect(record === undefined ? "no record" : joined(record)).toBeUndefined();
  });

  test("the newest comes first, by number", () => {
    const raw = [2, 10, 9].flatMap((number) => recorded(release({ number })));
    expect(recordsOf(raw, "shop").map(({ number }) => number)).toEqual([10, 9, 2]);
  });

  test.each([
    ["another stack's", { "swarm-stack-deploy.stack": "shop2" }],
    ["one that is not ours", { "swarm-stack-deploy.managed": "" }],
    ["a config of the stack", { "swarm-stack-deploy.release": "" }],
    ["one without a number", { "swarm-stack-deploy.release": "x" }],
  ])("%s is no record", (_fact, labels) => {
    const [raw] = recordObjects("shop", release(), Buffer.from("x"));
    const object = { ...raw!, labels: new Map([...(raw?.labels ?? []), ...Object.entries(labels)]) };
    expect(recordsOf([stored(object)], "shop")).toEqual([]);
  });
});
