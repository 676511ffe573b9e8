import { describe, expect, test } from "@jest/globals";
import { PreflightError } from "../../../src/errors.ts";
import { ImageLookup, resolveImages } from "../../../src/image/resolve.ts";
import { parseStackFile } from "../../../src/stack/stack-file.ts";
import { type ImageAnswer, type Service } from "../../../src/swarm.ts";
import { renderedStack } from "../../doubles/stack.ts";
import { service, serviceSpec } from "../../doubles/swarm.ts";
import { scriptedWorld } from "../../doubles/world.ts";

const FOUND: ImageAnswer = {
  kind: "found",
  digest: "sha256:0a",
  body: { Descriptor: { digest: "sha256:0a" } },
};

/** Registries that give these answers, one after the other; the last one stays. */
async function lookup(...answers: ImageAnswer[]): Promise<{ images: ImageLookup; asked: string[] }> {
  const asked: string[] = [];
  const left = [...answers];
  let last = FOUND;
  const askRegistry = async (image: string): Promise<ImageAnswer> => {
    asked.push(image);
    last = left.shift() ?? last;
    return await Promise.resolve(last);
  };
  const world = scriptedWorld({ files: {}, specs: [], frames: [{ services: [] }], swarm: { askRegistry } });
  return { images: new ImageLookup(await world.connect(undefined), world.clock, "r.io/a"), asked };
}

describe("looking up images", () => {
  test("asks about each once, also side by side", async () => {
    const { images, asked } = await lookup(FOUND);
    await Promise.all([images.ask("r.io/a:1"), images.ask("r.io/b:1"), images.ask("r.io/a:1")]);
    await images.ask("r.io/a:1");
    expect(asked).toEqual(["r.io/a:1", "r.io/b:1"]);
  });

  test("knows an image that must exist by its digest, too", async () => {
    const { images, asked } = await lookup(FOUND);
    expect(await images.require("r.io/a:1")).toBe("sha256:0a");
    expect(await images.ask("r.io/a:1@sha256:0a")).toBe(FOUND);
    expect(asked).toEqual(["r.io/a:1"]);
  });

  test("leaves nothing on its way behind when it ends, whatever ended it", async () => {
    let answer = (_answer: ImageAnswer): void => undefined;
    const askRegistry = async (): Promise<ImageAnswer> => await new Promise((resolve) => (answer = resolve));
    const world = scriptedWorld({ files: {}, specs: [], frames: [{ services: [] }], swarm: { askRegistry } });
    const images = new ImageLookup(await world.connect(undefined), world.clock, "r.io/a");
    images.askAhead(
      renderedStack(parseStackFile("services: {}", "stack.yml"), {
        services: [{ name: "db", image: "r.io/b:1" }],
      }),
    );
    const order: string[] = [];
    const end = images[Symbol.asyncDispose]().then(() => order.push("ended"));
    await new Promise((resolve) => setImmediate(resolve));
    order.push("answered");
    answer(FOUND);
    await end;
    expect(order).toEqual(["answered", "ended"]);
  });

  test("that fails for one of a stack waits for the others all the same", async () => {
    let answer = (_answer: ImageAnswer): void => undefined;
    const askRegistry = async (image: string): Promise<ImageAnswer> => {
      if (image === "r.io/a:1") throw new Error("the session is lost");
      return await new Promise((resolve) => (answer = resolve));
    };
    const world = scriptedWorld({ files: {}, specs: [], frames: [{ services: [] }], swarm: { askRegistry } });
    const images = new ImageLookup(await world.connect(undefined), world.clock, "r.io/a");
    const stack = renderedStack(parseStackFile("services: {}", "stack.yml"), {
      services: [
        { name: "web", image: "r.io/a:1" },
        { name: "db", image: "r.io/b:1" },
      ],
    });
    const order: string[] = [];
    const end = resolveImages(stack, images, [], "r.io/a").catch(() => order.push("failed"));
    await new Promise((resolve) => setImmediate(resolve));
    order.push("answered");
    answer(FOUND);
    await end;
    expect(order).toEqual(["answered", "failed"]);
  });

  test("refuses to go on without an image that must exist", async () => {
    const { images } = await lookup({ kind: "refused", status: 404, message: "manifest unknown" });
    await expect(images.require("r.io/a:1")).rejects.toThrow(PreflightError);
    await expect(images.require("r.io/a:1")).rejects.toThrow("The image r.io/a:1 can't be deployed");
  });
});

describe("a registry that has trouble", () => {
  const TROUBLE: ImageAnswer = { kind: "refused", status: 500, message: "connection refused" };
  const DENIED: ImageAnswer = { kind: "refused", status: 403, message: "denied" };

  test("is asked again about an image that must exist, until it answers", async () => {
    const { images, asked } = await lookup(TROUBLE, TROUBLE, FOUND);
    expect(await images.require("r.io/a:1")).toBe("sha256:0a");
    expect(asked).toHaveLength(3);
  });

  test("but not for ever", async () => {
    const { images, asked } = await lookup(TROUBLE);
    expect(await images.ask("r.io/a:1")).toBe(TROUBLE);
    expect(asked).toHaveLength(16); // Half a minute, every two seconds.
  });

  test.each([
    ["about the image of somebody else, which may keep its digest", "r.io/b:1", TROUBLE],
    ["where it says no", "r.io/a:1", DENIED],
  ])("is asked once %s", async (_fact, image, answer) => {
    const { images, asked } = await lookup(answer, FOUND);
    expect(await images.ask(image)).toBe(answer);
    expect(asked).toHaveLength(1);
  });
});

describe("an image that can't be resolved", () => {
  const none: ImageAnswer = { kind: "refused", status: 404, message: "manifest unknown" };
  const denied: ImageAnswer = { kind: "refused", status: 401, message: "unauthorized" };
  const trouble: ImageAnswer = { kind: "refused", status: 500, message: "connection refused" };
  const FILE = "services:\n  web:\n    image: r.io/b:1\n  more: { image: r.io/b:1 }\n";
  const running = (image: string): Service => service({ spec: serviceSpec(image) });

  async function found(answer: ImageAnswer, live: readonly Service[], image = "r.io/b:1"): Promise<string[]> {
    const { images } = await lookup(answer);
    const services = ["web", "more"].map((name) => ({ name, image }));
    const stack = { root: parseStackFile(FILE, "stack.yml"), services };
    const { findings } = await resolveImages(stack, images, live, "r.io/a");
    return findings.map(({ id, severity, problem }) => `${severity} ${id} ${problem.place?.line}`);
  }

  const errors = ["error image-missing 3", "error image-missing 4"];
  const warnings = ["warning image-missing 3", "warning image-missing 4"];
  test.each<[string, ImageAnswer, Service[], string | undefined, string[]]>([
    ["that is there", FOUND, [], undefined, []],
    ["that the registry does not have", none, [], undefined, errors],
    ["that the registry does not show", denied, [], undefined, errors],
    ["of which another version runs", none, [running("r.io/b:0")], undefined, errors],
    ["that runs, since some node has it", denied, [running("r.io/b:1")], undefined, warnings],
    ["that runs by its digest, which stays", none, [running("r.io/b:1@sha256:0a")], undefined, warnings],
    ["while the registry has trouble", trouble, [], undefined, warnings],
    ["of this repository, whatever the reason", trouble, [running("r.io/a:1")], "r.io/a:1", errors],
  ])("%s", async (_fact, answer, live, image, expected) => {
    expect(await found(answer, live, image)).toEqual(expected);
  });
});
