import { expect, test } from "@jest/globals";
import { driftSince } from "../../../src/release/drift.ts";
import { type Service, type ServiceSpec } from "../../../src/swarm.ts";
import { release } from "../../doubles/release.ts";
import { emptySurvey, service, serviceSpec } from "../../doubles/swarm.ts";

const OURS = { Labels: { "swarm-stack-deploy.managed": "true" } };
const onNetwork = (Target: string): ServiceSpec =>
  serviceSpec("app:v1", { TaskTemplate: { ContainerSpec: { Image: "app:v1" }, Networks: [{ Target }] } });

test("what somebody has put there may be a secret that nobody knows of", () => {
  const env = (...Env: string[]): ServiceSpec =>
    serviceSpec("app:v1", { TaskTemplate: { ContainerSpec: { Image: "app:v1", Env } } });
  const survey = emptySurvey({ services: [service({ spec: env("A=by hand", "B=by hand") })] });
  const services = [env("A=plain", "B=hunter22", "C=gone")];
  const recorded = release({ services, hidden: { shop_web: ["environment.B"] } });
  const [drift] = driftSince(recorded, "shop", survey, () => false);
  expect(drift?.details.map(({ field, before, after }) => [field, before, after])).toEqual([
    ["environment.A", "plain", undefined],
    ["environment.B", undefined, undefined],
    ["environment.C", "gone", undefined],
  ]);
});

test.each<[string, readonly ServiceSpec[], readonly Service[], string[]]>([
  ["nothing", [serviceSpec()], [service()], []],
  [
    "another number of replicas",
    [serviceSpec()],
    [service({ spec: serviceSpec("app:v1", { Mode: { Replicated: { Replicas: 3 } } }) })],
    ["changed web deploy.replicas"],
  ],
  ["a service that has gone", [serviceSpec()], [], ["removed web"]],
  ["a service of ours that has come", [], [service({ spec: serviceSpec("app:v1", OURS) })], ["added web"]],
  [
    "a service that `prune: false` has left",
    [],
    [service({ spec: serviceSpec("app:v1", OURS), createdAt: "2026-08-01T09:00:00Z" })],
    [],
  ],
  [
    "a restart that somebody has asked for",
    [serviceSpec()],
    [
      service({
        spec: serviceSpec("app:v1", { TaskTemplate: { ContainerSpec: { Image: "app:v1" }, ForceUpdate: 1 } }),
      }),
    ],
    [],
  ],
  ["a service of somebody else", [], [service()], []],
  ["a network that was made anew", [onNetwork("old")], [service({ spec: onNetwork("new") })], []],
  [
    "another network",
    [onNetwork("old")],
    [service({ spec: onNetwork("other") })],
    ["changed web networks.shop_net networks.shop_other"],
  ],
])("since the release there is %s", (_fact, services, live, expected) => {
  const survey = emptySurvey({
    services: live,
    networks: [
      { Name: "shop_net", Id: "new" },
      { Name: "shop_other", Id: "other" },
    ],
  });
  const recorded = release({ services, networks: [{ name: "shop_net", id: "old", definition: undefined }] });
  const found = driftSince(recorded, "shop", survey, () => false).map((each) =>
    [`${each.change} ${each.service}`, ...each.details.map(({ field }) => field)].join(" "),
  );
  expect(found).toEqual(expected);
});
