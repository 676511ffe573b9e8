import { type Clock } from "../../src/world.ts";

/** Time that passes only while somebody sleeps, so that ten minutes take a millisecond. */
export function fakeClock(start = 0): Clock {
  let now = start;
  return {
    now: () => now,
    sleep: async (ms) => {
      now += ms;
      await Promise.resolve();
    },
  };
}
