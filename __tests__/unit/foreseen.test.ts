import { describe, expect, test } from "@jest/globals";
import { type Foresight, foreseen } from "../../src/foreseen.ts";
import { NO_DIGEST_YET } from "../../src/image/reference.ts";
import { type JsonObject, textAt } from "../../src/json.ts";
import { futureId, planDeployment } from "../../src/plan.ts";
import { STACK_LABEL } from "../../src/stack/defaults.ts";
import { type VersionedObject } from "../../src/stack/configs.ts";
import { type RenderedStack } from "../../src/stack/render.ts";
import { parseStackFile } from "../../src/stack/stack-file.ts";
import { type Service, type ServiceSpec } from "../../src/swarm.ts";
import { emptySurvey, service } from "../doubles/swarm.ts";
import { renderedStack } from "../doubles/stack.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const REDIS = `redis:7@sha256:${"b".repeat(64)}`;
const NONE = { networks: [], configs: [], secrets: [] };

function stack(secret: string): RenderedStack {
  const object = (kind: "config" | "secret", key: string, name: string): VersionedObject => ({
    kind,
    key,
    name,
    bytes: new Uint8Array([1]),
    labels: new Map(),
    templateDriver: undefined,
  });
  return renderedStack(parseStackFile("services: {}", "stack.yml"), {
    objects: [object("config", "site", "shop_site_1"), object("secret", "key", secret)],
  });
}

function spec(
  name: string,
  image: string,
  containerSpec: JsonObject = {},
  rest: JsonObject = {},
): ServiceSpec {
  return {
    Name: `shop_${name}`,
    Labels: { [STACK_LABEL]: "shop", "com.docker.stack.image": image },
    TaskTemplate: { ContainerSpec: { Image: image, ...containerSpec }, ...rest },
  };
}

/** What docker made of the draft. */
const DRAFTED: readonly ServiceSpec[] = [
  spec("web", `r.io/shop:v1@${NO_DIGEST_YET}`, {
    Env: ["KEY=shop_key_draft", `DIGEST=${NO_DIGEST_YET}`],
    Configs: [{ ConfigName: "shop_site_1", ConfigID: futureId("shop_site_1") }],
    Secrets: [{ SecretName: "shop_key_draft", SecretID: futureId("shop_key_draft") }],
  }),
  spec("cache", "redis:7"),
];
/** What runs, which is the same. */
const WEB = spec(
  "web",
  `r.io/shop:v1@${DIGEST}`,
  {
    Env: ["KEY=shop_key_real", `DIGEST=${DIGEST}`],
    Configs: [{ ConfigName: "shop_site_1", ConfigID: "c1" }],
    Secrets: [{ SecretName: "shop_key_real", SecretID: "s1" }],
  },
  { Placement: { Platforms: [{ Architecture: "amd64", OS: "linux" }, { OS: "linux" }] } },
);
const CACHE = spec("cache", REDIS);
const NETWORK: JsonObject = { Name: "shop_default", Id: "n1", Labels: { [STACK_LABEL]: "shop" } };

function live(...specs: readonly ServiceSpec[]): readonly Service[] {
  return specs.map((each) => service({ name: textAt(each, "Name"), spec: each }));
}

const SURVEY = emptySurvey({
  services: live(WEB, CACHE),
  networks: [NETWORK],
  configs: [{ id: "c1", name: "shop_site_1", bytes: new Uint8Array([1]) }],
  secrets: [{ id: "s1", name: "shop_key_real" }],
});

const ALL_THE_SAME: Foresight = {
  draft: {
    stack: stack("shop_key_draft"),
    plan: planDeployment({
      stack: "shop",
      wanted: DRAFTED.map((each) => ({ spec: each, auth: undefined })),
      live: [],
      networkIds: new Map(),
      prune: false,
      needs: NONE,
      networks: ["shop_default"],
    }),
    said: "",
  },
  stack: stack("shop_key_real"),
  survey: SURVEY,
  digest: DIGEST,
  pins: new Map([["redis:7", REDIS]]),
  images: new Map([
    [
      `r.io/shop:v1@${DIGEST}`,
      {
        kind: "found",
        digest: DIGEST,
        body: {
          Platforms: [
            { architecture: "amd64", os: "linux" },
            { architecture: "arm", os: "linux", variant: "v7" },
          ],
        },
      },
    ],
  ]),
  needs: NONE,
  lacking: NONE,
  prune: true,
};

describe("the plan that does nothing", () => {
  test("is known from the draft, with the digests, names, ids and platforms of now in their places", () => {
    const services = foreseen(ALL_THE_SAME)?.services;
    expect(services?.map(({ name, change }) => [name, change])).toEqual([
      ["cache", "unchanged"],
      ["web", "unchanged"],
    ]);
  });

  const withLive = (...specs: readonly ServiceSpec[]): Partial<Foresight> => ({
    survey: { ...SURVEY, services: live(...specs) },
  });
  test.each<[string, Partial<Foresight>]>([
    ["another digest", { digest: `sha256:${"c".repeat(64)}` }],
    ["another digest of somebody else's image", { pins: new Map([["redis:7", `${REDIS}0`]]) }],
    ["an image that no registry knows", { images: new Map() }],
    ["another value", withLive(WEB, { ...CACHE, Labels: { ...(CACHE.Labels as JsonObject), a: "b" } })],
    ["a field that the draft does not have", withLive(WEB, spec("cache", REDIS, { Hostname: "x" }))],
    ["a service that is missing", withLive(WEB)],
    [
      "one that the file no longer has",
      withLive(WEB, CACHE, {
        ...spec("old", REDIS),
        Labels: { "swarm-stack-deploy.managed": "true", [STACK_LABEL]: "shop" },
      }),
    ],
    [
      "a config of another content",
      { survey: { ...SURVEY, configs: [{ id: "c2", name: "shop_site_1", bytes: new Uint8Array() }] } },
    ],
    ["a network that is missing", { survey: { ...SURVEY, networks: [] } }],
    ["a network that is not the stack's", { survey: { ...SURVEY, networks: [{ ...NETWORK, Labels: {} }] } }],
    ["something to create", { needs: { ...NONE, secrets: ["shop_key_real"] } }],
    ["something that is lacking", { lacking: { ...NONE, networks: ["proxy"] } }],
  ])("is left to docker: %s", (_fact, changes) => {
    expect(foreseen({ ...ALL_THE_SAME, ...changes })).toBeUndefined();
  });
});
