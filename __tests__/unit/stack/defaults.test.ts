import { describe, expect, test } from "@jest/globals";
import { describe as inWords } from "../../../src/errors.ts";
import { addDefaults, setFormatVersion } from "../../../src/stack/defaults.ts";
import { parseStackFile, printStackFile } from "../../../src/stack/stack-file.ts";

/** The printed service, without what stands around it. */
function service(text: string, updateOrder = "start-first"): { printed: string; warnings: string[] } {
  const root = parseStackFile(`services:\n  web:\n    ${text}`, "stack.yml");
  const warnings = addDefaults(root, { updateOrder, failureAction: "rollback" }).map(inWords);
  return { printed: printStackFile(root), warnings };
}

describe("what a service gets that says nothing", () => {
  test("a label of ours, an order and a failure action, marked as ours", () => {
    expect(service("image: a").printed).toBe(
      [
        "services:",
        "  web:",
        "    image: a",
        "    deploy:",
        "      labels:",
        '        swarm-stack-deploy.managed: "true" # set by Swarm Stack Deploy',
        "      update_config:",
        "        order: start-first # set by Swarm Stack Deploy",
        "        failure_action: rollback # set by Swarm Stack Deploy",
        "",
      ].join("\n"),
    );
  });

  test.each([
    ["an empty deploy", "deploy:"],
    ["an empty update_config", "deploy: {update_config: }"],
    ["an empty mapping", "deploy: {}"],
  ])("%s is silence", (_fact, text) => {
    expect(service(text).printed).toContain("failure_action: rollback # set by");
  });
});

describe("what the file says is never changed", () => {
  test.each([
    [
      "an order",
      "deploy: {update_config: {order: stop-first}}",
      "order: stop-first\n",
      "failure_action: rollback # set",
    ],
    [
      "a failure action",
      "deploy: {update_config: {failure_action: pause}}",
      "failure_action: pause\n",
      "order: start-first # set",
    ],
    ["labels", "deploy: {labels: {a: b}}", "a: b\n", 'managed: "true" # set'],
    ["labels as a list", "deploy: {labels: [a=b]}", "- a=b\n", '- "swarm-stack-deploy.managed=true"'],
    ["labels of the container", "labels: {a: b}", "    labels:\n      a: b\n", 'managed: "true" # set'],
  ])("%s stays, and the rest is added", (_fact, text, kept, added) => {
    expect(service(text).printed).toContain(kept);
    expect(service(text).printed).toContain(added);
  });

  test.each([
    ["deploy is no mapping", "deploy: [a]"],
    ["deploy is text", "deploy: x"],
  ])("%s: docker's own check says so", (_fact, text) => {
    expect(service(text).printed).not.toContain("swarm-stack-deploy");
  });
});

test.each(["replicated-job", "global-job"])("a %s is run, not updated, so it gets the label only", (mode) => {
  const { printed } = service(`deploy: {mode: ${mode}}`);
  expect(printed).toContain("swarm-stack-deploy.managed");
  expect(printed).not.toContain("update_config");
});

describe("a port in host mode", () => {
  const ports = "ports: [{target: 80, published: 80, mode: host}]";

  test("can't be taken by two tasks, so start-first is not written, with a warning at the service", () => {
    const { printed, warnings } = service(ports);
    expect(printed).not.toContain("order:");
    expect(printed).toContain("failure_action: rollback");
    expect(warnings).toEqual([
      "stack.yml:2:3: Service web publishes a port in host mode, so start-first can't work and stop-first stays.",
    ]);
  });

  test.each([
    ["stop-first is written all the same", ports, "stop-first"],
    [
      "an order of the file's own is its author's",
      `deploy: {update_config: {order: start-first}}\n    ${ports}`,
      "start-first",
    ],
    ["ingress ports do not matter", "ports: ['80:80', {target: 81, mode: ingress}]", "start-first"],
  ])("%s", (_fact, text, order) => {
    expect(service(text, order).printed).toContain(`order: ${order}`);
    expect(service(text, order).warnings).toEqual([]);
  });
});

describe("the format version", () => {
  test.each([
    ["none, for docker 28: the newest", "services: {}", 28, undefined],
    ["none, for docker 20", "services: {}", 20, '"3.9"'],
    ["none, for a docker that does not tell its version", "services: {}", 0, '"3.9"'],
    ["3.7 knows no start-first for all we write", "version: '3.7'", 28, '"3.9"'],
    ["3.0", 'version: "3.0"', 28, '"3.9"'],
    ["3.9 stays", "version: '3.9'", 28, '"3.9"'],
    ["3.13 stays", "version: '3.13'", 28, '"3.13"'],
    ["3, for docker 28: the newest", "version: '3'", 28, '"3"'],
    ["3, for docker 24", "version: '3'", 24, '"3.9"'],
    ["2 is docker's to refuse", "version: '2.4'", 28, '"2.4"'],
    ["an unquoted 3.8 is docker's to refuse", "version: 3.8", 28, "3.8"],
  ])("%s", (_fact, text, dockerMajor, expected) => {
    const root = parseStackFile(text, "f");
    setFormatVersion(root, dockerMajor);
    expect(/^version: (.*)$/m.exec(printStackFile(root))?.[1]).toBe(expected);
  });
});
