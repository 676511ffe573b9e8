import { describe, expect, test } from "@jest/globals";
import { type JsonObject } from "../../src/json.ts";
import { type FindingId } from "../../src/preflight/findings.ts";
import { planDeployment } from "../../src/plan.ts";
import { lookedInto } from "../../src/preflight/healthcheck.ts";
import { parseStackFile } from "../../src/stack/stack-file.ts";

interface Given {
  readonly test: readonly string[];
  /** Files of the image. */
  readonly has?: readonly string[];
  /** What the image says about itself; null where the runner has none. */
  readonly config?: JsonObject | null;
  /** More of the container's spec. */
  readonly container?: JsonObject;
}

const FILE = 'services:\n  web:\n    image: shop\n    healthcheck:\n      test: ["CMD", "x"]\n';

async function told({ test: Test, has = [], config = {}, container = {} }: Given): Promise<string[]> {
  const spec = {
    Name: "shop_web",
    TaskTemplate: { ContainerSpec: { Image: "shop", Healthcheck: { Test }, ...container } },
  };
  const plan = planDeployment({
    stack: "shop",
    wanted: [{ spec, auth: undefined }],
    live: [],
    networkIds: new Map(),
    prune: false,
    needs: { networks: [], configs: [], secrets: [] },
  });
  const images = {
    configOf: async () => await Promise.resolve(config ?? undefined),
    having: async (_image: string, paths: readonly string[]) =>
      await Promise.resolve(new Set(paths.filter((path) => has.includes(path)))),
  };
  const found = await lookedInto(parseStackFile(FILE, "stack.yml"), plan, images, new Set());
  return found.map(({ severity, problem }) => {
    const [, program] = / runs (.*), which its image does not have/.exec(problem.message) ?? [];
    expect(problem).toMatchObject({ place: { file: "stack.yml", line: 5 } });
    expect(severity).toBe("warning");
    return program ?? "";
  });
}

describe("a healthcheck whose program the image does not have", () => {
  test.each<[string, Given, string]>([
    ["by its path", { test: ["CMD", "/bin/curl", "-f"] }, "/bin/curl"],
    ["by its name", { test: ["CMD", "curl"], has: ["/opt/curl"] }, "curl"],
    [
      "in the folder where the image works",
      { test: ["CMD", "./check"], config: { WorkingDir: "/app" }, has: ["/check"] },
      "./check",
    ],
    ["for want of a shell", { test: ["CMD-SHELL", "true"] }, "/bin/sh"],
    [
      "for want of the image's own shell",
      { test: ["CMD-SHELL", "true"], config: { Shell: ["/bin/bash", "-c"] }, has: ["/bin/sh"] },
      "/bin/bash",
    ],
    [
      "behind a shell, which may know it by itself",
      { test: ["CMD-SHELL", "curl -f http://localhost || exit 1"], has: ["/bin/sh"] },
      "curl",
    ],
    [
      "behind a shell and a variable",
      { test: ["CMD-SHELL", "PORT=80 curl -f http://localhost"], has: ["/bin/sh"] },
      "curl",
    ],
    [
      "though a mount is beside it",
      { test: ["CMD", "/opt/tools/check"], container: { Mounts: [{ Target: "/opt/tool" }] } },
      "/opt/tools/check",
    ],
  ])("%s", async (_how, given, expected) => {
    expect(await told(given)).toEqual([expected]);
  });

  test.each<[string, Given]>([
    ["but for an image that the runner does not have", { test: ["CMD", "curl"], config: null }],
    ["but where it is, by its path", { test: ["CMD", "/bin/curl"], has: ["/bin/curl"] }],
    ["but where it is, by its name", { test: ["CMD", "curl"], has: ["/usr/bin/curl"] }],
    [
      "but in the image's own path",
      { test: ["CMD", "curl"], config: { Env: ["PATH=/opt"] }, has: ["/opt/curl"] },
    ],
    [
      "but in the service's own path",
      {
        test: ["CMD", "curl"],
        config: { Env: ["PATH=/nothing"] },
        container: { Env: ["PATH=/mine"] },
        has: ["/mine/curl"],
      },
    ],
    [
      "but where the service works",
      {
        test: ["CMD", "bin/check"],
        config: { WorkingDir: "/app" },
        container: { Dir: "/srv" },
        has: ["/srv/bin/check"],
      },
    ],
    ["but on a volume", { test: ["CMD", "/opt/check"], container: { Mounts: [{ Target: "/opt/" }] } }],
    [
      "but in a config",
      { test: ["CMD", "/check.sh"], container: { Configs: [{ File: { Name: "/check.sh" } }] } },
    ],
    [
      "but in a config beside the root",
      { test: ["CMD", "/hc.sh"], container: { Configs: [{ File: { Name: "hc.sh" } }] } },
    ],
    [
      "but in a secret",
      { test: ["CMD", "/run/secrets/hc"], container: { Secrets: [{ File: { Name: "hc" } }] } },
    ],
    [
      "but in a config, by another spelling of its path",
      {
        test: ["CMD", "../x//./hc"],
        config: { WorkingDir: "/opt/y" },
        container: { Configs: [{ File: { Name: "/opt/x/hc" } }] },
      },
    ],
    ["but where the engine puts it", { test: ["CMD", "/sbin/docker-init"], container: { Init: true } }],
    [
      "but in a part of the path that begins where the image works",
      {
        test: ["CMD-SHELL", "rel"],
        config: { Env: ["PATH=/bin:bin"], WorkingDir: "/app" },
        has: ["/bin/sh", "/app/bin/rel"],
      },
    ],
    ["but for words of the shell", { test: ["CMD-SHELL", "exit 0"], has: ["/bin/sh"] }],
    ["but where a variable names it", { test: ["CMD-SHELL", "$CHECK now"], has: ["/bin/sh"] }],
    ["but for none", { test: ["NONE"] }],
    ["but for the image's own", { test: [] }],
  ])("%s", async (_how, given) => {
    expect(await told(given)).toEqual([]);
  });
});

describe("a service that starts first", () => {
  const CHECK = { Healthcheck: { Test: ["CMD", "true"] } };
  const NOT: JsonObject = { Healthcheck: { Test: ["NONE"] } };

  async function warnings(
    config: JsonObject | undefined,
    container: JsonObject = {},
    more: JsonObject = {},
    ignored: readonly FindingId[] = [],
  ): Promise<string[]> {
    const spec = {
      Name: "shop_web",
      TaskTemplate: { ContainerSpec: { Image: "shop", ...container } },
      UpdateConfig: { Order: "start-first" },
      ...more,
    };
    const plan = planDeployment({
      stack: "shop",
      wanted: [{ spec, auth: undefined }],
      live: [],
      networkIds: new Map(),
      prune: false,
      needs: { networks: [], configs: [], secrets: [] },
    });
    const images = {
      configOf: async () => await Promise.resolve(config),
      having: async () => await Promise.resolve(undefined),
    };
    const root = parseStackFile(FILE, "stack.yml");
    const found = await lookedInto(root, plan, images, new Set(ignored));
    return found.map(({ id, severity, problem }) => `${severity} ${id} ${problem.place?.line}`);
  }

  const warned = ["warning start-first-no-healthcheck 2"];
  const stopFirst = { UpdateConfig: { Order: "stop-first" } };
  test.each<[string, Promise<string[]>, string[]]>([
    ["with an image that has no healthcheck", warnings({}), warned],
    ["with an image that disables the one of its base", warnings(NOT), warned],
    ["with an image that has one", warnings(CHECK), []],
    ["with an image that the runner does not have", warnings(undefined), []],
    ["with a healthcheck of its own", warnings({}, CHECK), []],
    ["and disables its healthcheck, which the file says itself", warnings({}, NOT), []],
    ["is none where it stops first", warnings({}, {}, stopFirst), []],
    ["is none where it is a job", warnings({}, {}, { Mode: { ReplicatedJob: {} } }), []],
    ["and is to be passed over", warnings({}, {}, {}, ["start-first-no-healthcheck"]), []],
  ])("%s", async (_fact, found, expected) => expect(await found).toEqual(expected));
});
