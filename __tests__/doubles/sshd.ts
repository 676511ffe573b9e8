import { type AddressInfo } from "node:net";
import { once } from "node:events";
import {
  type Algorithms,
  type AuthContext,
  type AuthenticationType,
  type Connection,
  type KeyboardAuthContext,
  type ServerChannel,
  Server,
  utils,
} from "ssh2";

export interface Sshd extends AsyncDisposable {
  readonly port: number;
  /** A line of `known_hosts` for it. */
  readonly knownHost: string;
  readonly hostKey: Buffer;
  /** What clients asked for, in order: logins with their methods, and sockets. */
  readonly heard: string[];
  /** Ends every session, as a rebooting manager does. */
  hangUp(): void;
}

export interface SshdRequest {
  /** Which logins are good; a key offered without signature is not asked about. */
  readonly accepts: (login: AuthContext) => boolean;
  /** In place of that: the methods that it wants one after the other (AuthenticationMethods); each is then good. */
  readonly inTurn?: readonly AuthenticationType[];
  /** The right answer where the server asks for a password in a dialogue. */
  readonly dialogue?: string;
  /** The only ones it offers. */
  readonly algorithms?: Algorithms;
  /** It does not tell which signatures it takes (RFC 8308), as OpenSSH before 7.2. */
  readonly tellsNothing?: boolean;
  /** Serves a forwarded unix socket; without it forwarding is refused. */
  readonly serve?: (channel: ServerChannel) => void;
}

/** ECDSA: ssh2's Ed25519 generator makes an unreadable key now and then (mscdex/ssh2#1513). */
export function keyPair(): { readonly private: string; readonly public: string; readonly blob: Buffer } {
  const pair = utils.generateKeyPairSync("ecdsa", { bits: 256 });
  return { ...pair, blob: Buffer.from(pair.public.split(" ")[1] ?? "", "base64") };
}

function ask(login: KeyboardAuthContext, right: string): void {
  login.prompt([{ prompt: "Password: ", echo: false }], ([answer]) => {
    if (answer === right) login.accept();
    else login.reject();
  });
}

/** As sshd does it: a method whose turn it is not is refused, and the next one is named. */
function takeInTurn(login: AuthContext, left: AuthenticationType[]): void {
  const [wanted = "none"] = left;
  const isQuestion = login.method === "publickey" && login.signature === undefined;
  if (login.method !== wanted) login.reject([wanted]);
  else if (isQuestion || left.length === 1) login.accept();
  else {
    left.shift();
    login.reject(left.slice(0, 1), true);
  }
}

/** ssh2 has no setting for it. */
function tellNothing(client: Connection): void {
  const { _protocol: protocol } = client as unknown as { readonly _protocol: object };
  let exchange: object | undefined;
  const set = (made: object): void => {
    exchange = Object.defineProperty(made, "remoteExtInfoEnabled", {
      get: () => false,
      set() {
        // It stays so.
      },
    });
  };
  Object.defineProperty(protocol, "_kex", { get: () => exchange, set });
}

/** A real SSH server in this process. */
export async function sshd(request: SshdRequest): Promise<Sshd> {
  const host = keyPair();
  const heard: string[] = [];
  const clients = new Set<Connection>();
  const server = new Server({ hostKeys: [host.private], algorithms: request.algorithms ?? {} }, (client) => {
    clients.add(client);
    if (request.tellsNothing === true) tellNothing(client);
    const left = [...(request.inTurn ?? [])];
    client.on("error", () => undefined);
    client.on("close", () => clients.delete(client));
    client.on("authentication", (login) => {
      heard.push(`${login.method} ${login.username}`);
      if (request.inTurn !== undefined) takeInTurn(login, left);
      else if (login.method === "keyboard-interactive" && request.dialogue !== undefined)
        ask(login, request.dialogue);
      else if (request.accepts(login)) login.accept();
      else login.reject(["publickey", "password", "keyboard-interactive"]);
    });
    client.on("openssh.streamlocal", (accept, refuse, { socketPath }) => {
      heard.push(`socket ${socketPath}`);
      if (request.serve === undefined) refuse();
      else request.serve(accept());
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    heard,
    hostKey: host.blob,
    knownHost: `[127.0.0.1]:${port} ${host.public}`,
    hangUp: () => clients.forEach((client) => client.end()),
    [Symbol.asyncDispose]: async () => {
      clients.forEach((client) => client.end());
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
