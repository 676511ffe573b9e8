/** A stream of choices that one number settles: the same seed makes the same case on every machine. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** For case `number` of the corpus with this seed, whatever cases were made before it. */
  static forCase(seed: number, number: number): Random {
    return new Random(Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(number + 1, 0xc2b2ae35));
  }

  /** mulberry32: at least 0, below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `low` to `high`, both included. */
  whole(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    if (choices.length === 0) throw new Error("There is nothing to choose from.");
    return choices[this.whole(0, choices.length - 1)] as T;
  }

  /** Some of the choices, each at most once, in any order. */
  some<T>(choices: readonly T[], least = 1, most = choices.length): T[] {
    const left = [...choices];
    const wanted = Math.min(this.whole(least, Math.max(least, most)), left.length);
    return Array.from({ length: wanted }, () => left.splice(this.whole(0, left.length - 1), 1)).flat();
  }

  /** The value in `probability` of the cases. */
  maybe<T>(probability: number, make: () => T): T | undefined {
    return this.chance(probability) ? make() : undefined;
  }
}
