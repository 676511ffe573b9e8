import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { DockerCli } from "../../../src/io/docker.ts";
import { temporaryFolder } from "../../doubles/folder.ts";

const NEVER = new AbortController().signal;
let folder = temporaryFolder();
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder[Symbol.dispose]());

/** A docker that is this shell script. */
function dockerThat(script: string): DockerCli {
  const path = join(folder.path, "docker");
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return new DockerCli({ PATH: `${folder.path}:${process.env.PATH}` }, NEVER);
}

test("what docker is to read is asked for once it has been started", async () => {
  const started = join(folder.path, "started");
  const docker = dockerThat(`: >'${started}'; cat`);
  const input = async (): Promise<string> => {
    while (!existsSync(started)) await new Promise((resolve) => setTimeout(resolve, 5));
    return "services: {}";
  };
  expect(await docker.run([], { input })).toEqual({ code: 0, stdout: "services: {}", stderr: "" });
});

test("a docker that ends before it has read anything is not waited for", async () => {
  const docker = dockerThat("echo 'unknown flag: --detach' >&2; exit 125");
  const input = async (): Promise<string> => await new Promise(() => undefined);
  expect(await docker.run([], { input })).toEqual({
    code: 125,
    stdout: "",
    stderr: "unknown flag: --detach\n",
  });
});

test("a docker for which there is nothing to read is ended, and the reason is told", async () => {
  const docker = dockerThat("trap '' TERM; cat >/dev/null; sleep 60");
  const input = async (): Promise<string> => await Promise.reject(new Error("no such file"));
  await expect(docker.run([], { input })).rejects.toThrow("no such file");
});
