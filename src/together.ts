/**
 * Waits until all of them have ended, well or not, so that nothing goes on behind a failure. Rejects with the first failure in their
 * order, whichever came first.
 */
export async function together<T extends readonly unknown[]>(
  running: readonly [...{ [K in keyof T]: T[K] | Promise<T[K]> }],
): Promise<T> {
  const ended = await Promise.allSettled(running);
  for (const each of ended) if (each.status === "rejected") throw each.reason;
  return (await Promise.all(running)) as unknown as T;
}
