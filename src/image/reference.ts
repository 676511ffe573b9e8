/** An image reference, taken apart by the grammar of the distribution project (reference/regexp.go). */
export interface ImageReference {
  /** Host with port; `docker.io` where the reference names none. */
  readonly domain: string;
  /** Without domain; with `library/` for Docker Hub's own images. */
  readonly path: string;
  readonly tag: string | undefined;
  /** `sha256:…` */
  readonly digest: string | undefined;
}

const DOMAIN =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::\d+)?$|^\[[0-9a-fA-F:]+\](?::\d+)?$/;
const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/;
/** Docker takes a bare name of this form for an image id. */
const IMAGE_ID = /^[0-9a-f]{64}$/;
const LONGEST_PATH = 255;

/** Undefined where docker would answer "invalid reference format". */
export function parseImageReference(text: string): ImageReference | undefined {
  const [named = "", digest, ...more] = text.split("@");
  if (more.length > 0 || (digest !== undefined && !DIGEST.test(digest))) return undefined;
  const colon = named.lastIndexOf(":");
  const tagged = colon > named.lastIndexOf("/");
  const tag = tagged ? named.slice(colon + 1) : undefined;
  if (tag !== undefined && !TAG.test(tag)) return undefined;
  const { domain, path } = splitDomain(tagged ? named.slice(0, colon) : named);
  if (!DOMAIN.test(domain) || !PATH.test(path) || path.length > LONGEST_PATH || IMAGE_ID.test(text))
    return undefined;
  return { domain, path, tag, digest };
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** Docker's rule: what stands before the first slash is a host only if it has a dot, a colon or an upper case letter, or is localhost. */
function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf("/");
  const head = name.slice(0, Math.max(slash, 0));
  const isHost = slash !== -1 && (/[.:]/.test(head) || head === "localhost" || head !== head.toLowerCase());
  const domain = isHost && head !== "index.docker.io" ? head : "docker.io";
  const path = isHost ? name.slice(slash + 1) : name;
  return { domain, path: domain === "docker.io" && !path.includes("/") ? `library/${path}` : path };
}

/** Whether both name the same tag of the same repository, whatever their digests. A missing tag is `latest`. */
export function sameTag(a: ImageReference, b: ImageReference): boolean {
  return a.domain === b.domain && a.path === b.path && (a.tag ?? "latest") === (b.tag ?? "latest");
}

/** The key under which docker's config file keeps the credentials of a registry host. */
export function credentialKey(domain: string): string {
  return domain === "docker.io" ? "https://index.docker.io/v1/" : domain;
}

/** With the first 12 digits of the digest, as people recognise it. */
export function shortImage(image: string): string {
  return image.replace(/(@sha256:[0-9a-f]{12})[0-9a-f]{52}/, "$1");
}

/** Stands for a digest while the image is not there yet: all else about the file can be checked before anything is built. */
export const NO_DIGEST_YET = `sha256:${"0".repeat(64)}`;

/** An image that is yet to be built has no digest; what stands for it is no news to anybody. */
export function withoutDraftDigest(text: string): string {
  return text.replaceAll(`@${NO_DIGEST_YET}`, "");
}
