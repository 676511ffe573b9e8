import { createHmac } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { deploy } from "../../src/deploy.ts";
import { Cancelled, ConnectError, LockError, StopError, describe as inWords } from "../../src/errors.ts";
import { parseInputs } from "../../src/inputs/inputs.ts";
import { type Facts, noFacts, outputs, summary } from "../../src/report.ts";
import { type JsonObject } from "../../src/json.ts";
import { lockName } from "../../src/lock.ts";
import { type Locks, type NewObject, type ServiceSpec, type Survey, type Task } from "../../src/swarm.ts";
import { type Frame, emptySurvey, service, serviceSpec, task } from "../doubles/swarm.ts";
import { recorded, release } from "../doubles/release.ts";
import { fakeClock } from "../doubles/clock.ts";
import { lockBoard } from "../doubles/locks.ts";
import { type Script, scriptedWorld } from "../doubles/world.ts";

const DIGEST = `sha256:${"0a".repeat(32)}`;
const V1 = spec("r.io/acme/shop:v1");
const V2 = spec(`r.io/acme/shop:v2@${DIGEST}`);
const STACK = `services:
  web:
    image: $IMAGE
    configs: [{ source: app_env, target: /opt/www/.env }]
configs:
  app_env:
    external: true
`;
const FILES = { "stack.yml": STACK, Dockerfile: "FROM scratch\n", ".env": "APP_ENV=prod\n" };
const GIVEN: Readonly<Record<string, string>> = {
  "docker-host": "unix:///d.sock",
  registry: "r.io/acme",
  username: "u",
  password: "p",
  version: "v2",
  "env-file": ".env",
};

function spec(image: string): ServiceSpec {
  return serviceSpec(image, {
    Labels: { "swarm-stack-deploy.managed": "true", "com.docker.stack.image": image },
  });
}

const BEFORE = service({ spec: V1, version: 7 });
const AFTER = service({ spec: V2, version: 9 });
const UP = task({ id: "new", image: "r.io/acme/shop:v2", createdAt: "2026-08-01T10:00:05Z" });
/** The old version's task: after a rollback it is of the present spec again. */
const OLD_UP = task({ id: "old", image: "r.io/acme/shop:v1" });
const LEFT = { ...OLD_UP, current: false };
const CRASHED = task({
  id: "dead",
  image: "r.io/acme/shop:v2",
  state: "failed",
  desiredState: "shutdown",
  error: "task: non-zero exit (3)",
  exitCode: 3,
  createdAt: "2026-08-01T10:00:05Z",
});

const DOCKER = {
  "buildx version": { code: 1 },
  push: { stdout: `v2: digest: ${DIGEST} size: 528\n` },
};

function script(
  frames: readonly Frame[],
  changes: Partial<Script> & {
    readonly before?: readonly ReturnType<typeof service>[];
    /** The tasks that the survey finds. */
    readonly tasksBefore?: readonly Task[];
    /** What the newest release on the swarm has. */
    readonly released?: readonly ServiceSpec[];
  } = {},
): Script {
  const { before = [BEFORE], tasksBefore: tasks = [OLD_UP], released, swarm, docker, ...rest } = changes;
  const rawConfigs = released === undefined ? [] : recorded(release({ services: released }));
  return {
    files: FILES,
    specs: [V2],
    frames,
    ...rest,
    docker: { ...DOCKER, ...docker },
    swarm: {
      survey: async () => await Promise.resolve(emptySurvey({ services: before, tasks, rawConfigs })),
      askRegistry: async () => await Promise.resolve({ kind: "found", digest: DIGEST, body: {} }),
      ...swarm,
    },
  };
}

function crash(tasks: readonly Task[]): Frame {
  return { services: [{ ...AFTER, update: { state: "updating", message: "update in progress" } }], tasks };
}

const GOES_WELL: readonly Frame[] = [
  { services: [AFTER], tasks: [LEFT] },
  { services: [AFTER], tasks: [{ ...UP, state: "preparing" }] },
  { services: [AFTER], tasks: [UP] },
];
const WENT_WELL = script(GOES_WELL);
const CRASHES = {
  taskLogs: async () =>
    await Promise.resolve([
      { text: "starting", stderr: false },
      { text: "no database", stderr: true },
    ]),
};

async function told(
  played: Script,
  given: Readonly<Record<string, string>> = {},
): Promise<{ facts: Facts; transcript: readonly string[]; waits: readonly number[] }> {
  const world = scriptedWorld(played);
  const facts = noFacts();
  const all: Readonly<Record<string, string>> = { ...GIVEN, ...given };
  try {
    await deploy(
      parseInputs((name) => all[name] ?? "", world.run),
      world,
      facts,
    );
  } catch (error) {
    // As main.ts does it.
    if (error instanceof StopError) Object.assign(facts, { reason: error.reason, problems: error.problems });
    else if (error instanceof Cancelled) facts.problems = [{ message: error.message }];
    else throw error;
  }
  return { facts, transcript: world.transcript, waits: world.waits };
}

/** What a reviewer reads: all that was said and done, then what was reported. `UPDATE_GOLDEN=1` writes it anew. */
async function story(
  name: string,
  played: Script,
  given: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { facts, transcript } = await told(played, given);
  const written = Object.entries(outputs(facts)).map(([key, value]) => `${key}=${value}`);
  const parts = [
    ["# said and done", ...transcript],
    ["# outputs", ...written],
    ["# problems", ...facts.problems.map(inWords)],
    ["# summary", summary(facts)],
  ];
  const text = parts.map((lines) => `${lines.join("\n")}\n`).join("\n");
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(`__tests__/golden/${name}.txt`, text);
  return text;
}

function golden(name: string): string {
  return readFileSync(`__tests__/golden/${name}.txt`, "utf8");
}

describe("stories", () => {
  test("a first deployment", async () => {
    expect(
      await story(
        "first-deployment",
        script(
          [
            { services: [AFTER], tasks: [{ ...UP, state: "starting" }] },
            { services: [AFTER], tasks: [UP] },
          ],
          { before: [] },
        ),
      ),
    ).toBe(golden("first-deployment"));
  });

  test("an update", async () => {
    expect(await story("update", WENT_WELL)).toBe(golden("update"));
  });

  test("nothing to do", async () => {
    const played = script([], {
      before: [AFTER],
      tasksBefore: [UP],
      released: [V2],
      files: { ...FILES, "stack.yml": "services:\n  web:\n    image: $IMAGE\n" },
    });
    expect(await story("unchanged", played, { "env-file": "", build: "false" })).toBe(golden("unchanged"));
  });

  test.each<[string, readonly Task[], Facts["status"]]>([
    ["no task has ended before: one look is enough", [], "unchanged"],
    ["an old version's task was told to stop", [{ ...LEFT, state: "complete" }], "unchanged"],
    [
      "a task has failed before, and crashes again within stable-for",
      [{ ...CRASHED, id: "first" }],
      "failed",
    ],
    [
      "a task has ended by itself before, and crashes again",
      [{ ...CRASHED, id: "first", state: "complete" }],
      "failed",
    ],
  ])("nothing to do, and %s", async (_fact, ended, status) => {
    const tasksBefore = [...ended, UP];
    const quiet: Frame = { services: [AFTER], tasks: tasksBefore };
    const { facts, transcript } = await told(
      script([quiet, quiet, quiet, { services: [AFTER], tasks: [...ended, CRASHED] }], {
        before: [AFTER],
        tasksBefore,
        released: [V2],
        files: { ...FILES, "stack.yml": "services:\n  web:\n    image: $IMAGE\n" },
      }),
      { "env-file": "", build: "false" },
    );
    expect(facts.status).toBe(status);
    expect(facts.aftermath).toEqual(status === "failed" ? ["No service was changed."] : []);
    expect(transcript.filter((line) => /> swarm|in earnest/.test(line))).toEqual([]);
  });

  test("a new version crashes, and the stack goes back", async () => {
    const back = { services: [{ ...BEFORE, version: 12 }], tasks: [OLD_UP] };
    expect(
      await story(
        "crashed",
        script([crash([LEFT]), crash([LEFT, CRASHED]), crash([LEFT, CRASHED]), back], { swarm: CRASHES }),
      ),
    ).toBe(golden("crashed"));
  });

  test("a new version crashes, and what ran before it did not run either: it is put back, and not waited for", async () => {
    const back = { services: [{ ...BEFORE, version: 12 }], tasks: [] };
    const { facts, transcript } = await told(
      script([crash([]), crash([CRASHED]), crash([CRASHED]), back], { swarm: CRASHES, tasksBefore: [] }),
    );
    expect(facts.aftermath).toEqual([
      "Put back to what ran before: web.",
      "Not waited for, since it did not run before either: web.",
    ]);
    const [, afterwards = ""] = transcript.join("\n").split("Put the stack back");
    expect(afterwards).not.toMatch(/\] web: /);
  });

  test("Swarm rolls back by itself, and says completed", async () => {
    const rolledBack: Frame = {
      services: [{ ...BEFORE, version: 15, update: { state: "completed", message: "update completed" } }],
      tasks: [OLD_UP, { ...CRASHED, current: false }],
    };
    expect(await story("rolled-back", script([crash([LEFT]), rolledBack], { swarm: CRASHES }))).toBe(
      golden("rolled-back"),
    );
  });

  test("a first deployment crashes, and what it created goes again", async () => {
    expect(
      await story(
        "first-deployment-crashed",
        script([{ services: [AFTER], tasks: [CRASHED] }], { before: [], swarm: CRASHES }),
      ),
    ).toBe(golden("first-deployment-crashed"));
  });

  test("a rollout that never ends", async () => {
    const pending = { ...UP, state: "pending", error: "no suitable node (insufficient resources on 1 node)" };
    const stuck: Frame = {
      services: [{ ...AFTER, update: { state: "updating", message: "" } }],
      tasks: [LEFT, pending],
    };
    expect(
      await story(
        "timeout",
        script([stuck], { swarm: { updateService: async () => await Promise.resolve() } }),
        { timeout: "20s", "on-failure": "keep" },
      ),
    ).toBe(golden("timeout"));
  });
});

describe("secrets", () => {
  const HELD = "TOKEN=hunter2\n";
  const stack = `services:
  web:
    image: $IMAGE
    secrets: [{ source: app_env, target: /run/.env }, theirs]
secrets:
  app_env:
    external: true
  theirs:
    external: true
`;
  const given = { "env-config": "app_env" };
  const stored = (fill: number) => ({
    id: "k1",
    name: "swarm-stack-deploy_naming-key",
    bytes: Buffer.alloc(32, fill),
  });
  const nameBy = (key: Uint8Array): string =>
    `shop_app_env_${createHmac("sha256", key).update(HELD).digest("hex").slice(0, 12)}`;
  const secretName = (fill: number): string => nameBy(Buffer.alloc(32, fill));
  const THEIRS = { id: "x9", name: "theirs" };
  /** The manager answers each survey with the next; the last one stays. */
  const played = (...surveys: readonly Partial<Survey>[]): Script => {
    const left = [...surveys];
    let present: Partial<Survey> = {};
    const survey = async () => {
      present = left.shift() ?? present;
      const secrets = [THEIRS, ...(present.secrets ?? [])];
      return await Promise.resolve(emptySurvey({ services: [BEFORE], ...present, secrets }));
    };
    return script(GOES_WELL, {
      files: { ...FILES, "stack.yml": stack, ".env": HELD },
      swarm: { survey },
    });
  };
  const created = (transcript: readonly string[]): string[] =>
    transcript.filter((line) => line.startsWith("  > swarm: create"));

  test("are planned and created like configs, and nowhere told", async () => {
    const text = await story("secret", played({ configs: [stored(1)] }), given);
    expect(text).toBe(golden("secret"));
    expect(text).toContain(`+ secret ${secretName(1)}`);
    expect(text).not.toContain("hunter2");
  });

  test("are named with the key that the swarm keeps", async () => {
    const one = await told(played({ configs: [stored(1)] }), given);
    const again = await told(played({ configs: [stored(1)] }), given);
    const two = await told(played({ configs: [stored(2)] }), given);
    expect(one.facts.configName).toBe(secretName(1));
    expect(again.facts.configName).toBe(secretName(1));
    expect(two.facts.configName).toBe(secretName(2));
    expect(secretName(2)).not.toBe(secretName(1));
  });

  test("that the swarm has already are not created again", async () => {
    const { facts, transcript } = await told(
      played({ configs: [stored(1)], secrets: [{ id: "x1", name: secretName(1) }] }),
      given,
    );
    expect(facts.status).toBe("deployed");
    expect(facts.changes).toMatchObject({
      configs: [],
      secrets: [{ name: secretName(1), change: "unchanged" }],
    });
    expect(created(transcript)).toEqual([]);
  });

  test("make the first naming key with all else that is created, and do not read it back", async () => {
    const made: NewObject[] = [];
    const { swarm, ...rest } = played({}, { configs: [stored(3)] });
    const createObject = async (object: NewObject) =>
      await Promise.resolve((made.push(object), `id-${object.name}`));
    const { facts } = await told({ ...rest, swarm: { ...swarm, createObject } }, given);
    const name = nameBy(made[0]?.bytes ?? Buffer.alloc(0));
    expect(facts).toMatchObject({ status: "deployed", configName: name });
    expect(name).not.toBe(secretName(3));
    expect(made.map((object) => `${object.kind} ${object.name}`)).toEqual([
      "config swarm-stack-deploy_naming-key",
      `secret ${name}`,
    ]);
    expect(facts.changes).toMatchObject({
      configs: [{ name: "swarm-stack-deploy_naming-key", change: "create" }],
      secrets: [{ name, change: "create" }],
    });
  });

  test("make no naming key where the deployment stops before anything is created", async () => {
    const { swarm, ...rest } = played({});
    const askRegistry = async () =>
      await Promise.resolve({ kind: "refused", status: 401, message: "no" } as const);
    const { facts, transcript } = await told({ ...rest, swarm: { ...swarm, askRegistry } }, given);
    expect(facts.reason).toBe("preflight");
    expect(created(transcript)).toEqual([]);
  });

  test("of a swarm without a naming key get one that nobody can guess", async () => {
    const made: NewObject[] = [];
    const createObject = async (object: NewObject) =>
      await Promise.resolve((made.push(object), `id-${object.name}`));
    const run = async () => {
      const { swarm, ...rest } = played({});
      return await told({ ...rest, swarm: { ...swarm, createObject } }, given);
    };
    const [one, two] = [await run(), await run()];
    const keys = made.filter(({ kind }) => kind === "config");
    expect(keys.map(({ name, bytes }) => [name, bytes.byteLength])).toEqual([
      ["swarm-stack-deploy_naming-key", 32],
      ["swarm-stack-deploy_naming-key", 32],
    ]);
    expect(Buffer.from(keys[0]?.bytes ?? []).equals(Buffer.from(keys[1]?.bytes ?? []))).toBe(false);
    // It serves all stacks: `docker stack rm` must not take it along.
    expect(Object.fromEntries(keys[0]?.labels ?? [])).toEqual({ "swarm-stack-deploy.managed": "true" });
    expect(one.facts.configName).not.toBe(two.facts.configName);
  });

  test("carry the labels that a config has", async () => {
    const made: NewObject[] = [];
    const { swarm, ...rest } = played({ configs: [stored(1)] });
    const createObject = async (object: NewObject) =>
      await Promise.resolve((made.push(object), `id-${object.name}`));
    await told({ ...rest, swarm: { ...swarm, createObject } }, given);
    expect(made.map(({ kind, labels }) => [kind, Object.fromEntries(labels)])).toEqual([
      [
        "secret",
        {
          "com.docker.stack.namespace": "shop",
          "swarm-stack-deploy.stack": "shop",
          "swarm-stack-deploy.key": "app_env",
          "swarm-stack-deploy.version": "v2",
          "swarm-stack-deploy.commit": "0123456789abcdef",
          "swarm-stack-deploy.run": "https://github.com/acme/shop/actions/runs/1",
        },
      ],
    ]);
  });

  test.each([
    ["no secrets", STACK, {}],
    [
      "external secrets only",
      "services: {web: {image: $IMAGE, secrets: [theirs]}}\nsecrets: {theirs: {external: true}}",
      { "env-file": "" },
    ],
  ])("%s, no naming key", async (_fact, text, inputs) => {
    const { facts, transcript } = await told(
      { ...played({}), files: { ...FILES, "stack.yml": text } },
      inputs,
    );
    expect(facts.status).toBe("deployed");
    expect(created(transcript).join()).not.toContain("naming-key");
  });
});

describe("what is found out before anybody is contacted", () => {
  test.each<[string, Partial<Script>, Readonly<Record<string, string>>, string]>([
    [
      "an undefined variable",
      { files: { ...FILES, "stack.yml": "services:\n  web:\n    image: $NIL\n" } },
      { "env-file": "" },
      "stack.yml:3:12: The variable NIL is not defined.",
    ],
    [
      "an env-config that is of neither kind",
      {},
      { "env-config": "app_enw" },
      '"env-config" is "app_enw", which is no key under configs or secrets. The stack file has the configs app_env.',
    ],
    [
      "a secret too big for Swarm",
      {
        files: {
          ...FILES,
          "stack.yml": "services:\n  web:\n    image: a\nsecrets:\n  s:\n    file: big",
          big: "x".repeat(512_000),
        },
      },
      { "env-file": "" },
      `stack.yml:5:3: The file "big" of secret s has 512000 bytes, and Swarm's secrets must be smaller than 512000.`,
    ],
    ["no stack file", { files: { Dockerfile: "" } }, { "env-file": "" }, "There is no stack file"],
    [
      "a stack file by a wrong name",
      {},
      { "stack-file": "stak.yml" },
      '"stack-file" is "stak.yml", which does not exist. Did you mean stack.yml?',
    ],
    [
      "no env file",
      {},
      { "env-file": ".envv" },
      '"env-file" is ".envv", which does not exist. Did you mean .env?',
    ],
    [
      "no Dockerfile",
      { files: { "stack.yml": STACK, ".env": "A=1" } },
      {},
      'There is no Dockerfile at "./Dockerfile".',
    ],
    [
      "docker refuses the file",
      {
        docker: {
          "(offline) stack deploy": {
            code: 1,
            stderr: "services.web Additional property foo is not allowed\n",
          },
        },
      },
      {},
      "stack.yml:3:5: Docker refuses the stack file: services.web Additional property foo is not allowed",
    ],
  ])("%s", async (_fact, changes, given, problem) => {
    const { facts, transcript } = await told(script([], changes), given);
    expect(facts.problems.map(inWords).join("\n")).toContain(problem);
    expect(transcript.filter((line) => /> (connect|swarm|docker: (login|build|push))/.test(line))).toEqual(
      [],
    );
  });
});

describe("what stops before the swarm is touched", () => {
  const untouched = (transcript: readonly string[]): void => {
    expect(transcript.filter((line) => /> swarm|in earnest/.test(line))).toEqual([]);
  };

  test("a build that fails, and then nobody is contacted either", async () => {
    const { facts, transcript } = await told(
      script([], { docker: { "build ": { code: 1, stderr: "no such stage\n" } } }),
    );
    expect(facts).toMatchObject({
      reason: "build",
      problems: [{ message: "The build failed (docker build, exit code 1): no such stage" }],
    });
    expect(transcript).not.toContain("  > connect");
    untouched(transcript);
  });

  test("an image that the manager can't read", async () => {
    const { facts, transcript } = await told(
      script([], {
        swarm: {
          askRegistry: async () =>
            await Promise.resolve({ kind: "refused", status: 401, message: "authentication required" }),
        },
      }),
      { build: "false" },
    );
    expect(facts.reason).toBe("preflight");
    untouched(transcript);
  });

  const paused = (changes: ServiceSpec) =>
    service({
      spec: { ...V2, ...changes },
      update: { state: "paused", message: "update paused due to failure" },
    });
  const REPLICAS: ServiceSpec = { Mode: { Replicated: { Replicas: 3 } } };
  const RESOURCES: ServiceSpec = {
    TaskTemplate: { ...(V2.TaskTemplate as object), Resources: { Limits: { NanoCPUs: 1 } } },
  };

  test.each<[string, ServiceSpec]>([
    ["deploy.replicas", REPLICAS],
    ["deploy.mode", { Mode: { Global: {} } }],
    ["deploy.labels", { Labels: { ...(V2.Labels as object), old: "label" } }],
    ["deploy.update_config", { UpdateConfig: { Parallelism: 2 } }],
    ["deploy.rollback_config", { RollbackConfig: { Parallelism: 2 } }],
    ["deploy.replicas, deploy.update_config", { ...REPLICAS, UpdateConfig: { Parallelism: 2 } }],
  ])(
    "a service that is paused half way to the very same version, but for %s: sending it again would end the tasks that are left",
    async (fields, changes) => {
      const { facts, transcript } = await told(
        script([], { before: [paused(changes)], tasksBefore: [LEFT] }),
      );
      expect(facts.reason).toBe("preflight");
      expect(facts.changes?.services[0]?.fields.toSorted().join(", ")).toBe(fields);
      expect(facts.problems.map(inWords)).toEqual([
        expect.stringContaining("docker service rollback shop_web"),
      ]);
      untouched(transcript);
    },
  );

  test.each<[string, ServiceSpec]>([
    ["deploy.resources", RESOURCES],
    ["deploy.replicas, deploy.resources", { ...RESOURCES, ...REPLICAS }],
    ["image", V1],
  ])("but not a paused service that gets new tasks anyway: another %s", async (fields, changes) => {
    const { facts, transcript } = await told(script(GOES_WELL, { before: [paused(changes)] }));
    expect(facts.changes?.services[0]?.fields.toSorted().join(", ")).toBe(fields);
    expect(facts).toMatchObject({ status: "deployed", problems: [] });
    expect(transcript.join("\n")).toContain("> docker (in earnest): stack deploy");
  });

  test("but not an earlier update that ends; registries are asked again after it", async () => {
    const busy = { ...BEFORE, update: { state: "updating", message: "update in progress" } };
    const surveys = [[busy], [busy], [BEFORE]];
    const asked: string[] = [];
    const played = script(GOES_WELL, {
      swarm: {
        survey: async () => await Promise.resolve(emptySurvey({ services: surveys.shift() ?? [BEFORE] })),
        askRegistry: async (image) => {
          asked.push(image);
          return await Promise.resolve({ kind: "found", digest: DIGEST, body: {} });
        },
      },
    });
    const { facts } = await told(played);
    expect(facts.status).toBe("deployed");
    expect(surveys).toEqual([]);
    expect(asked).toEqual([`r.io/acme/shop:v2@${DIGEST}`, `r.io/acme/shop:v2@${DIGEST}`]);
  });

  test("an earlier update that does not end", async () => {
    const { facts, transcript } = await told(
      script([], { before: [{ ...BEFORE, update: { state: "updating", message: "" } }] }),
    );
    expect(facts).toMatchObject({ reason: "preflight" });
    expect(transcript).toContain("Waiting for an earlier update of shop_web to end.");
    untouched(transcript);
  });
});

describe("an interruption", () => {
  test("docker fails half way: what had been sent is put back", async () => {
    const played = script(
      [{ services: [AFTER] }, { services: [{ ...BEFORE, version: 12 }], tasks: [OLD_UP] }],
      {
        docker: {
          "(in earnest)": { code: 1, stderr: "failed to update service shop_web: update out of sequence\n" },
        },
      },
    );
    const { facts, transcript } = await told(played);
    expect(facts.reason).toBe("deploy");
    expect(transcript).toContain("  > swarm: update shop_web at 9");
    expect(facts.aftermath).toEqual(["Put back to what ran before: web; all of it runs."]);
  });

  test("docker fails before the manager took anything: there is nothing to put back", async () => {
    const { facts, transcript } = await told(
      script([{ services: [AFTER] }], {
        takes: [],
        docker: { "(in earnest)": { code: 1, stderr: "No such image\n" } },
      }),
    );
    expect(facts).toMatchObject({ reason: "deploy", aftermath: ["No service was changed."] });
    expect(transcript.filter((line) => line.startsWith("  > swarm: update"))).toEqual([]);
  });

  test("a lost connection is waited for until the rollout's deadline, and anew while things are put back", async () => {
    const { waits } = await told(
      script([crash([CRASHED]), { services: [AFTER] }, { services: [BEFORE], tasks: [OLD_UP] }], {
        swarm: CRASHES,
      }),
      { timeout: "20s" },
    );
    expect(waits).toEqual([20_000, 20_000]);
  });

  test.each([
    ["rollback", "The stack could not be put back: Nothing listens. Check it. The swarm was sent shop_web;"],
    [
      "keep",
      'The stack was left as it is for inspection ("on-failure: keep"). What runs now could not be asked:',
    ],
  ])(
    "no manager answers any more (%s): the deadline is not spent twice, and what is known is told",
    async (onFailure, words) => {
      const deaf = new ConnectError("Nothing listens.", "Check it.", undefined, "passing");
      const surveys = Array.from({ length: 2 }, () => emptySurvey({ services: [BEFORE] })); // Without the lock, and with it.
      const played = script([{ services: [AFTER], tasks: [{ ...UP, state: "preparing" }] }, deaf], {
        lost: "the server closed the session",
        swarm: { survey: async () => surveys.shift() ?? (await Promise.reject(deaf)) },
      });
      const { facts, waits } = await told(played, { timeout: "20s", "on-failure": onFailure });
      expect(waits).toEqual([20_000, 0]);
      expect(facts).toMatchObject({ reason: "deploy", services: [{ name: "web", state: "unknown" }] });
      expect(facts.problems[0]?.message).toMatch(
        /^No manager could be asked about the rollout for the last (19|20)[\d.]*s: Nothing listens\. .*Seen last: web: /,
      );
      expect(facts.aftermath.join()).toContain(words);
    },
  );

  test("a cancelled job sends what ran before on its way back, and does not watch it", async () => {
    const { facts, transcript } = await told(script([new Cancelled("SIGTERM"), { services: [AFTER] }]));
    expect(facts.aftermath).toEqual([
      "Sent back to what ran before: web. Nobody watches it any more: look at it with `docker stack ps`.",
    ]);
    expect(facts.services).toMatchObject([{ name: "web", state: "restored" }]);
    expect(transcript.filter((line) => line.startsWith("  > swarm: update"))).toHaveLength(1);
    expect(transcript.at(-1)).toBe("  > disconnect");
  });

  test("so does one that is cancelled while it puts things back", async () => {
    const frames = [crash([CRASHED]), { services: [AFTER] }, new Cancelled("SIGTERM"), { services: [AFTER] }];
    const { facts } = await told(script(frames, { swarm: CRASHES }));
    expect(facts.aftermath.join()).toContain("Sent back to what ran before: web.");
  });

  test.each<[string, readonly Frame[], Readonly<Record<string, string>>]>([
    ["that is to keep what it has sent", [new Cancelled("SIGTERM")], { "on-failure": "keep" }],
    ["whose manager is gone", [new Cancelled("SIGTERM"), new Error("no answer")], {}],
  ])("a cancelled job %s says what goes on", async (_what, frames, given) => {
    const { facts, transcript } = await told(script(frames), given);
    expect(facts.aftermath.join()).toContain("nothing was put back");
    expect(transcript.filter((line) => line.startsWith("  > swarm: update"))).toEqual([]);
  });

  test("the connection is left in order, whatever happens", async () => {
    const { transcript } = await told(
      script([crash([CRASHED])], {
        swarm: { ...CRASHES, updateService: async () => await Promise.reject(new Error("no")) },
      }),
    );
    expect(transcript.at(-1)).toBe("  > disconnect");
  });
});

test("nothing to do, and a task that runs for a shorter time than it must crashes", async () => {
  const young = { ...UP, updatedAt: "2026-08-01T11:59:58Z" };
  const quiet: Frame = { services: [AFTER], tasks: [young] };
  const played = script([quiet, quiet, { services: [AFTER], tasks: [CRASHED] }], {
    before: [AFTER],
    tasksBefore: [young],
    released: [V2],
    files: { ...FILES, "stack.yml": "services:\n  web:\n    image: $IMAGE\n" },
  });
  const { facts } = await told(played, { "env-file": "", build: "false", "stable-for": "10s" });
  expect(facts.status).toBe("failed");
});

describe("the lock of the stack", () => {
  const NAME = lockName("shop");
  const LABELS = { "swarm-stack-deploy.lock": "shop", "swarm-stack-deploy.holder": "somebody" };
  const LOCKED: readonly JsonObject[] = [{ ID: "l1", Spec: { Name: NAME, Labels: LABELS } }];

  /** What is asked for about the swarm and the lock, as it comes; `looks` are the surveys, the last one again and again. */
  function steps(played: Script, looks: readonly Survey[], locks: Partial<Locks> = {}) {
    const heard: string[] = [];
    const left = [...looks];
    const note = async <T>(step: string, answer: Promise<T>): Promise<T> => (heard.push(step), await answer);
    const clock = fakeClock();
    const board = { ...lockBoard(clock), ...locks };
    const world = scriptedWorld({
      ...played,
      swarm: {
        ...played.swarm,
        survey: async () => {
          const survey = left.length > 1 ? left.shift() : left[0];
          return await note("look", Promise.resolve(survey ?? emptySurvey()));
        },
      },
      locks: {
        ...board,
        create: async (...lock) => await note("lock", board.create(...lock)),
        remove: async (id) => await note("release", board.remove(id)),
      },
    });
    const facts = noFacts();
    const inputs = (given: Readonly<Record<string, string>>) =>
      parseInputs((name) => ({ ...GIVEN, ...given })[name] ?? "", world.run);
    const run = async (given: Readonly<Record<string, string>> = {}): Promise<Facts> => {
      await deploy(inputs(given), { ...world, clock }, facts).catch((error: unknown) => {
        if (!(error instanceof StopError)) return;
        facts.reason = error.reason;
        facts.problems = error.problems;
      });
      return facts;
    };
    return { heard, run, transcript: world.transcript };
  }

  const rehearsals = (transcript: readonly string[]): number =>
    transcript.filter((line) => line.startsWith("  > docker (rehearsal)")).length;
  /** Without a file whose config would have to be made. */
  const BARE = { "env-file": "", build: "false" };
  const STANDS = script([], { files: { ...FILES, "stack.yml": "services:\n  web:\n    image: $IMAGE\n" } });
  const RECORDED = recorded(release({ services: [V2] }));
  const LOCAL: readonly JsonObject[] = [{ Id: "n1", Name: "local", Scope: "local" }];
  const asItWas = emptySurvey({ services: [BEFORE] });

  test.each<[string, readonly Frame[], Partial<Script>]>([
    ["a deployment that goes well", GOES_WELL, {}],
    ["a rollout that fails", [crash([CRASHED])], { swarm: CRASHES }],
    ["a manager that stops answering", [new Error("no answer")], {}],
    ["a job that is cancelled", [new Cancelled("SIGTERM")], {}],
  ])(
    "is held until the end of %s, and what runs is looked at once more with it",
    async (_what, frames, changes) => {
      const { heard, run, transcript } = steps(script(frames, changes), [asItWas]);
      await run();
      expect(heard.slice(0, 3)).toEqual(["look", "lock", "look"]);
      expect(heard.filter((step) => step !== "look")).toEqual(["lock", "release"]);
      expect(heard.at(-1)).toBe("release");
      expect(rehearsals(transcript)).toBe(1);
      expect(transcript.at(-1)).toBe("  > disconnect");
    },
  );

  test("is not taken where nothing is to be changed", async () => {
    const same = emptySurvey({ services: [AFTER], tasks: [UP], rawConfigs: RECORDED });
    const { heard, run } = steps(STANDS, [same]);
    const facts = await run(BARE);
    expect(facts).toMatchObject({ status: "unchanged", problems: [] });
    expect(heard).toEqual(["look"]);
  });

  test("is taken where the look is so old that somebody else could change the stack since, and did", async () => {
    const same = emptySurvey({ services: [AFTER], tasks: [UP], rawConfigs: RECORDED });
    const other = service({ spec: V1, version: 11 });
    const now = emptySurvey({ services: [other] });
    const changed: Frame = { services: [other], tasks: [] };
    const frames: readonly Frame[] = [changed, changed, ...GOES_WELL]; // In the watch, and after it.
    const { heard, run, transcript } = steps({ ...STANDS, frames }, [{ ...same, askedAt: -2000 }, now]);
    expect((await run(BARE)).status).toBe("deployed");
    expect(heard.slice(0, 3)).toEqual(["look", "lock", "look"]);
    expect(transcript).toContain("Somebody else has changed the stack meanwhile.");
  });

  test("nor where it is old, and all is as it was", async () => {
    const same = emptySurvey({ services: [AFTER], tasks: [UP], rawConfigs: RECORDED });
    const frames = [{ services: [AFTER], tasks: [UP] }];
    const { heard, run } = steps({ ...STANDS, frames }, [{ ...same, askedAt: -2000 }]);
    expect((await run(BARE)).status).toBe("unchanged");
    expect(heard).toEqual(["look"]);
  });

  test("is taken where nothing is to be changed, and no release is what runs: one is recorded", async () => {
    const frames = [{ services: [AFTER], tasks: [UP] }];
    const killed = emptySurvey({
      services: [AFTER],
      tasks: [UP],
      rawConfigs: recorded(release({ services: [V1] })),
    });
    const { heard, run, transcript } = steps({ ...STANDS, frames }, [killed]);
    const facts = await run(BARE);
    expect([facts.status, facts.recorded]).toEqual(["unchanged", "#2"]);
    expect(heard.slice(0, 3)).toEqual(["look", "lock", "look"]);
    expect(transcript.join("\n")).not.toContain("in earnest");
  });

  test("is not taken where the plan is refused", async () => {
    const file =
      "services:\n  web:\n    image: $IMAGE\n    networks: [local]\nnetworks: { local: { external: true } }\n";
    const played = script([], { files: { ...FILES, "stack.yml": file } });
    const { heard, run } = steps(played, [emptySurvey({ services: [BEFORE], networks: LOCAL })]);
    const facts = await run(BARE);
    expect([facts.reason, facts.problems.map(inWords).join()]).toEqual([
      "preflight",
      expect.stringContaining("[network-scope]"),
    ]);
    expect(heard).toEqual(["look"]);
  });

  test("is waited for where somebody else is at work, also if nothing seems to be to do", async () => {
    const same = emptySurvey({ services: [AFTER], tasks: [UP], rawConfigs: RECORDED });
    const { heard, run, transcript } = steps(STANDS, [
      { ...same, rawConfigs: [...RECORDED, ...LOCKED] },
      same,
    ]);
    expect(await run(BARE)).toMatchObject({ status: "unchanged", problems: [] });
    expect(heard).toEqual(["look", "lock", "look", "release"]);
    expect(transcript.filter((line) => line === "[Plan]")).toHaveLength(1);
  });

  test.each<[string, Survey]>([
    ["a service", emptySurvey({ services: [{ ...BEFORE, version: 8 }] })],
    ["a network", emptySurvey({ services: [BEFORE], networks: [{ Id: "n1", Name: "new" }] })],
    ["a config", emptySurvey({ services: [BEFORE], rawConfigs: [{ ID: "c1", Spec: { Name: "new" } }] })],
    ["a secret", emptySurvey({ services: [BEFORE], rawSecrets: [{ ID: "s1", Spec: { Name: "new" } }] })],
  ])("comes with another plan where %s has changed meanwhile", async (_what, now) => {
    const { heard, run, transcript } = steps(script(GOES_WELL), [asItWas, now]);
    expect((await run()).status).toBe("deployed");
    expect(heard.slice(0, 3)).toEqual(["look", "lock", "look"]);
    expect(rehearsals(transcript)).toBe(2);
    const plans = transcript.filter((line) => line === "[Plan]" || line.endsWith("so it is planned anew."));
    expect(plans).toEqual(["[Plan]", expect.stringContaining("has changed meanwhile"), "[Plan]"]);
  });

  test("and where somebody else did it all meanwhile, nothing is sent", async () => {
    const done = emptySurvey({ services: [AFTER], tasks: [UP] });
    const { run, transcript } = steps(STANDS, [asItWas, done]);
    expect((await run(BARE)).status).toBe("unchanged");
    expect(transcript.join("\n")).not.toContain("in earnest");
  });

  test("that is somebody else's is waited for, and what runs is looked at then", async () => {
    const tries = [undefined, undefined, "id"];
    const { heard, run } = steps(script(GOES_WELL), [asItWas], {
      create: async () => await Promise.resolve(tries.shift()),
    });
    const facts = await run();
    expect(heard.slice(0, 6)).toEqual(["look", "lock", "look", "lock", "lock", "look"]);
    expect(facts.changes?.services).toHaveLength(1);
  });

  test("that was somebody else's when it was looked for is followed by another look", async () => {
    const { heard, run } = steps(script(GOES_WELL), [asItWas, { ...asItWas, rawConfigs: LOCKED }, asItWas]);
    expect((await run()).status).toBe("deployed");
    expect(heard.slice(0, 4)).toEqual(["look", "lock", "look", "look"]);
  });

  test("that somebody else keeps ends the deployment before anything is decided", async () => {
    const stored = { id: "x", version: 1, labels: {}, createdAt: 0, changedAt: 0, readAt: 0 };
    const { run, transcript } = steps(script([]), [{ ...asItWas, rawConfigs: LOCKED }], {
      create: async () => await Promise.resolve(undefined),
      read: async () => await Promise.resolve(stored),
    });
    expect((await run({ "lock-timeout": "4s" })).reason).toBe("lock");
    expect(transcript.filter((line) => line.startsWith("Waiting for another deployment"))).toHaveLength(1);
    expect(rehearsals(transcript)).toBe(0);
  });

  test("that is lost means that nothing is put back: somebody else works on the stack", async () => {
    const lost = new LockError("Another deployment has taken over the lock.", "Run this job again.");
    const { facts, transcript } = await told(script([lost]));
    expect(facts.reason).toBe("lock");
    expect(facts.aftermath.join()).toContain("nothing was put back");
    expect(transcript.filter((line) => line.startsWith("  > swarm: update"))).toEqual([]);
  });
});

test("the password of the registry goes to docker through standard input only", async () => {
  const { transcript } = await told(WENT_WELL, { password: "hunter2", secrets: "TOKEN=hunter3" });
  expect(transcript.join("\n")).not.toMatch(/hunter/);
});

describe("pruning", () => {
  const stale = service({ id: "s9", name: "shop_old", spec: { ...spec("old:1"), Name: "shop_old" } });

  test("happens when the verdict is good", async () => {
    const { transcript, facts } = await told(script(GOES_WELL, { before: [BEFORE, stale] }));
    expect(transcript.indexOf("  > swarm: remove s9")).toBe(transcript.indexOf("[Record the release]") - 2);
    expect(facts.services).toMatchObject([{ name: "old", state: "removed" }, { name: "web" }]);
  });

  test("does not happen otherwise", async () => {
    const { transcript } = await told(
      script([crash([CRASHED])], { before: [BEFORE, stale], swarm: CRASHES }),
      { "on-failure": "keep" },
    );
    expect(transcript).not.toContain("  > swarm: remove s9");
  });

  test("that fails makes the deployment no worse", async () => {
    const { facts } = await told(
      script(GOES_WELL, {
        before: [BEFORE, stale],
        swarm: { removeService: async () => await Promise.reject(new Error("no")) },
      }),
    );
    expect(facts.status).toBe("deployed");
  });
});
