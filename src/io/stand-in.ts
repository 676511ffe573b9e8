import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { type Json, type JsonObject, objectAt, textAt } from "../json.ts";
import { messageOf } from "../errors.ts";
import { createdBy, futureId, writesService } from "../plan.ts";
import { type Docker, type Signs, type Stage, type Write } from "../world.ts";
import { type DockerCli } from "./docker.ts";
import { type WriteAnswer } from "./write.ts";

/** What becomes of a write: noted down, or passed on to the real manager. Its answer goes back to docker. */
export type OnWrite = (write: Write, query: string) => Promise<WriteAnswer>;

/**
 * Lets docker deploy against a stand-in for the manager, which answers its questions from the survey. Where writes are only noted
 * down, docker itself says what it makes of a stack file, spec by spec, and nothing is touched; where they are passed on, the same
 * run happens in earnest, so that what is sent is what was planned.
 */
export async function standIn(
  stage: Stage | (() => Promise<Stage>),
  apiVersion: string,
  socket: string,
  onWrite: OnWrite,
  deploy: (dockerHost: string) => Promise<void>,
  onAgent: (userAgent: string) => void = () => undefined,
): Promise<void> {
  const made: Made = { configs: [], secrets: [] };
  let known: Promise<Stage> | undefined;
  const staged = async (): Promise<Stage> =>
    await (known ??= typeof stage === "function" ? stage() : Promise.resolve(stage));
  const server = createServer((request, response) => {
    onAgent(request.headers["user-agent"] ?? "");
    void answer(staged, made, request, onWrite).then(
      ({ status, body }) => reply(apiVersion, response, status, body),
      (error: unknown) => reply(apiVersion, response, 502, { message: messageOf(error) }),
    );
  });
  server.listen(socket);
  await once(server, "listening");
  try {
    await deploy(`unix://${socket}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Newer than every docker: each speaks its own newest to it. */
export const ANY_API_VERSION = "1.99";

/** The stand-in speaks plain HTTP on a unix socket, whatever the manager's own address needs, and is to be told docker's own version. */
export function facing(docker: DockerCli, dockerHost: string): DockerCli {
  return docker.with({
    DOCKER_HOST: dockerHost,
    DOCKER_TLS_VERIFY: "",
    DOCKER_CERT_PATH: "",
    DOCKER_CUSTOM_HEADERS: "",
  });
}

/** As every docker says it in each request, for instance `Docker-Client/28.2.2 (linux)`. */
const AGENT = /^Docker-Client\/(\d+)\./;

/** Lets docker deploy with nothing behind the stand-in; what it would have written. */
export async function rehearse(
  stage: Stage | (() => Promise<Stage>),
  apiVersion: string,
  socket: string,
  docker: DockerCli,
  deploy: (docker: Docker) => Promise<void>,
  signs: Signs = {},
): Promise<readonly Write[]> {
  const writes: Write[] = [];
  const note: OnWrite = async (write) => {
    if (writesService(write.path)) signs.sends?.();
    return await Promise.resolve(rehearsed(writes.push(write), write));
  };
  const greet = (userAgent: string): void => signs.introduced?.(Number(AGENT.exec(userAgent)?.[1] ?? 0));
  await standIn(stage, apiVersion, socket, note, async (host) => await deploy(facing(docker, host)), greet);
  signs.introduced?.(0);
  return writes;
}

/** What a manager would answer to the nth write. What specs will refer to by its id gets one that can be found again. */
export function rehearsed(n: number, write: Write): WriteAnswer {
  const id = objectKind(write) === undefined ? `rehearsed${n}` : futureId(textAt(write.body, "Name"));
  return write.path.endsWith("/create")
    ? { status: 201, body: { ID: id, Id: id } }
    : { status: 200, body: {} };
}

function reply(apiVersion: string, response: ServerResponse, status: number, body: Json): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "api-version": apiVersion,
    ostype: "linux",
    "content-type": "application/json",
  });
  response.end(text);
}

/** All that docker says in a request. */
async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

/** The path and query that docker asks for, without the API's version. */
function unversioned(request: IncomingMessage): string {
  return (request.url ?? "/").replace(/^\/v\d+\.\d+(?=\/)/, "");
}

/** What docker itself has created, such as a secret that a driver has: it looks for it afterwards. */
interface Made {
  readonly configs: JsonObject[];
  readonly secrets: JsonObject[];
}

function objectKind({ path }: Pick<Write, "path">): keyof Made | undefined {
  const kind = createdBy(path);
  return kind === "networks" ? undefined : kind;
}

async function answer(
  stage: () => Promise<Stage>,
  made: Made,
  request: IncomingMessage,
  onWrite: OnWrite,
): Promise<WriteAnswer> {
  const text = await bodyOf(request);
  const url = new URL(unversioned(request), "http://docker");
  const path = decodeURIComponent(url.pathname);
  const method = request.method ?? "GET";
  if (path === "/_ping") return { status: 200, body: "OK" }; // Before it reads its stack file, docker wants to know whom it speaks to.
  if (method === "GET" || method === "HEAD") return read(await stage(), made, path, url.searchParams);
  const auth = request.headers["x-registry-auth"];
  const body = text === "" ? {} : (JSON.parse(text) as JsonObject);
  const write = { method, path, body, auth: typeof auth === "string" ? auth : undefined };
  const said = await onWrite(write, url.search);
  const kind = said.status < 300 ? objectKind(write) : undefined;
  if (kind !== undefined) made[kind].push(newObject([textAt(body, "Name"), textAt(said.body, "ID")]));
  return said;
}

function read(stage: Stage, made: Made, path: string, query: URLSearchParams): WriteAnswer {
  const { survey } = stage;
  const networks = [...survey.networks, ...[...stage.networks].map(newNetwork)];
  const configs = [...survey.rawConfigs, ...[...stage.configs].map(newObject), ...made.configs];
  const secrets = [...survey.rawSecrets, ...[...stage.secrets].map(newObject), ...made.secrets];
  const [, kind = "", ...rest] = path.split("/");
  const name = rest.join("/");
  switch (kind) {
    case "info":
      return { status: 200, body: survey.info };
    case "networks":
      return name === "" ? { status: 200, body: filtered(networks, query) } : one(networks, name, "network");
    case "configs":
      return name === "" ? { status: 200, body: filtered(configs, query) } : one(configs, name, "config");
    case "secrets":
      return name === "" ? { status: 200, body: filtered(secrets, query) } : one(secrets, name, "secret");
    case "services":
      return name === ""
        ? { status: 200, body: survey.rawServices }
        : one(survey.rawServices, name, "service");
    case "distribution":
      return image(stage, name.replace(/\/json$/, ""));
    default:
      return {
        status: 404,
        body: { message: `docker asked for ${path}, which this stand-in for the manager does not know` },
      };
  }
}

function image(stage: Stage, name: string): WriteAnswer {
  const known = stage.images.get(name);
  if (known === undefined)
    return { status: 404, body: { message: `the registry was not asked about ${name}` } };
  return known.kind === "found"
    ? { status: 200, body: known.body }
    : { status: known.status, body: { message: known.message } };
}

function newObject([name, id]: readonly [string, string]): JsonObject {
  return { ID: id, Spec: { Name: name } };
}

function newNetwork([name, id]: readonly [string, string]): JsonObject {
  return { Name: name, Id: id, Scope: "swarm", Driver: "overlay", Attachable: true };
}

/** Docker looks by label for what belongs to a stack, and by name for what a service refers to; of those it picks for itself. */
function filtered(objects: readonly JsonObject[], query: URLSearchParams): readonly JsonObject[] {
  const filters = JSON.parse(query.get("filters") ?? "{}") as Record<string, unknown>;
  const wanted = (filter: string): string[] => {
    const given = filters[filter];
    return Array.isArray(given) ? (given as string[]) : Object.keys((given as object | undefined) ?? {});
  };
  const [labels, names] = [wanted("label"), wanted("name")];
  return objects.filter((each) => {
    const own = { ...objectAt(each, "Labels"), ...objectAt(each, "Spec", "Labels") };
    const name = textAt(each, "Name") || textAt(each, "Spec", "Name");
    return (
      labels.every((pair) => own[pair.split("=")[0] ?? ""] === pair.split("=").slice(1).join("=")) &&
      (names.length === 0 || names.some((part) => name.includes(part)))
    );
  });
}

function one(objects: readonly JsonObject[], name: string, kind: string): WriteAnswer {
  const found = objects.find((each) =>
    [textAt(each, "Name"), textAt(each, "Spec", "Name"), textAt(each, "ID"), textAt(each, "Id")].includes(
      name,
    ),
  );
  return found === undefined
    ? { status: 404, body: { message: `${kind} ${name} not found` } }
    : { status: 200, body: found };
}
