import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { Cancelled } from "../../../src/errors.ts";
import { runnersClock } from "../../../src/io/clock.ts";

test("who sleeps is woken by a cancellation, and told of it", async () => {
  const stop = new AbortController();
  const sleeping = runnersClock(stop.signal).sleep(60_000);
  stop.abort(new Cancelled("SIGINT"));
  await expect(sleeping).rejects.toBeInstanceOf(Cancelled);
});

test("repeated work is never done twice at once, and its end waits for what is on its way", async () => {
  const seen = { running: 0, most: 0, done: 0 };
  const work = async (): Promise<void> => {
    seen.running += 1;
    seen.most = Math.max(seen.most, seen.running);
    await sleep(50);
    seen.running -= 1;
    seen.done += 1;
  };
  const repeated = runnersClock(new AbortController().signal).every(5, work);
  while (seen.done < 2 || seen.running === 0) await sleep(5);
  await repeated[Symbol.asyncDispose]();
  const { done } = seen;
  expect(seen).toEqual({ running: 0, most: 1, done });
  await sleep(100);
  expect(seen.done).toBe(done);
});
