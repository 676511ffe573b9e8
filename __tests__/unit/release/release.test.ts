import { describe, expect, test } from "@jest/globals";
import { type JsonObject } from "../../../src/json.ts";
import { releaseOf, staleObjects } from "../../../src/release/release.ts";
import { release } from "../../doubles/release.ts";
import { emptySurvey, service, serviceSpec } from "../../doubles/swarm.ts";

function object(kind: "config" | "secret", name: string, labels: JsonObject = OURS): JsonObject {
  return {
    ID: `id-${name}`,
    Spec: { Name: name, Labels: labels, ...(kind === "config" ? { Data: "" } : {}) },
  };
}

const OURS = { "swarm-stack-deploy.stack": "shop", "swarm-stack-deploy.key": "env" };

describe("what runs becomes a release", () => {
  const network = (name: string, labels: JsonObject): JsonObject => ({
    Name: name,
    Id: `id-${name}`,
    Driver: "overlay",
    Attachable: false,
    Labels: labels,
    Options: { "com.docker.network.driver.overlay.vxlanid_list": "4097", encrypted: "" },
    IPAM: { Config: [{ Subnet: "10.0.9.0/24" }] },
    Peers: [],
  });
  const spec = serviceSpec("app:v1", {
    TaskTemplate: {
      ContainerSpec: { Configs: [{ ConfigName: "shop_env_1", ConfigID: "c1" }] },
      Networks: [{ Target: "id-shop_side" }, { Target: "id-proxy" }],
    },
  });
  const made = (addressed: readonly string[] = []) =>
    releaseOf(
      release({ services: [] }),
      {
        stack: "shop",
        services: new Set(["shop_web"]),
        configs: ["shop_unused_1", "shop_env_1"],
        secrets: ["shop_key_1"],
        addressed: new Set(addressed),
      },
      emptySurvey({
        services: [service({ spec }), service({ id: "s2", name: "shop_foreign" })],
        networks: [
          network("shop_side", { "com.docker.stack.namespace": "shop" }),
          network("proxy", {}),
          network("unused", {}),
        ],
      }),
    );

  test("with its services as the swarm stores them, and with all that was made for it", () => {
    const { services, configs, secrets } = made();
    expect(services).toEqual([spec]);
    expect({ configs, secrets }).toEqual({
      configs: ["shop_env_1", "shop_unused_1"],
      secrets: ["shop_key_1"],
    });
  });

  test("with its networks; those of the stack can be made again, and the swarm chooses again what it had chosen", () => {
    const definition = {
      Driver: "overlay",
      Attachable: false,
      Labels: { "com.docker.stack.namespace": "shop" },
      Options: { encrypted: "" },
    };
    expect(made().networks).toEqual([
      { name: "shop_side", id: "id-shop_side", definition },
      { name: "proxy", id: "id-proxy", definition: undefined },
    ]);
    expect(made(["shop_side"]).networks[0]?.definition).toEqual({
      ...definition,
      IPAM: { Config: [{ Subnet: "10.0.9.0/24" }] },
    });
  });
});

describe("what may be tidied", () => {
  const stale = (services: readonly JsonObject[], labels: JsonObject = OURS): string[] => {
    const survey = emptySurvey({
      rawConfigs: [object("config", "shop_env_1", labels)],
      rawSecrets: [object("secret", "shop_key_1", labels)],
    });
    return staleObjects("shop", survey, services, [release({ configs: ["shop_env_9"], secrets: [] })]).map(
      ({ kind, name }) => `${kind} ${name}`,
    );
  };

  test("is what nothing needs", () => {
    expect(stale([])).toEqual(["config shop_env_1", "secret shop_key_1"]);
  });

  test.each(["Spec", "PreviousSpec"])("not what a service of any stack has in its %s", (where) => {
    expect(stale([{ [where]: { Configs: [{ ConfigID: "id-shop_env_1" }] } }])).toEqual(["secret shop_key_1"]);
  });

  test.each([
    ["of another stack", { ...OURS, "swarm-stack-deploy.stack": "shop2" }],
    ["of somebody else", { "com.docker.stack.namespace": "shop" }],
    ["that is a record", { "swarm-stack-deploy.stack": "shop", "swarm-stack-deploy.release": "1" }],
  ])("not one %s", (_fact, labels) => {
    expect(stale([], labels)).toEqual([]);
  });

  test("not what a kept release names", () => {
    const survey = emptySurvey({ rawConfigs: [object("config", "shop_env_9")] });
    expect(staleObjects("shop", survey, [], [release({ configs: ["shop_env_9"] })])).toEqual([]);
  });
});
