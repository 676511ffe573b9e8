import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { deploy, objects, recordNames, records, rollBack } from "./history.ts";
import { LEAN } from "../stacks/lean.ts";
import {
  type Run,
  cleanUp,
  docker,
  inContainer,
  inspect,
  pushImage,
  service,
  stackName,
  until,
} from "./rig.ts";

/** What stays on the swarm of earlier releases, and what goes. */

afterAll(cleanUp);

describe("what nothing needs any more", () => {
  const stack = stackName("tidy");
  const file = (image: string): string => `
services:
  web:
    image: $REGISTRY_URL/$PROJECT_NAME:${image}
    configs: [{ source: env, target: /app/.env }]
    secrets: [token]
    deploy: { update_config: { monitor: 1s } }
  other:
    image: $REGISTRY_URL/$PROJECT_NAME:v1
    configs: [{ source: other, target: /other }]
configs: { env: { external: true }, other: { content: "other, $OTHER" } }
secrets: { token: { environment: TOKEN } }
networks: { default: { external: true, name: host } }
`;
  const release = async (n: number, other: string, more: Record<string, string> = {}): Promise<Run> =>
    await deploy(stack, file("v1"), `r${n}`, {
      env: `A=${n}\n`,
      "env-file": ".env",
      secrets: `TOKEN=token-${n}`,
      variables: `OTHER=${other}`,
      "keep-releases": "2",
      ...more,
    });

  beforeAll(() => {
    for (const tag of ["v1", "r1", "r2", "r3", "r4", "r5"]) pushImage(stack, tag);
    const labels = ["--label", `com.docker.stack.namespace=${stack}`];
    docker(["config", "create", ...labels, `${stack}_foreign`, "/etc/hostname"]);
    docker(["secret", "create", ...labels, `${stack}_foreign`, "/etc/hostname"]);
  });
  afterAll(() => {
    for (const kind of ["config", "secret"]) docker([kind, "rm", `${stack}_foreign`]);
  });

  test("goes after a good verdict: old records, and the configs and secrets that only they needed", async () => {
    // The service `other` changes once, so what it had before is wanted by its previous spec for all the time.
    for (const [n, other] of [
      [1, "a"],
      [2, "b"],
      [3, "b"],
    ] as const)
      expect((await release(n, other)).outputs.status).toBe("deployed");
    const before = { configs: objects("config", stack), secrets: objects("secret", stack) };
    expect(records(stack)).toEqual([2, 3]);
    const run = await release(4, "b");
    expect(run.outputs.status).toBe("deployed");
    expect(records(stack)).toEqual([3, 4]);
    expect(run.log).toContain(`Removed swarm-stack-deploy_release_${stack}_2, the record of release #2.`);
    expect(run.log).toMatch(
      new RegExp(`^Removed the config ${stack}_env_\\w+, which no service and no kept release needs\\.`, "m"),
    );
    expect(run.log).toMatch(new RegExp(`^Removed the secret ${stack}_token_\\w+, which`, "m"));
    const gone = [...run.log.matchAll(/^Removed the (?:config|secret) (\S+), which/gm)].map(
      ([, name]) => name,
    );
    expect(new Set(planned(run, "remove"))).toEqual(new Set(gone));
    const names = (kind: "config" | "secret", start: string): string[] =>
      objects(kind, stack).filter((name) => name.startsWith(`${stack}_${start}`));
    expect(names("config", "env_")).toHaveLength(2);
    expect(names("secret", "token_")).toHaveLength(2);
    expect(names("config", "foreign")).toHaveLength(1);
    expect(names("secret", "foreign")).toHaveLength(1);
    expect(before.configs).toHaveLength(5); // Two env files, two for `other`, the foreign one.
    expect(names("config", "other_")).toHaveLength(2);
  });

  test("so Swarm's own rollback of a service still works", () => {
    docker(["service", "rollback", `${stack}_other`]);
    expect(inContainer(`${stack}_other`, ["/bin/busybox", "cat", "/other"])).toBe("other, a");
  });

  test("a release of which a secret was removed by hand is refused before anything is written", async () => {
    const run = await release(5, "b");
    expect(run.outputs.status).toBe("deployed");
    // Nothing but the record of #4 and the previous spec of the service needs its secret now.
    const needed = service(`${stack}_web`) as unknown as {
      PreviousSpec: { TaskTemplate: { ContainerSpec: { Secrets: { SecretName: string }[] } } };
    };
    const [secret] = needed.PreviousSpec.TaskTemplate.ContainerSpec.Secrets;
    docker(["secret", "rm", secret?.SecretName ?? ""]);
    const version = service(`${stack}_web`).Version.Index;
    const back = await rollBack(stack, { "keep-releases": "2" });
    expect(back.outputs).toMatchObject({ status: "failed", reason: "preflight" });
    expect(back.log).toMatch(
      new RegExp(
        `::error::The release #4 r4 \\(.*\\) needs the secret ${secret?.SecretName}, which is no longer on the swarm\\. Nothing was changed\\. Deploy r4 again`,
      ),
    );
    expect(service(`${stack}_web`).Version.Index).toBe(version);
  });
});

test("a secret that the file drops is no longer used, and stays as long as a release needs it: so says the plan", async () => {
  const stack = stackName("drop");
  const file = (more: string): string =>
    `services:\n  web: { image: $IMAGE, ${more} deploy: { replicas: 0 } }\nsecrets: { token: { environment: TOKEN } }\n${LEAN}`;
  const secrets = "TOKEN=token-of-old";
  for (const tag of ["v1", "v2"]) pushImage(stack, tag);
  await deploy(stack, file("secrets: [token],"), "v1", { secrets });
  const [secret = ""] = objects("secret", stack);
  const dropped = await deploy(stack, file("").replace(/^secrets.*\n/m, ""), "v2");
  expect(dropped.log).not.toContain("Removed the secret");
  expect(planned(dropped, "foreign")).toEqual([secret]);
  expect(planned(dropped, "remove")).toEqual([]);
  expect(objects("secret", stack)).toEqual([secret]);
});

/** Names of the configs and secrets of which the plan says so. */
function planned({ outputs }: Run, word: string): string[] {
  const { configs, secrets } = JSON.parse(outputs.plan ?? "") as Record<
    "configs" | "secrets",
    { readonly name: string; readonly change: string }[]
  >;
  return [...configs, ...secrets]
    .filter(({ change }) => change === word)
    .map(({ name }) => name)
    .toSorted();
}

describe("records", () => {
  const stack = stackName("records");
  const file = (label: string): string => `
services:
  web:
    image: $REGISTRY_URL/$PROJECT_NAME:v1
    networks: [side]
    deploy: { replicas: 0, labels: { what: "${label}" }, update_config: { monitor: 1s } }
networks: { side: {} }
`;
  /** Nothing that could be compressed much. */
  const noise = (bytes: number): string =>
    randomBytes(bytes)
      .toString("base64")
      .replaceAll(/[^A-Za-z0-9]/g, "0");
  beforeAll(() => void pushImage(stack, "v1"));

  test("one that is larger than a config may be is kept in parts, and read again", async () => {
    const label = noise(900_000);
    const run = await deploy(stack, file(label), "v1");
    expect(run.outputs.status).toBe("deployed");
    expect(run.log).toMatch(/The record is larger than one docker config should be: it has [34] parts\./);
    expect(new Set(records(stack))).toEqual(new Set([1]));
    expect(records(stack).length).toBeGreaterThan(2);
    expect((await deploy(stack, file("small"), "v1")).outputs.status).toBe("deployed");
    const back = await rollBack(stack);
    expect(back.outputs.status).toBe("rolled-back");
    expect(service(`${stack}_web`).Spec.Labels.what).toBe(label);
  });

  test("one that is damaged is skipped with a warning", async () => {
    const [part = ""] = recordNames(stack).filter((name) => name.endsWith("_1_part2"));
    docker(["config", "rm", part]);
    expect((await deploy(stack, file("small again"), "v1")).outputs.status).toBe("deployed");
    const back = await rollBack(stack, { version: "#1" });
    expect(back.log).toContain(
      "::warning::The record of release #1 on the swarm can't be read: a part of it is missing.",
    );
    expect(back.log).toContain(`::error::The swarm has no release #1 of ${stack}.`);
  });

  test("a network of the stack that is gone is made again", async () => {
    const run = await deploy(stack, file("alone").replace("networks: [side]", ""), "v1");
    expect(run.outputs.status).toBe("deployed");
    await until("no task uses the network", () => {
      try {
        docker(["network", "rm", `${stack}_side`]);
        return true;
      } catch {
        return false;
      }
    });
    const back = await rollBack(stack);
    expect(back.log).toContain(`Created the network ${stack}_side.`);
    expect(back.outputs.status).toBe("rolled-back");
    expect(inspect("network", `${stack}_side`)).toMatchObject({
      Driver: "overlay",
      Labels: { "com.docker.stack.namespace": stack },
    });
  });

  test("one whose name is taken is a warning, and the deployment is good", async () => {
    const next = Math.max(...records(stack)) + 1;
    docker(["config", "create", `swarm-stack-deploy_release_${stack}_${next}`, "/etc/hostname"]);
    const run = await deploy(stack, file("unrecorded"), "v1");
    docker(["config", "rm", `swarm-stack-deploy_release_${stack}_${next}`]);
    expect(run.outputs).toMatchObject({ status: "deployed", reason: "" });
    expect(run.code).toBe(0);
    expect(run.log).toMatch(
      /::warning::This release could not be recorded on the swarm: The manager refused .*already exists/,
    );
    expect(records(stack)).not.toContain(next);
  });
});
