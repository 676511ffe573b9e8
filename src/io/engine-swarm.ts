import { ManagerRefusal } from "../errors.ts";
import { type Json, type JsonObject, at, isObject, listAt, numberAt, objectAt, textAt } from "../json.ts";
import { isOver } from "../rollout.ts";
import { HEALTHCHECK_DEFAULTS } from "../spec.ts";
import { MANAGED_LABEL, STACK_LABEL } from "../stack/defaults.ts";
import {
  type ContainerFacts,
  type ImageAnswer,
  type LogLine,
  type NewObject,
  type Node,
  type Service,
  type ServiceSpec,
  type StoredConfig,
  type Survey,
  type Swarm,
  type Task,
  type TakenPort,
} from "../swarm.ts";
import { now } from "./clock.ts";
import { Timeout, json, successful, REGISTRY_DEADLINE_MS } from "./engine.ts";
import { type PatientEngine } from "./steady-engine.ts";
import { sendWrite } from "./write.ts";
import { compareTexts } from "../text-order.ts";

const PREDEFINED_NETWORKS = ["host", "bridge"];
const NEW_NETWORK = { Driver: "overlay", Attachable: true, Labels: { [MANAGED_LABEL]: "true" } };
const LOGS_DEADLINE_MS = 8000;
/** For what only adds to a story. */
const DETAILS_DEADLINE_MS = 5000;

/** `Swarm` spoken over the Engine API; docker's JSON becomes our types here and nowhere else. */
export class EngineSwarm implements Swarm {
  readonly #engine: PatientEngine;
  readonly #address: () => string;
  readonly #signal: AbortSignal;

  constructor(engine: PatientEngine, address: () => string, signal: AbortSignal) {
    this.#engine = engine;
    this.#address = address;
    this.#signal = signal;
  }

  get address(): string {
    return this.#address();
  }

  async survey(stack: string): Promise<Survey> {
    const askedAt = now();
    const [networks, configs, secrets, all, tasks, nodes] = await Promise.all([
      this.#networks(),
      this.#list("/configs"),
      this.#list("/secrets"),
      this.#list("/services", { status: "true" }), // Of other stacks too: a port belongs to one service of the whole swarm.
      this.tasks(stack),
      this.nodes(),
    ]);
    const services = all.filter((raw) => stackOf(raw) === stack);
    return {
      askedAt,
      info: this.#engine.info,
      networks,
      rawSecrets: secrets,
      rawConfigs: configs,
      rawServices: services,
      services: services.map(toService),
      tasks,
      configs: configs.map(toStoredConfig),
      secrets: secrets.map((raw) => ({ id: textAt(raw, "ID"), name: textAt(raw, "Spec", "Name") })),
      nodes,
      takenPorts: all.flatMap(takenPorts),
    };
  }

  async askRegistry(image: string, auth: string | undefined): Promise<ImageAnswer> {
    try {
      const body = (await json(this.#engine, `/distribution/${image}/json`, {
        auth,
        deadlineMs: REGISTRY_DEADLINE_MS,
      })) as JsonObject;
      return { kind: "found", digest: textAt(body, "Descriptor", "digest"), body };
    } catch (error) {
      if (error instanceof Timeout) {
        const message = `the registry did not answer within ${REGISTRY_DEADLINE_MS / 1000} s`;
        return { kind: "refused", status: 504, message };
      }
      if (!(error instanceof ManagerRefusal)) throw error;
      return { kind: "refused", status: error.status, message: error.said };
    }
  }

  async #networks(): Promise<readonly JsonObject[]> {
    const [listed, ...predefined] = await Promise.all([
      this.#list("/networks"),
      ...PREDEFINED_NETWORKS.map(async (name) => await this.#predefinedNetwork(name)),
    ]);
    const known = predefined.filter((raw) => raw !== undefined);
    const names = new Set(known.map((raw) => textAt(raw, "Name")));
    return [...known, ...listed.filter((raw) => !names.has(textAt(raw, "Name")))];
  }

  /** A network that every node has on its own: specs hold the id that the swarm gives it, and the list shows only the manager's. */
  async #predefinedNetwork(name: string): Promise<JsonObject | undefined> {
    try {
      return objectAt(await json(this.#engine, `/networks/${name}`, { query: { scope: "swarm" } }));
    } catch (error) {
      if (error instanceof ManagerRefusal && error.status === 404) return undefined;
      throw error;
    }
  }

  async createNetwork(name: string, definition: JsonObject = NEW_NETWORK): Promise<string> {
    const body = { ...definition, Name: name, CheckDuplicate: true };
    try {
      return textAt(
        await json(this.#engine, "/networks/create", { method: "POST", body, repeatable: true }),
        "Id",
      );
    } catch (error) {
      const conflict = error instanceof ManagerRefusal && /already exists|conflicts/.test(error.said);
      const existing = conflict
        ? (await this.#networks()).find((raw) => textAt(raw, "Name") === name)
        : undefined;
      if (existing === undefined) throw error;
      return textAt(existing, "Id"); // Another deployment was faster.
    }
  }

  async createObject(created: NewObject): Promise<string> {
    // Another deployment may be faster; a name made from the content means the same content.
    return await this.#created(created, () => true);
  }

  async createRecord(record: NewObject): Promise<void> {
    // An attempt whose answer was lost may have left it.
    const bytes = Buffer.from(record.bytes).toString("base64");
    await this.#created(record, (existing) => textAt(existing, "Spec", "Data") === bytes);
  }

  /** The id of what was created, or of what has the name already and will do. */
  async #created(created: NewObject, willDo: (existing: JsonObject) => boolean): Promise<string> {
    const { kind, name, labels, bytes, templateDriver } = created;
    const body = {
      Name: name,
      Labels: Object.fromEntries(labels),
      Data: Buffer.from(bytes).toString("base64"),
      ...(templateDriver === undefined ? {} : { Templating: { Name: templateDriver } }),
    };
    try {
      return textAt(
        await json(this.#engine, `/${kind}s/create`, { method: "POST", body, repeatable: true }),
        "ID",
      );
    } catch (error) {
      const conflict = error instanceof ManagerRefusal && error.status === 409;
      const existing = conflict
        ? (await this.#list(`/${kind}s`)).find((raw) => textAt(raw, "Spec", "Name") === name)
        : undefined;
      if (existing === undefined || !willDo(existing)) throw error;
      return textAt(existing, "ID");
    }
  }

  async removeObject(kind: NewObject["kind"], id: string): Promise<void> {
    await this.#remove(`/${kind}s/${id}`);
  }

  async removeNetwork(id: string): Promise<void> {
    await this.#remove(`/networks/${id}`);
  }

  async services(stack: string): Promise<readonly Service[]> {
    return (await this.#rawServices(stack)).map(toService);
  }

  async everyService(): Promise<readonly JsonObject[]> {
    return await this.#list("/services");
  }

  async tasks(stack: string): Promise<readonly Task[]> {
    const label = { label: [`${STACK_LABEL}=${stack}`] };
    // Swarm alone knows which tasks are of the present spec (IsTaskDirty); the filter is how it says so.
    const [all, current] = await Promise.all([
      this.#list("/tasks", { filters: JSON.stringify(label) }),
      this.#list("/tasks", { filters: JSON.stringify({ ...label, "_up-to-date": ["true"] }) }),
    ]);
    const ids = new Set(current.map((task) => textAt(task, "ID")));
    return all.map((task) => toTask(task, ids.has(textAt(task, "ID"))));
  }

  async tasksOn(nodeId: string): Promise<readonly Task[]> {
    const found = await this.#list("/tasks", { filters: JSON.stringify({ node: [nodeId] }) });
    return found.map((task) => toTask(task, false));
  }

  async nodes(): Promise<readonly Node[]> {
    return (await this.#list("/nodes")).map(toNode);
  }

  async nodeName(id: string): Promise<string> {
    const node = await json(this.#engine, `/nodes/${id}`, { deadlineMs: DETAILS_DEADLINE_MS });
    return textAt(node, "Description", "Hostname") || id;
  }

  async containerFacts({ nodeId, containerId }: Task): Promise<ContainerFacts | undefined> {
    if (containerId === "" || nodeId !== textAt(this.#engine.info, "Swarm", "NodeID")) return undefined;
    try {
      const call = { deadlineMs: DETAILS_DEADLINE_MS };
      return toContainerFacts(await json(this.#engine, `/containers/${containerId}/json`, call));
    } catch (error) {
      if (error instanceof ManagerRefusal && error.status === 404) return undefined;
      throw error;
    }
  }

  async taskLogs(taskId: string, lines: number): Promise<readonly LogLine[]> {
    const query = { stdout: "1", stderr: "1", timestamps: "1", tail: String(lines) };
    const call = { query, deadlineMs: LOGS_DEADLINE_MS };
    const bytes = await successful(this.#engine, `/tasks/${taskId}/logs`, call).catch((error: unknown) => {
      if (!(error instanceof Timeout)) throw error;
      throw new Error(`the node did not send it within ${LOGS_DEADLINE_MS / 1000} s`, { cause: error });
    });
    // The two streams come separately; the timestamps put their lines back in order, as well as docker knows it.
    const stamped = demultiplexed(bytes).toSorted((a, b) => compareTexts(a.stamp, b.stamp));
    return stamped.slice(-lines).map(({ text, stderr }) => ({ text, stderr }));
  }

  async createService(spec: ServiceSpec, auth: string | undefined): Promise<void> {
    await this.#write("/services/create", "", spec, auth);
  }

  async updateService(service: Service, spec: ServiceSpec, auth: string | undefined): Promise<void> {
    await this.#write(`/services/${service.id}/update`, `?version=${service.version}`, spec, auth);
  }

  async #write(path: string, query: string, body: ServiceSpec, auth: string | undefined): Promise<void> {
    const write = { method: "POST", path, body, auth };
    const answer = await sendWrite(this.#engine, write, query, this.#signal);
    if (answer.status >= 300)
      throw new ManagerRefusal(answer.status, `POST ${path}`, textAt(answer.body, "message"));
  }

  async removeService(id: string): Promise<void> {
    await this.#remove(`/services/${id}`);
  }

  async #remove(path: string): Promise<void> {
    try {
      await json(this.#engine, path, { method: "DELETE", repeatable: true });
    } catch (error) {
      if (!(error instanceof ManagerRefusal && error.status === 404)) throw error; // Gone is gone.
    }
  }

  async #rawServices(stack: string): Promise<readonly JsonObject[]> {
    const filters = JSON.stringify({ label: [`${STACK_LABEL}=${stack}`] });
    return await this.#list("/services", { filters, status: "true" });
  }

  async #list(path: string, query?: Readonly<Record<string, string>>): Promise<readonly JsonObject[]> {
    const answer = await json(this.#engine, path, query === undefined ? {} : { query });
    return Array.isArray(answer) ? (answer as JsonObject[]) : [];
  }
}

function toService(raw: JsonObject): Service {
  const spec = objectAt(raw, "Spec");
  const update = objectAt(raw, "UpdateStatus");
  const state = textAt(update, "State");
  return {
    id: textAt(raw, "ID"),
    name: textAt(spec, "Name"),
    version: numberAt(raw, "Version", "Index"),
    spec,
    previous: isObject(raw.PreviousSpec) ? raw.PreviousSpec : undefined,
    update: state === "" ? undefined : { state, message: textAt(update, "Message") },
    desiredTasks: numberAt(raw, "ServiceStatus", "DesiredTasks"),
    jobIteration: numberAt(raw, "JobStatus", "JobIteration", "Index"),
    createdAt: textAt(raw, "CreatedAt"),
  };
}

function toTask(raw: JsonObject, current: boolean): Task {
  const status = objectAt(raw, "Status");
  const state = textAt(status, "State");
  const containerId = textAt(status, "ContainerStatus", "ContainerID");
  // The engine says 0 while it runs, and also where it never did.
  const ended = isOver({ state }) && state !== "rejected" && containerId !== "";
  const exitCode = ended ? at(status, "ContainerStatus", "ExitCode") : undefined;
  return {
    id: textAt(raw, "ID"),
    serviceId: textAt(raw, "ServiceID"),
    slot: numberAt(raw, "Slot"),
    nodeId: textAt(raw, "NodeID"),
    state,
    desiredState: textAt(raw, "DesiredState"),
    error: textAt(status, "Err"),
    exitCode: typeof exitCode === "number" ? exitCode : undefined,
    image: textAt(raw, "Spec", "ContainerSpec", "Image"),
    createdAt: textAt(raw, "CreatedAt"),
    updatedAt: textAt(raw, "UpdatedAt"),
    containerId,
    jobIteration: numberAt(raw, "JobIteration", "Index"),
    current,
  };
}

function toNode(raw: JsonObject): Node {
  const description = objectAt(raw, "Description");
  const drivers = listAt(description, "Engine", "Plugins").filter(
    (each) => textAt(each, "Type") === "Volume",
  );
  return {
    id: textAt(raw, "ID"),
    state: textAt(raw, "Status", "State"),
    availability: textAt(raw, "Spec", "Availability"),
    updatedAt: textAt(raw, "UpdatedAt"),
    hostname: textAt(description, "Hostname"),
    role: textAt(raw, "Spec", "Role"),
    reachability: textAt(raw, "ManagerStatus", "Reachability"),
    address: textAt(raw, "Status", "Addr"),
    labels: labelsAt(raw, "Spec", "Labels"),
    engineLabels: labelsAt(description, "Engine", "Labels"),
    os: textAt(description, "Platform", "OS"),
    architecture: textAt(description, "Platform", "Architecture"),
    resources: {
      nanoCpus: numberAt(description, "Resources", "NanoCPUs"),
      memoryBytes: numberAt(description, "Resources", "MemoryBytes"),
    },
    volumeDrivers: drivers.map((each) => textAt(each, "Name")),
  };
}

function labelsAt(raw: JsonObject, ...path: readonly string[]): Readonly<Record<string, string>> {
  const labels = Object.keys(objectAt(raw, ...path));
  return Object.fromEntries(labels.map((key) => [key, textAt(raw, ...path, key)]));
}

function stackOf(raw: JsonObject): string {
  return textAt(raw, "Spec", "Labels", STACK_LABEL);
}

/** Those of the spec, which hold at once, and those in effect, where Swarm has chosen some. */
function takenPorts(raw: JsonObject): TakenPort[] {
  const ports = [...listAt(raw, "Spec", "EndpointSpec", "Ports"), ...listAt(raw, "Endpoint", "Ports")];
  const taken = ports.map((each) => ({
    service: textAt(raw, "Spec", "Name"),
    stack: stackOf(raw),
    port: numberAt(each, "PublishedPort"),
    protocol: textAt(each, "Protocol") || "tcp",
    onHost: textAt(each, "PublishMode") === "host",
  }));
  return taken.filter(({ port }) => port > 0);
}

/** The engine's own word is "unhealthy" for each container that has stopped (measured on 20.10); how often its check failed is kept. */
function toContainerFacts(raw: Json): ContainerFacts {
  const retries = numberAt(raw, "Config", "Healthcheck", "Retries") || HEALTHCHECK_DEFAULTS.retries;
  return {
    outOfMemory: at(raw, "State", "OOMKilled") === true,
    unhealthy: numberAt(raw, "State", "Health", "FailingStreak") >= retries,
    probes: listAt(raw, "State", "Health", "Log").map((probe) => ({
      exitCode: numberAt(probe, "ExitCode"),
      output: textAt(probe, "Output"),
    })),
  };
}

function toStoredConfig(raw: JsonObject): StoredConfig {
  const spec = objectAt(raw, "Spec");
  return {
    id: textAt(raw, "ID"),
    name: textAt(spec, "Name"),
    bytes: Buffer.from(textAt(spec, "Data"), "base64"),
  };
}

interface StampedLine extends LogLine {
  /** RFC 3339 with nanoseconds, all of one length. */
  readonly stamp: string;
}

/** Without a terminal, the engine frames each piece of output: one byte for the stream, three of nothing, four for the length. */
function demultiplexed(bytes: Buffer): StampedLine[] {
  const streams = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  let offset = 0;
  while (offset + 8 <= bytes.length) {
    const framed = (bytes[offset] ?? 9) <= 2 && bytes.readUIntBE(offset + 1, 3) === 0;
    if (!framed) return linesOf(bytes, false); // A task with a terminal is not framed.
    const length = bytes.readUInt32BE(offset + 4);
    const stream = bytes[offset] === 2 ? streams.stderr : streams.stdout;
    stream.push(bytes.subarray(offset + 8, offset + 8 + length));
    offset += 8 + length;
  }
  return [...linesOf(Buffer.concat(streams.stdout), false), ...linesOf(Buffer.concat(streams.stderr), true)];
}

/** The engine stamps at each line feed only; of a line that was written over (`\r`, as progress bars do), the last state counts. */
function linesOf(bytes: Buffer, stderr: boolean): StampedLine[] {
  const lines = bytes.toString("utf8").split(/\r?\n/);
  return lines
    .filter((line) => line !== "")
    .map((line) => {
      const [, stamp = "", text = ""] = /^(\S*) ?([\s\S]*)$/.exec(line) ?? [];
      return { stamp, text: text.split("\r").findLast((state) => state !== "") ?? "", stderr };
    });
}
