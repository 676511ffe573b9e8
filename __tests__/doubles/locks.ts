import { type Locks, type StoredLock } from "../../src/swarm.ts";
import { type Clock } from "../../src/world.ts";

export interface LockBoard extends Locks {
  /** By name. */
  readonly held: Map<string, StoredLock>;
  /** As another holder would. */
  put(name: string, labels: StoredLock["labels"], changedAt?: number): void;
  /** What was asked of it, in order; reading is not noted. */
  readonly heard: string[];
}

/** The locks of a swarm whose clock is the given one. */
export function lockBoard(clock: Clock, changes: Partial<Locks> = {}): LockBoard {
  const held = new Map<string, StoredLock>();
  const heard: string[] = [];
  let last = 0;
  const put = (name: string, labels: StoredLock["labels"], changedAt = clock.now()): StoredLock => {
    last += 1;
    const before = held.get(name);
    const stored = {
      id: before?.id ?? `id-${last}`,
      version: last,
      labels,
      createdAt: before?.createdAt ?? changedAt,
      changedAt,
      readAt: clock.now(),
    };
    held.set(name, stored);
    return stored;
  };
  return {
    held,
    heard,
    put: (name, labels, changedAt) => void put(name, labels, changedAt),
    create: async (name, labels) => {
      heard.push(`create ${name}`);
      return await Promise.resolve(held.has(name) ? undefined : put(name, labels).id);
    },
    read: async (name) => {
      const found = held.get(name);
      return await Promise.resolve(found === undefined ? undefined : { ...found, readAt: clock.now() });
    },
    relabel: async (name, lock, labels) => {
      heard.push(`relabel ${name}`);
      if (held.get(name)?.version !== lock.version) return await Promise.resolve(false);
      put(name, labels);
      return await Promise.resolve(true);
    },
    remove: async (id) => {
      heard.push(`remove ${id}`);
      for (const [name, lock] of held) if (lock.id === id) held.delete(name);
      await Promise.resolve();
    },
    ...changes,
  };
}
