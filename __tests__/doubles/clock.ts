import { type Clock } from "../../src/world.ts";

/** Time that passes only while somebody sleeps, so that ten minutes take a millisecond. */
export function fakeClock(start = 0): Clock {
  let now = start;
  const repeated = new Set<{ next: number; readonly ms: number; readonly work: () => Promise<void> }>();
  return {
    now: () => now,
    sleep: async (ms) => {
      const end = now + ms;
      for (;;) {
        const [first] = [...repeated].toSorted((a, b) => a.next - b.next);
        if (first === undefined || first.next > end) break;
        now = first.next;
        first.next += first.ms;
        await first.work();
      }
      now = end;
      await Promise.resolve();
    },
    every: (ms, work) => {
      const job = { next: now + ms, ms, work };
      repeated.add(job);
      return { [Symbol.asyncDispose]: async () => await Promise.resolve(void repeated.delete(job)) };
    },
  };
}
