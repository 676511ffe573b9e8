import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo } from "node:net";

/** GitHub's API as far as this action asks it: a real server that knows one answer for each path. */
export interface FakeGitHub extends AsyncDisposable {
  /** For the action's environment. */
  readonly environment: { readonly GITHUB_API_URL: string };
  /** Paths that were asked for, each with the token in front. */
  readonly heard: string[];
}

export async function fakeGitHub(answers: Readonly<Record<string, object>>): Promise<FakeGitHub> {
  const heard: string[] = [];
  const server = createServer((request, response) => {
    const [path = ""] = (request.url ?? "").split("?");
    heard.push(`${request.headers.authorization ?? ""} ${path}`);
    const answer = answers[path];
    response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer ?? { message: "Not Found" }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    heard,
    environment: { GITHUB_API_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
