import { describe, expect, test } from "@jest/globals";
import {
  createNeeds,
  dockersReason,
  HELD_BACK,
  NOTHING_CREATED,
  partsOf,
  refuseForeignConfigs,
  sendServices,
  IN_EARNEST,
  stackDeploy,
} from "../../src/apply.ts";
import { DeployError, PreflightError } from "../../src/errors.ts";
import { type Needs, type Plan } from "../../src/plan.ts";
import { type RenderedStack } from "../../src/stack/render.ts";
import { parseStackFile } from "../../src/stack/stack-file.ts";
import { type NewObject } from "../../src/swarm.ts";
import {
  type Docker,
  type DockerAnswer,
  type DockerCall,
  type Session,
  type Stage,
} from "../../src/world.ts";
import { emptySurvey, scriptedSwarm, serviceSpec } from "../doubles/swarm.ts";
import { fakeClock } from "../doubles/clock.ts";
import { lockBoard } from "../doubles/locks.ts";
import { recordedVoice } from "../doubles/voice.ts";
import { inputOf } from "../doubles/world.ts";
import { renderedStack } from "../doubles/stack.ts";

const OK: DockerAnswer = { code: 0, stdout: "", stderr: "" };
const STAGE: Stage = {
  survey: emptySurvey(),
  images: new Map(),
  networks: new Map(),
  configs: new Map(),
  secrets: new Map(),
};

function config(name: string, content = "x"): NewObject {
  return { kind: "config", name, bytes: Buffer.from(content), labels: new Map(), templateDriver: undefined };
}

function secret(name: string, content = "x"): NewObject {
  return { ...config(name, content), kind: "secret" };
}

const NO_NEEDS: Needs = { networks: [], configs: [], secrets: [] };

function plan(changes: Partial<Plan> = {}): Plan {
  return { stack: "shop", services: [], needs: NO_NEEDS, ...changes };
}

interface Heard {
  readonly argv: readonly string[];
  readonly call: DockerCall | undefined;
}

/** Gives these answers in turn; the last one stays. */
function recordedDocker(...answers: readonly DockerAnswer[]): Docker & { readonly calls: Heard[] } {
  const calls: Heard[] = [];
  return {
    calls,
    run: async (argv, call) => {
      calls.push({ argv, call });
      return await Promise.resolve(answers[calls.length - 1] ?? answers.at(-1) ?? OK);
    },
  };
}

function session(
  docker: Docker,
  lost?: string,
  takes: readonly string[] = [],
  most = Infinity,
): Session & { readonly swarm: ReturnType<typeof scriptedSwarm> } {
  return {
    swarm: scriptedSwarm([]),
    lastSwarm: scriptedSwarm([]),
    logIn: async () => await Promise.resolve(undefined),
    registryAuth: () => undefined,
    rehearse: async () => await Promise.resolve([]),
    perform: async (_stage, deploy, onSent) => {
      for (const name of takes) onSent(name);
      await deploy(docker);
      return NOTHING_CREATED;
    },
    locks: lockBoard(fakeClock()),
    guard: () => undefined,
    most,
    onManager: () => undefined,
    lost: () => lost,
    waitUntil: () => undefined,
    [Symbol.asyncDispose]: async () => await Promise.resolve(),
  };
}

describe("what services need", () => {
  test("is created where the swarm does not have it: networks first", async () => {
    const open = session(recordedDocker(OK));
    const voice = recordedVoice();
    const created = await createNeeds(
      plan({ needs: { networks: ["proxy"], configs: ["shop_a"], secrets: ["shop_s"] } }),
      [config("shop_a"), config("shop_b"), secret("shop_s", "hunter2"), secret("shop_t")],
      open.swarm,
      voice,
    );
    expect(open.swarm.heard).toEqual([
      "create network proxy",
      "create config shop_a",
      "create secret shop_s",
    ]);
    expect(created).toEqual({
      networks: new Map([["proxy", "id-proxy"]]),
      configs: new Map([["shop_a", "id-shop_a"]]),
      secrets: new Map([["shop_s", "id-shop_s"]]),
    });
    expect(voice.said).toEqual([
      "Created the network proxy.",
      "Created the config shop_a (1 bytes).",
      "Created the secret shop_s (7 bytes).",
    ]);
  });

  test("is left alone where it is there", async () => {
    const open = session(recordedDocker(OK));
    await createNeeds(plan(), [config("shop_a"), secret("shop_s")], open.swarm, recordedVoice());
    expect(open.swarm.heard).toEqual([]);
  });

  test("a config and a secret of one name are two things", async () => {
    const open = session(recordedDocker(OK));
    await createNeeds(
      plan({ needs: { ...NO_NEEDS, secrets: ["shop_a"] } }),
      [config("shop_a"), secret("shop_a")],
      open.swarm,
      recordedVoice(),
    );
    expect(open.swarm.heard).toEqual(["create secret shop_a"]);
  });
});

describe("a config of the same name", () => {
  const existing = (content: string) =>
    emptySurvey({ configs: [{ id: "1", name: "shop_a", bytes: Buffer.from(content) }] });

  test("with the same content is ours", () => {
    expect(() => refuseForeignConfigs([config("shop_a", "x")], existing("x"))).not.toThrow();
  });

  test("with another content stops the deployment", () => {
    expect(() => refuseForeignConfigs([config("shop_a", "y")], existing("x"))).toThrow(PreflightError);
    expect(() => refuseForeignConfigs([config("shop_a", "y")], existing("x"))).toThrow(
      "docker config inspect shop_a",
    );
  });

  test("says nothing about a secret, which nobody can read back", () => {
    expect(() => refuseForeignConfigs([secret("shop_a", "y")], existing("x"))).not.toThrow();
  });
});

const call = { stack: "shop", file: "", folder: ".", dockerMajor: 28, flags: IN_EARNEST };

describe("docker stack deploy", () => {
  test.each([
    [28, true],
    [26, true],
    [25, false],
    [20, false],
    [0, false],
  ])("version %d is told not to wait: %s", async (major, detach) => {
    const docker = recordedDocker(OK);
    await stackDeploy(docker, { ...call, file: "services: {}", dockerMajor: major });
    expect(docker.calls[0]?.argv.includes("--detach=true")).toBe(detach);
  });

  test.each([
    [
      "one that knows no --detach is asked again without",
      "unknown flag: --detach\nSee 'docker stack deploy --help'.\n",
      2,
    ],
    ["one that refuses the file is not", "services.web Additional property imge is not allowed\n", 1],
  ])("whose version nobody knows yet: %s", async (_fact, stderr, tries) => {
    const docker = recordedDocker({ code: 125, stdout: "", stderr }, OK);
    await stackDeploy(docker, { ...call, dockerMajor: undefined });
    expect(docker.calls.map(({ argv }) => argv.includes("--detach=true"))).toEqual(
      [true, false].slice(0, tries),
    );
  });

  test("gets the file through standard input, since it may hold secrets", async () => {
    const docker = recordedDocker(OK);
    await stackDeploy(docker, { ...call, file: "PASSWORD: hunter2", folder: "deploy" });
    expect(docker.calls[0]?.argv.join(" ")).toBe(
      "stack deploy --with-registry-auth --resolve-image always --detach=true --compose-file - shop",
    );
    expect(docker.calls[0]?.call).toMatchObject({ input: "PASSWORD: hunter2", cwd: "deploy" });
  });

  test.each([
    [
      "its last words",
      "Ignoring unsupported options: build\n\nSince --detach=false was not specified, x\nIn a future release, y\nfailed to create service web: no\n",
      "failed to create service web: no",
    ],
    ["several lines", "a\r\nb\n", "a b"],
    ["none", 'time="x" level=warning msg="y"\n', "docker gave no reason"],
  ])("says why it refuses: %s", (_fact, stderr, reason) => {
    expect(dockersReason({ code: 1, stdout: "", stderr })).toBe(reason);
  });
});

interface Outcome {
  readonly lost?: string | undefined;
  /** Full names of the services that the manager takes. */
  readonly takes?: readonly string[];
  readonly onSent?: (serviceName: string) => void;
  /** Requests that can be on their way at once. */
  readonly most?: number;
}

describe("the parts of a stack", () => {
  const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `web${index}`);

  test.each([
    [0, Infinity, []],
    [1, Infinity, [1]],
    [4, Infinity, [4]],
    [5, Infinity, [3, 2]],
    [12, Infinity, [4, 4, 4]],
    [50, Infinity, [7, 7, 6, 6, 6, 6, 6, 6]],
    [500, Infinity, [63, 63, 63, 63, 62, 62, 62, 62]],
    [50, 3, [17, 17, 16]],
    [50, 1, [50]],
  ])("%d services, of which %d can be sent at once", (count, most, sizes) => {
    const parts = partsOf(names(count), most);
    expect(parts.map(({ size }) => size)).toEqual(sizes);
    expect(parts.flatMap((part) => [...part]).toSorted()).toEqual(names(count).toSorted());
  });
});

describe("sending", () => {
  const root = parseStackFile(
    "services: {web: {image: a}, db: {image: b}, new: {image: c}}\nnetworks: {n: {external: true}}",
    "f",
  );
  const stack = renderedStack(root);
  const service = (name: string, change: Plan["services"][number]["change"]): Plan["services"][number] => ({
    name,
    change,
    fields: [],
    sameTemplate: false,
    wanted: serviceSpec(),
    before: undefined,
    auth: undefined,
  });
  const changes = plan({
    services: [service("web", "update"), service("db", "unchanged"), service("new", "create")],
  });

  async function send(
    what: Plan,
    docker: Docker,
    { lost, takes, onSent = () => undefined, most }: Outcome = {},
    file = stack,
  ): Promise<void> {
    const open = session(docker, lost, takes, most);
    await sendServices(what, file, ".", 28, STAGE, open, recordedVoice(), onSent);
  }

  test("docker gets the services that change, and no other: the same spec again would disarm Swarm's own rollback", async () => {
    const docker = recordedDocker(OK);
    await send(changes, docker);
    const file = docker.calls[0]?.call?.input ?? "";
    expect(file).toContain("web:");
    expect(file).toContain("new:");
    expect(file).not.toContain("db:");
    expect(file).toContain("networks:");
  });

  test("docker is not asked where nothing changes", async () => {
    const docker = recordedDocker(OK);
    await send(
      plan({ services: [service("db", "unchanged"), service("old", "remove"), service("x", "foreign")] }),
      docker,
    );
    expect(docker.calls).toEqual([]);
  });

  const BY_THE_LOG = "Docker's own words are in the log above.";
  const SOMEBODY_ELSE =
    "Somebody else changes this stack at the same time: run this job again when they are done.";
  test.each<[string, string, string | undefined, string, string]>([
    ["docker's own reason", "No such image: a", undefined, "No such image: a.", BY_THE_LOG],
    ["the lost connection, where that is why", "EOF", "keepalive timeout", "keepalive timeout.", BY_THE_LOG],
    ["a race for a service", "update out of sequence", undefined, "update out of sequence.", SOMEBODY_ELSE],
    [
      "a race for a network",
      "network with name n already exists",
      undefined,
      "network with name n already exists.",
      SOMEBODY_ELSE,
    ],
    [
      "a race for a name",
      "name conflicts with an existing object",
      undefined,
      "name conflicts with an existing object.",
      SOMEBODY_ELSE,
    ],
  ])("a failure tells %s, and where the rest stands", async (_fact, stderr, lost, reason, hint) => {
    const docker = recordedDocker({ code: 1, stdout: "", stderr: `${stderr}\n` });
    const sending = async (): Promise<void> => await send(changes, docker, { lost });
    await expect(sending()).rejects.toThrow(DeployError);
    await expect(sending()).rejects.toThrow(`docker stack deploy failed (exit code 1): ${reason}`);
    await expect(sending()).rejects.toThrow(hint);
  });

  test.each([
    ["that succeeds", 0],
    ["that fails half way", 1],
  ])("what the manager took is told, also of a deployment %s", async (_fact, code) => {
    const told: string[] = [];
    const onSent = (name: string): void => void told.push(name);
    await send(changes, recordedDocker({ ...OK, code }), { takes: ["shop_new"], onSent }).catch(
      () => undefined,
    );
    expect(told).toEqual(["shop_new"]);
  });

  describe("of many services", () => {
    const many = Array.from({ length: 10 }, (_, index) => `many${index}`);
    const text = `services: {${many.map((name) => `${name}: {image: a}`).join(", ")}}`;
    const file: RenderedStack = { ...stack, root: parseStackFile(text, "f") };
    const all = plan({ services: many.map((name) => service(name, "create")) });
    const refused = (stderr: string): DockerAnswer => ({ code: 1, stdout: "", stderr: `${stderr}\n` });
    const held = refused(`failed to create service shop_x: Error response from daemon: ${HELD_BACK}`);
    const given = ({ calls }: { readonly calls: readonly Heard[] }): string[][] =>
      calls.map(({ call: each }) => inputOf(each).match(/many\d/g) ?? []);

    test("several dockers get a part each, and every service is in one of them", async () => {
      const docker = recordedDocker(OK);
      await send(all, docker, {}, file);
      expect(given(docker).map(({ length }) => length)).toEqual([4, 3, 3]);
      expect(given(docker).flat().toSorted()).toEqual(many);
    });

    test("one docker gets them all where only one request can be on its way", async () => {
      const docker = recordedDocker(OK);
      await send(all, docker, { most: 1 }, file);
      expect(given(docker)).toEqual([many]);
    });

    test.each([
      [
        "the parts that were held back have nothing to tell",
        [held, refused("no: port 80"), held],
        "no: port 80",
      ],
      ["the same reason is told once", [refused("no: n"), refused("no: n"), held], "no: n"],
      ["two reasons are both told", [refused("no: a"), OK, refused("no: b")], "no: a; no: b"],
    ])("a failure is told once: %s", async (_fact, answers, reason) => {
      const sending = send(all, recordedDocker(...answers), {}, file);
      await expect(sending).rejects.toThrow(`docker stack deploy failed (exit code 1): ${reason}.`);
    });

    test("all dockers have ended before a failure is told", async () => {
      let running = 0;
      const docker: Docker = {
        run: async (_argv, each) => {
          running += 1;
          const first = inputOf(each).includes("many0");
          for (let turn = 0; turn < (first ? 1 : 20); turn += 1) await Promise.resolve();
          running -= 1;
          if (first) throw new Error("this docker could not be started");
          return OK;
        },
      };
      await expect(send(all, docker, {}, file)).rejects.toThrow("could not be started");
      expect(running).toBe(0);
    });
  });
});
