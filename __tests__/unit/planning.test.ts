import { expect, test } from "@jest/globals";
import { StackFileError } from "../../src/errors.ts";
import { type Check, checkByDocker } from "../../src/planning.ts";
import { type RenderedStack } from "../../src/stack/render.ts";
import { parseStackFile } from "../../src/stack/stack-file.ts";
import { type DockerAnswer, type World } from "../../src/world.ts";
import { renderedStack } from "../doubles/stack.ts";
import { scriptedWorld } from "../doubles/world.ts";

const STACK = renderedStack(parseStackFile("services: { web: { image: x } }", "stack.yml"));
const WEB = { method: "POST", path: "/services/create", body: { Name: "shop_web" }, auth: undefined };

/** A check by a docker that behaves like that; the draft needs to know its version. */
function check(rehearse: World["rehearse"]): Check {
  const draft = async (major: Promise<number>): Promise<RenderedStack> => {
    await major;
    return STACK;
  };
  const world = { ...scriptedWorld({ files: {}, specs: [], frames: [] }), rehearse };
  return checkByDocker(world, "shop", ".", draft);
}

function ending(answer: Partial<DockerAnswer>): { run(): Promise<DockerAnswer> } {
  return { run: async () => await Promise.resolve({ code: 0, stdout: "", stderr: "", ...answer }) };
}

test("docker has found nothing wrong once it sends a service, and need not have ended", async () => {
  let finish = (): void => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const { dockerMajor, passed, checked } = check(async (_stage, deploy, { introduced, sends }) => {
    introduced?.(28);
    sends?.();
    await finished;
    await deploy(ending({}));
    return [WEB];
  });
  await passed;
  expect(await dockerMajor).toBe(28);
  expect(await Promise.race([checked, Promise.resolve("not yet")])).toBe("not yet");
  finish();
  expect((await checked).plan.services.map(({ name, change }) => `${name} ${change}`)).toEqual([
    "web create",
  ]);
});

test("docker that has no service to send has passed the file when it has ended well", async () => {
  const { passed } = check(async (_stage, deploy, { introduced }) => {
    await deploy(ending({}));
    introduced?.(28);
    return [];
  });
  await expect(passed).resolves.toBeUndefined();
});

test("docker that ends without a question, so that nobody knows its version, tells why all the same", async () => {
  const { dockerMajor, passed } = check(async (_stage, deploy, { introduced }) => {
    await deploy(ending({ code: 1, stderr: "services.web Additional property x is not allowed\n" }));
    introduced?.(0);
    return [];
  });
  await expect(passed).rejects.toThrow(StackFileError);
  expect(await dockerMajor).toBe(0);
});
