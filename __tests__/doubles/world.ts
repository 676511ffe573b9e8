import { type JsonObject, textAt } from "../../src/json.ts";
import { parseStackFile } from "../../src/stack/stack-file.ts";
import { get } from "../../src/stack/tree.ts";
import { type StopError } from "../../src/errors.ts";
import { type Locks, type ServiceSpec, type Swarm } from "../../src/swarm.ts";
import {
  type Commented,
  type Docker,
  type DockerAnswer,
  type DockerCall,
  type RunnersImages,
  type Session,
  type Told,
  type World,
} from "../../src/world.ts";
import { fakeClock } from "./clock.ts";
import { lockBoard } from "./locks.ts";
import { type Frame, scriptedSwarm } from "./swarm.ts";
import { recordedVoice } from "./voice.ts";
import { NOTHING_CREATED } from "../../src/apply.ts";

export interface Script {
  /** The workspace: paths to texts. */
  readonly files: Readonly<Record<string, string>>;
  /** What docker makes of the stack file: the specs it would send. */
  readonly specs: readonly ServiceSpec[];
  /** What the swarm looks like, look by look. */
  readonly frames: readonly Frame[];
  /** What a docker command answers, by its first words; without an entry it succeeds in silence. */
  readonly docker?: Readonly<Record<string, Partial<DockerAnswer>>>;
  readonly swarm?: Partial<Swarm>;
  /** Why the registry does not take a credential; without it, it does. */
  readonly refusedLogin?: string;
  /** Full names of the services that the manager takes; all that docker is given, where this is left out. */
  readonly takes?: readonly string[];
  readonly locks?: Partial<Locks>;
  /** Without it the runner has no image. */
  readonly images?: RunnersImages;
  /** What GitHub answers; without it, it does not know. */
  readonly github?: { readonly isOver?: Told; readonly isAncestor?: Told; readonly comment?: Commented };
  /** Why the connection was lost, if it was. */
  readonly lost?: string;
}

export interface RecordedWorld extends World {
  /** What was said, and what was asked of docker and of the swarm, in one order. */
  readonly transcript: string[];
  /** How long, in milliseconds, a lost connection was to be waited for, from time to time. */
  readonly waits: number[];
  /** Why everything was stopped. */
  readonly stopped: StopError[];
}

/** A small world in which everything that will happen is written in advance, and everything that is done is noted. */
export function scriptedWorld(script: Script): RecordedWorld {
  const transcript: string[] = [];
  const waits: number[] = [];
  const clock = fakeClock(Date.parse("2026-08-01T10:00:00Z"));
  const noted = <T extends object>(target: T, list: string[], prefix: string): T => {
    list.push = (...lines) => transcript.push(...lines.map((line) => `${prefix}${line}`));
    return target;
  };
  const voice = recordedVoice();
  noted(voice, voice.said, "");
  const swarm = scriptedSwarm(script.frames, script.swarm);
  const stopped: StopError[] = [];
  noted(swarm, swarm.heard, "  > swarm: ");
  const files = new Map(Object.entries(script.files));

  const docker = (where: string): Docker => ({
    run: async (argv: readonly string[], call?: DockerCall) => {
      const line = argv.join(" ");
      transcript.push(`  > docker${where}: ${line}`);
      const [, answer] =
        Object.entries(script.docker ?? {}).find(([start]) => `${where} ${line}`.trim().startsWith(start)) ??
        [];
      if (typeof call?.input === "function") await call.input();
      const full = { code: 0, stdout: "", stderr: "", ...answer };
      full.stderr
        .split("\n")
        .filter((each) => each !== "")
        .forEach((each) => call?.onLine?.(each));
      return await Promise.resolve(full);
    },
  });

  const writes = script.specs.map((body: JsonObject) => ({
    method: "POST",
    path: "/services/create",
    body,
    auth: undefined,
  }));
  const session: Session = {
    swarm,
    lastSwarm: swarm,
    locks: lockBoard(clock, script.locks),
    guard: () => undefined,
    logIn: async ({ registryHost, credential }) => {
      transcript.push(`  > registry: log in to ${registryHost} as ${credential.username}`);
      return await Promise.resolve(script.refusedLogin);
    },
    registryAuth: () => undefined,
    rehearse: async (_stage, deploy) => {
      await deploy(docker(" (rehearsal)"));
      return writes;
    },
    perform: async (_stage, deploy, onSent) => {
      const earnest = docker(" (in earnest)");
      await deploy({
        run: async (argv, call) => {
          const file = parseStackFile(inputOf(call), "stdin");
          const given = script.specs
            .map((each) => textAt(each, "Name"))
            .filter((name) => get(file, "services", name.replace(`${argv.at(-1)}_`, "")) !== undefined);
          for (const name of given) if (script.takes?.includes(name) ?? true) onSent(name);
          return await earnest.run(argv, call);
        },
      });
      return NOTHING_CREATED;
    },
    most: Infinity,
    onManager: (tell) => tell(swarm.address),
    lost: () => script.lost,
    waitUntil: (time) => void waits.push(time - clock.now()),
    [Symbol.asyncDispose]: async () => {
      transcript.push("  > disconnect");
      await Promise.resolve();
    },
  };

  return {
    transcript,
    waits,
    voice,
    clock,
    stopped,
    stop: (reason) => void stopped.push(reason),
    remember: () => undefined,
    github: {
      isOver: async () => await Promise.resolve(script.github?.isOver ?? { unknown: "nobody asks it" }),
      comment: async (number, marker, markdown) => {
        transcript.push(`  > comment on #${number}: ${marker}\n${markdown}`);
        return await Promise.resolve(
          script.github?.comment ?? { url: "https://github.com/acme/shop/pull/7#c1" },
        );
      },
      isAncestor: async () =>
        await Promise.resolve(script.github?.isAncestor ?? { unknown: "nobody asks it" }),
    },
    files: {
      read: (path) => {
        const text = files.get(path.replace(/^\.\//, ""));
        return text === undefined ? undefined : Buffer.from(text);
      },
      exists: (path) => path === "." || files.has(path.replace(/^\.\//, "")),
      list: () => [...files.keys()],
      keep: (name, text) => (files.set(`/tmp/${name}`, text), `/tmp/${name}`),
      scratch: (name) => name,
    },
    docker: docker(""),
    images: {
      configOf: async () => await Promise.resolve(undefined),
      having: async () => await Promise.resolve(undefined),
      ...script.images,
    },
    compression: { compress: (text) => Buffer.from(text), expand: (bytes) => Buffer.from(bytes).toString() },
    environment: {},
    run: {
      repository: "acme/shop",
      sha: "0123456789abcdef",
      refType: "branch",
      refName: "main",
      actor: "dev",
      actionRef: "v1",
      event: "workflow_dispatch",
      runId: "1",
      runAttempt: 1,
      pullRequest: undefined,
      runUrl: "https://github.com/acme/shop/actions/runs/1",
      repositoryUrl: "https://github.com/acme/shop",
      sshAgent: undefined,
      withheldFrom: undefined,
    },
    rehearse: async (_stage, deploy, { introduced }) => {
      introduced?.(28);
      await deploy(docker(" (offline)"));
      return writes;
    },
    connect: async () => {
      transcript.push("  > connect");
      return await Promise.resolve(session);
    },
  };
}

/** What a docker command gets that needs not be made first. */
export function inputOf(call: DockerCall | undefined): string {
  return typeof call?.input === "string" ? call.input : "";
}
