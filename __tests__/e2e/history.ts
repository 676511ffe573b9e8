import { type Run, buildable, docker, inspect, runAction } from "./rig.ts";

/** The releases of a stack as the swarm remembers them, and the ways to make one and to go back. */

interface Stored {
  readonly ID: string;
  readonly Spec: {
    readonly Name: string;
    readonly Data?: string;
    readonly Labels: Readonly<Record<string, string>>;
  };
}

/** Names of the configs or secrets of a stack, without the records. */
export function objects(kind: "config" | "secret", stack: string): string[] {
  return docker([kind, "ls", "--format", "{{.Name}}", "--filter", `name=${stack}_`])
    .split("\n")
    .filter((name) => name.startsWith(`${stack}_`))
    .toSorted();
}

/** The numbers of the releases on record, one for each config that holds a part. */
export function records(stack: string): number[] {
  return recordNames(stack)
    .map((name) => Number((inspect("config", name) as Stored).Spec.Labels["swarm-stack-deploy.release"]))
    .toSorted((a, b) => a - b);
}

export function recordNames(stack: string): string[] {
  const filter = `label=swarm-stack-deploy.stack=${stack}`;
  return docker(["config", "ls", "--format", "{{.Name}}", "--filter", filter])
    .split("\n")
    .filter((name) => name.startsWith("swarm-stack-deploy_release_"));
}

export function record(stack: string, number: number): Stored {
  return inspect("config", `swarm-stack-deploy_release_${stack}_${number}`) as Stored;
}

export async function deploy(
  stack: string,
  file: string,
  version: string,
  more: Record<string, string> = {},
): Promise<Run> {
  return await runAction({
    cwd: buildable({ "stack.yml": file, ".env": more.env ?? "A=1\n" }),
    inputs: { project: stack, build: "false", version, ...inputsOf(more) },
  });
}

function inputsOf({ env: _env, ...inputs }: Record<string, string>): Record<string, string> {
  return inputs;
}

/** From an empty workspace: no stack file is needed. */
export async function rollBack(stack: string, inputs: Record<string, string> = {}): Promise<Run> {
  return await runAction({
    cwd: buildable({}),
    inputs: { mode: "rollback", "stack-name": stack, ...inputs },
  });
}

/** Names of all configs and secrets of a stack, the records included. */
export function belongings(stack: string): string[] {
  return [...recordNames(stack), ...objects("config", stack), ...objects("secret", stack)].toSorted();
}
