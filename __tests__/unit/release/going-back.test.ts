import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { type JsonObject } from "../../../src/json.ts";
import { futureId } from "../../../src/plan.ts";
import { chooseRelease, gone, noSuchRelease, renewed } from "../../../src/release/going-back.ts";
import { release } from "../../doubles/release.ts";
import { emptySurvey, service, serviceSpec } from "../../doubles/swarm.ts";

describe("which release", () => {
  const first = release({ number: 1 });
  const second = release({ number: 2 });
  const third = release({ number: 3 });
  /** The third was rolled back from. */
  const again = release({ number: 4, origin: 2, version: "v2" });

  test.each([
    ["the one before", [third, second, first], third, undefined, 2],
    ["the newest, where something else runs", [third, second], undefined, undefined, 3],
    [
      "after a rollback the one before it, never the one that was left",
      [again, third, second, first],
      again,
      undefined,
      1,
    ],
    ["none, where the first runs", [first], first, undefined, undefined],
    ["none, where what came before is no longer kept", [again, third], again, undefined, undefined],
    ["none at all", [], undefined, undefined, undefined],
    ["the newest of a version", [third, release({ number: 2, version: "v1" }), first], third, "v1", 2],
    ["not the one that runs, as long as there is another", [again, third, second], again, "v2", 2],
    ["the one that runs, where it is the only one", [third, second], third, "v3", 3],
    ["a version that runs in part", [third, second], undefined, "v3", 3],
    ["a number", [third, second, first], third, "#1", 1],
    ["no version that is a number", [third, second, first], third, "1", undefined],
    ["an unknown version", [third, second], third, "v9", undefined],
    ["an unknown number", [third, second], third, "#9", undefined],
  ])("%s", (_fact, releases, current, wanted, number) => {
    expect(chooseRelease(releases, current, wanted)?.number).toBe(number);
  });

  test.each([
    [[], undefined, /^The swarm has no release of shop to go back to\. Releases are recorded by/],
    [
      [first],
      undefined,
      /^The swarm has no release of shop before the one that runs\. There is: #1 v1 \(2026-08-01 10:00, 0123456\)\./,
    ],
    [
      [again, third],
      "v9",
      /^The swarm has no release v9 of shop\. There are: #4 v2 \(2026-08-01 10:00, 0123456, #2 again\); #3 v3/,
    ],
  ])("where there is none, those that there are are named (%#)", (releases, wanted, says) => {
    expect(inWords(noSuchRelease("shop", releases, wanted))).toMatch(says);
  });
});

describe("today's ids", () => {
  const spec = (ids: Readonly<Record<"network" | "config" | "secret", string>>) =>
    serviceSpec("app:v1", {
      TaskTemplate: {
        ContainerSpec: {
          Image: "app:v1",
          Configs: [{ ConfigName: "shop_env_1", ConfigID: ids.config }],
          Secrets: [{ SecretName: "shop_key_1", SecretID: ids.secret }],
          Privileges: { CredentialSpec: { Config: ids.config } },
        },
        Networks: [{ Target: ids.network, Aliases: ["web"] }],
      },
    });
  const old = release({
    services: [spec({ network: "n-old", config: "c-old", secret: "s-old" })],
    networks: [{ name: "shop_side", id: "n-old", definition: { Driver: "overlay" } }],
  });
  const config = { id: "c-new", name: "shop_env_1", bytes: Buffer.from("x") };
  const secret = { id: "s-new", name: "shop_key_1" };

  test("take the place of those of then, wherever they stand", () => {
    const networks = [{ Name: "shop_side", Id: "n-new" }];
    const now = renewed(old, emptySurvey({ networks, configs: [config], secrets: [secret] }));
    expect(now).toEqual({
      specs: [spec({ network: "n-new", config: "c-new", secret: "s-new" })],
      networks: [],
      remade: [
        { kind: "config", name: "shop_env_1" },
        { kind: "secret", name: "shop_key_1" },
      ],
      missing: [],
    });
  });

  test("one of ours has the same content under the same name, however often it is made", () => {
    const versioned = (Name: string): JsonObject => ({
      Spec: { Name, Labels: { "swarm-stack-deploy.key": "k" } },
    });
    const survey = emptySurvey({
      networks: [{ Name: "shop_side", Id: "n-new" }],
      configs: [config],
      secrets: [secret],
      rawConfigs: [versioned(config.name)],
      rawSecrets: [versioned(secret.name)],
    });
    expect(renewed(old, survey).remade).toEqual([]);
  });

  test("how often somebody has asked for a restart stays as it is", () => {
    const forced = (count: number) =>
      serviceSpec("app:v1", {
        TaskTemplate: { ContainerSpec: { Image: "app:v1" }, ForceUpdate: count },
      });
    const survey = emptySurvey({ services: [service({ spec: forced(3) })] });
    expect(renewed(release({ services: [serviceSpec()] }), survey).specs).toEqual([forced(3)]);
    expect(renewed(release({ services: [forced(1)] }), survey).specs).toEqual([forced(3)]);
  });

  test("a network of the stack that is gone gets its id when it is made", () => {
    const now = renewed(old, emptySurvey({ configs: [config], secrets: [secret] }));
    expect(now.specs).toEqual([spec({ network: futureId("shop_side"), config: "c-new", secret: "s-new" })]);
    expect(now.networks.map(({ name }) => name)).toEqual(["shop_side"]);
    expect(now.missing).toEqual([]);
  });

  test("what can't be made from the record is missing", () => {
    const foreign = { ...old, networks: [{ name: "proxy", id: "n-old", definition: undefined }] };
    const { missing } = renewed(foreign, emptySurvey());
    expect(missing).toEqual([
      { kind: "config", name: "shop_env_1" },
      { kind: "secret", name: "shop_key_1" },
      { kind: "network", name: "proxy" },
    ]);
    expect(missing.map((each) => inWords(gone(each, foreign)))).toEqual([
      expect.stringMatching(
        /^The release #1 v1 \(.*\) needs the config shop_env_1, which is no longer on the swarm\. Nothing was changed\. Deploy v1 again/,
      ),
      expect.stringMatching(/needs the secret shop_key_1/),
      expect.stringMatching(
        /needs the network proxy.* Create it: docker network create --driver overlay proxy\.$/,
      ),
    ]);
  });

  test("an id that is another thing's by now is not taken for it", () => {
    // The network's new id is what the config's was.
    const networks = [{ Name: "shop_side", Id: "c-old" }];
    const now = renewed(old, emptySurvey({ networks, configs: [config], secrets: [secret] }));
    expect(now.specs).toEqual([spec({ network: "c-old", config: "c-new", secret: "s-new" })]);
  });
});
