import { describe, expect, test } from "@jest/globals";
import { type Symptoms, likelyCause } from "../../src/likely-cause.ts";

function cause(changes: Partial<Symptoms>): string {
  return likelyCause({
    state: "failed",
    exitCode: undefined,
    error: "",
    container: undefined,
    lastWords: "",
    ...changes,
  });
}

const ALIVE = { outOfMemory: false, unhealthy: false };
const exited = (exitCode: number): Partial<Symptoms> => ({
  exitCode,
  error: `task: non-zero exit (${exitCode})`,
});
const said = (error: string): Partial<Symptoms> => ({ error, state: "rejected" });

describe("the likely cause", () => {
  test.each<[string, Partial<Symptoms>, RegExp]>([
    [
      "an error of its own, with words",
      { ...exited(1), lastWords: "no database" },
      /exit code 1\)\. Its last lines say why/,
    ],
    ["an error of its own, without", exited(2), /exit code 2\)\. It wrote nothing; run the image by hand/],
    ["126", exited(126), /could not be executed/],
    ["127", exited(127), /A command was not found/],
    ["134", exited(134), /SIGABRT/],
    [
      "137, where its node can't be asked",
      exited(137),
      /often for want of memory, which only its node can tell/,
    ],
    [
      "137, and its node says it was not memory",
      { ...exited(137), container: ALIVE },
      /not for want of memory in its own limits/,
    ],
    [
      "137, and its node says it was memory",
      { ...exited(137), container: { ...ALIVE, outOfMemory: true } },
      /^The kernel ended it for want of memory/,
    ],
    ["139", exited(139), /SIGSEGV/],
    ["143", exited(143), /SIGTERM/],
    ["0, by itself", { state: "complete", exitCode: 0 }, /ended by itself, and well/],
    [
      "0, and its node says it was unhealthy",
      { state: "complete", exitCode: 0, container: { ...ALIVE, unhealthy: true } },
      /^Its health check failed/,
    ],
    [
      "unhealthy, and killed",
      { exitCode: 137, error: "task: non-zero exit (137): dockerexec: unhealthy container" },
      /^Its health check failed/,
    ],
    ["no image", said("No such image: app:v2@sha256:0"), /could not pull the image/],
    [
      "a port of another container",
      said("Bind for 0.0.0.0:80 failed: port is already allocated"),
      /holds a port/,
    ],
    [
      "a port of another program",
      said("listen tcp4 0.0.0.0:80: bind: address already in use"),
      /holds a port/,
    ],
    [
      "a port of the old task",
      said("no suitable node (host-mode port already in use on 1 node)"),
      /stop-first/,
    ],
    ["no room", said("no suitable node (insufficient resources on 1 node)"), /as much CPU or memory/],
    ["full nodes", said("no suitable node (max replicas per node limit exceed)"), /max_replicas_per_node/],
    [
      "constraints",
      said("no suitable node (scheduling constraints not satisfied on 3 nodes)"),
      /node inspect/,
    ],
    [
      "another platform",
      said("no suitable node (unsupported platform on 1 node)"),
      /not made for the platform/,
    ],
    ["a plugin", said("no suitable node (missing plugin on 1 node)"), /plugin/],
    [
      "drained nodes",
      said("no suitable node (3 nodes not available for new tasks)"),
      /down, paused or drained/,
    ],
    [
      "no folder",
      said('invalid mount config for type "bind": bind source path does not exist: /p'),
      /Create it on every node/,
    ],
    ["an odd mount", said("invalid mount target, must be an absolute path: v:/x"), /one of its mounts/],
    [
      "no program",
      said(
        'starting container failed: OCI runtime create failed: exec: "x": executable file not found in $PATH: unknown',
      ),
      /no such program/,
    ],
    [
      "no program, by its path",
      said('starting container failed: exec: "/x": stat /x: no such file or directory: unknown'),
      /no such program/,
    ],
    [
      "not executable",
      said('starting container failed: exec: "/x": permission denied: unknown'),
      /can't be executed/,
    ],
    ["another machine", said("starting container failed: exec format error"), /another kind of machine/],
    [
      "another machine, in its own output",
      { ...exited(1), lastWords: "exec /app: exec format error" },
      /another kind of machine/,
    ],
    ["address ranges", said("Pool overlaps with other one on this address space"), /address range/],
    [
      "a config that is gone",
      said("unable to get config from config store: config ab12 not found"),
      /was removed from the swarm/,
    ],
    ["a volume", said("error while mounting volume '/x': failed to mount local volume"), /could not mount/],
    ["a full disk", said("mkdir /x: no space left on device"), /disk is full/],
    ["a network", said("network shop_default not found"), /to a network/],
    ["a slow check", { state: "starting" }, /health check has not passed yet/],
    ["a slow pull", { state: "preparing" }, /getting the image ready/],
  ])("of %s", (_fact, symptoms, expected) => {
    expect(cause(symptoms)).toMatch(expected);
  });

  test("is not guessed where nothing is known", () => {
    expect(cause(said("the moon is full"))).toBe("");
    expect(cause({ state: "assigned" })).toBe("");
  });

  test("does not take what the program says for what Swarm says", () => {
    expect(cause({ ...exited(3), lastWords: "No such image: x; port is already allocated" })).toMatch(
      /exit code 3/,
    );
  });
});
