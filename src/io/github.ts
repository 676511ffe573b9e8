import { type RunContext } from "../inputs/inputs.ts";

/**
 * What the runner's own variables say about the event that started this workflow; every field is empty outside of one. Octokit, which
 * `@actions/github` brings along, would cost every start 60 ms and is not needed for this.
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
    runUrl: repositoryUrl === "" || runId === "" ? "" : `${repositoryUrl}/actions/runs/${runId}`,
    sha: of("GITHUB_SHA"),
    refType: of("GITHUB_REF_TYPE"),
    refName: of("GITHUB_REF_NAME"),
    actor: of("GITHUB_ACTOR"),
    actionRef: of("GITHUB_ACTION_REF"),
    sshAgent: of("SSH_AUTH_SOCK") || undefined,
  };
}
