import { setTimeout as sleep } from "node:timers/promises";
import { type Clock } from "../world.ts";

/** The runner's clock; who sleeps is woken by a cancellation, and told of it. */
export function runnersClock(signal: AbortSignal): Clock {
  return {
    now: () => Date.now(),
    sleep: async (ms) => {
      await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
    },
    every: (ms, work) => {
      let running: Promise<void> | undefined;
      const timer = setInterval(() => {
        running ??= work().finally(() => (running = undefined));
      }, ms);
      return {
        [Symbol.asyncDispose]: async () => {
          clearInterval(timer);
          await running;
        },
      };
    },
  };
}
