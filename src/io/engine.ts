import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { Agent as TlsAgent, request as httpsRequest } from "node:https";
import { join } from "node:path";
import { ConnectError, ManagerRefusal, messageOf } from "../errors.ts";
import { type Json } from "../json.ts";

/** Of Docker 20.10, the first that says how many tasks a service should have. */
const OLDEST_API = "1.41";
/** From when it has a connection. No single answer of a healthy manager takes this long; one that has lost its leader answers after 20 s (SANDBOX: "hang exactly 20.0 s"). */
const CALL_DEADLINE_MS = 30_000;
/** Between SIGINT and SIGKILL the runner leaves ten seconds for everything. */
const LAST_CALL_DEADLINE_MS = 4000;
/** The first question asks for nothing but the engine itself. */
const GREETING_DEADLINE_MS = 10_000;

export interface Call {
  readonly method?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: Json;
  /** An X-Registry-Auth value. */
  readonly auth?: string | undefined;
  /** For one try. Given where the manager has to ask somebody else, whose silence says nothing about the manager. */
  readonly deadlineMs?: number;
  /** Whether it may be sent again where its answer was lost. By default what only reads may. */
  readonly repeatable?: boolean;
  /** Concerns the lock itself, so the lock is not asked whether it may be sent. */
  readonly aboutLock?: boolean;
  /** Goes out even when the job is cancelled, with little time then. */
  readonly evenCancelled?: boolean;
}

/** Whether a call leaves the swarm as it is. */
export function onlyReads({ method = "GET" }: Call): boolean {
  return method === "GET" || method === "HEAD";
}

export interface RawAnswer {
  readonly status: number;
  readonly body: Buffer;
  /** The manager's clock, as HTTP puts it. */
  readonly date: string;
}

/** What speaks the Engine API, wherever the manager is. */
export interface Engine {
  /** Without the leading `v`, for instance `1.41`. */
  readonly apiVersion: string;
  /** What it said about itself when it was reached (`GET /info`). */
  readonly info: Json;
  /** Whatever the answer is; rejects where there is none. */
  send(path: string, call: Call): Promise<RawAnswer>;
}

/** The JSON of a successful answer; a `ManagerRefusal` for any other. */
export async function json(engine: Engine, path: string, call: Call = {}): Promise<Json> {
  const bytes = await successful(engine, path, call);
  return bytes.length === 0 ? null : (JSON.parse(bytes.toString("utf8")) as Json);
}

/** The body of a successful answer; a `ManagerRefusal` for any other. */
export async function successful(engine: Engine, path: string, call: Call = {}): Promise<Buffer> {
  const { status, body } = await engine.send(path, call);
  if (status >= 200 && status < 300) return body;
  throw new ManagerRefusal(status, `${call.method ?? "GET"} ${path}`, messageIn(body) || `status ${status}`);
}

/** The Engine API at one address, over kept-alive connections. */
export class EngineApi implements Engine {
  readonly #dockerHost: string;
  readonly #address: Address;
  readonly #agent: Agent;
  readonly #signal: AbortSignal;
  #apiVersion = "";
  #info: Json = null;

  private constructor(dockerHost: string, address: Address, agent: Agent, signal: AbortSignal) {
    this.#dockerHost = dockerHost;
    this.#address = address;
    this.#agent = agent;
    this.#signal = signal;
  }

  /** Greet it first. What is asked before it has answered that is asked without a version, which means its own newest. */
  static at(dockerHost: string, signal: AbortSignal): EngineApi {
    const address = addressOf(dockerHost);
    const agent =
      address.tls === undefined
        ? new Agent({ keepAlive: true })
        : new TlsAgent({ keepAlive: true, ...address.tls });
    return new EngineApi(dockerHost, address, agent, signal);
  }

  /**
   * Asks the engine about itself and for its API version, so that a new engine speaks its own and an old one is not asked for more. One
   * question tells both; should an engine no longer take it without a version, it is asked for its version first.
   */
  async greet(): Promise<void> {
    const asked = await this.#send("/info", { deadlineMs: GREETING_DEADLINE_MS });
    const { headers, status } =
      asked.status === 200 ? asked : await this.#send("/_ping", { deadlineMs: GREETING_DEADLINE_MS });
    this.#apiVersion = spokenVersion({ headers, status }, this.#dockerHost);
    this.#info =
      asked.status === 200 ? (JSON.parse(asked.body.toString("utf8")) as Json) : await json(this, "/info");
  }

  get apiVersion(): string {
    return this.#apiVersion;
  }

  get info(): Json {
    return this.#info;
  }

  /** Connections that may be open at once. */
  get most(): number {
    return this.#agent.maxSockets;
  }

  set most(most: number) {
    this.#agent.maxSockets = most;
  }

  close(): void {
    this.#agent.destroy();
  }

  async send(path: string, call: Call): Promise<RawAnswer> {
    return await this.#send(this.#apiVersion === "" ? path : `/v${this.#apiVersion}${path}`, call);
  }

  async #send(path: string, call: Call): Promise<RawAnswer & { headers: IncomingMessage["headers"] }> {
    const query = call.query === undefined ? "" : `?${new URLSearchParams(call.query).toString()}`;
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const send = this.#address.tls === undefined ? httpRequest : httpsRequest;
    const isLastCall = call.evenCancelled === true && this.#signal.aborted;
    const deadlineMs = isLastCall ? LAST_CALL_DEADLINE_MS : (call.deadlineMs ?? CALL_DEADLINE_MS);
    const late = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const startTimer = (): void => {
      timer ??= setTimeout(() => late.abort(), deadlineMs).unref();
    };
    const signal = isLastCall ? late.signal : AbortSignal.any([this.#signal, late.signal]);
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
              date: response.headers.date ?? "",
            }),
          );
        },
      );
      // Where only one connection may be open, a call waits for its turn: that says nothing about the manager.
      if (isLastCall) startTimer();
      else sent.on("socket", startTimer);
      sent.on("close", () => clearTimeout(timer));
      sent.on("error", (error) => {
        if (this.#signal.aborted) reject(this.#signal.reason as Error);
        else reject(late.signal.aborted ? new Timeout(deadlineMs) : error);
      });
      sent.end(body);
    });
  }
}

function spokenVersion(
  { status, headers }: { readonly status: number; readonly headers: IncomingMessage["headers"] },
  dockerHost: string,
): string {
  const apiVersion = headers["api-version"];
  if (status !== 200 || typeof apiVersion !== "string") {
    const message = `What answers at ${dockerHost} is no Docker engine (status ${status}).`;
    throw new ConnectError(message, "Check the address.");
  }
  if (isOlder(apiVersion, OLDEST_API)) {
    throw new ConnectError(
      `The engine at ${dockerHost} speaks API ${apiVersion}, which is too old.`,
      `Update Docker there to 20.10 or newer (API ${OLDEST_API}).`,
    );
  }
  return apiVersion;
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

/** For what the manager has to ask a registry. */
export const REGISTRY_DEADLINE_MS = 60_000;

/** Nobody answered in the time that a call had. */
export class Timeout extends Error {
  constructor(ms: number) {
    super(`no answer within ${ms / 1000} s`);
    this.name = "Timeout";
  }
}

export function messageIn(body: Buffer): string {
  try {
    const parsed = JSON.parse(body.toString("utf8")) as { message?: unknown };
    return typeof parsed.message === "string" ? parsed.message.trim() : "";
  } catch {
    return body.toString("utf8").trim().slice(0, 500);
  }
}
