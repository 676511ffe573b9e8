import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { HttpClient } from "@actions/http-client";
import { messageOf } from "../errors.ts";
import { type RunContext } from "../inputs/inputs.ts";
import { type Json, numberAt, textAt } from "../json.ts";
import { type GitHub, type RunAttempt, type Told } from "../world.ts";
import { orderInClone } from "./clone.ts";

/**
 * What the runner's own variables say about the event that started this workflow; every field is empty outside of one. Octokit, which
 * `@actions/github` brings along, would cost every start 26 ms and the bundle 1.1 MiB (with undici), and is not needed for this.
 */
export function runContext(environment: NodeJS.ProcessEnv): RunContext {
  const of = (name: string): string => environment[name] ?? "";
  const repository = of("GITHUB_REPOSITORY");
  const repositoryUrl =
    repository === "" ? "" : `${of("GITHUB_SERVER_URL") || "https://github.com"}/${repository}`;
  const runId = of("GITHUB_RUN_ID");
  return {
    repository,
    repositoryUrl,
    event: of("GITHUB_EVENT_NAME"),
    runId,
    runAttempt: Number(of("GITHUB_RUN_ATTEMPT") || "0"),
    runUrl: repositoryUrl === "" || runId === "" ? "" : `${repositoryUrl}/actions/runs/${runId}`,
    sha: of("GITHUB_SHA"),
    refType: of("GITHUB_REF_TYPE"),
    refName: of("GITHUB_REF_NAME"),
    actor: of("GITHUB_ACTOR"),
    actionRef: of("GITHUB_ACTION_REF"),
    sshAgent: of("SSH_AUTH_SOCK") || undefined,
  };
}

const DEADLINE_MS = 10_000;
/** Of a commit's id, in SHA-1 or SHA-256: nothing else may stand in a path or a command line. */
const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

export interface GitHubRequest {
  /** `GITHUB_API_URL`: of GitHub Enterprise, too. */
  readonly apiUrl: string;
  readonly token: string | undefined;
  /** `owner/name`, whose commits are compared. */
  readonly repository: string;
  readonly signal: AbortSignal;
}

/** `GitHub` asked by its API, and by git where the clone knows enough. What can't be told is told with its reason. */
export class GitHubApi implements GitHub {
  readonly #request: GitHubRequest;

  constructor(request: GitHubRequest) {
    this.#request = request;
  }

  async isOver({ repository, id, attempt }: RunAttempt): Promise<Told> {
    const answer = await this.#ask(`/repos/${repository}/actions/runs/${id}`);
    if ("unknown" in answer) return answer;
    return textAt(answer.body, "status") === "completed" || numberAt(answer.body, "run_attempt") > attempt;
  }

  async isAncestor(older: string, newer: string): Promise<Told> {
    if (!COMMIT.test(older) || !COMMIT.test(newer)) return { unknown: "what names them is no commit id" };
    const inClone = await orderInClone(older, newer, this.#request.signal);
    if (inClone !== undefined) return inClone === "before";
    const answer = await this.#ask(
      `/repos/${this.#request.repository}/compare/${newer}...${older}?per_page=1`,
    );
    if ("unknown" in answer) return { unknown: `the clone does not have both, and ${answer.unknown}` };
    return textAt(answer.body, "status") === "behind";
  }

  async #ask(path: string): Promise<{ readonly body: Json } | { readonly unknown: string }> {
    const { apiUrl, token, signal } = this.#request;
    if (token === undefined) return { unknown: 'without "github-token" GitHub can\'t be asked' };
    try {
      const { status, text } = await get(`${apiUrl}${path}`, token, signal);
      if (status === 200) return { body: JSON.parse(text) as Json };
      return { unknown: `GitHub answered ${status} (${reasonIn(text)})` };
    } catch (error) {
      signal.throwIfAborted();
      return { unknown: `GitHub can't be asked (${messageOf(error)})` };
    }
  }
}

/** The client of `@actions/core` knows the runner's proxy, but not how to end a call when the job is cancelled; hence its agent alone. */
async function get(
  url: string,
  token: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const send = url.startsWith("https:") ? httpsRequest : httpRequest;
  const options = {
    agent: new HttpClient().getAgent(url),
    signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
    headers: {
      authorization: `Bearer ${token}`,
      accept: "application/vnd.github+json",
      "user-agent": "swarm-stack-deploy",
      "x-github-api-version": "2022-11-28",
      connection: "close",
    },
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    send(url, options, resolve).on("error", reject).end();
  });
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
}

function reasonIn(text: string): string {
  try {
    return textAt(JSON.parse(text) as Json, "message") || "no reason given";
  } catch {
    return text.trim().slice(0, 200) || "no reason given";
  }
}
