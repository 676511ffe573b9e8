import { existsSync } from "node:fs";
import { type ParsedKey } from "ssh2";
import { InputError } from "../errors.ts";
import { type SshHost, type SshTarget } from "../inputs/inputs.ts";
import { type KnownKeys, knownKeys } from "./known-hosts.ts";
import { readPrivateKey } from "./private-key.ts";

/** Everything about a login that can be checked without contacting anyone. */
export interface SshLogin {
  readonly target: SshTarget;
  /** Decrypted. */
  readonly privateKey: ParsedKey | undefined;
  /** What is known of each manager and jump host. */
  readonly known: ReadonlyMap<SshHost, KnownKeys>;
}

/**
 * Reads the key and the host keys; throws an `InputError` where the key can't serve. A host of which nothing is known is no such case: it
 * is asked for its key, so that the refusal can show it, and of several managers it may not be the one that is needed.
 */
export function prepareLogin(target: SshTarget): SshLogin {
  if (target.agent !== undefined && !existsSync(target.agent)) {
    const message = `Neither "ssh-private-key" nor "ssh-password" is given, and no SSH agent listens at SSH_AUTH_SOCK (${target.agent}).`;
    const hint = "If the key comes from a secret, check the secret's name: an undefined secret is empty.";
    throw new InputError([{ message, hint }]);
  }
  const privateKey =
    target.privateKey === undefined ? undefined : readPrivateKey(target.privateKey, target.passphrase);
  const hosts = [...target.jumps, ...target.managers];
  const known = new Map(hosts.map((at) => [at, knownKeys(target.knownHosts ?? "", at.host, at.port)]));
  return { target, privateKey, known };
}

/** As `known_hosts` calls a server. */
export function knownHostsName({ host, port }: SshHost): string {
  return port === 22 ? host : `[${host}]:${port}`;
}

/** `host:port`, an IPv6 address in brackets. */
export function inWords({ host, port }: SshHost): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
