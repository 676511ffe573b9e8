import { createPrivateKey } from "node:crypto";
import { utils } from "ssh2";
import { InputError } from "../errors.ts";

/** A private key that ssh2 takes, from what people paste into a secret; an `InputError` says what else it is. Nothing is contacted. */
export function readPrivateKey(pasted: string, passphrase: string | undefined): string {
  const text = `${pasted
    .split(/\r\n|\r|\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join("\n")}\n`;
  refuseOtherThings(text);
  const key =
    text.includes("-----BEGIN PRIVATE KEY-----") || text.includes("-----BEGIN ENCRYPTED PRIVATE KEY-----")
      ? fromPkcs8(text, passphrase)
      : text;
  const parsed = utils.parseKey(key, passphrase);
  if (parsed instanceof Error) throw explain(parsed.message, passphrase);
  return key;
}

function refuse(message: string, hint: string): InputError {
  return new InputError([{ message: `"ssh-private-key" ${message}`, hint }]);
}

function refuseOtherThings(text: string): void {
  if (
    /^(ssh-|ecdsa-|sk-)\S+ AAAA/.test(text) ||
    text.includes("BEGIN PUBLIC KEY") ||
    text.includes("BEGIN SSH2 PUBLIC KEY")
  ) {
    throw refuse(
      "is a public key.",
      "Give the private one, the file without .pub; the public one belongs into authorized_keys on the manager.",
    );
  }
  if (text.startsWith("PuTTY-User-Key-File")) {
    throw refuse("is a PuTTY key.", "Convert it: puttygen KEY.ppk -O private-openssh -o KEY.");
  }
  if (text.includes("\\n")) {
    throw refuse(
      "has \\n as two characters instead of line ends.",
      "Paste the key file as it is, on several lines.",
    );
  }
  if (!/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text)) {
    throw refuse(
      "is no private key: the line -----BEGIN … PRIVATE KEY----- is missing.",
      "Paste the whole file, first and last line included.",
    );
  }
}

/** ssh2 reads no PKCS#8; Node turns RSA and ECDSA keys into forms that it does read. */
function fromPkcs8(text: string, passphrase: string | undefined): string {
  try {
    const key = createPrivateKey({
      key: text,
      format: "pem",
      ...(passphrase === undefined ? {} : { passphrase }),
    });
    if (key.asymmetricKeyType === "rsa") return key.export({ type: "pkcs1", format: "pem" }).toString();
    if (key.asymmetricKeyType === "ec") return key.export({ type: "sec1", format: "pem" }).toString();
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    throw explain(/passphrase|decrypt/i.test(message) ? `encrypted: ${message}` : message, passphrase);
  }
  throw refuse(
    "is an Ed25519 key in PKCS#8 form, which is not supported yet.",
    "Convert it: ssh-keygen -p -f KEY.",
  );
}

function explain(message: string, passphrase: string | undefined): InputError {
  if (/encrypted|passphrase|integrity check/i.test(message)) {
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
