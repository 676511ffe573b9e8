import { describe, expect, test } from "@jest/globals";
import { canonicalSpec, differences, networkIdsOf } from "../../src/spec.ts";
import { type ServiceSpec } from "../../src/swarm.ts";

const NETWORKS = new Map([["shop_default", "net1"]]);

function compared(a: ServiceSpec, b: ServiceSpec): string[] {
  return differences(canonicalSpec(a, NETWORKS), canonicalSpec(b, NETWORKS));
}

function container(fields: ServiceSpec): ServiceSpec {
  return { TaskTemplate: { ContainerSpec: fields } };
}

describe("the same to a swarm", () => {
  test.each<[string, ServiceSpec, ServiceSpec]>([
    ["one replica, said or not", { Mode: { Replicated: { Replicas: 1 } } }, { Mode: { Replicated: {} } }],
    ["the engine's endpoint mode", { EndpointSpec: { Mode: "vip" } }, {}],
    [
      "the engine's update settings",
      {
        UpdateConfig: {
          Parallelism: 1,
          FailureAction: "pause",
          Monitor: 5_000_000_000,
          Order: "stop-first",
          MaxFailureRatio: 0,
        },
      },
      {},
    ],
    [
      "the engine's rollback settings",
      { RollbackConfig: { Parallelism: 1, FailureAction: "pause", Order: "stop-first" } },
      {},
    ],
    [
      "the engine's restart policy",
      { TaskTemplate: { RestartPolicy: { Condition: "any", Delay: 5_000_000_000, MaxAttempts: 0 } } },
      { TaskTemplate: {} },
    ],
    [
      "the engine's isolation and grace period",
      container({ Isolation: "default", StopGracePeriod: 10_000_000_000 }),
      container({}),
    ],
    ["the runtime", { TaskTemplate: { Runtime: "container" } }, {}],
    [
      "how a port is published",
      { EndpointSpec: { Ports: [{ TargetPort: 80, PublishMode: "ingress", Protocol: "tcp" }] } },
      { EndpointSpec: { Ports: [{ TargetPort: 80 }] } },
    ],
    [
      "nothing, empty and missing",
      { Labels: {}, TaskTemplate: { ContainerSpec: { Env: [], Hosts: null, Dir: "", TTY: false } } },
      {},
    ],
    [
      "the order of keys",
      { Name: "a", Labels: { x: "1", y: "2" } },
      { Labels: { y: "2", x: "1" }, Name: "a" },
    ],
    ["the order of variables", container({ Env: ["A=1", "B=2"] }), container({ Env: ["B=2", "A=1"] })],
    [
      "the order of mounts",
      container({ Mounts: [{ Target: "/a" }, { Target: "/b" }] }),
      container({ Mounts: [{ Target: "/b" }, { Target: "/a" }] }),
    ],
    [
      "the order of constraints",
      { TaskTemplate: { Placement: { Constraints: ["a==b", "c==d"] } } },
      { TaskTemplate: { Placement: { Constraints: ["c==d", "a==b"] } } },
    ],
    [
      "the order of ports",
      { EndpointSpec: { Ports: [{ TargetPort: 1 }, { TargetPort: 2 }] } },
      { EndpointSpec: { Ports: [{ TargetPort: 2 }, { TargetPort: 1 }] } },
    ],
    [
      "a network by name and by id",
      { TaskTemplate: { Networks: [{ Target: "shop_default" }] } },
      { TaskTemplate: { Networks: [{ Target: "net1" }] } },
    ],
    ["a global mode, said or empty", { Mode: { Global: {} } }, { Mode: { Global: {} } }],
  ])("%s", (_fact, a, b) => {
    expect(compared(a, b)).toEqual([]);
    expect(compared(b, a)).toEqual([]);
  });
});

describe("not the same to a swarm", () => {
  test.each<[string, ServiceSpec, ServiceSpec, string[]]>([
    [
      "no replicas and one",
      { Mode: { Replicated: { Replicas: 0 } } },
      { Mode: { Replicated: { Replicas: 1 } } },
      ["Mode.Replicated.Replicas"],
    ],
    [
      "no replicas and silence",
      { Mode: { Replicated: { Replicas: 0 } } },
      { Mode: { Replicated: {} } },
      ["Mode.Replicated.Replicas"],
    ],
    [
      "all at once and one by one",
      { UpdateConfig: { Parallelism: 0 } },
      { UpdateConfig: { Parallelism: 1 } },
      ["UpdateConfig.Parallelism"],
    ],
    [
      "no restart delay and the engine's",
      { TaskTemplate: { RestartPolicy: { Delay: 0 } } },
      {},
      ["TaskTemplate.RestartPolicy.Delay"],
    ],
    [
      "no grace period and the engine's",
      container({ StopGracePeriod: 0 }),
      container({}),
      ["TaskTemplate.ContainerSpec.StopGracePeriod"],
    ],
    [
      "global and replicated",
      { Mode: { Global: {} } },
      { Mode: { Replicated: { Replicas: 1 } } },
      ["Mode.Global"],
    ],
    [
      "an image",
      container({ Image: "a:1" }),
      container({ Image: "a:2" }),
      ["TaskTemplate.ContainerSpec.Image"],
    ],
    [
      "the order of a command",
      container({ Command: ["a", "b"] }),
      container({ Command: ["b", "a"] }),
      ["TaskTemplate.ContainerSpec.Command"],
    ],
    [
      "the order of arguments",
      container({ Args: ["a", "b"] }),
      container({ Args: ["b", "a"] }),
      ["TaskTemplate.ContainerSpec.Args"],
    ],
    [
      "an empty argument more",
      container({ Args: ["a", ""] }),
      container({ Args: ["a"] }),
      ["TaskTemplate.ContainerSpec.Args"],
    ],
    [
      "a variable's value",
      container({ Env: ["A=1"] }),
      container({ Env: ["A=2"] }),
      ["TaskTemplate.ContainerSpec.Env"],
    ],
    [
      "an empty variable and none",
      container({ Image: "a", Env: ["A="] }),
      container({ Image: "a" }),
      ["TaskTemplate.ContainerSpec.Env"],
    ],
    [
      "another network",
      { TaskTemplate: { Networks: [{ Target: "shop_default" }] } },
      { TaskTemplate: { Networks: [{ Target: "net2" }] } },
      ["TaskTemplate.Networks"],
    ],
    ["a label", { Labels: { a: "1", b: "2" } }, { Labels: { a: "1" } }, ["Labels.b"]],
    ["an empty label and none", { Labels: { a: "", b: "1" } }, { Labels: { b: "1" } }, ["Labels.a"]],
    [
      "an empty label of a container and none",
      container({ Image: "a", Labels: { a: "" } }),
      container({ Image: "a" }),
      ["TaskTemplate.ContainerSpec.Labels.a"],
    ],
    [
      "a network's name elsewhere",
      container({ Hostname: "shop_default" }),
      container({ Hostname: "net1" }),
      ["TaskTemplate.ContainerSpec.Hostname"],
    ],
    [
      "a port",
      { EndpointSpec: { Ports: [{ PublishedPort: 80 }] } },
      { EndpointSpec: { Ports: [{ PublishedPort: 81 }] } },
      ["EndpointSpec.Ports"],
    ],
    [
      "a config",
      container({ Configs: [{ ConfigName: "a" }] }),
      container({ Configs: [{ ConfigName: "b" }] }),
      ["TaskTemplate.ContainerSpec.Configs"],
    ],
    [
      "several things, in order",
      { Name: "b", Labels: { x: "1" } },
      { Name: "a", Labels: { x: "2" } },
      ["Labels.x", "Name"],
    ],
  ])("%s", (_fact, a, b, paths) => {
    expect(compared(a, b)).toEqual(paths);
    expect(compared(b, a)).toEqual(paths);
  });
});

test("comparing changes neither side", () => {
  const spec = container({ Env: ["B", "A"], Dir: "" });
  canonicalSpec(spec, NETWORKS);
  expect(spec).toEqual(container({ Env: ["B", "A"], Dir: "" }));
});

test("names of networks are mapped to the ids that specs hold; those that every node has on its own come with the swarm's id", () => {
  expect(
    networkIdsOf([
      { Name: "shop_default", Id: "net1", Scope: "swarm" },
      { Name: "host", Id: "a", Scope: "swarm" },
      { Name: "bridge", Id: "b", Scope: "swarm" },
    ]),
  ).toEqual(
    new Map([
      ["shop_default", "net1"],
      ["host", "a"],
      ["bridge", "b"],
    ]),
  );
});

test("how consistent a mount is to be is sent by docker, and kept by no engine", () => {
  const mounted = (more: ServiceSpec): ServiceSpec =>
    container({ Mounts: [{ Type: "bind", Source: "/a", Target: "/b", ...more }] });
  expect(compared(mounted({ Consistency: "cached" }), mounted({}))).toEqual([]);
});
