import { existsSync } from "node:fs";
import { type ParsedKey } from "ssh2";
import { InputError, type Problem } from "../errors.ts";
import { type SshHost, type SshTarget } from "../inputs/inputs.ts";
import { type HostKey, knownKeys } from "./known-hosts.ts";
import { readPrivateKey } from "./private-key.ts";

/** Everything about a login that can be checked without contacting anyone. */
export interface SshLogin {
  readonly target: SshTarget;
  /** Decrypted. */
  readonly privateKey: ParsedKey | undefined;
  /** What is known of each manager and jump host. */
  readonly known: ReadonlyMap<SshHost, KnownHost>;
}

export interface KnownHost {
  readonly trusted: readonly HostKey[];
  readonly revoked: readonly HostKey[];
}

/** Reads the key and the host keys; throws an `InputError` where they can't serve. */
export function prepareLogin(target: SshTarget): SshLogin {
  if (target.agent !== undefined && !existsSync(target.agent)) {
    const message = `Neither "ssh-private-key" nor "ssh-password" is given, and no SSH agent listens at SSH_AUTH_SOCK (${target.agent}).`;
    const hint = "If the key comes from a secret, check the secret's name: an undefined secret is empty.";
    throw new InputError([{ message, hint }]);
  }
  const privateKey =
    target.privateKey === undefined ? undefined : readPrivateKey(target.privateKey, target.passphrase);
  const problems: Problem[] = [];
  const hosts = [...target.jumps, ...target.managers];
  const known = new Map(hosts.map((host) => [host, knownHost(host, target, problems)]));
  if (problems.length > 0) throw new InputError(problems);
  return { target, privateKey, known };
}

function knownHost(at: SshHost, target: SshTarget, problems: Problem[]): KnownHost {
  if (target.knownHosts === undefined) return { trusted: [], revoked: [] };
  const { accepted, revoked, certAuthority } = knownKeys(target.knownHosts, at.host, at.port);
  if (accepted.length === 0 && target.fingerprints.length === 0) {
    const name = knownHostsName(at);
    const message = certAuthority
      ? `"ssh-known-hosts" trusts ${name} through @cert-authority, which is not supported.`
      : `"ssh-known-hosts" has no key for ${name}.`;
    const port = at.port === 22 ? "" : `-p ${at.port} `;
    const hint = `Add the lines of \`ssh-keyscan ${port}${at.host}\` after checking them, or give "ssh-fingerprint".`;
    problems.push({ message, hint });
  }
  return { trusted: accepted, revoked };
}

/** As `known_hosts` calls a server. */
export function knownHostsName({ host, port }: SshHost): string {
  return port === 22 ? host : `[${host}]:${port}`;
}
