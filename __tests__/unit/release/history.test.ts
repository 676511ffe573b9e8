import { describe, expect, test } from "@jest/globals";
import { ManagerRefusal } from "../../../src/errors.ts";
import { parseInputs } from "../../../src/inputs/inputs.ts";
import { type JsonObject } from "../../../src/json.ts";
import { type Plan, type PlannedService } from "../../../src/plan.ts";
import { type NewRelease, keepRelease, readHistory, staleAfter } from "../../../src/release/history.ts";
import { type Prepared } from "../../../src/prepare.ts";
import { decoded, recordsOf } from "../../../src/release/record.ts";
import { noFacts } from "../../../src/report.ts";
import { type NewObject, type ServiceSpec, type Survey, type Swarm } from "../../../src/swarm.ts";
import { recorded, release, stored } from "../../doubles/release.ts";
import { emptySurvey, service, serviceSpec } from "../../doubles/swarm.ts";
import { scriptedWorld } from "../../doubles/world.ts";

const WEB: PlannedService = {
  name: "web",
  change: "update",
  fields: ["image"],
  sameTemplate: false,
  wanted: serviceSpec("app:v2"),
  before: service(),
  auth: undefined,
};
const NEW: NewRelease = {
  facts: {
    version: "v9",
    image: "app:v9",
    digest: "sha256:0b",
    configName: "",
    commit: "abc",
    file: "x",
    hidden: { shop_web: ["environment.A"] },
  },
  configs: [],
  secrets: [],
  addressed: new Set(),
};

function planOf(...services: readonly PlannedService[]): Plan {
  return { stack: "shop", services, needs: { networks: [], configs: [], secrets: [] } };
}

const GIVEN: Readonly<Record<string, string>> = {
  "docker-host": "unix:///d.sock",
  project: "shop",
  "keep-releases": "2",
};

async function kept(
  survey: Partial<Survey>,
  swarm: Partial<Swarm> = {},
  plan = planOf(WEB),
  told = NEW,
  drift?: Prepared["drift"],
): Promise<{ transcript: readonly string[]; records: readonly NewObject[]; recordedAs: string }> {
  const records: NewObject[] = [];
  const world = scriptedWorld({
    files: {},
    specs: [],
    frames: [],
    swarm: {
      survey: async () => await Promise.resolve(emptySurvey({ services: [service()], ...survey })),
      createRecord: async (object) => await Promise.resolve(void records.push(object)),
      ...swarm,
    },
  });
  const inputs = parseInputs((name) => GIVEN[name] ?? "", world.run);
  const facts = noFacts();
  const session = await world.connect(undefined);
  await keepRelease(told, { plan, drift }, { inputs, world, facts }, session);
  const transcript = world.transcript.filter((line) => !line.startsWith("  > connect"));
  return { transcript, records, recordedAs: facts.recorded };
}

function made(name: string): JsonObject {
  const Labels = { "swarm-stack-deploy.stack": "shop", "swarm-stack-deploy.key": "env" };
  return { ID: `id-${name}`, Spec: { Name: name, Labels } };
}

describe("a good verdict", () => {
  test("makes a release of what runs, under the next number", async () => {
    const { records, transcript, recordedAs } = await kept({ rawConfigs: recorded(release({ number: 7 })) });
    expect(records.map(({ name }) => name)).toEqual(["swarm-stack-deploy_release_shop_8"]);
    expect(decoded(Buffer.from(records[0]?.bytes ?? []).toString())).toEqual(
      release({
        ...NEW.facts,
        number: 8,
        origin: 8,
        services: [service().spec],
        at: "2026-08-01T10:00:00.000Z",
      }),
    );
    expect(recordedAs).toBe("#8");
    expect(transcript).toContain("Recorded on the swarm as release #8 v9 (2026-08-01 10:00, abc).");
  });

  test("after a rollback it says which one it is again", async () => {
    const raw = [7, 3].flatMap((number) => recorded(release({ number })));
    const { records, recordedAs } = await kept({ rawConfigs: raw }, {}, planOf(WEB), { ...NEW, origin: 3 });
    expect(decoded(Buffer.from(records[0]?.bytes ?? []).toString())).toMatchObject({ number: 8, origin: 3 });
    expect(recordedAs).toBe("#8, #3 again");
  });

  test("where nothing was changed, nothing is asked and nothing is written", async () => {
    const { transcript } = await kept({}, {}, planOf({ ...WEB, change: "unchanged" }), NEW, []);
    expect(transcript).toEqual([]);
  });

  test("services that are not of the release are left out of it", async () => {
    const gone = { ...WEB, name: "gone", change: "remove", wanted: undefined } as const;
    const theirs = { ...WEB, name: "theirs", change: "foreign", wanted: undefined } as const;
    const services = ["web", "gone", "theirs"].map((name) => service({ id: name, name: `shop_${name}` }));
    const { records } = await kept({ services }, {}, planOf(WEB, gone, theirs));
    expect(decoded(Buffer.from(records[0]?.bytes ?? []).toString())).toMatchObject({
      services: [service().spec],
    });
  });
});

describe("tidying", () => {
  const needs = (number: number, config: string) => recorded(release({ number, configs: [config] }));
  const raw = [
    ...needs(7, "shop_env_7"),
    ...needs(6, "shop_env_6"),
    ...needs(5, "shop_env_5"),
    ...["shop_env_7", "shop_env_6", "shop_env_5"].map((name) => made(name)),
  ];

  test("takes old records, and what only they needed", async () => {
    const { transcript } = await kept({ rawConfigs: raw, rawSecrets: [made("shop_key_1")] });
    expect(transcript.filter((line) => line.includes("remove"))).toEqual([
      "  > swarm: remove config id-swarm-stack-deploy_release_shop_6",
      "  > swarm: remove config id-swarm-stack-deploy_release_shop_5",
      "  > swarm: remove config id-shop_env_6",
      "  > swarm: remove config id-shop_env_5",
      "  > swarm: remove secret id-shop_key_1",
    ]);
    expect(transcript).toContain("Removed swarm-stack-deploy_release_shop_6, the record of release #6.");
    expect(transcript).toContain(
      "Removed the config shop_env_5, which no service and no kept release needs.",
    );
  });

  describe("is known beforehand", () => {
    const using = (config: string): ServiceSpec =>
      serviceSpec("app:v1", {
        TaskTemplate: {
          ContainerSpec: { Configs: [{ ConfigName: config, ConfigID: `id-${config}` }] },
        },
      });
    const change = (changes: Partial<PlannedService> = {}): Plan => planOf({ ...WEB, ...changes });
    const stale = (plan: Plan, live = "shop_env_7", rawConfigs = raw): string[] => {
      const world = scriptedWorld({ files: {}, specs: [], frames: [] });
      const inputs = parseInputs((name) => GIVEN[name] ?? "", world.run);
      const rawServices = [{ ID: "s1", Spec: using(live) }];
      const names = { configs: ["shop_env_8"], secrets: [] };
      const survey = emptySurvey({ rawConfigs, rawServices });
      return staleAfter(plan, names, survey, { inputs, world, facts: noFacts() }).map(({ name }) => name);
    };

    test.each<[string, string[], string[]]>([
      ["is all that no kept release needs", stale(change()), ["shop_env_6", "shop_env_5"]],
      ["is not what a service uses until then", stale(change(), "shop_env_6"), ["shop_env_5"]],
      [
        "is what only a service needs that goes",
        stale(change({ change: "remove", wanted: undefined }), "shop_env_6"),
        ["shop_env_6", "shop_env_5"],
      ],
      [
        "is not what a new service needs",
        stale(change({ change: "create", before: undefined, wanted: using("shop_env_5") })),
        ["shop_env_6"],
      ],
      ["is nothing where nothing is to be changed", stale(change({ change: "unchanged" })), []],
    ])("and %s", (_fact, found, expected) => expect(found).toEqual(expected));
  });

  test("leaves what the previous spec of any service needs", async () => {
    const services = [{ PreviousSpec: { ConfigID: "id-shop_env_6" } }];
    const { transcript } = await kept(
      { rawConfigs: raw },
      { everyService: async () => await Promise.resolve(services) },
    );
    expect(transcript).not.toContain("  > swarm: remove config id-shop_env_6");
    expect(transcript).toContain("  > swarm: remove config id-shop_env_5");
  });

  test("leaves all configs while a record that is kept can't be read", async () => {
    const damaged = raw.map((each) =>
      JSON.stringify(each).includes("release_shop_7")
        ? { ...each, Spec: { ...(each.Spec as JsonObject), Data: "e30=" } }
        : each,
    );
    const { transcript } = await kept({ rawConfigs: damaged });
    expect(transcript.filter((line) => line.includes("> swarm: remove"))).toEqual([
      "  > swarm: remove config id-swarm-stack-deploy_release_shop_6",
      "  > swarm: remove config id-swarm-stack-deploy_release_shop_5",
    ]);
    expect(transcript).toContain(
      "So nobody knows what it needs, and configs and secrets of old releases stay.",
    );
  });

  test("that fails is a line in the log", async () => {
    const refusal = new ManagerRefusal(400, "DELETE", "in use");
    const { transcript, recordedAs } = await kept(
      { rawConfigs: raw },
      { removeObject: async () => await Promise.reject(refusal) },
    );
    expect(recordedAs).toBe("#8");
    expect(
      transcript.filter((line) => line.includes("could not be removed: The manager refused DELETE")),
    ).toHaveLength(4);
    expect(transcript.join("\n")).not.toContain("warning");
  });
});

describe("a record that can't be written", () => {
  const taken = new ManagerRefusal(409, "POST /configs/create", "already exists");

  test("is a warning, and nothing is tidied", async () => {
    const { transcript, recordedAs } = await kept(
      { rawConfigs: recorded(release({ number: 3 })) },
      { createRecord: async () => await Promise.reject(taken) },
    );
    expect(recordedAs).toBe("");
    expect(transcript.join("\n")).toMatch(
      /warning.*This release could not be recorded on the swarm: The manager refused POST \/configs\/create: already exists\./,
    );
    expect(transcript.join("\n")).not.toContain("swarm: remove");
  });

  test("leaves no part of it", async () => {
    const left: JsonObject[] = [];
    const { transcript } = await kept(
      {},
      {
        survey: async () => await Promise.resolve(emptySurvey({ rawConfigs: left, services: [service()] })),
        createRecord: async (each) => {
          if (each.name.endsWith("_part2")) throw taken;
          left.push(stored(each));
          await Promise.resolve();
        },
      },
      planOf(WEB),
      { ...NEW, facts: { ...NEW.facts, file: "x".repeat(1_200_000) } },
    );
    expect(transcript.filter((line) => line.includes("swarm: remove"))).toEqual([
      "  > swarm: remove config id-swarm-stack-deploy_release_shop_1",
      "  > swarm: remove config id-swarm-stack-deploy_release_shop_1_part3",
    ]);
  });
});

describe("reading back", () => {
  const world = scriptedWorld({ files: {}, specs: [], frames: [] });
  const read = (raw: readonly JsonObject[]) => readHistory(recordsOf(raw, "shop"), world);

  test("skips what can't be read, and says why", () => {
    const [odd] = recorded(release({ number: 2 }));
    const relabelled = JSON.parse(
      JSON.stringify(odd).replaceAll('release":"2"', 'release":"3"'),
    ) as JsonObject;
    const { releases, unreadable } = read([...recorded(release({ number: 1 })), relabelled]);
    expect(releases).toEqual([release({ number: 1 })]);
    expect(unreadable).toEqual([
      {
        message: "The record of release #3 on the swarm can't be read: it says that it is release #2.",
        hint: "Look at it with: docker config inspect swarm-stack-deploy_release_shop_2",
      },
    ]);
  });
});
