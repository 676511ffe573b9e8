import { describe, expect, test } from "@jest/globals";
import { definitionsOf } from "../../src/definitions.ts";
import { NO_DIGEST_YET } from "../../src/image/reference.ts";
import { type Json, type JsonObject } from "../../src/json.ts";
import { futureId, planDeployment } from "../../src/plan.ts";
import { networkIdsOf } from "../../src/spec.ts";
import { type ServiceSpec, type Survey } from "../../src/swarm.ts";
import { emptySurvey, serviceSpec } from "../doubles/swarm.ts";

const BUILT = `sha256:${"0a".repeat(32)}`;

function keyed(key: number, networks: readonly JsonObject[] = []): Survey {
  const bytes = Buffer.alloc(32, key);
  return emptySurvey({ networks, configs: [{ id: "k1", name: "swarm-stack-deploy_naming-key", bytes }] });
}

function definition(
  wanted: ServiceSpec,
  survey = keyed(1),
  built = "",
  mayBeSecret = true,
): string | undefined {
  const plan = planDeployment({
    stack: "shop",
    wanted: [{ spec: wanted, auth: undefined }],
    live: [],
    networkIds: networkIdsOf(survey.networks),
    prune: true,
    needs: { networks: [], configs: [], secrets: [] },
  });
  return definitionsOf(plan, survey, built, mayBeSecret).get("web");
}

function spec(container: JsonObject, template: JsonObject = {}, more: JsonObject = {}): ServiceSpec {
  return serviceSpec("app:v1", {
    ...more,
    TaskTemplate: { ContainerSpec: { Image: "app:v1", ...container }, ...template },
  });
}

const plain = spec({});

describe("another definition has other digits:", () => {
  test.each<[string, ServiceSpec, ServiceSpec]>([
    ["a variable", spec({ Env: ["DB_HOST=approved"] }), spec({ Env: ["DB_HOST=other"] })],
    ["a command", spec({ Args: ["approved"] }), spec({ Args: ["other"] })],
    ["a container's label", spec({ Labels: { rule: "a" } }), spec({ Labels: { rule: "b" } })],
    ["a service's label", spec({}, {}, { Labels: { rule: "a" } }), spec({}, {}, { Labels: { rule: "b" } })],
    ["replicas", spec({}, {}, { Mode: { Replicated: { Replicas: 0 } } }), plain],
    [
      "a network",
      spec({}, { Networks: [{ Target: "proxy" }] }),
      spec({}, { Networks: [{ Target: "other" }] }),
    ],
  ])("%s", (_fact, approved, other) => {
    expect(definition(approved)).toMatch(/^[0-9a-f]{64}$/);
    expect(definition(other)).not.toBe(definition(approved));
  });

  test("and so has the same one on another swarm", () => {
    expect(definition(plain, keyed(2))).not.toBe(definition(plain));
  });
});

test("where no secret is given, no key is needed, and none makes a difference", () => {
  const open = definition(plain, emptySurvey(), "", false);
  expect(open).toMatch(/^[0-9a-f]{64}$/);
  expect(definition(plain, keyed(1), "", false)).toBe(open);
  expect(definition(spec({ Env: ["A=1"] }), emptySurvey(), "", false)).not.toBe(open);
  expect(definition(plain, emptySurvey())).toBeUndefined();
});

describe("the same definition has the same digits:", () => {
  const configs = (...ids: string[]): Json =>
    ids.map((ConfigID, at): Json => ({ ConfigName: `c${at}`, ConfigID, File: { Name: `/c${at}` } }));

  test.each<[string, ServiceSpec, ServiceSpec]>([
    ["in another order", spec({ Env: ["A=1", "B=2"] }), spec({ Env: ["B=2", "A=1"] })],
    [
      "before and after its image is built",
      spec({ Image: `app:v1@${NO_DIGEST_YET}`, Env: [`DIGEST=${NO_DIGEST_YET}`] }),
      spec({ Image: `app:v1@${BUILT}`, Env: [`DIGEST=${BUILT}`] }),
    ],
    [
      "for the platforms that an image turns out to have",
      plain,
      spec({}, { Placement: { Platforms: [{ OS: "linux", Architecture: "amd64" }] } }),
    ],
    ["started anew by hand meanwhile", plain, spec({}, { ForceUpdate: 3 })],
    [
      "with ids that are not known before",
      spec({ Configs: configs(futureId("c0"), futureId("c1")) }),
      spec({ Configs: configs("z", "a") }),
    ],
    ["with defaults left out", plain, spec({}, { RestartPolicy: { Condition: "any" } })],
  ])("%s", (_fact, planned, deployed) => {
    expect(definition(deployed, keyed(1), BUILT)).toBe(definition(planned));
  });

  test("by another manager, whose own networks have other ids", () => {
    const hosted = (Target: string): ServiceSpec => spec({}, { Networks: [{ Target }, { Target: "m" }] });
    const [one, two] = ["a", "z"].map((Id) => definition(hosted("host"), keyed(1, [{ Name: "host", Id }])));
    expect(two).toBe(one);
  });
});

test("without a naming key nobody is helped to guess: there are no digits", () => {
  expect(definition(plain, emptySurvey())).toBeUndefined();
});
