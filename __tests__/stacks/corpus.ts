import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Stacks as people write them, a folder each. */
export const CORPUS = join(import.meta.dirname, "realistic");

/** The stack files in a folder of the corpus; the first one is the one that the others change. */
export function stackFilesIn(folder: string): string[] {
  const files = readdirSync(folder).filter((file) => /^stack.*\.yml$/.test(file));
  return files.toSorted((a, b) => a.length - b.length);
}

/** The variables that they ask for. */
export function variablesIn(folder: string): Record<string, string> {
  const given = join(folder, "variables.json");
  return existsSync(given) ? (JSON.parse(readFileSync(given, "utf8")) as Record<string, string>) : {};
}
