import { type ChildProcess, spawnSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  type RunOptions,
  cleanUp,
  docker,
  pushImage,
  runAction,
  sandbox,
  service,
  serviceNames,
  stackName,
  workspace,
} from "./rig.ts";

/** A stack of many services is sent in several parts at once. */

const stack = stackName("many");
const other = stackName("other");
const inputs = { "stack-name": stack, project: stack, version: "v1", build: "false" };
const names = Array.from({ length: 14 }, (_, index) => `web${index}`);
const TAKEN = 18_093;

/** Without replicas: what becomes of tasks is told elsewhere. */
function file(release: string, refused = ""): string {
  const services = names.map((name) => {
    const ports = name === refused ? `, ports: ["${TAKEN}:80"]` : "";
    return `  ${name}: { image: $IMAGE, environment: { RELEASE: "${release}" }, networks: [one, two], deploy: { replicas: 0 }${ports} }`;
  });
  return ["services:", ...services, "networks: { one: , two: }", ""].join("\n");
}

function releases(): string[] {
  return serviceNames(stack).map(
    (name) => service(name).Spec.TaskTemplate.ContainerSpec.Env?.join() ?? "nothing",
  );
}

beforeAll(() => {
  pushImage(stack, "v1");
  const image = `${sandbox.registry}/${stack}:v1`;
  docker([
    "service",
    "create",
    "--detach",
    "--no-resolve-image",
    "--replicas",
    "0",
    "--publish",
    `${TAKEN}:80`,
    "--label",
    `com.docker.stack.namespace=${other}`,
    "--name",
    `${other}_web`,
    image,
  ]);
});
afterAll(cleanUp);

describe("a stack of many services", () => {
  test("is deployed, with one of each network", async () => {
    const run = await runAction({ cwd: workspace({ "stack.yml": file("1") }), inputs });
    expect(run.log).toContain("Status: deployed.");
    expect(serviceNames(stack)).toEqual(names.map((name) => `${stack}_${name}`).toSorted());
    const networks = docker([
      "network",
      "ls",
      "--format",
      "{{.Name}}",
      "--filter",
      `label=com.docker.stack.namespace=${stack}`,
    ]);
    expect(networks.split("\n").toSorted()).toEqual([`${stack}_one`, `${stack}_two`]);
    expect(run.log.match(/Creating network/g)?.length).toBeGreaterThan(2); // By every docker; the swarm has heard of it once.
  });

  test("of which the manager refuses one is put back, and that is told once", async () => {
    const run = await runAction({
      cwd: workspace({ "stack.yml": file("2", "web6") }),
      inputs: { ...inputs, "ignore-findings": "port-in-use" },
    });
    expect(run.outputs).toMatchObject({ status: "failed", reason: "deploy" });
    const errors = run.log.match(/^::error::.*$/gm) ?? [];
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(`failed to update service ${stack}_web6`);
    expect(errors[0]?.match(new RegExp(`port '${TAKEN}' is already in use`, "g"))).toHaveLength(1);
    expect(errors[0]).not.toContain("it was not sent");
    expect(releases()).toEqual(names.map(() => "RELEASE=1"));
    expect(run.leftovers).toEqual([]);
  });

  test("is deployed once nothing stands in the way, and then unchanged", async () => {
    const cwd = workspace({ "stack.yml": file("2") });
    expect((await runAction({ cwd, inputs })).outputs.status).toBe("deployed");
    expect(releases()).toEqual(names.map(() => "RELEASE=2"));
    expect((await runAction({ cwd, inputs })).outputs.status).toBe("unchanged");
  });

  test("is deployed though the connection is lost while several dockers send", async () => {
    await using far = await farManager();
    const run = await runAction({
      cwd: workspace({ "stack.yml": file("3") }),
      inputs: { ...inputs, ...far.inputs },
      during: onceSending(() => far.cut()),
    });
    expect(run.log).toContain("connecting again");
    expect(run.log).toContain("Status: deployed.");
    expect(releases()).toEqual(names.map(() => "RELEASE=3"));
  });

  test("that is cancelled while several dockers send leaves none of them behind", async () => {
    await using far = await farManager();
    const run = await runAction({
      cwd: workspace({ "stack.yml": file("4") }),
      inputs: { ...inputs, ...far.inputs },
      during: onceSending((action) => action.kill("SIGTERM")),
    });
    expect(run.code).toBe(1);
    expect(run.log).toContain("::error::Cancelled: the runner sent SIGTERM.");
    expect(run.summary).toMatch(
      /Nothing had been sent|No service was changed|Sent back to what ran before|Removed, since/,
    );
    expect(run.leftovers).toEqual([]);
    const left = spawnSync("pgrep", ["-f", "--", `--compose-file - ${stack}$`], { encoding: "utf8" });
    expect(left.stdout).toBe("");
    const before = releases();
    expect(new Set([...before, "RELEASE=3", "RELEASE=4"])).toEqual(new Set(["RELEASE=3", "RELEASE=4"]));
    await new Promise((done) => setTimeout(done, 1000));
    expect(releases()).toEqual(before); // Nobody goes on sending.
  });
});

/** As soon as docker speaks of the first service that it sends. */
function onceSending(then: (action: ChildProcess) => void): NonNullable<RunOptions["during"]> {
  return (action, log) => {
    const timer = setInterval(() => {
      if (!log().includes(`Updating service ${stack}_`)) return;
      clearInterval(timer);
      then(action);
    }, 5);
    action.on("close", () => clearInterval(timer));
  };
}

interface FarManager extends AsyncDisposable {
  /** What leads the action there. */
  readonly inputs: Readonly<Record<string, string>>;
  /** Ends all connections; new ones are possible at once. */
  readonly cut: () => void;
}

/** The manager's sshd, 40 ms away, there and back: sending takes a while. */
async function farManager(): Promise<FarManager> {
  const sockets = new Set<Socket>();
  const carry = (from: Socket, to: Socket): void => {
    sockets.add(from);
    from.on("data", (chunk) => setTimeout(() => to.writable && to.write(chunk), 20));
    from.on("error", () => to.destroy());
    from.on("close", () => setTimeout(() => to.destroy(), 20));
  };
  const server = createServer((near) => {
    const far = connect(22, sandbox.manager);
    carry(near, far);
    carry(far, near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const cut = (): void => sockets.forEach((socket) => socket.destroy());
  return {
    inputs: {
      "ssh-host": `127.0.0.1:${port}`,
      "ssh-known-hosts": `[127.0.0.1]:${port} ${sandbox.hostKey}`,
    },
    cut,
    [Symbol.asyncDispose]: async () => {
      cut();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}
