import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "@jest/globals";
import { utils } from "ssh2";
import { InputError } from "../../../src/errors.ts";
import { readPrivateKey } from "../../../src/io/private-key.ts";
import { temporaryFolder } from "../../doubles/folder.ts";

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
let count = 0;

interface Made {
  readonly text: string;
  /** `ssh-ed25519 AAAA…` */
  readonly public: string;
}

/** As people make them. */
function keygen(...options: string[]): Made {
  const file = join(folder.path, `key${(count += 1)}`);
  execFileSync("ssh-keygen", ["-q", "-a", "1", "-C", "", "-f", file, ...options]);
  return { text: readFileSync(file, "utf8"), public: readFileSync(`${file}.pub`, "utf8").trim() };
}

function openKey(...options: string[]): Made {
  return keygen("-N", "", ...options);
}

function lockedKey(...options: string[]): Made {
  return keygen("-N", "correct horse", ...options);
}

/** The public half of what ssh2 would log in with. */
function publicHalf(text: string, passphrase?: string): string {
  const parsed = utils.parseKey(readPrivateKey(text, passphrase), passphrase);
  if (parsed instanceof Error) throw parsed;
  const [key] = [parsed].flat();
  return `${key?.type} ${key?.getPublicSSH().toString("base64")}`;
}

function complaint(text: string, passphrase?: string): string {
  try {
    readPrivateKey(text, passphrase);
    return "";
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return error instanceof Error ? error.message : "";
  }
}

const ED = openKey("-t", "ed25519");
const RSA_PEM = openKey("-t", "rsa", "-b", "1024", "-m", "PEM");
const EC_PEM = openKey("-t", "ecdsa", "-m", "PEM");
const ED_LOCKED = lockedKey("-t", "ed25519");

describe("keys that serve", () => {
  test.each([
    ["Ed25519", ED],
    ["ECDSA", openKey("-t", "ecdsa")],
    ["RSA", openKey("-t", "rsa", "-b", "1024")],
    ["RSA in PEM", RSA_PEM],
    ["ECDSA in PEM", EC_PEM],
    ["RSA in PKCS#8", openKey("-t", "rsa", "-b", "1024", "-m", "PKCS8")],
    ["ECDSA in PKCS#8", openKey("-t", "ecdsa", "-b", "384", "-m", "PKCS8")],
  ])("%s", (_fact, key) => {
    expect(publicHalf(key.text)).toBe(key.public);
  });

  test.each([
    ["Ed25519", ED_LOCKED],
    ["RSA", lockedKey("-t", "rsa", "-b", "1024")],
    ["RSA in PEM", lockedKey("-t", "rsa", "-b", "1024", "-m", "PEM")],
    ["RSA in PKCS#8", lockedKey("-t", "rsa", "-b", "1024", "-m", "PKCS8")],
    ["ECDSA in PKCS#8", lockedKey("-t", "ecdsa", "-m", "PKCS8")],
    ["Ed25519 under AES-GCM", lockedKey("-t", "ed25519", "-Z", "aes256-gcm@openssh.com")],
  ])("%s with its passphrase, and not without it or with another", (_fact, key) => {
    expect(publicHalf(key.text, "correct horse")).toBe(key.public);
    expect(complaint(key.text)).toBe(
      '"ssh-private-key" is encrypted and there is no passphrase. Give it as "ssh-passphrase".',
    );
    expect(complaint(key.text, "wrong")).toContain('The "ssh-passphrase" does not open the key');
  });

  test("Ed25519 in PKCS#8, as openssl makes it", () => {
    const pair = generateKeyPairSync("ed25519");
    const text = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const raw = pair.publicKey.export({ type: "spki", format: "der" }).subarray(-32);
    expect(publicHalf(text)).toMatch(/^ssh-ed25519 /);
    expect(Buffer.from(publicHalf(text).split(" ")[1] ?? "", "base64").subarray(-32)).toEqual(raw);
  });

  test.each<[string, (key: string) => string]>([
    [
      "EC PARAMETERS, as openssl writes them",
      (key) => `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${key}`,
    ],
    ["its public half in front", (key) => `${EC_PEM.public}\n${key}`],
    ["its public half behind", (key) => `${key}${EC_PEM.public}\n`],
    ["quotes", (key) => `"${key.trimEnd()}"`],
  ])("one with %s", (_fact, around) => {
    expect(publicHalf(around(EC_PEM.text))).toBe(EC_PEM.public);
  });

  test("a passphrase for a key that needs none does no harm", () => {
    expect(publicHalf(ED.text, "unneeded")).toBe(ED.public);
  });
});

describe("what pasting does to a key does not matter", () => {
  test.each<[string, (text: string) => string]>([
    ["Windows line ends", (text) => text.replaceAll("\n", "\r\n")],
    ["old Mac line ends", (text) => text.replaceAll("\n", "\r")],
    ["no line end", (text) => text.trimEnd()],
    ["indentation, from YAML", (text) => text.replace(/^/gm, "    ")],
    ["blanks behind lines", (text) => text.replaceAll("\n", "  \n")],
    ["blank lines around and between", (text) => `\n\n${text.replaceAll("\n", "\n\n")}\n`],
    ["a tab", (text) => text.replace(/^/gm, "\t")],
  ])("%s", (_fact, change) => {
    expect(publicHalf(change(ED.text))).toBe(ED.public);
    expect(publicHalf(change(RSA_PEM.text))).toBe(RSA_PEM.public);
    expect(publicHalf(change(ED_LOCKED.text), "correct horse")).toBe(ED_LOCKED.public);
  });
});

describe("what is no private key", () => {
  const rsaPub = generateKeyPairSync("rsa", { modulusLength: 2048 })
    .publicKey.export({ type: "pkcs1", format: "pem" })
    .toString();
  const pub = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString();

  test.each([
    ["the public half", ED.public, "is a public key."],
    ["an RSA public half", RSA_PEM.public, "is a public key."],
    ["a public key in PEM", pub, "is a public key."],
    ["an RSA public key in PEM", rsaPub, "is a public key."],
    [
      "a public key of RFC 4716",
      `---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----`,
      "is a public key.",
    ],
    [
      "a certificate of the key",
      `ssh-ed25519-cert-v01@openssh.com ${ED.public.split(" ")[1]} me`,
      "is a certificate. Give the private key that it was made for.",
    ],
    [
      "a key under a cipher that can't be undone",
      lockedKey("-t", "ed25519", "-Z", "chacha20-poly1305@openssh.com").text,
      "is encrypted with chacha20-poly1305@openssh.com, which is not supported. Encrypt it in another way: ssh-keygen -p -Z aes256-ctr -f KEY.",
    ],
    ["a PuTTY key", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\n", "is a PuTTY key."],
    [
      "a key on one line with \\n in it",
      ED.text.replaceAll("\n", "\\n"),
      "has \\n as two characters instead of line ends.",
    ],
    [
      "base64 without its frame",
      ED.text.split("\n").slice(1, -2).join("\n"),
      "is no private key: the line -----BEGIN … PRIVATE KEY----- is missing.",
    ],
    [
      "a certificate of TLS",
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
      "is no private key",
    ],
    ["a word", "hunter2", "is no private key"],
    ["a key cut off", ED.text.slice(0, 120), "can't be read"],
    [
      "a key with its middle missing",
      ED.text
        .split("\n")
        .filter((_line, index) => index !== 2)
        .join("\n"),
      "can't be read",
    ],
    ["PKCS#8 that is none", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "can't be read"],
    [
      "a key that SSH does not use",
      generateKeyPairSync("x25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      "is a key of a kind that SSH does not use.",
    ],
  ])("%s is named for what it is", (_fact, text, words) => {
    expect(complaint(text)).toContain(`"ssh-private-key" ${words}`);
  });

  test("a complaint never repeats the key", () => {
    const [, secret = ""] = ED.text.split("\n");
    expect(complaint(ED.text.slice(0, 120))).not.toContain(secret.slice(0, 20));
    expect(complaint("hunter2")).not.toContain("hunter2");
  });
});
