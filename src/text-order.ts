/** The order of two texts by their code units, for `toSorted`: that of a machine, the same in every language. */
export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** By name, in that order. */
export function byName<T extends { readonly name: string }>(named: readonly T[]): T[] {
  return named.toSorted((a, b) => compareTexts(a.name, b.name));
}
