import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { PreflightError } from "../../../src/errors.ts";
import { keepLogin, makeDockerConfig, registryAuth } from "../../../src/io/docker-config.ts";
import { temporaryFolder } from "../../doubles/folder.ts";

const before = { ...process.env };
let folder = temporaryFolder();
let ambient = "";
let own = "";

beforeEach(() => {
  folder = temporaryFolder();
  ambient = join(folder.path, "ambient");
  own = join(folder.path, "own");
  mkdirSync(ambient);
  process.env.DOCKER_CONFIG = ambient;
});

afterEach(() => {
  process.env = { ...before };
  folder[Symbol.dispose]();
});

function given(config: object): void {
  writeFileSync(join(ambient, "config.json"), JSON.stringify(config));
}

function made(domains: string[] = ["r.io"]): Record<string, unknown> {
  makeDockerConfig(own, domains);
  return JSON.parse(readFileSync(join(own, "config.json"), "utf8")) as Record<string, unknown>;
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** What the engine would read from the X-Registry-Auth value. */
function auth(domain: string): unknown {
  const value = registryAuth(own, domain);
  return value === undefined ? undefined : JSON.parse(Buffer.from(value, "base64url").toString());
}

/** A credential helper as docker calls it: `docker-credential-NAME get`, the server's name on standard input. */
function helper(name: string, script: string): void {
  const file = join(folder.path, `docker-credential-${name}`);
  writeFileSync(file, `#!/bin/sh\nread server\n${script}\n`);
  chmodSync(file, 0o755);
  process.env.PATH = `${folder.path}:${process.env.PATH ?? ""}`;
}

describe("a docker configuration of our own", () => {
  test("starts with what earlier steps left", () => {
    given({ auths: { "r.io": { auth: base64("u:p") } }, currentContext: "x" });
    mkdirSync(join(ambient, "cli-plugins"));
    writeFileSync(join(ambient, "cli-plugins", "docker-buildx"), "x");
    expect(made()).toEqual({ auths: { "r.io": { auth: base64("u:p") } }, currentContext: "x" });
    expect(readFileSync(join(own, "cli-plugins", "docker-buildx"), "utf8")).toBe("x");
  });

  test("is for this user only", () => {
    made();
    expect(statSync(own).mode & 0o777).toBe(0o700);
    expect(statSync(join(own, "config.json")).mode & 0o777).toBe(0o600);
  });

  test("keeps what is added to it to itself", () => {
    given({ auths: {} });
    made();
    writeFileSync(join(own, "config.json"), '{"auths": {"x": {}}}');
    expect(readFileSync(join(ambient, "config.json"), "utf8")).toBe('{"auths":{}}');
  });

  test("is empty where there was none", () => {
    process.env.DOCKER_CONFIG = join(folder.path, "nowhere");
    expect(made()).toEqual({});
    expect(existsSync(process.env.DOCKER_CONFIG)).toBe(false);
  });

  test.each([
    ["a store", { credsStore: "desktop" }, { credsStore: "desktop", credHelpers: { "r.io": "" } }],
    [
      "a helper of the registry's",
      { credHelpers: { "r.io": "ecr", "x.io": "gcr" } },
      { credHelpers: { "r.io": "", "x.io": "gcr" } },
    ],
    ["none of them", { auths: {} }, { auths: {} }],
  ])("sends a login to its own file and not to the machine's store: %s", (_fact, config, expected) => {
    given(config);
    expect(made()).toEqual(expected);
  });

  test("knows Docker Hub by docker's name for it", () => {
    given({ credsStore: "desktop" });
    expect(made(["docker.io"])).toMatchObject({ credHelpers: { "https://index.docker.io/v1/": "" } });
  });
});

describe("a login that is kept", () => {
  test("stands in the file as docker writes it, beside what was there", () => {
    given({ credsStore: "desktop", auths: { "x.io": { auth: base64("a:b") } } });
    made(["r.io", "docker.io"]);
    keepLogin(own, "r.io", { username: "u", password: "p:ü" });
    keepLogin(own, "docker.io", { identitytoken: "t" });
    expect(JSON.parse(readFileSync(join(own, "config.json"), "utf8"))).toEqual({
      credsStore: "desktop",
      credHelpers: { "r.io": "", "https://index.docker.io/v1/": "" },
      auths: {
        "x.io": { auth: base64("a:b") },
        "r.io": { auth: base64("u:p:ü") },
        "https://index.docker.io/v1/": { identitytoken: "t" },
      },
    });
    expect(auth("r.io")).toEqual({ username: "u", password: "p:ü", serveraddress: "r.io" });
    expect(statSync(join(own, "config.json")).mode & 0o777).toBe(0o600);
  });
});

describe("the credentials that go along with a spec", () => {
  test("of a file that is no JSON stop the deployment, without a word of what is in it", () => {
    given({});
    made([]);
    writeFileSync(join(own, "config.json"), '{"auths": {"r.io": {"auth": hunter2');
    expect(() => auth("r.io")).toThrow(PreflightError);
    expect(() => auth("r.io")).toThrow(/config\.json is no JSON/);
    expect(() => auth("r.io")).not.toThrow(/hunter2/);
  });

  test("of a helper that prints no JSON, too", () => {
    helper("broken", "echo '{\"Secret\": hunter2'");
    given({ credsStore: "broken" });
    made([]);
    expect(() => auth("r.io")).toThrow(PreflightError);
    expect(() => auth("r.io")).toThrow(/docker-credential-broken prints is no JSON/);
    expect(() => auth("r.io")).not.toThrow(/hunter2/);
  });

  test("are asked for without this step's inputs", () => {
    process.env.INPUT_PASSWORD = "hunter2";
    helper("nosy", `echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"[$INPUT_PASSWORD]\\"}"`);
    given({ credsStore: "nosy" });
    made([]);
    expect(auth("r.io")).toEqual({ username: "u", password: "[]", serveraddress: "r.io" });
  });

  test.each<[string, object, string, unknown]>([
    [
      "of a login",
      { auths: { "r.io": { auth: base64("u:p") } } },
      "r.io",
      { username: "u", password: "p", serveraddress: "r.io" },
    ],
    [
      "a password with colons",
      { auths: { "r.io": { auth: base64("u:p:q") } } },
      "r.io",
      { username: "u", password: "p:q", serveraddress: "r.io" },
    ],
    [
      "a password with other letters",
      { auths: { "r.io": { auth: base64("u:pä🐳") } } },
      "r.io",
      { username: "u", password: "pä🐳", serveraddress: "r.io" },
    ],
    [
      "a token",
      { auths: { "r.io": { auth: "", identitytoken: "t" } } },
      "r.io",
      { identitytoken: "t", serveraddress: "r.io" },
    ],
    [
      "Docker Hub's",
      { auths: { "https://index.docker.io/v1/": { auth: base64("u:p") } } },
      "docker.io",
      { username: "u", password: "p", serveraddress: "https://index.docker.io/v1/" },
    ],
    [
      "of an old login, written with scheme and path",
      { auths: { "https://r.io/v1/": { auth: base64("u:p") } } },
      "r.io",
      { username: "u", password: "p", serveraddress: "r.io" },
    ],
    [
      "with a port",
      { auths: { "r.io:5000": { auth: base64("u:p") } } },
      "r.io:5000",
      { username: "u", password: "p", serveraddress: "r.io:5000" },
    ],
    ["of another port are another's", { auths: { "r.io:5000": { auth: base64("u:p") } } }, "r.io", undefined],
    ["of another registry are another's", { auths: { "x.io": { auth: base64("u:p") } } }, "r.io", undefined],
    ["none", {}, "r.io", undefined],
    [
      "an entry without credentials, as `docker login` leaves it beside a store",
      { auths: { "r.io": {} } },
      "r.io",
      undefined,
    ],
  ])("%s", (_fact, config, domain, expected) => {
    given(config);
    made([]);
    expect(auth(domain)).toEqual(expected);
  });

  test("are in the alphabet of URLs, with padding, as old engines need it", () => {
    given({ auths: { "r.io": { auth: base64("u:????>>>>") } } });
    made();
    const value = registryAuth(own, "r.io") ?? "";
    expect(value).toMatch(/^[A-Za-z0-9_-]+=*$/);
    expect(value.length % 4).toBe(0);
  });

  test("come from a helper of the registry's", () => {
    helper("test", `echo '{"ServerURL":"r.io","Username":"u","Secret":"from '$server'"}'`);
    given({ credHelpers: { "r.io": "test" } });
    made([]);
    expect(auth("r.io")).toEqual({ username: "u", password: "from r.io", serveraddress: "r.io" });
  });

  test("come from the machine's store", () => {
    helper("store", `echo '{"ServerURL":"r.io","Username":"<token>","Secret":"t"}'`);
    given({ credsStore: "store" });
    made([]);
    expect(auth("r.io")).toEqual({ identitytoken: "t", serveraddress: "r.io" });
  });

  test.each([
    ["that knows none", "test", 'echo "credentials not found in native keychain"; exit 1'],
    ["that is not installed", "missing", undefined],
  ])("are none from a helper %s", (_fact, name, script) => {
    if (script !== undefined) helper(name, script);
    given({ credsStore: name });
    made([]);
    expect(auth("r.io")).toBeUndefined();
  });
});
