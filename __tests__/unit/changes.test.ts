import { describe, expect, test } from "@jest/globals";
import { type ChangesRequest, changesOf, countOf } from "../../src/changes.ts";
import {
  type Consequence,
  type Discretion,
  fieldChanges,
  holdsSecret,
  plainSince,
  secretFields,
} from "../../src/field-changes.ts";
import { differingParts, planDigest } from "../../src/plan-digest.ts";
import { NO_DIGEST_YET } from "../../src/image/reference.ts";
import { type Json, type JsonObject } from "../../src/json.ts";
import {
  type Plan,
  type PlanRequest,
  futureId,
  isEmpty,
  planDeployment,
  withPlatformsOf,
} from "../../src/plan.ts";
import { networkIdsOf } from "../../src/spec.ts";
import { type NewObject, type ServiceSpec } from "../../src/swarm.ts";
import { offences } from "../doubles/schema.ts";
import { emptySurvey, node, service, serviceSpec, task } from "../doubles/swarm.ts";

const OURS = { "swarm-stack-deploy.managed": "true", "com.docker.stack.namespace": "shop" };
const NETWORKS = networkIdsOf([{ Name: "shop_net", Id: "id1" }]);

function template(container: JsonObject, more: JsonObject = {}): ServiceSpec {
  return serviceSpec("app:v1", {
    TaskTemplate: { ContainerSpec: { Image: "app:v1", ...container }, ...more },
  });
}

/** `~ deploy.replicas: 1 → 3 (in place)` */
function told(before: ServiceSpec, wanted: ServiceSpec, secrets: readonly string[] = []): string[] {
  return fieldChanges(before, wanted, NETWORKS, discretion(secrets)).map(
    ({ field, change, before: from, after: to, consequence }) =>
      `${field} ${change}: ${from ?? ""} → ${to ?? ""} (${consequence})`,
  );
}

/** All values were made of no secret, but for those. */
function discretion(secrets: readonly string[] = []): Discretion {
  return { isSecret: (text) => holdsSecret(text, secrets), before: () => true, after: () => true };
}

describe("a field", () => {
  test.each<[string, ServiceSpec, ServiceSpec, string[]]>([
    ["nothing", serviceSpec(), serviceSpec(), []],
    [
      "image",
      serviceSpec("app:v1"),
      serviceSpec("app:v2"),
      ["image changed: app:v1 → app:v2 (restarts tasks)"],
    ],
    [
      "an image that is yet to be built",
      serviceSpec("app:v1"),
      serviceSpec(`app:v2@${NO_DIGEST_YET}`),
      ["image changed: app:v1 → app:v2 (new image) (restarts tasks)"],
    ],
    [
      "start-first",
      serviceSpec("app:v1", { UpdateConfig: { Order: "start-first" } }),
      serviceSpec("app:v2", { UpdateConfig: { Order: "start-first" } }),
      ["image changed: app:v1 → app:v2 (rolling)"],
    ],
    [
      "the value of a variable",
      template({ Env: ["A=1", "B=2", "C=3"] }),
      template({ Env: ["A=1", "B=3", "D=4"] }),
      [
        "environment.B changed: 2 → 3 (restarts tasks)",
        "environment.C removed: 3 →  (restarts tasks)",
        "environment.D added:  → 4 (restarts tasks)",
      ],
    ],
    [
      "a label",
      template({ Labels: { "a.b": "x" } }),
      template({ Labels: { "a.b": "y" } }),
      ["labels.a.b changed: x → y (restarts tasks)"],
    ],
    [
      "a command",
      template({ Args: ["serve", "--port", "80"] }),
      template({ Args: ["sh", "-c", "serve  all", ""] }),
      ['command changed: serve --port 80 → sh -c "serve all" "" (restarts tasks)'],
    ],
    [
      "a health check's command, and its times",
      template({ Healthcheck: { Test: ["CMD", "x"], Interval: 5e9 } }),
      template({ Healthcheck: { Test: ["CMD", "y"], Interval: 90e9 } }),
      [
        "healthcheck.interval changed: 5s → 1m30s (restarts tasks)",
        "healthcheck.test changed: CMD x → CMD y (restarts tasks)",
      ],
    ],
    [
      "another version of a config",
      template({ Configs: [{ ConfigName: "e_1", ConfigID: "1", File: { Name: "/.env" } }] }),
      template({ Configs: [{ ConfigName: "e_2", ConfigID: futureId("e_2"), File: { Name: "/.env" } }] }),
      ["configs./.env changed: e_1 → e_2 (restarts tasks)"],
    ],
    [
      "a volume's options",
      template({ Mounts: [{ Type: "volume", Source: "data", Target: "/d" }] }),
      template({
        Mounts: [
          {
            Type: "volume",
            Source: "data",
            Target: "/d",
            VolumeOptions: { DriverConfig: { Options: { o: "password=x" } } },
          },
        ],
      }),
      ["volumes./d changed:  →  (restarts tasks)"],
    ],
    [
      "networks by their names",
      template({}, { Networks: [{ Target: "id1", Aliases: ["web"] }] }),
      template({}, { Networks: [{ Target: futureId("shop_new"), Aliases: ["web"] }] }),
      [
        "networks.shop_net removed: web →  (restarts tasks)",
        "networks.shop_new added:  → web (restarts tasks)",
      ],
    ],
    [
      "ports",
      serviceSpec("app:v1"),
      serviceSpec("app:v1", { EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] } }),
      ["ports.80/tcp added:  → 8080 (ingress) (restarts tasks)"],
    ],
    [
      "resources",
      template({}, { Resources: { Limits: { MemoryBytes: 536870912, NanoCPUs: 5e8 } } }),
      template({}, { Resources: { Limits: { MemoryBytes: 1073741824, NanoCPUs: 5e8 } } }),
      ["deploy.resources.limits.memory changed: 512M → 1G (restarts tasks)"],
    ],
    [
      "what the engine makes of nothing",
      serviceSpec("app:v1"),
      serviceSpec("app:v1", { Mode: { Replicated: { Replicas: 3 } }, UpdateConfig: { Delay: 2e9 } }),
      ["deploy.replicas changed: 1 → 3 (in place)", "deploy.update_config.delay added:  → 2s (nothing)"],
    ],
    [
      "what an image's digest stands for is not told twice",
      template({}, { Placement: { Platforms: [{ OS: "linux" }] } }),
      serviceSpec("app:v1", { TaskTemplate: { ContainerSpec: { Image: "app:v2" } } }),
      ["image changed: app:v1 → app:v2 (restarts tasks)"],
    ],
    [
      "how a service's name is resolved",
      serviceSpec("app:v1", { EndpointSpec: { Mode: "vip" } }),
      serviceSpec("app:v1", { EndpointSpec: { Mode: "dnsrr" } }),
      ["deploy.endpoint_mode changed: vip → dnsrr (restarts tasks)"],
    ],
    [
      "of a job, which runs again at every update",
      serviceSpec("app:v1", { Mode: { ReplicatedJob: {} }, Labels: { a: "1" } }),
      serviceSpec("app:v1", { Mode: { ReplicatedJob: {} }, Labels: { a: "2" } }),
      ["deploy.labels.a changed: 1 → 2 (starts tasks)"],
    ],
  ])("%s", (_fact, before, wanted, expected) => {
    expect(told(before, wanted)).toEqual(expected);
  });

  test.each([
    ["is part of the value", "hunter22", true],
    ["is the whole value, and short", "x", false],
    ["is short, and part of another value", "hun", false],
  ])("is not told where a secret %s", (_fact, secret, hidden) => {
    const [line] = told(template({ User: "root" }), template({ User: "hunter22x" }), [secret]);
    expect(line?.includes("hunter")).toBe(!hidden);
  });

  test("is not told where a secret as short as it is the value", () => {
    expect(told(template({ User: "a" }), template({ User: "b" }), ["b"])).toEqual([
      "user changed:  →  (restarts tasks)",
    ]);
  });
});

type Told = readonly [before: string | undefined, after: string | undefined];

/** What is told of a variable that was the one and becomes the other. */
function toldOf(name: string, from: string, to: string, known: Partial<Discretion> = {}): Told {
  const [change] = fieldChanges(
    template({ Env: [`${name}=${from}`] }),
    template({ Env: [`${name}=${to}`] }),
    NETWORKS,
    { ...discretion(["hunter22"]), ...known },
  );
  expect(change).toMatchObject({ field: `environment.${name}`, change: "changed" });
  return [change?.before, change?.after];
}

describe("a value that may be anything", () => {
  const LONG = "word ".repeat(40);
  const HIDDEN: Told = [undefined, undefined];

  test.each<[string, Parameters<typeof toldOf>, Told]>([
    ["is shown", ["LOG_LEVEL", "info", "debug"], ["info", "debug"]],
    ["is shown where it is empty", ["LOG_LEVEL", "", "debug"], ["", "debug"]],
    ["that held a known secret is hidden with what comes", ["GREETING", "x hunter22", "hello"], HIDDEN],
    ["that gets a known secret is hidden with what was", ["GREETING", "hello", "x hunter22"], HIDDEN],
    ["with the name of a credential is hidden", ["DB_PASSWORD", "a", "b"], HIDDEN],
    ["that looked like one is hidden", ["DB", "pg://u:p@db", "db"], HIDDEN],
    ["that comes to look like one is hidden", ["DB", "db", "pg://u:p@db"], HIDDEN],
    [
      "that nobody knows to have been no secret is hidden alone",
      ["GREETING", "old", "new", { before: () => false }],
      [undefined, "new"],
    ],
    ["that may become a secret, too", ["GREETING", "old", "new", { after: () => false }], ["old", undefined]],
    ["is one line", ["TEXT", "a\n::error::b", "a\r\tb\u001b[31mc"], ["a ::error::b", "a bc"]],
    ["is shortened", ["TEXT", "a", LONG], ["a", `${LONG.slice(0, 80)}…`]],
    ["has no half letters", ["TEXT", "a", "😀".repeat(90)], ["a", `${"😀".repeat(40)}…`]],
    ["that differs in what is not shown of it is told as changed", ["TEXT", LONG, `${LONG}more`], HIDDEN],
    ["that differs in blanks alone is told as changed", ["TEXT", "a b", "a\nb"], HIDDEN],
  ])("%s", (_fact, given, expected) => {
    expect(toldOf(...given)).toEqual(expected);
  });

  test("is held against what is known with its field and as a whole", () => {
    const asked: string[] = [];
    const before = (field: string, value: string): boolean => asked.push(`${field}=${value}`) > 0;
    toldOf("TEXT", LONG, "b", { before });
    expect(asked).toEqual([`environment.TEXT=${LONG}`]);
  });

  test.each<[string, JsonObject, string]>([
    ["a host", { Hosts: ["10.0.0.1 db"] }, "extra_hosts: 10.0.0.1 db"],
    ["name servers", { DNSConfig: { Nameservers: ["1.1.1.1", "9.9.9.9"] } }, "dns: 1.1.1.1, 9.9.9.9"],
    ["a sysctl", { Sysctls: { "net.core.somaxconn": "1024" } }, "sysctls.net.core.somaxconn: 1024"],
    ["an entrypoint", { Command: ["/run", "--now"] }, "entrypoint: /run --now"],
    ["a command with a password", { Args: ["serve", "--password", "x"] }, "command: "],
    [
      "a health check with one",
      { Healthcheck: { Test: ["CMD", "ping", "-phunter2"] } },
      "healthcheck.test: ",
    ],
    [
      "Traefik's users",
      { Labels: { "traefik.x.basicauth.users": "a:b" } },
      "labels.traefik.x.basicauth.users: ",
    ],
  ])("%s", (_what, container, expected) => {
    const details = fieldChanges(template({}), template(container), NETWORKS, discretion());
    expect(details.map(({ field, after = "" }) => `${field}: ${after}`)).toEqual([expected]);
  });

  test("that logs are sent with", () => {
    const log = (Options: JsonObject): ServiceSpec =>
      template({}, { LogDriver: { Name: "splunk", Options } });
    const [before, wanted] = [log({ tag: "a", "splunk-token": "a" }), log({ tag: "b", "splunk-token": "b" })];
    expect(told(before, wanted)).toEqual([
      "logging.options.splunk-token changed:  →  (restarts tasks)",
      "logging.options.tag changed: a → b (restarts tasks)",
    ]);
  });
});

test.each<[string, string, readonly string[], boolean]>([
  ["the whole text", "hunter22", ["hunter22"], true],
  ["a part of it", "x=hunter22;", ["hunter22"], true],
  ["short, and the whole text", "abc", ["abc"], true],
  ["short, and a part of it", "abcd", ["abc"], false],
  ["of several lines, and in JSON", '{"a":"one\\ntwo"}', ["one\ntwo"], true],
  ["empty, as a fork is given it", "", [""], false],
])("a secret that is %s", (_fact, text, secrets, expected) => {
  expect(holdsSecret(text, secrets)).toBe(expected);
});

describe("what a release knows", () => {
  const env = (...Env: string[]): ServiceSpec =>
    template({ Env, Args: ["serve", "hunter22"], User: "hunter22" });
  const specs = [env("A=1", "B=hunter22"), { ...env("A=2"), Name: "shop_other" }, serviceSpec()];
  const hidden = secretFields(specs.slice(0, 2), NETWORKS, (text) => text.includes("hunter22"));

  test("is which fields hold a secret, by their names alone", () => {
    expect(hidden).toEqual({ shop_web: ["command", "environment.B"], shop_other: ["command"] });
    expect(secretFields(specs, NETWORKS, () => false)).toEqual({});
  });

  test.each<[string, [string, string, string], boolean]>([
    ["that it has left there", ["shop_web", "environment.A", "1"], true],
    ["that somebody has changed since", ["shop_web", "environment.A", "2"], false],
    ["that held a secret", ["shop_web", "environment.B", "hunter22"], false],
    ["that has replaced a secret since", ["shop_web", "environment.B", "plain"], false],
    ["of a field that it did not have", ["shop_web", "environment.C", "1"], false],
    ["of a service that it did not have", ["shop_new", "environment.A", "1"], false],
  ])("a value %s", (_fact, [name, field, value], plain) => {
    expect(plainSince({ services: specs, hidden }, NETWORKS)(name)(field, value)).toBe(plain);
  });

  test("is nothing where it is older than the question, or where there is none", () => {
    expect(
      plainSince({ services: specs, hidden: undefined }, NETWORKS)("shop_web")("environment.A", "1"),
    ).toBe(false);
    expect(plainSince(undefined, NETWORKS)("shop_web")("environment.A", "1")).toBe(false);
  });
});

function object(kind: NewObject["kind"], name: string, key: string): NewObject {
  const labels = new Map([["swarm-stack-deploy.key", key]]);
  return { kind, name, bytes: Buffer.from("x"), labels, templateDriver: undefined };
}

function stored(name: string, labels: JsonObject): JsonObject {
  return { ID: `id-${name}`, Spec: { Name: name, Labels: labels } };
}

const withConfigs = (...names: string[]): ServiceSpec =>
  serviceSpec("app:v1", {
    Labels: OURS,
    TaskTemplate: {
      ContainerSpec: { Image: "app:v1", Configs: names.map((ConfigName): Json => ({ ConfigName })) },
    },
  });

function planned(changes: Partial<PlanRequest>): Plan {
  const needs = { networks: [], configs: [], secrets: [] };
  return planDeployment({
    stack: "shop",
    wanted: [],
    live: [],
    networkIds: NETWORKS,
    prune: true,
    needs,
    ...changes,
  });
}

const placed = (constraint: string, image = "app:v1"): ServiceSpec =>
  serviceSpec(image, {
    TaskTemplate: { ContainerSpec: { Image: image }, Placement: { Constraints: [constraint] } },
  });

test.each<[string, ServiceSpec, Consequence[]]>([
  ["that its nodes satisfy replaces nothing", placed("node.labels.disk == ssd"), ["nothing", "nothing"]],
  [
    "that drives a task away replaces it",
    placed("node.labels.disk == old"),
    ["restarts tasks", "restarts tasks"],
  ],
  [
    "beside another image",
    placed("node.labels.disk == ssd", "app:v2"),
    ["restarts tasks", "restarts tasks", "nothing"],
  ],
])("a new placement %s", (_fact, wanted, expected) => {
  const live = service({ spec: serviceSpec("app:v1") });
  const survey = emptySurvey({
    services: [live],
    tasks: [task(), task({ id: "t0", nodeId: "gone", state: "shutdown", desiredState: "shutdown" })],
    nodes: [node({ labels: { disk: "ssd" } })],
  });
  const plan = planned({ wanted: [{ spec: wanted, auth: undefined }], live: [live] });
  const [web] = words(plan, { survey }).services;
  expect([web?.consequence, ...(web?.details ?? []).map(({ consequence }) => consequence)]).toEqual(expected);
});

describe("a global service whose constraints change", () => {
  const nodes = [node({ id: "m", role: "manager" }), node({ id: "w1" }), node({ id: "w2" })];
  const WORKERS = "node.role == worker";
  const MANAGERS = "node.role == manager";
  const NONE = "node.labels.disk == ssd";
  const global = (constraints: readonly string[], image = "app:v1", mode = "Global"): ServiceSpec =>
    serviceSpec(image, {
      Mode: { [mode]: {} },
      UpdateConfig: { Order: "start-first" },
      TaskTemplate: { ContainerSpec: { Image: image }, Placement: { Constraints: constraints } },
    });
  const consequence = (
    before: ServiceSpec,
    wanted: ServiceSpec,
    on: readonly string[],
    known = nodes,
  ): Consequence | undefined => {
    const live = service({ spec: before });
    const tasks = on.map((id) => task({ id: `on-${id}`, nodeId: id }));
    const survey = emptySurvey({ services: [live], tasks, nodes: known });
    const plan = planned({ wanted: [{ spec: wanted, auth: undefined }], live: [live] });
    return words(plan, { survey }).services[0]?.consequence;
  };

  test.each<[string, string[], string[], string[], Consequence]>([
    ["to more nodes", [WORKERS], [], ["w1", "w2"], "in place"],
    ["to fewer nodes", [], [WORKERS], ["m", "w1", "w2"], "in place"],
    ["from none to some", [NONE], [WORKERS], [], "starts tasks"],
    ["from some to none", [MANAGERS], [NONE], ["m"], "ends tasks"],
    ["to others", [MANAGERS], [WORKERS], ["m"], "moves tasks"],
    ["to others in part", ["node.id != w1"], ["node.id != w2"], ["m", "w2"], "moves tasks"],
    ["to the same ones in other words", [WORKERS], ["node.role != manager"], ["w1", "w2"], "nothing"],
    ["from none to none", [NONE], ["node.labels.disk == hdd"], [], "nothing"],
  ])("%s", (_fact, before, wanted, on, expected) => {
    expect(consequence(global(before), global(wanted), on)).toBe(expected);
  });

  test.each<[string, string[], string[], string[], Consequence]>([
    ["where tasks stay, rolls them", [WORKERS], [], ["w1", "w2"], "rolling"],
    ["where none is left, rolls nothing", [MANAGERS], [NONE], ["m"], "ends tasks"],
    ["where none was, rolls nothing", [NONE], [WORKERS], [], "starts tasks"],
    ["on other nodes, rolls nothing", [MANAGERS], [WORKERS], ["m"], "moves tasks"],
  ])("beside its image, %s", (_fact, before, wanted, on, expected) => {
    expect(consequence(global(before), global(wanted, "app:v2"), on)).toBe(expected);
  });

  test("keeps its task on a paused node, and gets none on another one", () => {
    const paused = nodes.map((each) => ({ ...each, availability: "pause" }));
    expect(consequence(global([WORKERS]), global([]), ["w1", "w2"], paused)).toBe("nothing");
    expect(consequence(global([]), global([MANAGERS]), ["w1"], paused)).toBe("ends tasks");
  });

  test("of unknown nodes", () => {
    expect(consequence(global([WORKERS]), global([]), ["w1"], [])).toBe("in place");
  });

  test("and is a job, starts tasks where there is a node for one", () => {
    const job = (...constraints: string[]): ServiceSpec => global(constraints, "app:v1", "GlobalJob");
    expect(consequence(job(WORKERS), job(MANAGERS), [])).toBe("starts tasks");
    expect(consequence(job(WORKERS), job(NONE), [])).toBe("nothing");
    expect(consequence(job(WORKERS), job(NONE), ["w1"])).toBe("ends tasks");
  });
});

test("a job whose labels alone differ starts tasks", () => {
  const job = (label: string): ServiceSpec =>
    serviceSpec("app:v1", { Mode: { GlobalJob: {} }, Labels: { label } });
  const plan = planned({
    wanted: [{ spec: job("b"), auth: undefined }],
    live: [service({ spec: job("a") })],
  });
  expect(words(plan).services[0]?.consequence).toBe("starts tasks");
});

function words(plan: Plan, changes: Partial<ChangesRequest> = {}): ReturnType<typeof changesOf> {
  const seen = { isSecret: () => false, before: () => () => true, after: () => () => true };
  return changesOf(plan, { survey: emptySurvey(), objects: [], stale: [], discretion: seen, ...changes });
}

/** On a swarm without a naming key. */
function digestOf(changes: ReturnType<typeof changesOf>, built = "", approved = ""): string {
  return planDigest(changes, { built, definitions: new Map(), approved });
}

describe("a config", () => {
  const own = (name: string, key: string): JsonObject =>
    stored(name, { "com.docker.stack.namespace": "shop", "swarm-stack-deploy.key": key });
  const needs = (name: string): Plan["needs"] => ({ networks: [], configs: [name], secrets: [] });

  test.each<[string, Partial<PlanRequest>, Partial<ChangesRequest>, object[]]>([
    [
      "of a new service",
      { wanted: [{ spec: withConfigs("env_2"), auth: undefined }], needs: needs("env_2") },
      { objects: [object("config", "env_2", "env")] },
      [{ name: "env_2", change: "create" }],
    ],
    [
      "with new content",
      {
        wanted: [{ spec: withConfigs("env_2"), auth: undefined }],
        live: [service({ spec: withConfigs("env_1") })],
        needs: needs("env_2"),
      },
      {
        objects: [object("config", "env_2", "env")],
        survey: emptySurvey({ rawConfigs: [own("env_1", "env")] }),
      },
      [{ name: "env_2", change: "update", before: "env_1" }],
    ],
    [
      "as it was, beside one of somebody else",
      {
        wanted: [{ spec: withConfigs("env_1", "theirs"), auth: undefined }],
        live: [service({ spec: withConfigs("env_1", "theirs") })],
      },
      {
        objects: [object("config", "env_1", "env")],
        survey: emptySurvey({ rawConfigs: [own("env_1", "env"), stored("theirs", {})] }),
      },
      [
        { name: "env_1", change: "unchanged" },
        { name: "theirs", change: "foreign" },
      ],
    ],
    [
      "that no service needs any longer, but an earlier release",
      { wanted: [{ spec: withConfigs(), auth: undefined }], live: [service({ spec: withConfigs("env_1") })] },
      { survey: emptySurvey({ rawConfigs: [own("env_1", "env")] }) },
      [{ name: "env_1", change: "foreign" }],
    ],
    [
      "that nothing at all needs any longer",
      { wanted: [{ spec: withConfigs(), auth: undefined }], live: [service({ spec: withConfigs("env_1") })] },
      {
        survey: emptySurvey({ rawConfigs: [own("env_0", "env"), own("env_1", "env")] }),
        stale: [{ kind: "config", id: "id-env_0", name: "env_0" }],
      },
      [
        { name: "env_0", change: "remove" },
        { name: "env_1", change: "foreign" },
      ],
    ],
  ])("%s", (_fact, request, context, expected) => {
    expect(words(planned(request), context).configs).toEqual(expected);
  });
});

test("networks and volumes: made along, kept, left alone", () => {
  const spec = (networks: readonly string[], volumes: readonly string[]): ServiceSpec =>
    template(
      { Mounts: volumes.map((Source): Json => ({ Type: "volume", Source, Target: `/${Source}` })) },
      { Networks: networks.map((Target): Json => ({ Target })) },
    );
  const plan = planned({
    wanted: [{ spec: spec(["id1", futureId("shop_new"), "id3"], ["a", "b"]), auth: undefined }],
    live: [service({ spec: spec(["id1", "id2"], ["a", "c"]) })],
    networks: ["shop_new"],
  });
  const own = { "com.docker.stack.namespace": "shop" };
  const survey = emptySurvey({
    networks: [
      { Name: "shop_net", Id: "id1", Labels: own },
      { Name: "shop_old", Id: "id2", Labels: own },
      { Name: "proxy", Id: "id3" },
    ],
  });
  expect(words(plan, { survey })).toMatchObject({
    networks: [
      { name: "proxy", change: "foreign" },
      { name: "shop_net", change: "unchanged" },
      { name: "shop_new", change: "create" },
      { name: "shop_old", change: "foreign" },
    ],
    volumes: [
      { name: "a", change: "unchanged" },
      { name: "b", change: "create" },
      { name: "c", change: "foreign" },
    ],
  });
});

describe("a plan", () => {
  const update = (image: string, live = "app:v1"): Plan =>
    planned({
      wanted: [{ spec: serviceSpec(image), auth: "c2VjcmV0" }],
      live: [service({ spec: serviceSpec(live) })],
    });

  test.each<[string, Plan, number]>([
    ["that does nothing", update("app:v1"), 0],
    ["of one update", update("app:v2"), 1],
    ["that leaves what is not ours", planned({ live: [service()] }), 0],
    ["of a removal", planned({ live: [service({ spec: withConfigs() })] }), 1],
  ])("%s is counted", (_fact, plan, count) => {
    expect(countOf(words(plan))).toBe(count);
    expect(isEmpty(plan)).toBe(count === 0);
  });

  test("holds no credentials and no spec, and is as its schema says", () => {
    const changes = words(update("app:v2"));
    const json = JSON.stringify({
      ...changes,
      changes: 1,
      drift: [],
      findings: [],
      digest: digestOf(changes),
    });
    expect(json).not.toMatch(/c2VjcmV0|TaskTemplate/);
    expect(offences(json)).toEqual([]);
  });

  test.each<[string, unknown, string]>([
    ["lacks something", { stack: "shop" }, "plan lacks services"],
    ["has a word that is none", { services: [{ change: "destroy" }] }, "plan.services[0].change is destroy"],
  ])("is held to its schema: one that %s is not let pass", (_fact, json, offence) => {
    expect(offences(JSON.stringify(json))).toContain(offence);
  });
});

describe("the digest of a plan", () => {
  const digest = `sha256:${"0a".repeat(32)}`;
  const of = (image: string, built = "", live = "app:v1"): string =>
    digestOf(
      words(
        planned({
          wanted: [{ spec: serviceSpec(image), auth: undefined }],
          live: [service({ spec: serviceSpec(live) })],
        }),
      ),
      built,
    );

  test("is the same for the same plan", () => expect(of("app:v2")).toBe(of("app:v2")));

  test("is another one for another change, and for the same change of something else", () => {
    expect(new Set([of("app:v2"), of("app:v3"), of("app:v2", "", "app:v0")]).size).toBe(3);
  });

  test("knows nothing of the digest that a build gives", () => {
    expect(of(`app:v2@${digest}`, digest)).toBe(of(`app:v2@${NO_DIGEST_YET}`));
  });

  test("knows nothing of the platforms that a build gives", () => {
    const built = (image: string, ...architectures: string[]): ServiceSpec =>
      serviceSpec(image, {
        TaskTemplate: {
          ContainerSpec: { Image: image },
          Placement: {
            Platforms: architectures.map((Architecture): Json => ({ OS: "linux", Architecture })),
          },
        },
      });
    const live = [service({ spec: built("app:v1", "amd64") })];
    const changes = (spec: ServiceSpec): ReturnType<typeof words> =>
      words(planned({ wanted: [{ spec, auth: undefined }], live }));
    const draft = changes(withPlatformsOf(live, built(`app:v2@${NO_DIGEST_YET}`)));
    const real = changes(built(`app:v2@${digest}`, "amd64", "arm64"));
    expect(digestOf(real, digest)).toBe(digestOf(draft));
    expect(real.services[0]?.fields).toEqual(["image"]);
  });

  test("knows that of an image which is not built", () => {
    expect(of(`app:v2@${digest}`)).not.toBe(of(`app:v2@${NO_DIGEST_YET}`));
  });

  const definitions = (digits: string): ReadonlyMap<string, string> => new Map([["web", digits]]);
  const defined = (digits: string, approved = ""): string =>
    planDigest(words(planned({ live: [service()] })), {
      built: "",
      definitions: definitions(digits),
      approved,
    });

  test("is another one for another definition, of which the log shows nothing", () => {
    expect(defined("12345678ab")).toMatch(
      /^sha256:[0-9a-f]{64} definition:web=12345678 service:web=[0-9a-f]{8}$/,
    );
    expect(differingParts(defined("12345678ab"), defined("87654321ab"))).toEqual([
      "service web (in what a plan does not show)",
    ]);
    expect(defined("12345678ab")).not.toBe(defined("12345678ba")); // Beyond the digits that are told, too.
  });

  test("is without definitions where the approved one is", () => {
    const approved = digestOf(words(planned({ live: [service()] })));
    expect(defined("12345678", approved)).toBe(approved);
  });

  test("is with definitions where nobody can tell whether the approved one is", () => {
    const whole = defined("12345678");
    expect(defined("12345678", whole.slice(0, 71))).toBe(whole);
  });

  const KEY = "swarm-stack-deploy_naming-key";
  const named = (secret: string, configs: readonly string[], approved = ""): string => {
    const needs = { networks: [], configs, secrets: [secret] };
    const objects = [
      object("secret", secret, "token"),
      ...configs.map((config) => object("config", config, config === KEY ? "" : "env")),
    ];
    const spec = template({ Secrets: [{ SecretName: secret, File: { Name: "token" } }] });
    const changes = words(planned({ wanted: [{ spec, auth: undefined }], needs }), { objects });
    return digestOf(changes, "", approved);
  };

  test("knows no name that each run makes up, before the swarm has a naming key", () =>
    expect(named("shop_token_0123456789ab", [KEY])).toBe(named("shop_token_ba9876543210", [KEY])));

  test("is the approved one also where another stack has brought the naming key meanwhile", () => {
    const approved = named("shop_token_0123456789ab", ["shop_env_1", KEY, "z_env_1"]);
    const present = ["shop_env_1", "z_env_1"];
    expect(named("shop_token_ba9876543210", present)).not.toBe(approved);
    expect(named("shop_token_ba9876543210", present, approved)).toBe(approved);
    expect(named("shop_key_ba9876543210", present, approved)).not.toBe(approved);
    expect(named("shop_token_ba9876543210", ["shop_env_2", "z_env_1"], approved)).not.toBe(approved);
  });

  test.each<[string, string, string, string[] | undefined]>([
    ["nothing", "sha256:a service:web=1", "sha256:a service:web=1", undefined],
    [
      "one service",
      "sha256:a service:web=1 service:db=2",
      "sha256:b service:db=2 service:web=3",
      ["service web"],
    ],
    ["more and less", "sha256:a config:x=1", "sha256:b network:y=1", ["config x", "network y"]],
    [
      "what is not shown of a service",
      "sha256:a definition:db=1 definition:web=2 service:db=3 service:web=4",
      "sha256:b definition:db=5 definition:web=6 service:db=3 service:web=7",
      ["service db (in what a plan does not show)", "service web"],
    ],
    ["what nobody can tell", "sha256:a", "sha256:b", []],
  ])("tells what is different: %s", (_fact, approved, present, expected) => {
    expect(differingParts(approved, present)).toEqual(expected);
  });
});
