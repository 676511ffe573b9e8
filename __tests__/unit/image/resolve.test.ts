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

async function lookup(answer: ImageAnswer): Promise<{ images: ImageLookup; asked: string[] }> {
  const asked: string[] = [];
  const askRegistry = async (image: string): Promise<ImageAnswer> => {
    asked.push(image);
    return await Promise.resolve(answer);
  };
  const world = scriptedWorld({ files: {}, specs: [], frames: [{ services: [] }], swarm: { askRegistry } });
  return { images: new ImageLookup(await world.connect(undefined)), asked };
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
