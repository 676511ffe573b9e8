/** `90s`, `10m`, `1h30m` → milliseconds; undefined for anything else ("10" could mean seconds or minutes, so it means neither). */
export function parseDuration(text: string): number | undefined {
  const parts = /^(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?$/.exec(text);
  if (parts === null || text === "") return undefined;
  const [, hours = "0", minutes = "0", seconds = "0"] = parts;
  return (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000;
}

/** 92_000 → "1m32s"; below a minute with one decimal: "4.2s". */
export function formatDuration(ms: number): string {
  if (ms < 59_950) return `${(ms / 1000).toFixed(1).replace(/\.0$/, "")}s`;
  const seconds = Math.round(ms / 1000);
  const [hours, minutes, rest] = [
    Math.floor(seconds / 3600),
    Math.floor((seconds % 3600) / 60),
    seconds % 60,
  ];
  return `${hours > 0 ? `${hours}h` : ""}${minutes > 0 ? `${minutes}m` : ""}${rest > 0 ? `${rest}s` : ""}`;
}
