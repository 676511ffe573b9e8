import { textAt } from "../../src/json.ts";
import {
  type NewObject,
  type Node,
  type Service,
  type ServiceSpec,
  type Survey,
  type Swarm,
  type Task,
} from "../../src/swarm.ts";

/** What the swarm looks like at one moment; an error stands for a manager that does not answer. */
export type Frame = { readonly services: readonly Service[]; readonly tasks?: readonly Task[] } | Error;

export interface ScriptedSwarm extends Swarm {
  /** What was asked of it, in order; reading is not noted. */
  readonly heard: string[];
  /** The specs that were sent, by service id. */
  readonly sent: Map<string, ServiceSpec>;
}

/** A swarm whose future is already written, frame by frame; the last one stays. */
export function scriptedSwarm(frames: readonly Frame[], changes: Partial<Swarm> = {}): ScriptedSwarm {
  const left = [...frames];
  const heard: string[] = [];
  const sent = new Map<string, ServiceSpec>();
  let present: Frame = { services: [] };
  const looked = (): Exclude<Frame, Error> => {
    if (present instanceof Error) throw present;
    return present;
  };
  return {
    address: "m1",
    heard,
    sent,
    survey: async () => await Promise.resolve(emptySurvey()),
    askRegistry: async () => await Promise.resolve({ kind: "refused", status: 404, message: "not found" }),
    createNetwork: async (name) =>
      await Promise.resolve((heard.push(`create network ${name}`), `id-${name}`)),
    createObject: async ({ kind, name }: NewObject) =>
      await Promise.resolve((heard.push(`create ${kind} ${name}`), `id-${name}`)),
    createRecord: async ({ name }: NewObject) => await Promise.resolve(void heard.push(`record ${name}`)),
    removeObject: async (kind, id) => await Promise.resolve(void heard.push(`remove ${kind} ${id}`)),
    removeNetwork: async (id) => await Promise.resolve(void heard.push(`remove network ${id}`)),
    everyService: async () => await Promise.resolve([]),
    createService: async (spec) =>
      await Promise.resolve(void heard.push(`create service ${textAt(spec, "Name")}`)),
    // A look asks for the services first, and that turns the page.
    services: async () =>
      await Promise.resolve().then(() => ((present = left.shift() ?? present), looked().services)),
    tasks: async () => await Promise.resolve().then(() => looked().tasks ?? []),
    tasksOn: async () => await Promise.resolve([]),
    nodes: async () => await Promise.resolve([node()]),
    containerFacts: async () => await Promise.resolve(undefined),
    nodeName: async (id) => await Promise.resolve(`name-of-${id}`),
    taskLogs: async () => await Promise.resolve([]),
    updateService: async (each, spec) =>
      await Promise.resolve(
        void (heard.push(`update ${each.name} at ${each.version}`), sent.set(each.id, spec)),
      ),
    removeService: async (id) => await Promise.resolve(void heard.push(`remove ${id}`)),
    ...changes,
  };
}

export function emptySurvey(changes: Partial<Survey> = {}): Survey {
  return {
    askedAt: Infinity, // Never too old.
    info: { SystemTime: "2026-08-01T12:00:00Z" },
    networks: [],
    rawConfigs: [],
    rawSecrets: [],
    rawServices: [],
    services: [],
    tasks: [],
    configs: [],
    secrets: [],
    nodes: [node()],
    takenPorts: [],
    ...changes,
  };
}

/** A replicated service of the stack `shop`, as the engine stores it. */
export function serviceSpec(image = "app:v1", changes: ServiceSpec = {}): ServiceSpec {
  return {
    Name: "shop_web",
    Labels: { "com.docker.stack.namespace": "shop", "com.docker.stack.image": image },
    TaskTemplate: { ContainerSpec: { Image: image } },
    Mode: { Replicated: { Replicas: 1 } },
    ...changes,
  };
}

export function service(changes: Partial<Service> = {}): Service {
  const spec = changes.spec ?? serviceSpec();
  return {
    id: "s1",
    name: "shop_web",
    previous: undefined,
    version: 7,
    spec,
    update: undefined,
    desiredTasks: 1,
    jobIteration: 0,
    createdAt: "2026-08-01T11:00:00Z",
    ...changes,
  };
}

export function task(changes: Partial<Task> = {}): Task {
  return {
    id: "t1",
    serviceId: "s1",
    slot: 1,
    nodeId: "n1",
    state: "running",
    desiredState: "running",
    error: "",
    exitCode: undefined,
    image: "app:v1",
    createdAt: "2026-08-01T10:00:00Z",
    updatedAt: "2026-08-01T10:00:05Z",
    containerId: "c1",
    jobIteration: 0,
    current: true,
    ...changes,
  };
}

/** A worker with room, at rest. */
export function node(changes: Partial<Node> = {}): Node {
  return {
    id: "n1",
    state: "ready",
    availability: "active",
    updatedAt: "2026-07-01T10:00:00Z",
    hostname: changes.id ?? "n1",
    role: "worker",
    reachability: "",
    address: "10.0.0.1",
    labels: {},
    engineLabels: {},
    os: "linux",
    architecture: "x86_64",
    resources: { nanoCpus: 4e9, memoryBytes: 8 * 2 ** 30 },
    volumeDrivers: ["local"],
    ...changes,
  };
}
