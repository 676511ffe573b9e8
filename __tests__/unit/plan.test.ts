import { describe, expect, test } from "@jest/globals";
import {
  type Needs,
  type PlanRequest,
  type PlannedService,
  changed,
  futureId,
  isEmpty,
  planDeployment,
  withRealIds,
} from "../../src/plan.ts";
import { networkIdsOf } from "../../src/spec.ts";
import { type Service, type ServiceSpec } from "../../src/swarm.ts";
import { service, serviceSpec } from "../doubles/swarm.ts";

const OURS = { "swarm-stack-deploy.managed": "true" };
const NO_NEEDS: Needs = { networks: [], configs: [], secrets: [] };

function plan(
  wanted: readonly ServiceSpec[],
  live: readonly Service[],
  changes: Partial<PlanRequest> = {},
): ReturnType<typeof planDeployment> {
  return planDeployment({
    stack: "shop",
    wanted: wanted.map((spec) => ({ spec, auth: "auth" })),
    live,
    networkIds: new Map(),
    prune: true,
    needs: NO_NEEDS,
    ...changes,
  });
}

function lines(services: readonly PlannedService[]): string[] {
  return services.map(({ name, change, fields }) => [`${change} ${name}`, ...fields].join(" "));
}

describe("what happens to a service", () => {
  test.each<[string, readonly ServiceSpec[], readonly Service[], string[]]>([
    ["one that does not run is created", [serviceSpec()], [], ["create web"]],
    ["one that runs as wanted is left", [serviceSpec()], [service()], ["unchanged web"]],
    ["one that differs is updated", [serviceSpec("app:v2")], [service()], ["update web image"]],
    [
      "one of ours that the file no longer has is removed",
      [],
      [service({ spec: serviceSpec("a", { Labels: OURS }) })],
      ["remove web"],
    ],
    ["one that is not ours is left and named", [], [service()], ["foreign web"]],
    [
      "a name outside of the stack stays whole",
      [serviceSpec("a", { Name: "other_web" })],
      [],
      ["create other_web"],
    ],
  ])("%s", (_fact, wanted, live, expected) => {
    expect(lines(plan(wanted, live).services)).toEqual(expected);
  });

  test("the services stand by name, in whichever order docker sends them", () => {
    const named = (name: string): ServiceSpec => serviceSpec("a", { Name: `shop_${name}` });
    const live = ["zoo", "api"].map((name) => service({ name: `shop_${name}`, spec: named(name) }));
    const orders = [
      [named("web"), named("db")],
      [named("db"), named("web")],
    ];
    for (const order of orders)
      expect(lines(plan(order, live).services)).toEqual([
        "foreign api",
        "create db",
        "create web",
        "foreign zoo",
      ]);
  });

  test("without prune nothing is removed", () => {
    expect(
      lines(plan([], [service({ spec: serviceSpec("a", { Labels: OURS }) })], { prune: false }).services),
    ).toEqual(["foreign web"]);
  });

  test("the plan holds what to send, what was there and the credentials that go along", () => {
    const before = service();
    expect(plan([serviceSpec("app:v2")], [before]).services).toMatchObject([
      { wanted: serviceSpec("app:v2"), before, auth: "auth" },
    ]);
  });

  test("a network is the same by name and by id", () => {
    const template = (Target: string): ServiceSpec =>
      serviceSpec("a", { TaskTemplate: { Networks: [{ Target }] } });
    const live = service({ spec: template("id1") });
    expect(
      lines(plan([template("shop_net")], [live], { networkIds: new Map([["shop_net", "id1"]]) }).services),
    ).toEqual(["unchanged web"]);
  });
});

const PREDEFINED = networkIdsOf([
  { Name: "shop_net", Id: "id1", Scope: "swarm" },
  { Name: "host", Id: "id2", Scope: "swarm" },
  { Name: "bridge", Id: "id3", Scope: "swarm" },
]);

test.each<[string, string, string, string]>([
  ["host", "host", "id2", "unchanged web"],
  ["bridge", "bridge", "id3", "unchanged web"],
  ["from host to bridge", "bridge", "id2", "update web networks"],
  ["from host to one that is yet to be made", "proxy", "id2", "update web networks"],
  ["from host to one of the swarm's", "shop_net", "unknown", "update web networks"],
  ["from one of the swarm's to host", "host", "id1", "update web networks"],
])("a network that every node has on its own: %s", (_fact, wanted, live, expected) => {
  const template = (Target: string): ServiceSpec =>
    serviceSpec("a", { TaskTemplate: { Networks: [{ Target }] } });
  const made = plan([template(wanted)], [service({ spec: template(live) })], { networkIds: PREDEFINED });
  expect(lines(made.services)).toEqual([expected]);
});

test.each<[string, ServiceSpec, string]>([
  ["environment", { TaskTemplate: { ContainerSpec: { Image: "app:v1", Env: ["A=1"] } } }, "environment"],
  [
    "configs",
    { TaskTemplate: { ContainerSpec: { Image: "app:v1", Configs: [{ ConfigName: "c" }] } } },
    "configs",
  ],
  [
    "secrets",
    { TaskTemplate: { ContainerSpec: { Image: "app:v1", Secrets: [{ SecretName: "s" }] } } },
    "secrets",
  ],
  ["command", { TaskTemplate: { ContainerSpec: { Image: "app:v1", Args: ["x"] } } }, "command"],
  ["entrypoint", { TaskTemplate: { ContainerSpec: { Image: "app:v1", Command: ["x"] } } }, "entrypoint"],
  [
    "volumes",
    { TaskTemplate: { ContainerSpec: { Image: "app:v1", Mounts: [{ Target: "/a" }] } } },
    "volumes",
  ],
  [
    "health check",
    { TaskTemplate: { ContainerSpec: { Image: "app:v1", Healthcheck: { Retries: 3 } } } },
    "healthcheck",
  ],
  ["user", { TaskTemplate: { ContainerSpec: { Image: "app:v1", User: "1000" } } }, "user"],
  ["replicas", { Mode: { Replicated: { Replicas: 3 } } }, "deploy.replicas"],
  ["mode", { Mode: { Global: {} } }, "deploy.mode"],
  ["ports", { EndpointSpec: { Ports: [{ TargetPort: 80 }] } }, "ports"],
  ["update settings", { UpdateConfig: { Order: "start-first" } }, "deploy.update_config"],
  ["rollback settings", { RollbackConfig: { Order: "start-first" } }, "deploy.rollback_config"],
  [
    "resources",
    { TaskTemplate: { ContainerSpec: { Image: "app:v1" }, Resources: { Limits: { NanoCPUs: 1 } } } },
    "deploy.resources",
  ],
  [
    "restart policy",
    { TaskTemplate: { ContainerSpec: { Image: "app:v1" }, RestartPolicy: { Condition: "none" } } },
    "deploy.restart_policy",
  ],
  [
    "placement",
    { TaskTemplate: { ContainerSpec: { Image: "app:v1" }, Placement: { Constraints: ["a==b"] } } },
    "deploy.placement",
  ],
  [
    "logging",
    { TaskTemplate: { ContainerSpec: { Image: "app:v1" }, LogDriver: { Name: "local" } } },
    "logging",
  ],
  [
    "networks",
    { TaskTemplate: { ContainerSpec: { Image: "app:v1" }, Networks: [{ Target: "n" }] } },
    "networks",
  ],
])("a difference is told in the stack file's words: %s", (_fact, change, words) => {
  const [planned] = plan([serviceSpec("app:v1", change)], [service()]).services;
  expect(planned?.fields).toEqual([words]);
  expect(planned?.sameTemplate).toBe(AROUND_THE_TASKS.has(words));
});

/** What a service can change without new tasks. */
const AROUND_THE_TASKS = new Set([
  "deploy.replicas",
  "deploy.mode",
  "deploy.labels",
  "deploy.update_config",
  "deploy.rollback_config",
]);

test.each<[string, ServiceSpec, string[], boolean]>([
  [
    "labels",
    { Labels: { "com.docker.stack.namespace": "shop", "com.docker.stack.image": "app:v1", a: "b" } },
    ["deploy.labels"],
    true,
  ],
  [
    "replicas and update settings",
    { Mode: { Replicated: { Replicas: 3 } }, UpdateConfig: { Order: "start-first" } },
    ["deploy.replicas", "deploy.update_config"],
    true,
  ],
  [
    "replicas and resources",
    {
      Mode: { Replicated: { Replicas: 3 } },
      TaskTemplate: { ContainerSpec: { Image: "app:v1" }, Resources: { Limits: { NanoCPUs: 1 } } },
    },
    ["deploy.replicas", "deploy.resources"],
    false,
  ],
])("whether the tasks stay as they are: %s", (_fact, change, words, same) => {
  const [planned] = plan([serviceSpec("app:v1", change)], [service()]).services;
  expect(planned).toMatchObject({ change: "update", sameTemplate: same });
  expect(planned?.fields.toSorted()).toEqual(words);
});

describe("is there anything to do?", () => {
  const update = [serviceSpec("app:v2")];
  test.each<[string, readonly ServiceSpec[], Partial<PlanRequest>, boolean, number]>([
    ["all as wanted", [serviceSpec()], {}, true, 0],
    ["a service nobody deployed through us", [], {}, true, 0],
    ["an update", update, {}, false, 1],
    ["a network to create", [serviceSpec()], { needs: { ...NO_NEEDS, networks: ["proxy"] } }, false, 0],
    ["a config to create", [serviceSpec()], { needs: { ...NO_NEEDS, configs: ["c"] } }, false, 0],
    ["a secret to create", [serviceSpec()], { needs: { ...NO_NEEDS, secrets: ["s"] } }, false, 0],
  ])("%s", (_fact, wanted, changes, empty, count) => {
    const made = plan(wanted, [service()], changes);
    expect(isEmpty(made)).toBe(empty);
    expect(changed(made)).toHaveLength(count);
  });

  test("a service to remove is something to do, and nothing to send", () => {
    const made = plan([], [service({ spec: serviceSpec("a", { Labels: OURS }) })]);
    expect(isEmpty(made)).toBe(false);
    expect(changed(made)).toEqual([]);
  });
});

test("what did not exist when the plan was made gets its real id", () => {
  const spec: ServiceSpec = {
    TaskTemplate: {
      Networks: [{ Target: futureId("proxy") }],
      ContainerSpec: {
        Configs: [{ ConfigID: futureId("c"), ConfigName: "c" }],
        Secrets: [{ SecretID: futureId("s"), SecretName: "s" }],
        Env: [`A=${futureId("c")}`],
      },
    },
  };
  expect(
    withRealIds(
      spec,
      new Map([
        ["proxy", "n1"],
        ["c", "c1"],
        ["s", "s1"],
      ]),
    ),
  ).toEqual({
    TaskTemplate: {
      Networks: [{ Target: "n1" }],
      ContainerSpec: {
        Configs: [{ ConfigID: "c1", ConfigName: "c" }],
        Secrets: [{ SecretID: "s1", SecretName: "s" }],
        Env: ["A=future:c"],
      },
    },
  });
});
