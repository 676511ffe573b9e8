import { type Json, type JsonObject } from "./json.ts";

/**
 * What a swarm is to this action: the interface that `io/engine.ts` speaks over the Engine API, and its nouns. A spec stays in the
 * engine's own JSON, because the whole of it must be compared, stored and put back without losing what we don't know.
 */

/** The desired state of a service, as the engine stores it. */
export type ServiceSpec = JsonObject;

export interface Service {
  readonly id: string;
  /** With the stack's name in front, for instance `shop_web`. */
  readonly name: string;
  /** Rises with every write; an update names the one it was made for. */
  readonly version: number;
  readonly spec: ServiceSpec;
  /** Before the last update; undefined where there was none, and after Swarm's own rollback. */
  readonly previous: ServiceSpec | undefined;
  /** Of the last update, if there was one: proof of nothing by itself (stale, missing, `completed` after a rollback). */
  readonly update: { readonly state: string; readonly message: string } | undefined;
  /** Tasks that should run: replicas, or one for each eligible node. */
  readonly desiredTasks: number;
  /** Which run of a job this is. */
  readonly jobIteration: number;
  /** RFC 3339, by the clock of the swarm's leader. */
  readonly createdAt: string;
}

/** One scheduled attempt to run a container. */
export interface Task {
  readonly id: string;
  readonly serviceId: string;
  /** 0 in global services. */
  readonly slot: number;
  readonly nodeId: string;
  readonly state: string;
  readonly desiredState: string;
  /** The scheduler's or the node's reason; empty while all is well. */
  readonly error: string;
  /** Undefined as long as it is not over, and where it never ran. */
  readonly exitCode: number | undefined;
  readonly image: string;
  /** RFC 3339, by the manager's clock. */
  readonly createdAt: string;
  /** When the swarm last noted something about it; like `createdAt`. */
  readonly updatedAt: string;
  /** Empty as long as there is none. */
  readonly containerId: string;
  readonly jobIteration: number;
  /** Made from the service's present spec, not from an earlier one. */
  readonly current: boolean;
}

export interface Node {
  readonly id: string;
  /** `ready`, `down`, `unknown`, `disconnected`. */
  readonly state: string;
  /** What its operator wants: `active`, `pause`, `drain`. */
  readonly availability: string;
  /** When it last registered, went, was changed, or got a network; RFC 3339, by the manager's clock. */
  readonly updatedAt: string;
  readonly hostname: string;
  /** `manager` or `worker`. */
  readonly role: string;
  /** Of a manager: `reachable`, `unreachable` or `unknown`; empty for a worker. */
  readonly reachability: string;
  /** As the managers see it. */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly engineLabels: Readonly<Record<string, string>>;
  /** In the node's own words, for instance `linux` and `x86_64`. */
  readonly os: string;
  readonly architecture: string;
  /** All that it has, whether reserved or not. */
  readonly resources: Resources;
  /** Drivers of volumes, a plugin with its tag. */
  readonly volumeDrivers: readonly string[];
}

/** What a node has or a task reserves; 0 is nothing. */
export interface Resources {
  /** Billionths of a CPU. */
  readonly nanoCpus: number;
  readonly memoryBytes: number;
}

/** A port that some service of the swarm publishes, or has been given. */
export interface TakenPort {
  /** The service's full name. */
  readonly service: string;
  /** Empty where it belongs to none. */
  readonly stack: string;
  readonly port: number;
  /** `tcp`, `udp` or `sctp`. */
  readonly protocol: string;
  readonly onHost: boolean;
}

/** What only the engine that ran a task knows about it. */
export interface ContainerFacts {
  readonly outOfMemory: boolean;
  /** Whether its health check failed as often in a row as `retries` allows. */
  readonly unhealthy: boolean;
  /** The last probes, oldest first. */
  readonly probes: readonly { readonly exitCode: number; readonly output: string }[];
}

export interface LogLine {
  readonly text: string;
  /** Written to standard error, where programs put what went wrong. */
  readonly stderr: boolean;
}

export interface Named {
  readonly id: string;
  readonly name: string;
}

export interface StoredConfig extends Named {
  readonly bytes: Uint8Array;
}

/** All that a plan has to know, read before anything is changed. */
export interface Survey {
  /** When it was asked for, by the runner's clock: milliseconds since the epoch. */
  readonly askedAt: number;
  /** What the engine said about itself when it was reached; this and the raw answers below are for docker's questions. */
  readonly info: Json;
  /** Those of the swarm, and the manager's own. */
  readonly networks: readonly JsonObject[];
  readonly rawConfigs: readonly JsonObject[];
  readonly rawSecrets: readonly JsonObject[];
  readonly rawServices: readonly JsonObject[];
  /** The services of this stack. */
  readonly services: readonly Service[];
  /** The tasks of this stack. */
  readonly tasks: readonly Task[];
  readonly configs: readonly StoredConfig[];
  readonly secrets: readonly Named[];
  readonly nodes: readonly Node[];
  /** Of all stacks. */
  readonly takenPorts: readonly TakenPort[];
}

/** A registry's answer about an image, asked by the manager. */
export type ImageAnswer =
  | { readonly kind: "found"; readonly digest: string; readonly body: JsonObject }
  | { readonly kind: "refused"; readonly status: number; readonly message: string };

export interface NewObject {
  readonly kind: "config" | "secret";
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly labels: ReadonlyMap<string, string>;
  readonly templateDriver: string | undefined;
}

/** A docker config whose being there is the message. Its content can't change; its labels can. */
export interface StoredLock {
  readonly id: string;
  /** Rises with every change of the labels. */
  readonly version: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch, by the clock of the swarm's leader. */
  readonly createdAt: number;
  /** Of the creation or the last change of the labels; by the same clock. */
  readonly changedAt: number;
  /** When this was read, by the clock of the manager that answered. */
  readonly readAt: number;
}

/**
 * Mutual exclusion by the swarm itself: of many that create a config of one name exactly one succeeds, and of many that change the same
 * version of its labels again exactly one does (SWARM, "Lock"). These calls pass while all other writes are held back, and go out even
 * when the job is cancelled, with little time then.
 */
export interface Locks {
  /** The new lock's id; undefined where the name is taken. */
  create(name: string, labels: StoredLock["labels"]): Promise<string | undefined>;
  /** Undefined where there is none. */
  read(name: string): Promise<StoredLock | undefined>;
  /** Replaces the labels; false where the lock has changed or gone since it was read. */
  relabel(name: string, lock: StoredLock, labels: StoredLock["labels"]): Promise<boolean>;
  /** Tries once, also where the connection is lost; whoever comes later may try again. One that is gone already is no error. */
  remove(id: string): Promise<void>;
}

export interface Swarm {
  /** A short name for messages: the manager's host. */
  readonly address: string;
  survey(stack: string): Promise<Survey>;
  /** The manager's registry look-up; `auth` is an X-Registry-Auth value. */
  askRegistry(image: string, auth: string | undefined): Promise<ImageAnswer>;
  /** An attachable overlay network, or one like a definition in the engine's words; its id. */
  createNetwork(name: string, definition?: JsonObject): Promise<string>;
  /** Creates a config or secret, or finds the one that somebody else has just created; its id. */
  createObject(object: NewObject): Promise<string>;
  /** Creates a config under a name that must be free. */
  createRecord(record: NewObject): Promise<void>;
  removeObject(kind: NewObject["kind"], id: string): Promise<void>;
  /** Refused by the swarm while anything uses it. */
  removeNetwork(id: string): Promise<void>;
  services(stack: string): Promise<readonly Service[]>;
  /** Those of all stacks and of none, as the engine lists them. */
  everyService(): Promise<readonly JsonObject[]>;
  tasks(stack: string): Promise<readonly Task[]>;
  /** Of all stacks; which of them are `current` is not asked. */
  tasksOn(nodeId: string): Promise<readonly Task[]>;
  nodes(): Promise<readonly Node[]>;
  nodeName(id: string): Promise<string>;
  /** Undefined where the task ran on another node than the manager that we speak to, or its container is gone. */
  containerFacts(task: Task): Promise<ContainerFacts | undefined>;
  /** The last lines a task wrote; empty where the node can't tell in time. */
  taskLogs(taskId: string, lines: number): Promise<readonly LogLine[]>;
  createService(spec: ServiceSpec, auth: string | undefined): Promise<void>;
  updateService(service: Service, spec: ServiceSpec, auth: string | undefined): Promise<void>;
  removeService(id: string): Promise<void>;
}
