import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/** Which keys a `known_hosts` text accepts for one host (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). */
export interface KnownKeys {
  readonly accepted: readonly HostKey[];
  readonly revoked: readonly HostKey[];
  /** Set where the text relies on a certificate authority, which ssh2 can't check. */
  readonly certAuthority: boolean;
}

export interface HostKey {
  /** `ssh-ed25519`, `ssh-rsa`, … */
  readonly type: string;
  readonly blob: Buffer;
}

/** Finds the lines that speak of `host` at `port`. */
export function knownKeys(text: string, host: string, port: number): KnownKeys {
  const name = port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`;
  const accepted: HostKey[] = [];
  const revoked: HostKey[] = [];
  let certAuthority = false;
  for (const line of text.split(/\r?\n/)) {
    const fields = line.trim().split(/\s+/);
    const marker = fields[0]?.startsWith("@") === true ? fields.shift() : undefined;
    const [patterns = "", type = "", base64 = ""] = fields;
    if (patterns === "" || patterns.startsWith("#") || base64 === "" || !matches(patterns, name)) continue;
    const key = { type, blob: Buffer.from(base64, "base64") };
    if (typeOfKey(key.blob) !== type) continue; // A key that was cut short is none.
    if (marker === "@revoked") revoked.push(key);
    else if (marker === "@cert-authority") certAuthority = true;
    else if (marker === undefined) accepted.push(key);
  }
  return { accepted, revoked, certAuthority };
}

function matches(patterns: string, name: string): boolean {
  let found = false;
  for (const pattern of patterns.split(",")) {
    const negated = pattern.startsWith("!");
    if (!matchesOne(negated ? pattern.slice(1) : pattern, name)) continue;
    if (negated) return false; // A negated match overrules every other one.
    found = true;
  }
  return found;
}

function matchesOne(pattern: string, name: string): boolean {
  const hashed = /^\|1\|([^|]+)\|([^|]+)$/.exec(pattern);
  if (hashed !== null) {
    const [, salt = "", digest = ""] = hashed;
    const expected = Buffer.from(digest, "base64");
    const actual = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
    return expected.length === actual.length && timingSafeEqual(expected, actual);
  }
  const expression = pattern
    .toLowerCase()
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${expression}$`).test(name);
}

/** The type that a key's blob names in its first field. */
export function typeOfKey(blob: Buffer): string {
  return blob.length < 4 ? "" : blob.toString("latin1", 4, 4 + Math.min(blob.readUInt32BE(0), 64));
}

/** As `ssh-keygen -l` prints it. */
export function fingerprint(blob: Buffer): string {
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}
