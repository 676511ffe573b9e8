import { type Node, get, textOf } from "./tree.ts";

/** The sections of a short volume; a colon behind a single letter is part of a Windows path (docker/cli, compose/loader/volume.go). */
export function volumeSections(text: string): string[] {
  const sections: string[] = [];
  let section = "";
  for (const char of text) {
    if (char !== ":" || /^\p{L}$/u.test(section)) section += char;
    else {
      sections.push(section);
      section = "";
    }
  }
  return [...sections, section];
}

/** Where a volume is mounted, by docker's short or long spelling. */
export function volumeTarget(item: Node): string | undefined {
  const text = textOf(item);
  if (text === undefined) return textOf(get(item, "target"));
  if (text.length <= 2) return text;
  const [source, target] = volumeSections(text);
  return target ?? source;
}
