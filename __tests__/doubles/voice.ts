import { describe } from "../../src/errors.ts";
import { type Voice } from "../../src/world.ts";

export interface RecordedVoice extends Voice {
  /** Everything said, in order; what was quoted has a bar in front, groups are in brackets. */
  readonly said: string[];
}

export function recordedVoice(): RecordedVoice {
  const said: string[] = [];
  return {
    said,
    say: (line) => void said.push(line),
    quote: (line) => void said.push(`| ${line}`),
    group: (title) => void said.push(`[${title}]`),
    endGroup: () => undefined,
    warn: (problem) => void said.push(`warning: ${describe(problem)}`),
    mask: () => undefined,
    redactAll: (value) => value,
  };
}
