import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { PreflightError } from "../errors.ts";
import { credentialKey } from "../image/reference.ts";
import { stepEnvironment } from "./docker.ts";

interface ConfigFile {
  auths?: Record<string, { auth?: string; username?: string; password?: string; identitytoken?: string }>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
}

/**
 * Makes `folder` a docker configuration of our own: it starts with what earlier steps left (credentials, builders, contexts,
 * plug-ins), and what `docker login` adds to it stays in it.
 */
export function makeDockerConfig(folder: string, ownDomains: readonly string[]): void {
  const ambient = process.env.DOCKER_CONFIG || join(homedir(), ".docker");
  mkdirSync(folder, { mode: 0o700 });
  const config = readConfig(join(ambient, "config.json"));
  // For the registries this step logs in to: an empty helper sends a login to this file instead of the machine's own credential store, where it would outlive us.
  const ours = Object.fromEntries(ownDomains.map((domain) => [credentialKey(domain), ""]));
  if (config.credsStore !== undefined || config.credHelpers !== undefined)
    config.credHelpers = { ...config.credHelpers, ...ours };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config), { mode: 0o600 });
  if (!existsSync(ambient)) return;
  for (const name of readdirSync(ambient)) {
    if (name !== "config.json") symlinkSync(join(ambient, name), join(folder, name));
  }
}

/** Writes down a credential as `docker login` would: in the configuration itself, since no helper keeps what is ours. */
export function keepLogin(folder: string, domain: string, auth: RegistryAuth): void {
  const path = join(folder, "config.json");
  const config = readConfig(path);
  const entry =
    "identitytoken" in auth
      ? auth
      : { auth: Buffer.from(`${auth.username}:${auth.password}`).toString("base64") };
  config.auths = { ...config.auths, [credentialKey(domain)]: entry };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
}

/** The X-Registry-Auth value docker would send for a registry, from the configuration in `folder`; undefined where it has none. */
export function registryAuth(folder: string, domain: string): string | undefined {
  const config = readConfig(join(folder, "config.json"));
  const key = credentialKey(domain);
  const helper = config.credHelpers?.[key] ?? config.credsStore ?? "";
  const found = helper === "" ? fromFile(config, key) : fromHelper(helper, key);
  return found === undefined ? undefined : encodedAuth(found, domain);
}

/** A credential as an X-Registry-Auth value. */
export function encodedAuth(auth: RegistryAuth, domain: string): string {
  // Go's URLEncoding: the URL alphabet, and unlike Node's "base64url" with its padding, without which old engines see no credentials.
  const base64 = Buffer.from(JSON.stringify({ ...auth, serveraddress: credentialKey(domain) })).toString(
    "base64",
  );
  return base64.replaceAll("+", "-").replaceAll("/", "_");
}

function readConfig(path: string): ConfigFile {
  return existsSync(path) ? (parseJson(readFileSync(path, "utf8"), path) as ConfigFile) : {};
}

/** The parser's own message quotes what it read, and that may be half a password. */
function parseJson(text: string, whence: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const hint = "Look at it, or leave it to docker login to write it anew.";
    throw new PreflightError([
      { message: `${whence} is no JSON, so its registry credentials can't be read.`, hint },
    ]);
  }
}

/** A credential, or what a registry gave in exchange for it. */
export type RegistryAuth =
  { readonly username: string; readonly password: string } | { readonly identitytoken: string };

function fromFile(config: ConfigFile, key: string): RegistryAuth | undefined {
  const entry =
    config.auths?.[key] ??
    Object.entries(config.auths ?? {}).find(([name]) => hostOf(name) === hostOf(key))?.[1];
  if (entry === undefined) return undefined;
  if (entry.identitytoken) return { identitytoken: entry.identitytoken };
  const [username = "", ...rest] = Buffer.from(entry.auth ?? "", "base64")
    .toString("utf8")
    .split(":");
  if (username === "") return undefined;
  return { username, password: rest.join(":").replace(/\0+$/, "") };
}

/** Older logins wrote the host with scheme or path; docker compares host names only. */
function hostOf(name: string): string {
  return name.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

/** Docker's credential helper protocol: the server's name in, JSON out. */
function fromHelper(helper: string, key: string): RegistryAuth | undefined {
  const { status, stdout } = spawnSync(`docker-credential-${helper}`, ["get"], {
    input: key,
    env: stepEnvironment(process.env),
    encoding: "utf8",
    timeout: 20_000,
  });
  if (status !== 0) return undefined;
  const { Username = "", Secret = "" } = parseJson(stdout, `What docker-credential-${helper} prints`) as {
    Username?: string;
    Secret?: string;
  };
  return Username === "<token>" ? { identitytoken: Secret } : { username: Username, password: Secret };
}
