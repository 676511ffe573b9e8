import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Control, type Sandbox } from "./rig.ts";

/** One more sshd on a node. */
export interface Sshd {
  readonly node: string;
  readonly port: number;
  /** `host:port` */
  readonly address: string;
  readonly log: () => string;
  /** How often it started a command; forwarding needs none. */
  readonly sessions: () => number;
  /** A line of `known_hosts` for it. */
  readonly known: string;
  /** The inputs that lead to it. */
  readonly inputs: Readonly<Record<"ssh-host" | "ssh-known-hosts", string>>;
}

/** What an sshd is to be like. */
export interface Settings {
  /** Lines of sshd_config besides the sandbox's usual ones, or in their place. */
  readonly config?: readonly string[];
  /** Stands before the key in authorized_keys. */
  readonly keyOptions?: string;
}

const STOP = `
      pid=$(cat "/run/sshd-$1.pid" 2>/dev/null) && kill "$pid" && while [ -e "/proc/$pid" ]; do sleep 0.05; done || true`;
const RUN = `
      if /usr/sbin/sshd -t -o PerSourcePenalties=no 2>/dev/null; then lenient=-oPerSourcePenalties=no; else lenient=; fi
      /usr/sbin/sshd -f "/run/sshd-$1.conf" -E "/run/sshd-$1.log" $lenient`;

/** Starts sshd's on the nodes of one sandbox, each at a port of its own. */
export class Sshds {
  readonly #box: Sandbox;
  readonly #control: Control;
  readonly #started: Sshd[] = [];
  #lastPort = 2200;

  constructor(box: Sandbox, control: Control) {
    this.#box = box;
    this.#control = control;
  }

  addressOf(node: string): string {
    return `${this.#box.net}.${node.slice(1)}`;
  }

  /** `ssh-ed25519 AAAA…`, the same for all sshd's of a node. */
  hostKeyOf(node: string): string {
    const name = `${this.addressOf(node)} `;
    return (
      this.#box.knownHosts
        .split("\n")
        .find((line) => line.startsWith(name))
        ?.slice(name.length) ?? ""
    );
  }

  start(node: string, settings: Settings = {}): Sshd {
    const { config = [], keyOptions = "" } = settings;
    const port = this.#nextPort();
    // Of its keywords some count when they come first, some when they come last, and some add up.
    const keywords = config.map((setting) => setting.replace(/ .*/, "")).join("|") || "none";
    const script = `
      cat >"/run/keys-$1" # which sshd reads as the user
      { echo "$2"; grep -vE "^($3|Port|PidFile|AuthorizedKeysFile) " /etc/ssh/sshd_config; } >"/run/sshd-$1.conf"
      ${STOP} # what an earlier run of the tests has left
      rm -f "/run/sshd-$1.log"
      ${RUN}`;
    const lines = [
      ...config,
      `Port ${port}`,
      `PidFile /run/sshd-${port}.pid`,
      `AuthorizedKeysFile /run/keys-${port}`,
    ];
    this.#control.onNode(
      node,
      script,
      [String(port), lines.join("\n"), keywords],
      `${keyOptions} ${readFileSync(join(this.#box.keys, "id_ed25519.pub"), "utf8")}`.trimStart(),
    );
    const address = `${this.addressOf(node)}:${port}`;
    const known = `[${this.addressOf(node)}]:${port} ${this.hostKeyOf(node)}`;
    const log = (): string => this.#control.onNode(node, 'cat "/run/sshd-$1.log"', [String(port)]);
    const server = {
      node,
      port,
      address,
      known,
      log,
      sessions: () => (log().match(/Starting session/g) ?? []).length,
      inputs: { "ssh-host": address, "ssh-known-hosts": known },
    };
    this.#started.push(server);
    return server;
  }

  /** Starts one again that was stopped. */
  restart({ node, port }: Sshd): void {
    this.#control.onNode(node, RUN, [String(port)]);
  }

  /** Stops one, or all. */
  stop(...servers: readonly Sshd[]): void {
    for (const { node, port } of servers.length > 0 ? servers : this.#started) {
      this.#control.onNode(node, STOP, [String(port)]);
    }
  }

  #nextPort(): number {
    this.#lastPort += 1;
    return this.#lastPort;
  }
}
