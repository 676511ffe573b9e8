/**
 * Waits until all of them have ended, well or not, so that nothing goes on behind a failure. Rejects with the first failure in their
 * order, whichever came first.
 */
export async function together<T extends readonly Promise<unknown>[]>(
  running: readonly [...T],
): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(running);
  for (const each of running) await each;
  return await Promise.all(running);
}
