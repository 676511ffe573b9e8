import { request } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { DockerCli } from "../../../src/io/docker.ts";
import { type OnWrite, rehearse, rehearsed, standIn } from "../../../src/io/stand-in.ts";
import { futureId } from "../../../src/plan.ts";
import { type Stage, type Write } from "../../../src/world.ts";
import { temporaryFolder } from "../../doubles/folder.ts";
import { emptySurvey } from "../../doubles/swarm.ts";

let folder = temporaryFolder();
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder[Symbol.dispose]());

const LABELS = { "com.docker.stack.namespace": "shop" };
const STAGE: Stage = {
  survey: emptySurvey({
    info: { ID: "x", Swarm: { NodeID: "n1" } },
    networks: [
      { Name: "shop_default", Id: "net1", Scope: "swarm", Labels: LABELS },
      { Name: "proxy", Id: "net2", Scope: "swarm" },
    ],
    rawConfigs: [{ ID: "c1", Spec: { Name: "shop_env", Labels: LABELS } }],
    rawSecrets: [
      { ID: "k1", Spec: { Name: "token" } },
      { ID: "k2", Spec: { Name: "shop_key", Labels: LABELS } },
    ],
    rawServices: [{ ID: "s1", Spec: { Name: "shop_web", Labels: LABELS } }],
  }),
  images: new Map([
    [
      "r.io/app:v1@sha256:0a",
      { kind: "found", digest: "sha256:0a", body: { Descriptor: { digest: "sha256:0a" } } },
    ],
    ["r.io/secret:v1", { kind: "refused", status: 401, message: "unauthorized" }],
  ]),
  networks: new Map([["new_net", "future:new_net"]]),
  configs: new Map([["new_config", "future:new_config"]]),
  secrets: new Map([["new_secret", "future:new_secret"]]),
};

interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly version: unknown;
}

async function ask(host: string, method: string, path: string, body?: object, auth?: string): Promise<Reply> {
  return await asked(host, method, path, body, auth === undefined ? {} : { "x-registry-auth": auth });
}

async function asked(
  host: string,
  method: string,
  path: string,
  body: object | undefined,
  headers: Readonly<Record<string, string>>,
): Promise<Reply> {
  return await new Promise((resolve, reject) => {
    const sent = request({ socketPath: host.replace("unix://", ""), method, path, headers }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => {
        const parsed: unknown = text === "" ? undefined : JSON.parse(text);
        resolve({ status: response.statusCode ?? 0, body: parsed, version: response.headers["api-version"] });
      });
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function playing(
  deploy: (host: string) => Promise<void>,
  onWrite: OnWrite = async () => await Promise.reject(new Error("nothing is written here")),
): Promise<void> {
  await standIn(STAGE, "1.41", join(folder.path, "d.sock"), onWrite, deploy);
}

async function answered(method: string, path: string): Promise<Reply> {
  const replies: Reply[] = [];
  await playing(async (host) => void replies.push(await ask(host, method, path)));
  return replies[0] ?? { status: 0, body: undefined, version: undefined };
}

function filtered(path: string, value: string, filter = "label"): string {
  return `/v1.41${path}?filters=${encodeURIComponent(JSON.stringify({ [filter]: { [value]: true } }))}`;
}

describe("docker's questions are answered from the survey", () => {
  test.each<[string, string, unknown]>([
    ["what it is", "/v1.41/info", { ID: "x" }],
    ["a network by name", "/v1.41/networks/proxy", { Id: "net2" }],
    ["a network by id", "/v1.41/networks/net2", { Name: "proxy" }],
    ["a network to be made", "/v1.41/networks/new_net", { Id: "future:new_net", Scope: "swarm" }],
    ["a config", "/v1.41/configs/shop_env", { ID: "c1" }],
    ["a config to be made", "/v1.41/configs/new_config", { ID: "future:new_config" }],
    ["a secret", "/v1.41/secrets/token", { ID: "k1" }],
    ["a secret to be made", "/v1.41/secrets/new_secret", { ID: "future:new_secret" }],
    ["a service", "/v1.41/services/s1?insertDefaults=false", { ID: "s1" }],
    ["an image", "/v1.41/distribution/r.io/app:v1@sha256:0a/json", { Descriptor: { digest: "sha256:0a" } }],
    ["without an API version", "/info", { ID: "x" }],
  ])("%s", async (_fact, path, body) => {
    expect(await answered("GET", path)).toMatchObject({ status: 200, body, version: "1.41" });
  });

  test.each<[string, string, readonly string[]]>([
    ["all networks", "/v1.41/networks", ["net1", "net2", "future:new_net"]],
    ["those of the stack", filtered("/networks", "com.docker.stack.namespace=shop"), ["net1"]],
    ["those of another stack", filtered("/networks", "com.docker.stack.namespace=other"), []],
    ["configs of the stack", filtered("/configs", "com.docker.stack.namespace=shop"), ["c1"]],
    ["secrets of the stack", filtered("/secrets", "com.docker.stack.namespace=shop"), ["k2"]],
    ["a config by its name", filtered("/configs", "shop_env", "name"), ["c1"]],
    ["what has a name in it", filtered("/secrets", "shop", "name"), ["k2"]],
    ["nothing by another name", filtered("/configs", "other", "name"), []],
    ["all secrets", "/v1.41/secrets", ["k1", "k2", "future:new_secret"]],
    ["services of the stack", filtered("/services", "com.docker.stack.namespace=shop"), ["s1"]],
  ])("%s", async (_fact, path, ids) => {
    const { body } = await answered("GET", path);
    expect((body as { ID?: string; Id?: string }[]).map(({ ID, Id }) => ID ?? Id)).toEqual(ids);
  });

  test.each([
    ["an image that the registry refuses", "/v1.41/distribution/r.io/secret:v1/json", 401, "unauthorized"],
    [
      "an image that nobody asked about",
      "/v1.41/distribution/r.io/other/json",
      404,
      "the registry was not asked about r.io/other",
    ],
    ["a network that is not there", "/v1.41/networks/nope", 404, "network nope not found"],
    ["a config that is not there", "/v1.41/configs/nope", 404, "config nope not found"],
    ["a secret that is not there", "/v1.41/secrets/new_config", 404, "secret new_config not found"],
    [
      "something else altogether",
      "/v1.41/containers/json",
      404,
      "docker asked for /containers/json, which this stand-in for the manager does not know",
    ],
  ])("%s", async (_fact, path, status, message) => {
    expect(await answered("GET", path)).toMatchObject({ status, body: { message } });
  });

  test.each(["GET", "HEAD"])("%s /_ping, with which docker agrees on a version", async (method) => {
    expect(await answered(method, "/_ping")).toMatchObject({ status: 200, version: "1.41" });
  });
});

describe("docker's writes", () => {
  const spec = { Name: "shop_web", TaskTemplate: { ContainerSpec: { Env: ["A=ä🐳"] } } };

  test("of a rehearsal are noted, with credentials, and go nowhere", async () => {
    const replies: Reply[] = [];
    const writes: Write[] = [];
    await playing(
      async (host) => {
        replies.push(await ask(host, "POST", "/v1.41/services/create", spec, "auth"));
        replies.push(await ask(host, "POST", "/v1.41/services/s1/update?version=7", spec));
      },
      async (write) => await Promise.resolve(rehearsed(writes.push(write), write)),
    );
    expect(writes).toEqual([
      { method: "POST", path: "/services/create", body: spec, auth: "auth" },
      { method: "POST", path: "/services/s1/update", body: spec, auth: undefined },
    ]);
    expect(replies).toMatchObject([
      { status: 201, body: { ID: "rehearsed1", Id: "rehearsed1" } },
      { status: 200, body: {} },
    ]);
  });

  test("of a secret that a driver has are found again, under an id that tells what it stands for", async () => {
    const replies: Reply[] = [];
    await playing(
      async (host) => {
        const created = { Name: "shop_vault", Driver: { Name: "vault" } };
        replies.push(await ask(host, "GET", "/v1.41/secrets/shop_vault"));
        replies.push(await ask(host, "POST", "/v1.41/secrets/create", created));
        replies.push(await ask(host, "GET", filtered("/secrets", "shop_vault", "name")));
      },
      async (write) => await Promise.resolve(rehearsed(1, write)),
    );
    const ID = futureId("shop_vault");
    expect(replies.map(({ status }) => status)).toEqual([404, 201, 200]);
    expect(replies.slice(1).map(({ body }) => body)).toEqual([
      { ID, Id: ID },
      [{ ID, Spec: { Name: "shop_vault" } }],
    ]);
  });

  test.each([
    ["20.10 of Debian", "Docker-Client/20.10.24+dfsg1 (linux)", 20],
    ["28", "Docker-Client/28.2.2 (linux)", 28],
    ["one that does not say who it is", "", 0],
  ])("tell how far it has come: %s", async (_version, agent, major) => {
    const socket = join(folder.path, "d.sock");
    const docker = new DockerCli({}, new AbortController().signal);
    const told: string[] = [];
    const signs = {
      introduced: (it: number): void => void told.push(`docker ${it}`),
      sends: (): void => void told.push("sends"),
    };
    const played = async (): Promise<void> => {
      const say = async (method: string, path: string, body?: object): Promise<Reply> =>
        await asked(socket, method, path, body, { "user-agent": agent });
      await say("GET", "/_ping");
      await say("POST", "/v1.41/networks/create", { Name: "shop_default" });
      told.push("network");
      await say("POST", "/v1.41/services/create", spec);
      told.push("end");
    };
    await rehearse(STAGE, "1.41", socket, docker, played, signs);
    const isNews = (line: string, index: number): boolean => told.indexOf(line) === index;
    expect(told.filter(isNews)).toEqual([
      `docker ${major}`,
      "network",
      "sends",
      "end",
      ...(major === 0 ? [] : ["docker 0"]), // At the end, where it may be the first word.
    ]);
  });

  test("in earnest go to the manager as they are, and its answer goes back", async () => {
    const forwarded: string[] = [];
    const replies: Reply[] = [];
    await playing(
      async (host) =>
        void replies.push(
          await ask(host, "POST", "/v1.41/services/s1/update?version=7&registryAuthFrom=spec", spec),
        ),
      async (write, query) => {
        forwarded.push(`${write.method} ${write.path}${query}`);
        return await Promise.resolve({ status: 500, body: { message: "update out of sequence" } });
      },
    );
    expect(forwarded).toEqual(["POST /services/s1/update?version=7&registryAuthFrom=spec"]);
    expect(replies).toMatchObject([{ status: 500, body: { message: "update out of sequence" } }]);
  });

  test("that can't reach the manager are a bad gateway, in its words", async () => {
    const replies: Reply[] = [];
    await playing(
      async (host) => void replies.push(await ask(host, "POST", "/v1.41/services/create", spec)),
      async () => await Promise.reject(new Error("the connection was lost")),
    );
    expect(replies).toMatchObject([{ status: 502, body: { message: "the connection was lost" } }]);
  });
});

test("the stage is gone when the play is over, however it ended", async () => {
  let address = "";
  const broken = playing(async (host) => {
    address = host;
    await Promise.reject(new Error("docker failed"));
  });
  await expect(broken).rejects.toThrow("docker failed");
  await expect(ask(address, "GET", "/info")).rejects.toThrow(/ENOENT|ECONNREFUSED/);
});
