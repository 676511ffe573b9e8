/** The path from a folder (with a slash at its end, or empty), cleaned by its text alone, as docker does it: links are not followed. */
export function cleanPath(folder: string, path: string): string {
  const whole = path.startsWith("/") ? path : `${folder}${path}`;
  const parts: string[] = [];
  for (const part of whole.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== ".." || parts.at(-1) === undefined || parts.at(-1) === "..") parts.push(part);
    else parts.pop();
  }
  if (!whole.startsWith("/")) return parts.join("/") || ".";
  return `/${parts.filter((part) => part !== "..").join("/")}`;
}
