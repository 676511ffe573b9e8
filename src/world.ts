import { type Problem, type StopError } from "./errors.ts";
import { type Credential, type RunContext } from "./inputs/inputs.ts";
import { type JsonObject } from "./json.ts";
import { type ImageAnswer, type Locks, type Survey, type Swarm } from "./swarm.ts";

/** Everything a story may touch. Made once, in `main.ts`; doubled in tests. No code. */
export interface World {
  readonly voice: Voice;
  readonly clock: Clock;
  readonly files: Files;
  /** Docker on this runner, with our private configuration. */
  readonly docker: Docker;
  readonly images: RunnersImages;
  readonly compression: Compression;
  /** The step's environment. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly run: RunContext;
  readonly github: GitHub;
  /**
   * Lets docker deploy against a stand-in for a manager, on this runner alone: nobody is contacted. What it would have written. The
   * stage is asked for when docker has its first question about the swarm.
   */
  rehearse(
    stage: () => Promise<Stage>,
    deploy: (docker: Docker) => Promise<void>,
    signs: Signs,
  ): Promise<readonly Write[]>;
  /** Opens the one connection to a manager. `login` is the credential that the swarm is to keep, where docker has yet to log in with it. */
  connect(login: RegistryLogin | undefined): Promise<Session>;
  /** Keeps a value for the post step, which also comes when this one is killed. */
  remember(name: string, value: string): void;
  /** Ends whatever is on its way, as a cancellation does: all of it rejects with `reason`. */
  stop(reason: StopError): void;
}

/** An answer that may be missing: then why. */
export type Told = boolean | { readonly unknown: string };

/** One attempt of a workflow run. */
export interface RunAttempt {
  /** `owner/name` */
  readonly repository: string;
  readonly id: string;
  /** 1 for the first; rises with "Re-run jobs". */
  readonly attempt: number;
}

/** What GitHub, or the clone in the workspace, knows about runs and commits. Never rejects but for a cancellation. */
export interface GitHub {
  isOver(run: RunAttempt): Promise<Told>;
  /** Whether `older` is an ancestor of `newer`, and not the same. Both are full commit ids. */
  isAncestor(older: string, newer: string): Promise<Told>;
  /** Writes a comment below a pull request; where an earlier one starts with the same marker, in its place. */
  comment(pullRequest: number, marker: string, markdown: string): Promise<Commented>;
}

/** The comment's page, or why there is none. */
export type Commented = { readonly url: string } | { readonly unknown: string; readonly forbidden: boolean };

/** Images on the runner, mostly one that this step has just built. Never rejects but for a cancellation. */
export interface RunnersImages {
  /** What an image says about itself, in the engine's words; undefined where it is not here. */
  configOf(image: string): Promise<JsonObject | undefined>;
  /** Those of the paths that an image has; undefined where that can't be told. */
  having(image: string, paths: readonly string[]): Promise<ReadonlySet<string> | undefined>;
}

export interface Compression {
  compress(text: string): Uint8Array;
  /** Throws where the bytes are not what `compress` has made. */
  expand(bytes: Uint8Array): string;
}

/** A credential for one registry. */
export interface RegistryLogin {
  /** `docker.io`, or a host with or without a port. */
  readonly registryHost: string;
  readonly credential: Credential;
}

export interface Voice {
  /** A line of ours. */
  say(line: string): void;
  /** A line somebody else wrote. */
  quote(line: string): void;
  /** Starts a folded section of the log, ending the one before. */
  group(title: string): void;
  endGroup(): void;
  warn(problem: Problem): void;
  /** From now on `value` is never shown, in any of its usual encodings. */
  mask(value: string): void;
  /** A copy in which no text has anything masked in it; for what leaves by another way than the log. */
  redactAll<T>(value: T): T;
}

export interface Clock {
  /** Milliseconds since the epoch. It never goes back, nor forward by itself, whatever is done to the system's clock. */
  now(): number;
  sleep(ms: number): Promise<void>;
  /** Does `work` each `ms` until it is disposed of, never twice at once; the disposal waits for the one on its way. `work` must not reject. */
  every(ms: number, work: () => Promise<void>): AsyncDisposable;
}

export interface Files {
  /** Undefined where there is no readable file. Relative paths start at the workspace. */
  read(path: string): Uint8Array | undefined;
  exists(path: string): boolean;
  /** Names in a folder; empty where there is none. */
  list(folder: string): readonly string[];
  /** Keeps a file for later steps (0600); its path. */
  keep(name: string, text: string): string;
  /** A path in a private folder that is gone when the step ends. */
  scratch(name: string): string;
}

export interface DockerCall {
  /** Added to the environment of the command. */
  readonly environment?: Readonly<Record<string, string>>;
  /**
   * Written to its standard input: passwords and stack files, which must not be in argv. What takes time to make is asked for once docker
   * has been started, which takes time, too; where it can't be made, docker is ended.
   */
  readonly input?: string | (() => Promise<string>);
  readonly cwd?: string;
  /** Called with every line as it comes, of both streams. */
  readonly onLine?: (line: string) => void;
}

export interface DockerAnswer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Docker {
  /** Runs one docker command; resolves whatever its exit code is. */
  run(argv: readonly string[], call?: DockerCall): Promise<DockerAnswer>;
}

/** What can be told of a docker before its deployment has ended. */
export interface Signs {
  /** The major version of its command line: told with its first question, and 0 at the end where it never told. */
  readonly introduced?: (major: number) => void;
  /** It has read the whole file, found nothing wrong with it, and sends the first service. Not called where there is none. */
  readonly sends?: () => void;
}

/** One change that docker asked the manager for. */
export interface Write {
  readonly method: string;
  /** Without the API version, for instance `/services/create`. */
  readonly path: string;
  readonly body: JsonObject;
  /** The X-Registry-Auth value that went with it. */
  readonly auth: string | undefined;
}

/** What was created for a rollout: names to ids. */
export interface Created {
  readonly networks: ReadonlyMap<string, string>;
  readonly configs: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, string>;
}

/** What docker's questions are answered with, so that it says the same in the rehearsal and in earnest: what was created since the survey, or will have been, is there. */
export interface Stage extends Created {
  readonly survey: Survey;
  /** What registries said, by the image as the stack file names it. */
  readonly images: ReadonlyMap<string, ImageAnswer>;
}

/** The lock of a stack, held by us; disposing of it lets it go. */
export interface Lock extends AsyncDisposable {
  /** Resolves where it is ours for certain, mostly without asking anybody; a `LockError` where it is not. */
  makeSure(): Promise<void>;
}

/** One connection to one manager at a time, opened again where it is lost. */
export interface Session extends AsyncDisposable {
  readonly swarm: Swarm;
  /** The same, for what has to be done when the job is cancelled: each call goes out, once, and has a few seconds. */
  readonly lastSwarm: Swarm;
  readonly locks: Locks;
  /**
   * Has the manager ask a registry whether it takes a credential, and keeps it for the docker commands to come, which hand it to the
   * swarm. The registry's reason where it does not.
   */
  logIn(login: RegistryLogin): Promise<string | undefined>;
  /** The X-Registry-Auth value for a registry; undefined where there are no credentials. */
  registryAuth(domain: string): string | undefined;
  /** Lets docker deploy against a stand-in for the manager; what it would have written. Nothing is touched. */
  rehearse(stage: Stage, deploy: (docker: Docker) => Promise<void>): Promise<readonly Write[]>;
  /**
   * The same in earnest: docker's questions are answered as in the rehearsal, and what it writes goes to the manager. Several dockers may
   * deploy parts of one stack at once: a network that more than one of them asks for is created once, and after a write that failed no
   * other one is sent. Returns what docker has created.
   */
  perform(
    stage: Stage,
    deploy: (docker: Docker) => Promise<void>,
    /** Called with the full name of each service that the manager took, or may have taken before it fell silent. */
    onSent: (serviceName: string) => void,
  ): Promise<Created>;
  /** How many requests can be on their way to the manager at once; infinite where nothing limits them. */
  readonly most: number;
  /** From now on each change to the swarm, docker's included, is sent only where the lock is ours for certain. */
  guard(lock: Lock): void;
  /** Tells which manager is in use, and from now on each one that takes its place. */
  onManager(tell: (address: string) => void): void;
  /** Why there is no connection at present, if there is none. */
  lost(): string | undefined;
  /**
   * From now on a connection that is lost is opened again until then, by the clock; at least one try is made. Before it is called
   * two minutes are taken for each call.
   */
  waitUntil(time: number): void;
}
