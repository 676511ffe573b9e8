import { describe, expect, test } from "@jest/globals";
import { type TaskStory } from "../../src/failing-task.ts";
import { type Changes } from "../../src/changes.ts";
import { type FieldChange } from "../../src/field-changes.ts";
import { error, warning } from "../../src/preflight/finding.ts";
import {
  type Facts,
  type ServiceResult,
  noFacts,
  noLogs,
  outputs,
  driftLines,
  planLines,
  summary,
} from "../../src/report.ts";
import { offences } from "../doubles/schema.ts";
import { serviceSpec } from "../doubles/swarm.ts";
import { imageOf } from "../../src/spec.ts";

const CONTRACT = [
  "status",
  "reason",
  "stack-name",
  "version",
  "release",
  "image",
  "digest",
  "config-name",
  "rendered-file",
  "plan",
  "changes",
  "plan-digest",
  "services",
  "deployment-id",
];

function facts(changes: Partial<Facts> = {}): Facts {
  return { ...noFacts(), stackName: "shop", version: "v2", ...changes };
}

function result(changes: Partial<ServiceResult> = {}): ServiceResult {
  return {
    name: "web",
    change: "update",
    imageBefore: "r.io/app:v1",
    imageSent: "r.io/app:v2",
    imageAfter: "r.io/app:v2",
    state: "converged",
    detail: "2/2 running",
    durationMs: 4200,
    ...changes,
  };
}

function story(changes: Partial<TaskStory> = {}): TaskStory {
  return {
    service: "web",
    slot: 1,
    node: "n1",
    image: "r.io/app:v2",
    state: "failed",
    exitCode: 3,
    error: "task: non-zero exit (3)",
    oomKilled: undefined,
    healthChecks: [],
    attempts: [],
    cause: "",
    logs: ["no database"],
    lastWords: "no database",
    logsMissing: undefined,
    ...changes,
  };
}

/** The one line of the summary that has `words` in it. */
function line(text: string, words: string): string {
  const found = text.split("\n").filter((each) => each.includes(words));
  expect(found).toHaveLength(1);
  return found[0] ?? "";
}

/** Six things change. */
const CHANGES: Changes = {
  stack: "shop",
  services: [
    { name: "new", change: "create", image: "app:v2", fields: [], details: [], consequence: "starts tasks" },
    {
      name: "web",
      change: "update",
      image: "app:v2",
      fields: ["image", "environment"],
      details: [
        { field: "image", change: "changed", before: "app:v1", after: "app:v2", consequence: "rolling" },
        { field: "environment.PASSWORD", change: "removed", consequence: "rolling" },
      ],
      consequence: "rolling",
    },
    { name: "db", change: "unchanged", image: "app:v1", fields: [], details: [], consequence: "nothing" },
    { name: "old", change: "remove", image: "app:v1", fields: [], details: [], consequence: "ends tasks" },
    { name: "theirs", change: "foreign", image: "app:v1", fields: [], details: [], consequence: "nothing" },
  ],
  networks: [
    { name: "proxy", change: "create" },
    { name: "ingress_net", change: "foreign" },
  ],
  configs: [{ name: "shop_env_0b", change: "update", before: "shop_env_0a" }],
  secrets: [{ name: "shop_key_0b", change: "create" }],
  volumes: [{ name: "shop_data", change: "unchanged" }],
};

describe("outputs", () => {
  test("are complete before anything is known", () => {
    const written = outputs(noFacts());
    expect(Object.keys(written)).toEqual(CONTRACT);
    expect(Object.values(written).every((value) => typeof value === "string")).toBe(true);
    expect(written).toMatchObject({ status: "failed", plan: "{}", services: "[]" });
  });

  test("are complete in the end", () => {
    const written = outputs(
      facts({
        status: "deployed",
        changes: CHANGES,
        planDigest: "sha256:0c",
        drift: [{ service: "db", change: "removed", details: [] }],
        services: [result()],
        digest: "sha256:0a",
        configName: "shop_env_0a",
      }),
    );
    expect(Object.keys(written)).toEqual(CONTRACT);
    expect(written).toMatchObject({
      status: "deployed",
      version: "v2",
      release: "v2",
      digest: "sha256:0a",
      "config-name": "shop_env_0a",
    });
    expect(JSON.parse(written.plan ?? "")).toEqual({
      ...CHANGES,
      changes: 6,
      drift: [{ service: "db", change: "removed", details: [] }],
      findings: [],
      digest: "sha256:0c",
    });
    expect(written).toMatchObject({ changes: "6", "plan-digest": "sha256:0c" });
    expect(JSON.parse(written.services ?? "")).toMatchObject([
      { name: "web", state: "converged", detail: "2/2 running", durationMs: 4200, failingTasks: [] },
    ]);
  });

  test("name each service's own failing tasks", () => {
    const written = outputs(
      facts({
        services: [result(), result({ name: "db" })],
        stories: [story(), story({ service: "db", slot: 0, exitCode: undefined, error: 'a "quote"\n' })],
      }),
    );
    expect(JSON.parse(written.services ?? "")).toMatchObject([
      {
        name: "web",
        failingTasks: [
          { slot: 1, node: "n1", state: "failed", exitCode: 3, error: "task: non-zero exit (3)" },
        ],
      },
      { name: "db", failingTasks: [{ slot: 0, error: 'a "quote"\n' }] },
    ]);
  });
});

describe("the summary says what happened", () => {
  test.each<[string, Partial<Facts>, string]>([
    ["deployed", { status: "deployed" }, "## ✅ <code>shop</code> <code>v2</code> is deployed"],
    [
      "unchanged",
      { status: "unchanged" },
      "## ✅ <code>shop</code> <code>v2</code> was already running: nothing changed",
    ],
    [
      "failed",
      { status: "failed", reason: "rollout" },
      "## ❌ <code>shop</code> <code>v2</code> was not deployed (rollout)",
    ],
    [
      "failed before anything was known",
      { ...noFacts(), reason: "input" },
      "## ❌ <code>stack</code> was not deployed (input)",
    ],
  ])("%s", (_fact, changes, title) => {
    expect(summary(facts(changes)).split("\n")[0]).toBe(title);
  });

  test("with a row for every service", () => {
    const services = [
      result(),
      result({
        name: "db",
        change: "unchanged",
        imageBefore: "pg:1",
        imageSent: "pg:1",
        imageAfter: "pg:1",
        durationMs: undefined,
      }),
      result({
        name: "api",
        state: "failed",
        detail: "Swarm rolled the service back",
        imageAfter: "r.io/app:v1",
        durationMs: undefined,
      }),
    ];
    const text = summary(facts({ services }));
    expect(line(text, "<code>web</code>")).toBe(
      "| ✅ converged | <code>web</code> | update | <code>r.io/app:v1</code> → <code>:v2</code> | 2/2 running | 4.2s |",
    );
    expect(line(text, "<code>db</code>")).toBe(
      "| ✅ converged | <code>db</code> | unchanged | <code>pg:1</code> | 2/2 running |  |",
    );
    expect(line(text, "<code>api</code>")).toContain(
      "<code>r.io/app:v1</code> → <code>:v2</code> → <code>:v1</code>",
    );
  });

  test("with each cause, and what was done about it", () => {
    const text = summary(
      facts({
        problems: [
          { message: "It broke.", hint: "Mend it.", place: { file: "stack.yml", line: 3, column: 5 } },
        ],
        aftermath: ["Put back.", "Removed."],
      }),
    );
    expect(text).toContain("- stack.yml:3:5: It broke. Mend it.");
    expect(text).toContain("Put back.  \nRemoved.");
  });

  test("with the last words of a failing task", () => {
    const text = summary(facts({ stories: [story()] }));
    expect(text).toContain(
      "<summary>Task web.1 on n1 (r.io/app:v2): task: non-zero exit (3)</summary>\n\n```text\nno database\n```\n\n</details>",
    );
  });

  test.each([
    ["nothing", story({ logs: [] }), "(this task wrote nothing)"],
    [
      "nothing that could be read",
      story({ logs: [], logsMissing: "node down" }),
      "(its log could not be read: node down)",
    ],
  ])("a task wrote %s", (_fact, told, words) => {
    expect(noLogs(told)).toBe(words);
    expect(summary(facts({ stories: [told] }))).toContain(words);
  });

  test.each([
    [10, 10, undefined],
    [11, 10, "1 more failed tasks are in the log."],
    [30, 10, "20 more failed tasks are in the log."],
  ])("of %d failed tasks it tells %d", (count, shown, rest) => {
    const text = summary(facts({ stories: Array.from({ length: count }, () => story()) }));
    expect(text.match(/<summary>Task web/g)).toHaveLength(shown);
    expect(/\d+ more failed tasks are in the log\./.exec(text)?.[0]).toBe(rest);
  });

  test("a timeline only where something was sent and converged", () => {
    expect(summary(facts({ services: [result()] }))).toContain("web : 0, 4200");
    expect(
      summary(facts({ services: [result({ change: "unchanged" }), result({ durationMs: undefined })] })),
    ).not.toContain("mermaid");
  });
});

/** What GitHub would make of the text if it were taken for Markdown or HTML. */
const HOSTILE =
  "</code></details><img src=x onerror=y><script>z</script> **b** _i_ ~~s~~ [l](http://evil) ![i](http://evil) `c` | cell # h @octocat #1";

/** The summary without its code blocks, in which nothing is Markdown. */
function outsideFences(text: string): string {
  return text.replace(/^(`{3,})[^\n]*\n[^]*?\n\1$/gm, "");
}

test("the timeline counts seconds beyond a minute, and takes no service's name for a word of its own", () => {
  const services = [result({ name: "title", durationMs: 75_000 }), result({ name: "a/b:c", durationMs: 0 })];
  const text = summary(facts({ status: "deployed", services }));
  expect(text).toContain("    axisFormat %s\n    \u200btitle : 0, 75000\n    \u200ba_b_c : 0, 1\n");
});

describe("text from elsewhere stays text", () => {
  test.each<[string, Partial<Facts>]>([
    ["an error", { problems: [{ message: HOSTILE }] }],
    ["a hint", { problems: [{ message: "x", hint: HOSTILE }] }],
    ["a file's name", { problems: [{ message: "x", place: { file: HOSTILE, line: 1, column: 1 } }] }],
    ["what was done", { aftermath: [HOSTILE] }],
    ["a task's state", { services: [result({ detail: HOSTILE })] }],
    ["a service's name", { services: [result({ name: HOSTILE })] }],
    ["an image", { services: [result({ imageAfter: HOSTILE })], image: HOSTILE }],
    ["a node's name", { stories: [story({ node: HOSTILE })] }],
    ["a task's error", { stories: [story({ error: HOSTILE })] }],
    ["a manager's name", { manager: HOSTILE }],
    ["a log line", { stories: [story({ logs: [HOSTILE] })] }],
  ])("%s", (_fact, changes) => {
    const text = outsideFences(summary(facts(changes)));
    expect(text).not.toMatch(/<(?!\/?(code|details|details open|summary|sub)>)/);
    expect((text.match(/<details/g) ?? []).length).toBe((text.match(/<\/details/g) ?? []).length);
    const markdown = text.replace(/<summary>.*<\/summary>/g, ""); // HTML's own ground: no Markdown there.
    expect(markdown).not.toMatch(/(?<!\\)\*\*b|(?<!\\)_i|(?<!\\)~~s|(?<!\\)\[l|(?<!\\)`c/);
    expect(markdown).not.toContain(" | cell");
    expect(markdown).not.toMatch(/(^|[^<]code>)@octocat/);
  });

  test.each(["http://evil.example", "https://evil.example", "www.evil.example"])(
    "%s does not become a link by itself",
    (url) => {
      const text = summary(
        facts({ problems: [{ message: `see ${url}/x` }], services: [result({ detail: url })] }),
      );
      expect(text).not.toContain(url);
      expect(text.replaceAll("\\", "")).toContain(url);
    },
  );

  test.each([
    ["an error of several lines", { problems: [{ message: "a\n\n# Deployed\n\n- b" }] }],
    ["a state of several lines", { services: [result({ detail: "a\n\n# Deployed" })] }],
    ["a task's error of several lines", { stories: [story({ error: "a\n\n# Deployed\n" })] }],
    ["what was done, in several lines", { aftermath: ["a\n\n# Deployed"] }],
  ])("%s is one line", (_fact, changes) => {
    expect(summary(facts(changes))).not.toMatch(/^# Deployed/m);
  });

  test.each([
    ["three backticks", ["```", "# x", "</details>"], "````"],
    ["five", ["a ````` b"], "``````"],
    ["fences of tildes", ["~~~"], "```"],
  ])("a log with %s can't close its fence", (_fact, logs, fence) => {
    const text = summary(facts({ stories: [story({ logs })] }));
    expect(text).toContain(`\n${fence}text\n${logs.join("\n")}\n${fence}\n`);
  });

  test("colours and control characters of a log are left out", () => {
    const text = summary(
      facts({ stories: [story({ logs: ["\u001b[31mred\u001b[0m\u0007\r", "tab\there"] })] }),
    );
    expect(text).toContain("```text\nred\ntab\there\n```");
  });
});

describe("the plan in the log", () => {
  test("tells every service, network, config and secret that changes, and why", () => {
    expect(planLines(CHANGES, "deploy")).toEqual([
      "+ network proxy",
      "~ config shop_env_0b (in place of shop_env_0a)",
      "+ secret shop_key_0b",
      "+ new  app:v2  (new)",
      "~ web  app:v2  (image, environment)",
      "    ~ image: app:v1 → app:v2",
      "    - environment.PASSWORD: removed",
      "    → its tasks are replaced: each one's successor starts before it ends",
      "= db  app:v1  (unchanged)",
      "- old  app:v1  (no longer in the file)",
      "? theirs  app:v1  (not in the file: left alone)",
    ]);
    expect(planLines(CHANGES, "rollback").slice(-2)).toEqual([
      "- old  app:v1  (not in the release)",
      "? theirs  app:v1  (not in the release: left alone)",
    ]);
  });

  test("tells what stays, too, where the plan is all there is", () => {
    expect(planLines(CHANGES, "plan")).toEqual(
      expect.arrayContaining(["= volume shop_data", "? network ingress_net"]),
    );
  });

  test.each<[string, Partial<FieldChange>, string]>([
    ["both sides", { before: "info", after: "debug" }, "~ environment.A: info → debug"],
    ["one that is empty", { before: "", after: "debug" }, '~ environment.A: "" → debug'],
    ["what is to be alone", { after: "debug" }, "~ environment.A: (not shown) → debug"],
    ["what was alone", { before: "info" }, "~ environment.A: info → (not shown)"],
    ["neither", {}, "~ environment.A: changed"],
    ["what is new", { change: "added", after: "debug" }, "+ environment.A: debug"],
    ["what is new and empty", { change: "added", after: "" }, "+ environment.A: added"],
    ["what is new and hidden", { change: "added" }, "+ environment.A: added"],
    ["what goes", { change: "removed", before: "info" }, "- environment.A: info"],
  ])("tells of a field %s", (_what, told, expected) => {
    const detail: FieldChange = {
      field: "environment.A",
      change: "changed",
      consequence: "nothing",
      ...told,
    };
    const [, text] = driftLines([{ service: "web", change: "changed", details: [detail] }]);
    expect(text?.trim()).toBe(expected);
  });

  test("tells what was changed behind our back", () => {
    const details = CHANGES.services[1]?.details ?? [];
    expect(driftLines([{ service: "web", change: "changed", details }])).toEqual([
      "! web was changed on the swarm since the last release",
      "    ~ image: app:v1 → app:v2",
      "    - environment.PASSWORD: removed",
    ]);
  });
});

describe("the plan in the summary", () => {
  const planned = (changes: Partial<Facts>): string =>
    summary(facts({ mode: "plan", status: "planned", changes: CHANGES, ...changes }));

  test("is a table of what changes, with all of it folded below", () => {
    const text = planned({});
    expect(text).toContain("## 📋 To deploy <code>shop</code> <code>v2</code> would change 6 things");
    expect(line(text, "<code>web</code>")).toBe(
      "| ~ | service | <code>web</code> | update | <code>app:v2</code> image, environment | its tasks are replaced: each one's successor starts before it ends |",
    );
    expect(line(text, "in place of <code>")).toContain("<code>shop_env_0a</code>");
    expect(text).toContain("<details><summary>The whole plan</summary>\n\n```text\n");
    expect(text).not.toContain("| service | <code>db</code>");
  });

  const found: Facts["findings"] = [
    warning(
      "monitor-too-short",
      "The *monitor* | @all",
      { file: "stack.yml", line: 7, column: 9 },
      "A longer one.",
    ),
    error("paused-node", "A node is paused.", undefined, "Wake it."),
  ];

  test("has what was found below its table, unless it is an error, which stands at the top", () => {
    const [above = "", below = ""] = planned({ findings: found }).split("<sub>Plan");
    expect(above).not.toContain("monitor");
    expect(line(below, "monitor")).toBe(
      "- ⚠️ stack.yml:7:9: The \\*monitor\\* \\| @\u200ball \\[monitor-too-short\\] A longer one.",
    );
    expect(below).not.toContain("paused");
    const deployed = summary(facts({ status: "deployed", findings: found, services: [result()] }));
    expect(deployed).toContain("monitor-too-short");
  });

  test("has not all of it where there is no room", () => {
    const findings = Array.from({ length: 152 }, () => found).flat();
    const text = summary(facts({ mode: "plan", changes: CHANGES, findings }), "short");
    expect(line(text, "more are in the log")).toBe("- 2 more are in the log of the run.");
  });

  test("is in the output with all that was found, each with its place", () => {
    const plan =
      outputs(facts({ changes: CHANGES, planDigest: `sha256:${"0".repeat(64)}`, findings: found })).plan ??
      "";
    expect(offences(plan)).toEqual([]);
    expect((JSON.parse(plan) as { findings: unknown }).findings).toEqual([
      {
        id: "monitor-too-short",
        severity: "warning",
        message: "The *monitor* | @all [monitor-too-short] A longer one.",
        file: "stack.yml",
        line: 7,
      },
      { id: "paused-node", severity: "error", message: "A node is paused. [paused-node] Wake it." },
    ]);
  });

  test("leaves out what is folded where there is no room", () => {
    const all = facts({ mode: "plan", status: "planned", changes: CHANGES });
    expect(summary(all, "short")).not.toContain("<details>");
    expect(summary(all, "short")).toContain("<code>web</code>");
  });

  test.each<[string, Partial<Facts>, string]>([
    [
      "nothing to do",
      { changes: { ...CHANGES, services: [], networks: [], configs: [], secrets: [] } },
      "would change nothing",
    ],
    ["no manager", { changes: undefined }, "The files of <code>shop</code> <code>v2</code> are in order"],
    [
      "a failure",
      { changes: undefined, status: "failed", reason: "render" },
      "could not be planned (render)",
    ],
    [
      "something to know",
      { notes: ["An earlier update of *shop_web* is in flight."] },
      "of \\*shop\\_web\\* is in flight.",
    ],
    [
      "drift",
      { drift: [{ service: "db", change: "removed", details: [] }] },
      "since the last release: <code>db</code>.",
    ],
  ])("says: %s", (_fact, changes, words) => {
    expect(planned(changes)).toContain(words);
  });
});

test.each([
  ["a spec", serviceSpec("a:1"), "a:1"],
  ["none", undefined, ""],
  ["a spec of another kind", { TaskTemplate: {} }, ""],
])("the image of %s", (_fact, spec, image) => {
  expect(imageOf(spec)).toBe(image);
});

describe("the story in the summary", () => {
  const attempts = ["failed", "running"].map((state, second) => ({
    createdAt: `2026-08-01T10:00:0${second}.123456789Z`,
    image: "r.io/app:v2",
    state,
    exitCode: second === 0 ? 3 : undefined,
    error: second === 0 ? "a | b\n::error::c <b>" : "",
  }));

  test("has the attempts as a table that their words can't break", () => {
    const text = summary(facts({ stories: [story({ attempts })] }));
    expect(line(text, "10:00:00Z")).toBe(
      "| 2026-08-01 10:00:00Z | <code>r.io/app:v2</code> | failed | 3 | a \\| b ::error::c &lt;b&gt; |",
    );
    expect(text).toContain("| 2026-08-01 10:00:01Z | <code>r.io/app:v2</code> | running |  |  |");
  });

  test("has no table of a single attempt, which would repeat the headline", () => {
    const text = summary(facts({ stories: [story({ attempts: attempts.slice(1) })] }));
    expect(text).not.toContain("task made");
  });

  test("has what health checks printed, behind a fence that it can't leave", () => {
    const healthChecks = [{ exitCode: 1, output: "```\n</details>" }];
    const text = summary(facts({ stories: [story({ healthChecks })] }));
    expect(text).toContain(
      "Last health checks:\n\n````text\nhealth check, exit code 1: ```\n</details>\n````",
    );
  });

  test("has the likely cause above all of that", () => {
    const text = summary(facts({ stories: [story({ cause: "Set `start_period`.", attempts })] }));
    expect(text.indexOf("Set `start_period`.")).toBeLessThan(text.indexOf("task made"));
  });

  test("says that a task never started, rather than that it wrote nothing", () => {
    expect(noLogs(story({ state: "pending" }))).toBe("(this task never started)");
    expect(noLogs(story({ state: "failed" }))).toBe("(this task wrote nothing)");
  });
});

test("outputs have the attempts, the memory and the cause of a failing task", () => {
  const attempts = [{ createdAt: "x", image: "app", state: "failed", exitCode: 1, error: "" }];
  const written = outputs(
    facts({ services: [result()], stories: [story({ oomKilled: true, cause: "c", attempts })] }),
  );
  expect(JSON.parse(written.services ?? "")).toMatchObject([
    { failingTasks: [{ oomKilled: true, cause: "c", attempts }] },
  ]);
});
