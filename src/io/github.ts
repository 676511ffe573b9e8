import { readFileSync } from "node:fs";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { HttpClient } from "@actions/http-client";
import { messageOf } from "../errors.ts";
import { type RunContext } from "../inputs/inputs.ts";
import { type Json, numberAt, textAt } from "../json.ts";
import { type Commented, type GitHub, type RunAttempt, type Told } from "../world.ts";
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
  const event = eventIn(of("GITHUB_EVENT_PATH"));
  return {
    repository,
    repositoryUrl,
    event: of("GITHUB_EVENT_NAME"),
    pullRequest: pullRequestOf(of("GITHUB_REF"), event),
    withheldFrom: withheldFrom(of("GITHUB_EVENT_NAME"), of("GITHUB_ACTOR"), event),
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

/** The merge commit's name has it; where the workflow runs on the base branch (`pull_request_target`), only the event itself does. */
function pullRequestOf(ref: string, event: Json): number | undefined {
  const [, number] = /^refs\/pull\/(\d+)\//.exec(ref) ?? [];
  if (number !== undefined) return Number(number);
  return numberAt(event, "pull_request", "number") || undefined;
}

function eventIn(path: string): Json {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Json;
  } catch {
    return {}; // Outside of a workflow there is no event.
  }
}

/**
 * Not so with `pull_request_target`, whose workflow is the base branch's own. A repository that is a fork itself gets its own pull
 * requests; and where the fork was deleted since, none is named.
 */
function withheldFrom(name: string, actor: string, event: Json): RunContext["withheldFrom"] {
  if (!/^pull_request(_review(_comment)?)?$/.test(name)) return undefined;
  const base = textAt(event, "pull_request", "base", "repo", "full_name");
  const head = textAt(event, "pull_request", "head", "repo", "full_name");
  if (base !== "" && head.toLowerCase() !== base.toLowerCase()) return "a fork";
  return actor === "dependabot[bot]" ? "Dependabot" : undefined;
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
    if ("unknown" in answer) return { unknown: answer.unknown };
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

  async comment(pullRequest: number, marker: string, markdown: string): Promise<Commented> {
    const { repository } = this.#request;
    const issue = `/repos/${repository}/issues/${pullRequest}/comments`;
    const found = await this.#earlierComment(issue, marker);
    if (typeof found === "object") return found;
    const body = { body: `${marker}\n${markdown}` };
    const answer =
      found === ""
        ? await this.#send("POST", issue, body)
        : await this.#send("PATCH", `/repos/${repository}/issues/comments/${found}`, body);
    return "unknown" in answer ? answer : { url: textAt(answer.body, "html_url") };
  }

  /**
   * Its id; empty where there is none. Anybody may write a comment that starts like ours, and could change it later: only those of an
   * app, or of somebody who may write to the repository, are taken for ours.
   */
  async #earlierComment(issue: string, marker: string): Promise<string | Unanswered> {
    for (let page = 1; page <= MOST_PAGES; page += 1) {
      const answer = await this.#send("GET", `${issue}?per_page=${PAGE}&page=${page}`);
      if ("unknown" in answer) return answer;
      const comments = Array.isArray(answer.body) ? (answer.body as readonly Json[]) : [];
      const own = comments.find(
        (each) =>
          textAt(each, "body").startsWith(marker) &&
          (textAt(each, "user", "type") === "Bot" || WRITERS.has(textAt(each, "author_association"))),
      );
      if (own !== undefined) return String(numberAt(own, "id"));
      if (comments.length < PAGE) return "";
    }
    return "";
  }

  async #ask(path: string): Promise<{ readonly body: Json } | Unanswered> {
    return await this.#send("GET", path);
  }

  async #send(method: string, path: string, body?: Json): Promise<{ readonly body: Json } | Unanswered> {
    const { apiUrl, token, signal } = this.#request;
    if (token === undefined)
      return { unknown: 'without "github-token" GitHub can\'t be asked', forbidden: false };
    try {
      const { status, text } = await call(method, `${apiUrl}${path}`, body, token, signal);
      if (status >= 200 && status < 300) return { body: JSON.parse(text) as Json };
      return { unknown: `GitHub answered ${status} (${reasonIn(text)})`, forbidden: status === 403 };
    } catch (error) {
      signal.throwIfAborted();
      return { unknown: `GitHub can't be asked (${messageOf(error)})`, forbidden: false };
    }
  }
}

interface Unanswered {
  readonly unknown: string;
  /** The token lacks a permission. */
  readonly forbidden: boolean;
}

/** Comments of one answer, and how many answers are read: a pull request with more than 3,000 of them gets another one. */
const PAGE = 100;
const MOST_PAGES = 30;
const WRITERS: ReadonlySet<string> = new Set(["OWNER", "MEMBER", "COLLABORATOR"]);

/** The client of `@actions/core` knows the runner's proxy, but not how to end a call when the job is cancelled; hence its agent alone. */
async function call(
  method: string,
  url: string,
  body: Json | undefined,
  token: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const send = url.startsWith("https:") ? httpsRequest : httpRequest;
  const options = {
    method,
    agent: new HttpClient().getAgent(url),
    signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
    headers: {
      authorization: `Bearer ${token}`,
      accept: "application/vnd.github+json",
      "content-type": "application/json",
      "user-agent": "swarm-stack-deploy",
      "x-github-api-version": "2022-11-28",
      connection: "close",
    },
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    send(url, options, resolve)
      .on("error", reject)
      .end(body === undefined ? undefined : JSON.stringify(body));
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
