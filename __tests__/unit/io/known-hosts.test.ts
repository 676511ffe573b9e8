import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "@jest/globals";
import { fingerprint, knownKeys, typeOfKey } from "../../../src/io/known-hosts.ts";
import { temporaryFolder } from "../../doubles/folder.ts";

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());

function hostKey(type: string): string {
  const file = join(folder.path, type);
  execFileSync("ssh-keygen", ["-q", "-t", type, "-N", "", "-C", "", "-f", file]);
  return readFileSync(`${file}.pub`, "utf8").trim();
}

const ED = hostKey("ed25519");
const EC = hostKey("ecdsa");

/** Key types that the text accepts for a host. */
function accepted(text: string, host: string, port = 22): string[] {
  return knownKeys(text, host, port).accepted.map(({ type }) => type);
}

/** The types that OpenSSH's own reader finds. */
function foundBySsh(text: string, host: string, port: number): string[] {
  const file = join(folder.path, "known_hosts");
  writeFileSync(file, text);
  const name = port === 22 ? host : `[${host}]:${port}`;
  const { stdout } = spawnSync("ssh-keygen", ["-F", name, "-f", file], { encoding: "utf8" });
  const lines = stdout.split("\n").filter((line) => line !== "" && !/^[#@]/.test(line));
  return lines.map((line) => line.trim().split(/\s+/)[1] ?? "");
}

function hashed(text: string): string {
  const file = join(folder.path, "hashed");
  writeFileSync(file, text);
  execFileSync("ssh-keygen", ["-q", "-H", "-f", file], { stdio: "pipe" });
  return readFileSync(file, "utf8");
}

describe("the keys of a host are those that OpenSSH finds", () => {
  test.each<[string, string, string, number, number]>([
    ["a plain line", `m1 ${ED}\n`, "m1", 22, 1],
    ["another host", `m1 ${ED}\n`, "m2", 22, 0],
    ["the start of a name is not the name", `m1 ${ED}\n`, "m10", 22, 0],
    ["a dot is a dot", `m1.a ${ED}\n`, "m1xa", 22, 0],
    ["several keys", `m1 ${ED}\nm2 ${ED}\nm1 ${EC}\n`, "m1", 22, 2],
    ["several names", `m1,m1.example.com,192.0.2.1 ${ED}\n`, "192.0.2.1", 22, 1],
    ["a port", `[m1]:2222 ${ED}\n`, "m1", 2222, 1],
    ["a port that is not asked for", `[m1]:2222 ${ED}\n`, "m1", 22, 0],
    ["a name without the port that is asked for", `m1 ${ED}\n`, "m1", 2222, 0],
    ["an IPv6 address", `2001:db8::1 ${ED}\n`, "2001:db8::1", 22, 1],
    ["an IPv6 address with port", `[2001:db8::1]:2222 ${ED}\n`, "2001:db8::1", 2222, 1],
    ["capitals do not matter", `M1.Example.com ${ED}\n`, "m1.example.COM", 22, 1],
    ["a star", `*.example.com ${ED}\n`, "m1.example.com", 22, 1],
    ["a star for nothing", `m*1 ${ED}\n`, "m1", 22, 1],
    ["a star does not reach over a port", `*.example.com ${ED}\n`, "m1.example.com", 2222, 0],
    ["a star with a port", `[*.example.com]:2222 ${ED}\n`, "m1.example.com", 2222, 1],
    ["a question mark is one character", `m? ${ED}\n`, "m1", 22, 1],
    ["and not two", `m? ${ED}\n`, "m12", 22, 0],
    ["a negation overrules", `*.example.com,!m1.example.com ${ED}\n`, "m1.example.com", 22, 0],
    ["wherever it stands", `!m1.example.com,*.example.com ${ED}\n`, "m1.example.com", 22, 0],
    ["and spares the others", `*.example.com,!m1.example.com ${ED}\n`, "m2.example.com", 22, 1],
    ["a negation alone matches nothing", `!m1 ${ED}\n`, "m2", 22, 0],
    ["comments and blank lines", `# m1 ${EC}\n\n  # x\nm1 ${ED}\n`, "m1", 22, 1],
    ["a comment behind the key", `m1 ${ED} root@m1\n`, "m1", 22, 1],
    ["tabs", `m1\t${ED.replace(" ", "\t")}\n`, "m1", 22, 1],
    ["blanks in front", `  m1 ${ED}\n`, "m1", 22, 1],
    ["no line end", `m1 ${ED}`, "m1", 22, 1],
    ["a hashed line", hashed(`m1 ${ED}\n`), "m1", 22, 1],
    ["a hashed line of another host", hashed(`m1 ${ED}\n`), "m2", 22, 0],
    ["a hashed line with port", hashed(`[m1]:2222 ${ED}\n`), "m1", 2222, 1],
    ["several hashed lines", hashed(`m1,192.0.2.1 ${ED}\nm2 ${EC}\n`), "192.0.2.1", 22, 1],
  ])("%s", (_fact, text, host, port, count) => {
    expect(accepted(text, host, port)).toHaveLength(count);
    expect(accepted(text, host, port)).toEqual(foundBySsh(text, host, port));
  });
});

test("a hashed name asked for with capitals is found, as the ssh client does it (ssh-keygen -F does not)", () => {
  expect(accepted(hashed(`m1 ${ED}\n`), "M1")).toEqual(["ssh-ed25519"]);
});

test("lines of Windows", () => {
  expect(accepted(`m1 ${ED}\r\nm1 ${EC}\r\n`, "m1")).toEqual(["ssh-ed25519", "ecdsa-sha2-nistp256"]);
});

test.each([
  "m1",
  "m1 ssh-ed25519",
  "m1 ssh-ed25519 ",
  "|1|broken ssh-ed25519 AAAA",
  "@other m1 ssh-ed25519 AAAA",
])("%j says nothing", (line) => {
  expect(knownKeys(line, "m1", 22)).toEqual({ accepted: [], revoked: [], certAuthority: false });
});

describe("markers", () => {
  test("a revoked key is told apart", () => {
    const known = knownKeys(`@revoked * ${ED}\nm1 ${EC}\n`, "m1", 22);
    expect(known.revoked.map(({ type }) => type)).toEqual(["ssh-ed25519"]);
    expect(known.accepted.map(({ type }) => type)).toEqual(["ecdsa-sha2-nistp256"]);
  });

  test("a revocation for another host is none", () => {
    expect(knownKeys(`@revoked m2 ${ED}\n`, "m1", 22).revoked).toEqual([]);
  });

  test("a certificate authority is noticed, and its key is no host's key", () => {
    expect(knownKeys(`@cert-authority *.example.com ${ED}\n`, "m1.example.com", 22)).toMatchObject({
      accepted: [],
      certAuthority: true,
    });
    expect(knownKeys(`@cert-authority *.example.com ${ED}\n`, "m1.other.com", 22)).toMatchObject({
      certAuthority: false,
    });
  });
});

test("a fingerprint is as ssh-keygen prints it", () => {
  const blob = Buffer.from(ED.split(" ")[1] ?? "", "base64");
  const printed = execFileSync("ssh-keygen", ["-lf", join(folder.path, "ed25519.pub")], { encoding: "utf8" });
  expect(fingerprint(blob)).toBe(printed.split(" ")[1]);
});

test.each([
  ["a key", Buffer.from(ED.split(" ")[1] ?? "", "base64"), "ssh-ed25519"],
  ["nothing", Buffer.alloc(0), ""],
  ["a length beyond the end", Buffer.from([255, 255, 255, 255, 97]), "a"],
])("the type of %s", (_fact, blob, type) => {
  expect(typeOfKey(blob)).toBe(type);
});

test.each([
  ["cut short", `m1 ${ED.slice(0, 18)}`],
  ["of another type than its line says", `m1 ecdsa-sha2-nistp256 ${ED.split(" ")[1]}`],
])("a key %s is none, and the others count", (_fact, line) => {
  expect(accepted(line, "m1")).toEqual([]);
  expect(accepted(`${line}\nm1 ${EC}\n`, "m1")).toEqual(["ecdsa-sha2-nistp256"]);
  expect(knownKeys(`@revoked ${line}`, "m1", 22).revoked).toEqual([]);
});
