import { type KeyObject, generateKeyPairSync } from "node:crypto";
import { type Client, type ParsedKey } from "ssh2";

// SSH takes turns where it need not, and each turn is a round trip of every deployment. For what saves them ssh2 has no settings, so it is
// reached into: its version is pinned, and what is used of it is looked at before.

/** The part of ssh2 that speaks the protocol. */
interface Protocol {
  /** Says our name; soon after `connect`. */
  start: () => void;
  /** Sends our list of algorithms (KEXINIT) unless that has been done, and keeps it as `_kexinit`, since the host key signs it, too. */
  readonly rekey: () => void;
  /** Hears the server's name. Behind that ssh2 sends its list. */
  _onHeader: (header: unknown) => void;
  _kexinit?: Buffer | undefined;
  /** The first one of a session, which encrypts nothing yet. */
  readonly _cipher: { readonly allocPacket: (length: number) => Buffer; encrypt: (packet: Buffer) => void };
  readonly _onError: (error: Error) => void;
  service: (name: string) => void;
  authPK: (user: string, key: unknown, algorithm: string | undefined, sign?: Sign) => void;
  readonly _handlers: {
    SERVICE_ACCEPT: (protocol: Protocol, name: string) => void;
    /** What else the server can. */
    EXT_INFO: (protocol: Protocol, extensions: unknown) => void;
  };
}

const USED = ["start", "rekey", "_onHeader", "_cipher", "_onError", "service", "authPK", "_handlers"];

type Sign = (data: Buffer, done: (signature: Buffer) => void) => void;

/** What ssh2 makes where both lists are there, and puts into the protocol's `_kex`. */
interface KeyExchange {
  readonly type: string;
  /** Of X25519. */
  _keys?: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  start: () => void;
}

/** Undefined where this is not the ssh2 that is known here; it works then as it does by itself. */
function protocolOf(client: Client): Protocol | undefined {
  const { _protocol: protocol } = client as { readonly _protocol?: Protocol };
  return protocol !== undefined && USED.every((name) => name in protocol) ? protocol : undefined;
}

/** The server knows no X25519: what it was sent fits no key exchange of its own, so that this session is of no use. */
export class WrongGuess extends Error {
  constructor() {
    super("the server takes part in no key exchange by X25519");
  }
}

/** RFC 5656, 4, and RFC 8731. */
const KEX_ECDH_INIT = 30;
const X25519_BYTES = 32;

/**
 * Sends our part of the key exchange along with our name, where ssh2 waits for the server's name and its list of algorithms. Our own list
 * begins with X25519, so that is what both come to with every server that has it (OpenSSH since 6.5, of 2014). With another one the session
 * fails with a `WrongGuess`, before any credential was sent. To be called right behind `connect`; `inOneWrite` calls what it is given.
 */
export function exchangeKeysAtOnce(client: Client, inOneWrite: (...parts: (() => void)[]) => void): void {
  const protocol = protocolOf(client);
  if (protocol === undefined) return;
  const { start, _cipher: cipher, _onError: fail } = protocol;
  const keys = generateKeyPairSync("x25519");
  protocol.start = () => {
    inOneWrite(start, () => {
      protocol.rekey();
      const init = cipher.allocPacket(1 + 4 + X25519_BYTES);
      init[5] = KEX_ECDH_INIT; // Behind the lengths of the packet and of its padding.
      init.writeUInt32BE(X25519_BYTES, 6);
      init.set(keys.publicKey.export({ type: "spki", format: "der" }).subarray(-X25519_BYTES), 10);
      cipher.encrypt(init);
    });
    offerNothingElse(protocol);
  };
  whenAgreed(protocol, (exchange) => {
    if (exchange.type === "25519") Object.assign(exchange, { _keys: keys, start: () => undefined });
    else exchange.start = () => fail.call(protocol, new WrongGuess());
  });
}

/** Drops the list of algorithms that ssh2 sends when it has heard the server's name: there may be but one. */
function offerNothingElse(protocol: Protocol): void {
  const { _cipher: cipher, _kexinit: sent, _onHeader: hear } = protocol;
  const { encrypt } = cipher;
  const drop = (): void => {
    cipher.encrypt = encrypt;
    Object.assign(protocol, { _kexinit: sent });
  };
  const hearAndDrop = (header: unknown): void => {
    hear(header);
    cipher.encrypt = drop;
  };
  Object.assign(protocol, { _onHeader: hearAndDrop });
}

/** Calls `use` with the first key exchange of a session before that begins. */
function whenAgreed(protocol: Protocol, use: (exchange: KeyExchange) => void): void {
  const set = (exchange: KeyExchange): void => {
    Object.defineProperty(protocol, "_kex", { value: exchange, writable: true });
    use(exchange);
  };
  Object.defineProperty(protocol, "_kex", { get: () => undefined, set, configurable: true });
}

/**
 * Saves two of the round trips that ssh2 takes to log in with a key: it waits for leave to log in at all, and then asks whether the key
 * would do, where the answer to its signature tells both. OpenSSH's server reads one after the other whatever comes (RFC 4253, 10, asks to
 * wait only where the key exchange has not proven who the server is). `around` sends the login by calling what it is given, and may send
 * more behind it.
 */
export function logInAtOnce(client: Client, key: ParsedKey, around: (send: () => void) => void): void {
  const protocol = protocolOf(client);
  if (protocol === undefined) return;
  takeForGranted(protocol, key);
  signUnasked(protocol, key, around);
}

/**
 * To be let log in: ssh2 hears yes when it has asked, and the server's own yes no more. With which hash an RSA key is to sign depends on
 * what the server can, which it says behind the key exchange (RFC 8308); one that does not has to say yes itself.
 */
function takeForGranted(protocol: Protocol, key: ParsedKey): void {
  const { service: ask, _handlers: handlers } = protocol;
  const { SERVICE_ACCEPT: begin, EXT_INFO: learn } = handlers;
  protocol.service = (name) => {
    let hasBegun = false;
    const beginOnce = (): void => {
      if (!hasBegun) begin(protocol, name);
      hasBegun = true;
    };
    ask.call(protocol, name);
    handlers.SERVICE_ACCEPT = beginOnce;
    handlers.EXT_INFO = (...told) => {
      learn(...told);
      beginOnce();
    };
    if (key.type !== "ssh-rsa") beginOnce();
  };
}

/** RFC 8332. SHA-1 is left to ssh2. */
const RSA_HASHES: Readonly<Record<string, string>> = { "rsa-sha2-256": "sha256", "rsa-sha2-512": "sha512" };

function signUnasked(protocol: Protocol, key: ParsedKey, around: (send: () => void) => void): void {
  const ask = protocol.authPK;
  protocol.authPK = (user, offered, algorithm = "", sign) => {
    const hash = RSA_HASHES[algorithm];
    const isOurs = sign === undefined && offered === key && (hash !== undefined || key.type !== "ssh-rsa");
    const signNow: Sign = (data, done) => done(key.sign(data, hash));
    if (isOurs) around(() => ask.call(protocol, user, offered, algorithm, signNow));
    else ask.call(protocol, user, offered, algorithm, sign);
  };
}
