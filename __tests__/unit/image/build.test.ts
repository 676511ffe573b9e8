import { describe, expect, test } from "@jest/globals";
import { BuildError } from "../../../src/errors.ts";
import {
  buildxPlan,
  digestOfMetadata,
  digestOfPush,
  imageLabels,
  plainBuildPlan,
  referencesOf,
} from "../../../src/image/build.ts";
import { type BuildInputs, type Inputs } from "../../../src/inputs/inputs.ts";

const PLAIN: BuildInputs = {
  context: ".",
  file: undefined,
  target: undefined,
  platforms: [],
  buildArgs: [],
  secrets: [],
  labels: [],
  cacheFrom: [],
  cacheTo: [],
  noCache: false,
  pull: false,
};
const IMAGE: Inputs["image"] = {
  registry: "r.io/acme",
  registryHost: "r.io",
  project: "shop",
  repository: "r.io/acme/shop",
  version: "v1",
  tags: ["latest"],
  login: undefined,
  pullLogin: undefined,
  build: PLAIN,
};
const RUN = {
  repository: "",
  sha: "abc",
  refType: "",
  refName: "",
  actor: "",
  actionRef: "v1",
  runUrl: "",
  repositoryUrl: "https://h/acme/shop",
  event: "push",
  runId: "1",
  runAttempt: 1,
  pullRequest: undefined,
  sshAgent: undefined,
  withheldFrom: undefined,
};

/** The argv as one line, as a person would type it. */
function buildx(build: Partial<BuildInputs>, references = ["r.io/shop:v1"], labels: string[] = []): string {
  return buildxPlan({ ...PLAIN, ...build }, references, labels, "/tmp/meta.json").argv.join(" ");
}

function plain(build: Partial<BuildInputs>): string {
  return plainBuildPlan({ ...PLAIN, ...build }, ["r.io/shop:v1"], []).argv.join(" ");
}

test("the version comes first, since its digest is the one that is deployed", () => {
  expect(referencesOf(IMAGE)).toEqual(["r.io/acme/shop:v1", "r.io/acme/shop:latest"]);
});

describe("labels", () => {
  const created = new Date("2026-08-01T10:00:00Z");

  test("an image tells where it comes from; the workflow's own labels come last and win", () => {
    expect(imageLabels(IMAGE, ["org.opencontainers.image.version=mine"], RUN, created)).toEqual([
      "org.opencontainers.image.source=https://h/acme/shop",
      "org.opencontainers.image.revision=abc",
      "org.opencontainers.image.version=v1",
      "org.opencontainers.image.created=2026-08-01T10:00:00.000Z",
      "org.opencontainers.image.version=mine",
    ]);
  });

  test("outside of a workflow nothing is made up", () => {
    const labels = imageLabels(IMAGE, [], { ...RUN, sha: "", repositoryUrl: "" }, created);
    expect(labels.map((label) => label.split("=")[0])).toEqual([
      "org.opencontainers.image.version",
      "org.opencontainers.image.created",
    ]);
  });
});

describe("with buildx", () => {
  test("one command builds, pushes and tells the digest", () => {
    expect(buildx({})).toBe("buildx build --push --metadata-file /tmp/meta.json --tag r.io/shop:v1 .");
    expect(buildxPlan(PLAIN, ["r.io/shop:v1"], [], "/m").pushes).toBe(true);
  });

  test.each<[string, Partial<BuildInputs>, string]>([
    ["the context is the last word", { context: "app" }, " app"],
    ["a Dockerfile", { file: "app/Dockerfile" }, " --file app/Dockerfile "],
    ["a stage", { target: "prod" }, " --target prod "],
    ["platforms", { platforms: ["linux/amd64", "linux/arm64"] }, " --platform linux/amd64,linux/arm64 "],
    [
      "caches",
      { cacheFrom: ["type=gha"], cacheTo: ["type=gha,mode=max"] },
      " --cache-from type=gha --cache-to type=gha,mode=max ",
    ],
    ["no cache", { noCache: true }, " --no-cache "],
    ["newer base images", { pull: true }, " --pull "],
  ])("%s", (_fact, build, words) => {
    expect(buildx(build)).toContain(words);
  });

  test("every tag and every label", () => {
    expect(buildx({}, ["r/a:1", "r/a:2"], ["a=b c", "d=e"])).toContain(
      "--tag r/a:1 --tag r/a:2 --label a=b c --label d=e",
    );
  });
});

describe("without buildx", () => {
  test("docker builds, and pushing is left to docker push", () => {
    expect(plain({})).toBe("build --tag r.io/shop:v1 .");
    expect(plainBuildPlan(PLAIN, ["r.io/shop:v1"], []).pushes).toBe(false);
  });

  test("one platform is possible", () => {
    expect(plain({ platforms: ["linux/arm64"] })).toContain("--platform linux/arm64");
  });

  test.each<[string, Partial<BuildInputs>, string]>([
    ["a cache destination", { cacheTo: ["type=gha"] }, "cache-to"],
    ["build secrets", { secrets: ["a=b"] }, "build-secrets"],
    ["several platforms", { platforms: ["linux/amd64", "linux/arm64"] }, "several platforms"],
    ["a cache of buildx's kind", { cacheFrom: ["type=gha"] }, "cache-from with type=…"],
  ])("%s is refused rather than left out", (_fact, build, word) => {
    expect(() => plain(build)).toThrow(BuildError);
    expect(() => plain(build)).toThrow(word);
  });
});

describe("no value in a process list", () => {
  const build = {
    ...PLAIN,
    buildArgs: ["TOKEN=hunter2", "EMPTY=", "FROM_ENV"],
    secrets: ["npm=hunter3=", "my-id=hunter4"],
  };

  test("a build argument's value goes through the environment", () => {
    const plan = plainBuildPlan({ ...build, secrets: [] }, [], []);
    expect(plan.argv.join(" ")).toContain("--build-arg TOKEN --build-arg");
    expect(plan.argv.join(" ")).not.toContain("hunter");
    expect(plan.environment.get("TOKEN")).toBe("hunter2");
  });

  test("a build secret's too", () => {
    const plan = buildxPlan(build, [], [], "/m");
    const flags = plan.argv.filter((word) => word.startsWith("id="));
    expect(plan.argv.join(" ")).not.toContain("hunter");
    expect(flags.map((flag) => flag.split(",env=")[0])).toEqual(["id=npm", "id=my-id"]);
    expect(flags.map((flag) => plan.environment.get(flag.split(",env=")[1] ?? ""))).toEqual([
      "hunter3=",
      "hunter4",
    ]);
  });

  test.each([
    "PATH",
    "HOME",
    "LD_PRELOAD",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "HTTP_PROXY",
    "no_proxy",
    "BUILDX_BUILDER",
    "SSH_AUTH_SOCK",
  ])("%s would be obeyed by docker itself, so it stays an argument and out of the environment", (name) => {
    const plan = buildxPlan({ ...PLAIN, buildArgs: [`${name}=x`] }, [], [], "/m");
    expect(plan.argv).toContain(`${name}=x`);
    expect(plan.environment.has(name)).toBe(false);
  });

  test("a build argument without value is docker's to look up", () => {
    const plan = buildxPlan(build, [], [], "/m");
    expect(plan.argv).toContain("FROM_ENV");
    expect(plan.environment.has("FROM_ENV")).toBe(false);
  });

  test("an empty build argument stays empty and does not become docker's to look up", () => {
    expect(buildxPlan(build, [], [], "/m").argv).toContain("EMPTY=");
  });
});

describe("the digest", () => {
  const digest = `sha256:${"0a".repeat(32)}`;

  test("is in buildx's metadata", () => {
    expect(digestOfMetadata(`{"containerimage.digest": "${digest}", "image.name": "x"}`)).toBe(digest);
    expect(digestOfMetadata("{}")).toBeUndefined();
  });

  test("is in docker push's last words", () => {
    const output = `The push refers to repository [r.io/shop]\nabc: Pushed\nv1: digest: ${digest} size: 528\n`;
    expect(digestOfPush(output)).toBe(digest);
    expect(digestOfPush("abc: Pushed\n")).toBeUndefined();
  });
});
