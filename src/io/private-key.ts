import { createPrivateKey } from "node:crypto";
import { isNativeError } from "node:util/types";
import { type ParsedKey, utils } from "ssh2";
import { InputError, messageOf } from "../errors.ts";

/** Others may stand around it, such as the EC PARAMETERS that openssl writes in front. */
const BLOCK = /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?-----END \1-----/s;

/** A private key that ssh2 takes, from what people paste into a secret; an `InputError` says what else it is. Nothing is contacted. */
export function readPrivateKey(pasted: string, passphrase: string | undefined): ParsedKey {
  const text = `${pasted
    .split(/\r\n|\r|\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join("\n")}\n`;
  const block = BLOCK.exec(text)?.[0];
  if (block === undefined) refuseOtherThings(text);
  const pem = block === undefined ? text : `${block}\n`;
  refuseUnreadable(pem);
  const key = /-----BEGIN (ENCRYPTED )?PRIVATE KEY-----/.test(pem) ? fromPkcs8(pem, passphrase) : pem;
  const parsed = utils.parseKey(key, passphrase);
  // One of OpenSSL's is handed on as it is, and under jest those are no instances of the Error here.
  if (isNativeError(parsed)) throw explain(parsed.message, passphrase);
  return parsed;
}

function refuse(message: string, hint: string): InputError {
  return new InputError([{ message: `"ssh-private-key" ${message}`, hint }]);
}

function refuseOtherThings(text: string): void {
  if (/^(ssh-|ecdsa-|sk-)\S+-cert-v01@openssh\.com AAAA/.test(text)) {
    throw refuse(
      "is a certificate.",
      "Give the private key that it was made for. Certificates can't be used: the public half of the key belongs into authorized_keys on the manager.",
    );
  }
  if (/^(ssh-|ecdsa-|sk-)\S+ AAAA/.test(text) || /-----? ?BEGIN (RSA |SSH2 )?PUBLIC KEY/.test(text)) {
    throw refuse(
      "is a public key.",
      "Give the private one, the file without .pub; the public one belongs into authorized_keys on the manager.",
    );
  }
  if (text.startsWith("PuTTY-User-Key-File")) {
    throw refuse("is a PuTTY key.", "Convert it: puttygen KEY.ppk -O private-openssh -o KEY.");
  }
  if (!/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text)) {
    throw refuse(
      "is no private key: the line -----BEGIN … PRIVATE KEY----- is missing.",
      "Paste the whole file, first and last line included.",
    );
  }
}

/** The one cipher of OpenSSH that ssh2 can't undo. */
const CHACHA = "chacha20-poly1305@openssh.com";

function refuseUnreadable(pem: string): void {
  if (pem.includes("\\n")) {
    throw refuse(
      "has \\n as two characters instead of line ends.",
      "Paste the key file as it is, on several lines.",
    );
  }
  // Its name is the first field (PROTOCOL.key), behind 19 bytes.
  const [, start = ""] = /^-----BEGIN OPENSSH PRIVATE KEY-----\n(.*)/.exec(pem) ?? [];
  if (Buffer.from(start, "base64").toString("latin1", 19).startsWith(CHACHA)) {
    throw refuse(
      `is encrypted with ${CHACHA}, which is not supported.`,
      "Encrypt it in another way: ssh-keygen -p -Z aes256-ctr -f KEY.",
    );
  }
}

/** ssh2 reads no PKCS#8; Node turns RSA and ECDSA keys into forms that it does read, and Ed25519 has only OpenSSH's own. */
function fromPkcs8(text: string, passphrase: string | undefined): string {
  try {
    const key = createPrivateKey({
      key: text,
      format: "pem",
      ...(passphrase === undefined ? {} : { passphrase }),
    });
    if (key.asymmetricKeyType === "rsa") return key.export({ type: "pkcs1", format: "pem" }).toString();
    if (key.asymmetricKeyType === "ed25519") return openSshEd25519(key.export({ format: "jwk" }));
    if (key.asymmetricKeyType === "ec") return key.export({ type: "sec1", format: "pem" }).toString();
  } catch (error) {
    // OpenSSL has many words for a missing or wrong passphrase, "interrupted or cancelled" among them.
    const encrypted = text.includes("BEGIN ENCRYPTED PRIVATE KEY");
    throw explain(encrypted ? `encrypted: ${messageOf(error)}` : messageOf(error), passphrase);
  }
  throw refuse("is a key of a kind that SSH does not use.", "Make one: ssh-keygen -t ed25519.");
}

/** The file format of OpenSSH's PROTOCOL.key, without encryption: it never leaves this process. */
function openSshEd25519(jwk: { readonly d?: string; readonly x?: string }): string {
  const [seed, publicKey] = [Buffer.from(jwk.d ?? "", "base64url"), Buffer.from(jwk.x ?? "", "base64url")];
  const type = Buffer.from("ssh-ed25519");
  const secret = Buffer.concat([
    Buffer.alloc(8), // Two equal check numbers.
    ...[type, publicKey, Buffer.concat([seed, publicKey]), Buffer.alloc(0)].map(withLength),
  ]);
  const padding = Buffer.from(Array.from({ length: (8 - (secret.length % 8)) % 8 }, (_, index) => index + 1));
  const file = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    ...[Buffer.from("none"), Buffer.from("none"), Buffer.alloc(0)].map(withLength),
    Buffer.from([0, 0, 0, 1]),
    withLength(Buffer.concat([type, publicKey].map(withLength))),
    withLength(Buffer.concat([secret, padding])),
  ]);
  const lines = file.toString("base64").match(/.{1,70}/g) ?? [];
  return ["-----BEGIN OPENSSH PRIVATE KEY-----", ...lines, "-----END OPENSSH PRIVATE KEY-----", ""].join(
    "\n",
  );
}

function withLength(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function explain(message: string, passphrase: string | undefined): InputError {
  if (/encrypted|passphrase|integrity check|unable to authenticate/i.test(message)) {
    return passphrase === undefined
      ? refuse("is encrypted and there is no passphrase.", 'Give it as "ssh-passphrase".')
      : new InputError([
          {
            message: 'The "ssh-passphrase" does not open the key in "ssh-private-key".',
            hint: "Try it with: ssh-keygen -y -f KEY.",
          },
        ]);
  }
  return refuse(`can't be read (${message}).`, "Check it with: ssh-keygen -y -f KEY.");
}
