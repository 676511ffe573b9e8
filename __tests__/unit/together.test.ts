import { expect, test } from "@jest/globals";
import { together } from "../../src/together.ts";

test("what runs together gives its results in order", async () => {
  expect(await together([Promise.resolve(1), Promise.resolve("two"), Promise.resolve(undefined)])).toEqual([
    1,
    "two",
    undefined,
  ]);
});

test("the first in order is the failure, and it is told when all have ended", async () => {
  const ended: string[] = [];
  const after = async (turns: number, name: string): Promise<void> => {
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    ended.push(name);
    if (name !== "good") throw new Error(name);
  };
  await expect(together([after(3, "slow"), after(1, "quick"), after(9, "good")])).rejects.toThrow("slow");
  expect(ended).toEqual(["quick", "slow", "good"]);
});
