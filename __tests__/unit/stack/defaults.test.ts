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
        "      rollback_config:",
        "        order: start-first # set by Swarm Stack Deploy",
        "",
      ].join("\n"),
    );
  });

  test.each([
    ["that stops first when it updates", "deploy: {update_config: {order: stop-first}}", "rollback_config"],
    [
      "that stops first when it goes back",
      "deploy: {rollback_config: {order: stop-first}}",
      "stop-first # set",
    ],
    ["that can't start first", "ports: [{target: 80, published: 80, mode: host}]", "rollback_config"],
  ])("a service %s gets no start-first for its way back", (_fact, text, none) => {
    expect(service(text).printed).not.toContain(none);
  });

  test("a service that says how it goes back, but not in which order, gets it beside that", () => {
    expect(service("deploy: {rollback_config: {parallelism: 2}}").printed).toContain(
      "rollback_config:\n        parallelism: 2\n        order: start-first # set",
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

describe("what runs once", () => {
  const once = "deploy: {restart_policy: {condition: none}}";
  test.each([
    ["goes on where a task ends, which is no failure", once, "continue"],
    ["goes on where it is tried again", "deploy: {restart_policy: {condition: on-failure}}", "continue"],
    ["goes back where it is asked how it is", `healthcheck: {test: [CMD, x]}\n    ${once}`, "rollback"],
    ["goes back where it is listened to", `ports: ["80"]\n    ${once}`, "rollback"],
    ["goes back where it is always started again", "deploy: {restart_policy: {condition: any}}", "rollback"],
  ])("%s", (_fact, text, action) => {
    expect(service(text).printed).toContain(`failure_action: ${action} # set by`);
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
    [
      "a number that Swarm chooses is free for both",
      "ports: [{target: 80, mode: host}, {target: 81, published: 0, mode: host}]",
      "start-first",
    ],
    ["ingress ports do not matter", "ports: ['80:80', {target: 81, mode: ingress}]", "start-first"],
  ])("%s", (_fact, text, order) => {
    expect(service(text, order).printed).toContain(`order: ${order}`);
    expect(service(text, order).warnings).toEqual([]);
  });
});

describe("start-first is not written", () => {
  const networks = (definition: string): string =>
    service(`networks: [net]\nnetworks:\n  net: ${definition}`).warnings.join();

  test.each([["{external: true, name: host}"], ["{external: {name: host}}"]])(
    "where the tasks share the node's own network: %s",
    (definition) => {
      expect(networks(definition)).toMatch(/Service web shares the node's own network.* stop-first stays\.$/);
    },
  );

  test.each([["{name: host}"], ["{external: true}"], ["{external: false, name: host}"]])(
    "but it is with a network of the swarm: %s",
    (definition) => {
      expect(networks(definition)).toBe("");
    },
  );

  test.each([
    [1, "", true],
    [2, "replicas: 2, ", true],
    [2, "replicas: 1, ", false],
    [3, "", false],
  ])("where a node may be full: at most %d of a service with %j", (most, replicas, full) => {
    const { printed } = service(`deploy: {${replicas}placement: {max_replicas_per_node: ${most}}}`);
    expect(printed.includes("order: start-first")).toBe(!full);
  });
});

describe("the format version", () => {
  test.each([
    ["none, for docker 28: the newest", "services: {}", 28, undefined],
    ["none, for docker 20", "services: {}", 20, '"3.9" # set by Swarm Stack Deploy'],
    [
      "none, for a docker that does not tell its version",
      "services: {}",
      0,
      '"3.9" # set by Swarm Stack Deploy',
    ],
    ["3.7 knows no start-first for all we write", "version: '3.7'", 28, '"3" # set by Swarm Stack Deploy'],
    ["3.7, for docker 20", "version: '3.7'", 20, '"3.9" # set by Swarm Stack Deploy'],
    ["3.13, whose meaning the newest has", "version: '3.13'", 28, '"3" # set by Swarm Stack Deploy'],
    ["3.9 stays, for docker 20", "version: '3.9'", 20, '"3.9"'],
    ["3.14 stays: docker may know it", "version: '3.14'", 28, '"3.14"'],
    ["3, for docker 28: the newest", "version: '3'", 28, '"3"'],
    ["3, for docker 24", "version: '3'", 24, '"3.9" # set by Swarm Stack Deploy'],
  ])("%s", (_fact, text, dockerMajor, expected) => {
    const root = parseStackFile(text, "f");
    setFormatVersion(root, dockerMajor);
    expect(/^version: (.*)$/m.exec(printStackFile(root))?.[1]).toBe(expected);
  });
});
