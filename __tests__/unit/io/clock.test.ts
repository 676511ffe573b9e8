import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, jest, test } from "@jest/globals";
import { Cancelled } from "../../../src/errors.ts";
import { now, runnersClock } from "../../../src/io/clock.ts";

afterEach(() => {
  jest.restoreAllMocks();
});

test("the time is the system's", () => {
  expect(Math.abs(now() - Date.now())).toBeLessThan(1000);
});

test("it goes on evenly when somebody sets the system's clock", () => {
  const clock = runnersClock(new AbortController().signal);
  const before = clock.now();
  const real = Date.now();
  jest.spyOn(Date, "now").mockReturnValue(real + 3_600_000);
  expect(clock.now() - before).toBeLessThan(60_000);
  jest.spyOn(Date, "now").mockReturnValue(real - 3_600_000);
  expect(clock.now()).toBeGreaterThanOrEqual(before);
});

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
