import { setTimeout as sleep } from "node:timers/promises";
import { type Clock } from "../world.ts";

/**
 * Milliseconds since the epoch, as they were when this process started, and counted by a clock that nobody sets since: a virtual machine
 * that wakes up and asks for the time must not make fifteen seconds of watching pass at once.
 */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** The runner's clock; who sleeps is woken by a cancellation, and told of it. */
export function runnersClock(signal: AbortSignal): Clock {
  return {
    now,
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
