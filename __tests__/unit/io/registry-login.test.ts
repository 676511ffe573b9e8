import { describe, expect, test } from "@jest/globals";
import { type Call, type Engine, Timeout } from "../../../src/io/engine.ts";
import { askForLogin } from "../../../src/io/registry-login.ts";

const LOGIN = { registryHost: "r.io:5000", credential: { username: "u", password: "p" } };

/** An engine that answers so, and notes what it is asked. */
function engineWith(status: number, body: object): Engine & { readonly asked: (Call & { path: string })[] } {
  const asked: (Call & { path: string })[] = [];
  return {
    asked,
    apiVersion: "1.41",
    info: {},
    send: async (path, call) => {
      asked.push({ path, ...call });
      return await Promise.resolve({ status, body: Buffer.from(JSON.stringify(body)), date: "" });
    },
  };
}

describe("a registry login by the manager", () => {
  test("shows it the credential, under docker's name for the registry", async () => {
    const engine = engineWith(200, { Status: "Login Succeeded", IdentityToken: "" });
    expect(await askForLogin(engine, LOGIN)).toEqual(LOGIN.credential);
    await askForLogin(engine, { ...LOGIN, registryHost: "docker.io" });
    expect(engine.asked).toMatchObject([
      { path: "/auth", method: "POST", body: { username: "u", password: "p", serveraddress: "r.io:5000" } },
      { body: { serveraddress: "https://index.docker.io/v1/" } },
    ]);
  });

  test("keeps the token that the registry gives in exchange", async () => {
    const engine = engineWith(200, { Status: "Login Succeeded", IdentityToken: "t" });
    expect(await askForLogin(engine, LOGIN)).toEqual({ identitytoken: "t" });
  });

  test("that is refused tells why", async () => {
    const message = "login attempt to http://r.io:5000/v2/ failed with status: 401 Unauthorized";
    expect(await askForLogin(engineWith(401, { message }), LOGIN)).toBe(message);
  });

  test("of a silent registry says nothing about the manager", async () => {
    const engine = engineWith(200, {});
    engine.send = async () => await Promise.reject(new Timeout(60_000));
    expect(await askForLogin(engine, LOGIN)).toBe("it gave no answer within 60 s");
  });
});
