import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { Agent as TlsAgent, request as httpsRequest } from "node:https";
import { join } from "node:path";
import { Cancelled, ConnectError, ManagerRefusal, messageOf } from "../errors.ts";
import { type Json, type JsonObject, at, numberAt, objectAt, textAt } from "../json.ts";
import { MANAGED_LABEL } from "../stack/defaults.ts";
import {
  type ImageAnswer,
  type LogLine,
  type NewObject,
  type Service,
  type ServiceSpec,
  type StoredConfig,
  type Survey,
  type Swarm,
  type Task,
} from "../swarm.ts";

/** Of Docker 20.10, the first that says how many tasks a service should have. */
const OLDEST_API = "1.41";
const PREDEFINED_NETWORKS = ["host", "bridge"];
const STACK_LABEL = "com.docker.stack.namespace";
/** No single answer of a healthy manager takes this long; one that has lost its leader answers after 20 s (SANDBOX: "hang exactly 20.0 s"). */
const CALL_DEADLINE_MS = 30_000;
const LOGS_DEADLINE_MS = 8000;

export interface Call {
  readonly method?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: Json;
  /** An X-Registry-Auth value. */
  readonly auth?: string | undefined;
  readonly deadlineMs?: number;
}

/** The Engine API at one address, over kept-alive connections. */
export class EngineApi {
  /** Without the leading `v`, for instance `1.41`. */
  readonly apiVersion: string;
  readonly #address: Address;
  readonly #agent: Agent;
  readonly #signal: AbortSignal;

  private constructor(address: Address, agent: Agent, apiVersion: string, signal: AbortSignal) {
    this.#address = address;
    this.#agent = agent;
    this.apiVersion = apiVersion;
    this.#signal = signal;
  }

  /** Asks for the engine's API version, so that a new engine speaks its own and an old one is not asked for more. */
  static async open(dockerHost: string, signal: AbortSignal): Promise<EngineApi> {
    const address = addressOf(dockerHost);
    const agent =
      address.tls === undefined
        ? new Agent({ keepAlive: true })
        : new TlsAgent({ keepAlive: true, ...address.tls });
    const probe = new EngineApi(address, agent, "", signal);
    const answer = await probe.#send("/_ping", {});
    const apiVersion = answer.headers["api-version"];
    if (answer.status !== 200 || typeof apiVersion !== "string") {
      throw new ConnectError(
        `What answers at ${dockerHost} is no Docker engine (status ${answer.status}).`,
        "Check the address.",
      );
    }
    if (isOlder(apiVersion, OLDEST_API)) {
      throw new ConnectError(
        `The engine at ${dockerHost} speaks API ${apiVersion}, which is too old.`,
        `Update Docker there to 20.10 or newer (API ${OLDEST_API}).`,
      );
    }
    return new EngineApi(address, agent, apiVersion, signal);
  }

  close(): void {
    this.#agent.destroy();
  }

  /** The JSON of a successful answer; a `ManagerRefusal` for any other. */
  async json(path: string, call: Call = {}): Promise<Json> {
    const bytes = await this.bytes(path, call);
    return bytes.length === 0 ? null : (JSON.parse(bytes.toString("utf8")) as Json);
  }

  /** Whatever the answer is. */
  async answer(path: string, call: Call): Promise<{ status: number; body: Json }> {
    const { status, body } = await this.#send(`/v${this.apiVersion}${path}`, call);
    return { status, body: body.length === 0 ? {} : (JSON.parse(body.toString("utf8")) as Json) };
  }

  async bytes(path: string, call: Call = {}): Promise<Buffer> {
    const answer = await this.#send(`/v${this.apiVersion}${path}`, call).catch((error: unknown) => {
      if (error instanceof Cancelled) throw error;
      throw new ConnectError(
        `The manager does not answer (${messageOf(error)}).`,
        "What was sent before goes on by itself; look at it with `docker stack ps`, then run this job again.",
        error,
      );
    });
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    throw new ManagerRefusal(
      answer.status,
      `${call.method ?? "GET"} ${path}`,
      messageIn(answer.body) || `status ${answer.status}`,
    );
  }

  async #send(
    path: string,
    call: Call,
  ): Promise<{ status: number; headers: IncomingMessage["headers"]; body: Buffer }> {
    const query = call.query === undefined ? "" : `?${new URLSearchParams(call.query).toString()}`;
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const send = this.#address.tls === undefined ? httpRequest : httpsRequest;
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(call.deadlineMs ?? CALL_DEADLINE_MS)]);
    return await new Promise((resolve, reject) => {
      const sent = send(
        {
          ...this.#address.where,
          agent: this.#agent,
          path: `${path}${query}`,
          method: call.method ?? "GET",
          signal,
          headers: {
            host: "docker",
            ...(body === undefined
              ? {}
              : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
            ...(call.auth === undefined ? {} : { "x-registry-auth": call.auth }),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks),
            }),
          );
        },
      );
      sent.on("error", (error) =>
        reject(signal.aborted && signal.reason instanceof Error ? signal.reason : error),
      );
      sent.end(body);
    });
  }
}

function isOlder(version: string, than: string): boolean {
  const [a = 0, b = 0] = version.split(".").map(Number);
  const [c = 0, d = 0] = than.split(".").map(Number);
  return a < c || (a === c && b < d);
}

interface Address {
  readonly where: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  readonly tls:
    | { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer; readonly servername?: string }
    | undefined;
}

/** For `tcp://`, docker's own variables say whether TLS is spoken and with which certificates. */
function addressOf(dockerHost: string): Address {
  if (dockerHost.startsWith("unix://"))
    return { where: { socketPath: dockerHost.slice("unix://".length) }, tls: undefined };
  const url = new URL(dockerHost.replace(/^tcp:/, "http:"));
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const folder = process.env.DOCKER_CERT_PATH ?? "";
  const tls =
    folder === "" ? undefined : { ...certificates(folder), ...(isIP(host) > 0 ? {} : { servername: host }) };
  return { where: { host, port: Number(url.port || (tls === undefined ? 2375 : 2376)) }, tls };
}

function certificates(folder: string): { ca: Buffer; cert: Buffer; key: Buffer } {
  try {
    const [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map((name) => readFileSync(join(folder, name)));
    if (ca !== undefined && cert !== undefined && key !== undefined) return { ca, cert, key };
    throw new Error("there are no certificates");
  } catch (error) {
    throw new ConnectError(
      `The certificates in DOCKER_CERT_PATH (${folder}) can't be read: ${messageOf(error)}.`,
      "Docker expects ca.pem, cert.pem and key.pem there.",
      error,
    );
  }
}

function messageIn(body: Buffer): string {
  try {
    const parsed = JSON.parse(body.toString("utf8")) as { message?: unknown };
    return typeof parsed.message === "string" ? parsed.message.trim() : "";
  } catch {
    return body.toString("utf8").trim().slice(0, 500);
  }
}

/** `Swarm` spoken over the Engine API; docker's JSON becomes our types here and nowhere else. */
export class EngineSwarm implements Swarm {
  readonly address: string;
  readonly #api: EngineApi;

  constructor(api: EngineApi, address: string) {
    this.#api = api;
    this.address = address;
  }

  async survey(stack: string): Promise<Survey> {
    const [info, networks, configs, secrets, services] = await Promise.all([
      this.#api.json("/info"),
      this.networks(),
      this.#list("/configs"),
      this.#list("/secrets"),
      this.#rawServices(stack),
    ]);
    return {
      info,
      networks,
      rawSecrets: secrets,
      rawConfigs: configs,
      rawServices: services,
      services: services.map(toService),
      configs: configs.map(toStoredConfig),
      secrets: secrets.map((raw) => ({ id: textAt(raw, "ID"), name: textAt(raw, "Spec", "Name") })),
    };
  }

  async askRegistry(image: string, auth: string | undefined): Promise<ImageAnswer> {
    try {
      const body = (await this.#api.json(`/distribution/${image}/json`, {
        auth,
        deadlineMs: 60_000,
      })) as JsonObject;
      return { kind: "found", digest: textAt(body, "Descriptor", "digest"), body };
    } catch (error) {
      if (!(error instanceof ManagerRefusal)) throw error;
      return { kind: "refused", status: error.status, message: error.said };
    }
  }

  async networks(): Promise<readonly JsonObject[]> {
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
      return objectAt(await this.#api.json(`/networks/${name}`, { query: { scope: "swarm" } }));
    } catch (error) {
      if (error instanceof ManagerRefusal && error.status === 404) return undefined;
      throw error;
    }
  }

  async createNetwork(name: string): Promise<string> {
    const Labels = { [MANAGED_LABEL]: "true" };
    const body = { Name: name, Driver: "overlay", Attachable: true, CheckDuplicate: true, Labels };
    try {
      return textAt(await this.#api.json("/networks/create", { method: "POST", body }), "Id");
    } catch (error) {
      const conflict = error instanceof ManagerRefusal && /already exists|conflicts/.test(error.said);
      const existing = conflict
        ? (await this.networks()).find((raw) => textAt(raw, "Name") === name)
        : undefined;
      if (existing === undefined) throw error;
      return textAt(existing, "Id"); // Another deployment was faster.
    }
  }

  async createObject(created: NewObject): Promise<string> {
    const { kind, name, labels, bytes, templateDriver } = created;
    const body = {
      Name: name,
      Labels: Object.fromEntries(labels),
      Data: Buffer.from(bytes).toString("base64"),
      ...(templateDriver === undefined ? {} : { Templating: { Name: templateDriver } }),
    };
    try {
      return textAt(await this.#api.json(`/${kind}s/create`, { method: "POST", body }), "ID");
    } catch (error) {
      // Another deployment was faster; a name made from the content means the same content.
      const conflict = error instanceof ManagerRefusal && error.status === 409;
      const existing = conflict
        ? (await this.#list(`/${kind}s`)).find((raw) => textAt(raw, "Spec", "Name") === name)
        : undefined;
      if (existing === undefined) throw error;
      return textAt(existing, "ID");
    }
  }

  async services(stack: string): Promise<readonly Service[]> {
    return (await this.#rawServices(stack)).map(toService);
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

  async nodeName(id: string): Promise<string> {
    const node = await this.#api.json(`/nodes/${id}`);
    return textAt(node, "Description", "Hostname") || id;
  }

  async taskLogs(taskId: string, lines: number): Promise<readonly LogLine[]> {
    const query = { stdout: "1", stderr: "1", timestamps: "1", tail: String(lines) };
    const bytes = await this.#api.bytes(`/tasks/${taskId}/logs`, { query, deadlineMs: LOGS_DEADLINE_MS });
    // The two streams come separately; the timestamps put their lines back in order, as well as docker knows it.
    const stamped = demultiplexed(bytes).toSorted((a, b) => compare(a.stamp, b.stamp));
    return stamped.slice(-lines).map(({ text, stderr }) => ({ text, stderr }));
  }

  async updateService(service: Service, spec: ServiceSpec, auth: string | undefined): Promise<void> {
    const query = { version: String(service.version) };
    await this.#api.json(`/services/${service.id}/update`, { method: "POST", query, body: spec, auth });
  }

  async removeService(id: string): Promise<void> {
    await this.#api.json(`/services/${id}`, { method: "DELETE" });
  }

  async #rawServices(stack: string): Promise<readonly JsonObject[]> {
    const filters = JSON.stringify({ label: [`${STACK_LABEL}=${stack}`] });
    return await this.#list("/services", { filters, status: "true" });
  }

  async #list(path: string, query?: Readonly<Record<string, string>>): Promise<readonly JsonObject[]> {
    const answer = await this.#api.json(path, query === undefined ? {} : { query });
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
    update: state === "" ? undefined : { state, message: textAt(update, "Message") },
    desiredTasks: numberAt(raw, "ServiceStatus", "DesiredTasks"),
    jobIteration: numberAt(raw, "JobStatus", "JobIteration", "Index"),
  };
}

function toTask(raw: JsonObject, current: boolean): Task {
  const status = objectAt(raw, "Status");
  const exitCode = at(status, "ContainerStatus", "ExitCode");
  return {
    id: textAt(raw, "ID"),
    serviceId: textAt(raw, "ServiceID"),
    slot: numberAt(raw, "Slot"),
    nodeId: textAt(raw, "NodeID"),
    state: textAt(status, "State"),
    desiredState: textAt(raw, "DesiredState"),
    error: textAt(status, "Err"),
    exitCode: typeof exitCode === "number" ? exitCode : undefined,
    image: textAt(raw, "Spec", "ContainerSpec", "Image"),
    createdAt: textAt(raw, "CreatedAt"),
    jobIteration: numberAt(raw, "JobIteration", "Index"),
    current,
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

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
