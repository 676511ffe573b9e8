import { describe, expect, test } from "@jest/globals";
import { PreflightError } from "../../../src/errors.ts";
import { ImageLookup } from "../../../src/image/resolve.ts";
import { type ImageAnswer } from "../../../src/swarm.ts";
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
