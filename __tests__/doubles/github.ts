import { once } from "node:events";
import { type IncomingMessage, createServer } from "node:http";
import { type AddressInfo } from "node:net";

interface Comment {
  readonly id: number;
  body: string;
  readonly user: { readonly type: string };
  readonly author_association: string;
  readonly html_url: string;
}

/** GitHub's API as far as this action asks it: a real server that knows one answer for each path, and keeps comments. */
export interface FakeGitHub extends AsyncDisposable {
  /** For the action's environment. */
  readonly environment: { readonly GITHUB_API_URL: string };
  /** Paths that were asked for, each with the token in front. */
  readonly heard: string[];
  /** Below every pull request. */
  readonly comments: Comment[];
}

export interface FakeGitHubOptions {
  /** Whether the token may write comments. */
  readonly mayComment?: boolean;
}

export async function fakeGitHub(
  answers: Readonly<Record<string, object>>,
  { mayComment = true }: FakeGitHubOptions = {},
): Promise<FakeGitHub> {
  const heard: string[] = [];
  const comments: Comment[] = [];
  const server = createServer((request, response) => {
    const [path = ""] = (request.url ?? "").split("?");
    heard.push(`${request.headers.authorization ?? ""} ${path}`);
    const reply = (status: number, answer: object): void => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(answer));
    };
    const known = answers[path];
    if (known !== undefined) reply(200, known);
    else if (!/^\/repos\/[^/]+\/[^/]+\/issues\//.test(path)) reply(404, { message: "Not Found" });
    else if (request.method === "GET") reply(200, pageOf(comments, request));
    else if (!mayComment) reply(403, { message: "Resource not accessible by integration" });
    else void written(request, path, comments).then((comment) => reply(200, comment));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    heard,
    comments,
    environment: { GITHUB_API_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function pageOf(comments: readonly Comment[], { url = "" }: IncomingMessage): readonly Comment[] {
  const query = new URL(url, "http://github").searchParams;
  const [size, page] = [Number(query.get("per_page") ?? "30"), Number(query.get("page") ?? "1")];
  return comments.slice((page - 1) * size, page * size);
}

/** Creates a comment, or changes the one that the path names. */
async function written(request: IncomingMessage, path: string, comments: Comment[]): Promise<Comment> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { body } = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { body: string };
  const changed = comments.find(({ id }) => path.endsWith(`/issues/comments/${id}`));
  if (request.method === "PATCH" && changed !== undefined) return Object.assign(changed, { body });
  const made = aComment(comments.length + 1, body);
  comments.push(made);
  return made;
}

export function aComment(id: number, body: string, type = "Bot", association = "NONE"): Comment {
  return {
    id,
    body,
    user: { type },
    author_association: association,
    html_url: `https://github.com/acme/shop/pull/7#issuecomment-${id}`,
  };
}
