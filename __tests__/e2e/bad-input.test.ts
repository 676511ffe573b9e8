import { readFileSync } from "node:fs";
import { type Server, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { CONNECTION, buildable, cleanUp, runAction, sandbox, workspace } from "./rig.ts";

/** Each is refused with its own words, in one annotation, before anybody is contacted. */

/** Stands where the manager should be, and counts who knocks. */
let doorbell: Server;
let rings = 0;
beforeAll(async () => {
  doorbell = createServer((socket) => {
    rings += 1;
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await new Promise((done) => doorbell.once("listening", done));
});
afterAll(() => {
  doorbell.close();
  cleanUp();
});

function nowhere(): Record<string, string> {
  const { port } = doorbell.address() as { port: number };
  return {
    "ssh-host": "127.0.0.1",
    "ssh-port": String(port),
    "ssh-known-hosts": `[127.0.0.1]:${port} ${sandbox.hostKey}`,
    registry: `127.0.0.1:${port}`,
  };
}

const STACK = "services:\n  web:\n    image: $IMAGE\n";
const key = (name: string): string => readFileSync(join(sandbox.keys, name), "utf8");
const cert = (text: string): string => text.split("\n").slice(0, 1).join("\n");

interface Case {
  readonly files?: Readonly<Record<string, string | Buffer>>;
  readonly inputs: Readonly<Record<string, string>>;
  readonly reason?: string;
  readonly says: RegExp;
}

const CASES: Readonly<Record<string, Case>> = {
  "an unknown mode": {
    inputs: { mode: "destroy" },
    says: /::error::"mode" is "destroy"\. Give one of: deploy, plan, rollback\./,
  },
  "no manager at all": { inputs: { "ssh-host": "" }, says: /Neither "ssh-host" nor "docker-host" is given/ },
  "two ways to the manager": {
    inputs: { "docker-host": "unix:///x" },
    says: /Both "ssh-host" and "docker-host" are given/,
  },
  "a docker-host that is none": {
    inputs: { "ssh-host": "", "docker-host": "ssh://x" },
    says: /"docker-host" is "ssh:\/\/x"\. Use "ssh-host" for SSH/,
  },
  "a host that is none": { inputs: { "ssh-host": "us er@x" }, says: /"ssh-host" has "us er@x"/ },
  "a port that is none": { inputs: { "ssh-port": "99999" }, says: /The SSH port is "99999"/ },
  "a jump host that is none": { inputs: { "ssh-jump": "a b" }, says: /"ssh-jump" has "a b"/ },
  "a socket that is no path": { inputs: { "docker-socket": "x" }, says: /"docker-socket" is "x"/ },
  "no release to keep": {
    inputs: { "keep-releases": "0" },
    says: /"keep-releases" is "0"\. Give a whole number/,
  },
  "a GitHub environment": {
    inputs: { environment: "production" },
    says: /"environment" is not supported yet/,
  },
  "no key at all": {
    inputs: { "ssh-private-key": "" },
    says: /No way to log in: neither "ssh-private-key" nor "ssh-password" is given/,
  },
  "a public key": {
    inputs: { "ssh-private-key": key("id_ed25519.pub") },
    says: /"ssh-private-key" is a public key/,
  },
  "an encrypted key without a passphrase": {
    inputs: { "ssh-private-key": key("id_pass") },
    says: /is encrypted and there is no passphrase/,
  },
  "a wrong passphrase": {
    inputs: { "ssh-private-key": key("id_pass"), "ssh-passphrase": "no" },
    says: /The "ssh-passphrase" does not open the key/,
  },
  "a certificate": {
    inputs: {
      "ssh-private-key": `ssh-ed25519-cert-v01@openssh.com ${key("id_ed25519.pub").split(" ")[1]} me`,
    },
    says: /"ssh-private-key" is a certificate/,
  },
  "half a key": {
    inputs: { "ssh-private-key": cert(key("id_ed25519")) },
    says: /"ssh-private-key" can't be read/,
  },
  "a PuTTY key": {
    inputs: { "ssh-private-key": "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\n" },
    says: /"ssh-private-key" is a PuTTY key\. Convert it: puttygen/,
  },
  "a key on one line": {
    inputs: { "ssh-private-key": key("id_ed25519").replaceAll("\n", "\\n") },
    says: /"ssh-private-key" has \\n as two characters instead of line ends/,
  },
  "something else for a key": {
    inputs: { "ssh-private-key": "hunter2" },
    says: /"ssh-private-key" is no private key/,
  },
  "no host key to check": {
    inputs: { "ssh-known-hosts": "" },
    says: /Neither "ssh-known-hosts" nor "ssh-fingerprint" is given/,
  },
  "a fingerprint that is none": {
    inputs: { "ssh-fingerprint": "MD5:aa:bb" },
    says: /"ssh-fingerprint" has "MD5:aa:bb"/,
  },
  "a registry with a scheme": { inputs: { registry: "https://ghcr.io/acme" }, says: /is no image name/ },
  "a user without a password": {
    inputs: { password: "" },
    says: /"username" is given and "password" is empty/,
  },
  "a version that is no tag": {
    inputs: { version: "release/1.0" },
    says: /"version" is "release\/1\.0", which is no image tag/,
  },
  "a tag that is none": { inputs: { tags: "a b" }, says: /"tags" has "a b"/ },
  "a duration that is none": {
    inputs: { timeout: "10 minutes" },
    says: /"timeout" is "10 minutes", which is no duration/,
  },
  "a window longer than the deadline": {
    inputs: { "stable-for": "5m", timeout: "1m" },
    says: /"stable-for" is not shorter than "timeout"/,
  },
  "a boolean that is none": {
    inputs: { prune: "yes please" },
    says: /"prune" is "yes please"\. Give true or false\./,
  },
  "an update order that is none": { inputs: { "update-order": "first" }, says: /"update-order" is "first"/ },
  "a line that is no variable": {
    inputs: { variables: "A=1\nno equals sign" },
    says: /"variables", line 2: expected KEY=value/,
  },
  "JSON that is none": {
    inputs: { secrets: '{"A": "b' },
    says: /"secrets", line 1: this starts like JSON but is none/,
  },
  "a stack file that is misspelt": {
    inputs: { "stack-file": "stakc.yml" },
    says: /"stack-file" is "stakc\.yml", which does not exist\. Did you mean stack\.yml\?/,
  },
  "a folder for a stack file": {
    inputs: { "stack-file": "." },
    says: /"stack-file" is "\.", which can't be read as a file/,
  },
  "no stack file": {
    files: { "README.md": "" },
    inputs: {},
    says: /There is no stack file: none of stack\.yml/,
  },
  "a second stack file that is missing": {
    inputs: { "stack-file": "stack.yml\nmore.yml" },
    says: /"stack-file" is "more\.yml", which does not exist/,
  },
  "an env file that is missing": {
    inputs: { "env-file": ".env" },
    says: /"env-file" is "\.env", which does not exist/,
  },
  "an env file that nothing mounts": {
    files: { ".env": "A=1", "stack.yml": STACK, Dockerfile: "FROM scratch" },
    inputs: { "env-file": ".env" },
    reason: "render",
    says: /No config is mounted at a path that ends in "\.env"/,
  },
  "an env file over Swarm's limit": {
    files: { ".env": Buffer.alloc(1_024_000, "x"), "stack.yml": STACK },
    inputs: { "env-file": ".env" },
    says: /The env file "\.env" has 1024000 bytes/,
  },
  "an empty env file": {
    files: { ".env": "", "stack.yml": STACK },
    inputs: { "env-file": ".env" },
    says: /The env file "\.env" is empty/,
  },
  "no Dockerfile": {
    files: { "stack.yml": STACK },
    inputs: {},
    says: /There is no Dockerfile at "\.\/Dockerfile"/,
  },
  "YAML that can't be read": {
    files: { "stack.yml": "services:\n  web:\n    image: [a\n", Dockerfile: "FROM scratch" },
    inputs: {},
    reason: "render",
    says: /::error file=stack\.yml,line=\d+,col=\d+::stack\.yml:\d+:\d+: /,
  },
  "a key that is given twice": {
    files: { "stack.yml": "services:\n  web:\n    image: a\n    image: b\n", Dockerfile: "FROM scratch" },
    inputs: {},
    reason: "render",
    says: /::error file=stack\.yml,line=4,col=5::stack\.yml:4:5: The key "image" is given twice/,
  },
  "a variable that is not defined": {
    files: {
      "stack.yml": 'services:\n  web:\n    image: $IMAGE\n    environment:\n      A: "x ${REGISTRY_ULR} y"\n',
      Dockerfile: "FROM scratch",
    },
    inputs: {},
    reason: "render",
    says: /::error file=stack\.yml,line=5,col=13::stack\.yml:5:13: The variable REGISTRY_ULR is not defined\. Did you mean REGISTRY_URL\?/,
  },
  "a stack file that is no text": {
    files: {
      "stack.yml": Buffer.from("services:\n  web: {image: \u00ff}\n", "latin1"),
      Dockerfile: "FROM scratch",
    },
    inputs: {},
    reason: "render",
    says: /::error file=stack\.yml,line=2,col=16::stack\.yml:2:16: This is no UTF-8 text\./,
  },
  "an env_file that is missing": {
    files: {
      "deploy/stack.yml": "services:\n  web:\n    image: $IMAGE\n    env_file: [web.env]\n",
      Dockerfile: "FROM scratch",
    },
    inputs: { "stack-file": "deploy/stack.yml" },
    reason: "render",
    says: /::error file=deploy\/stack\.yml,line=4,col=16::.*The env file "web\.env" of service web can't be read/,
  },
  "an env_file that docker refuses": {
    files: {
      "stack.yml": "services:\n  web:\n    image: $IMAGE\n    env_file: web.env\n",
      "web.env": "A=1\nexport B=hunter2\n",
      Dockerfile: "FROM scratch",
    },
    inputs: {},
    reason: "render",
    says: /::error file=web\.env,line=2,col=1::web\.env:2:1: Docker refuses "export" in an env file\./,
  },
  "a format of years ago": {
    files: {
      "stack.yml": 'version: "2.4"\nservices:\n  web:\n    image: $IMAGE\n',
      Dockerfile: "FROM scratch",
    },
    inputs: {},
    reason: "render",
    says: /::error file=stack\.yml,line=1,col=10::.*The format version "2\.4" is none that docker stack deploy takes/,
  },
  "a key of Compose that would do harm if it were ignored": {
    files: {
      "stack.yml": "services:\n  web:\n    image: $IMAGE\n    ports: [{target: 80, host_ip: 127.0.0.1}]\n",
      Dockerfile: "FROM scratch",
    },
    inputs: {},
    reason: "render",
    says: /::error file=stack\.yml,line=4,col=26::.*services\.web\.ports\.host_ip can't be deployed to a swarm\./,
  },
  "text for a list in the second of two files": {
    files: {
      "stack.yml": "services:\n  web:\n    image: $IMAGE\n    ports: ['80:80']\n",
      "more.yml": "services:\n  web:\n    ports: '443:443'\n",
      Dockerfile: "FROM scratch",
    },
    inputs: { "stack-file": "stack.yml\nmore.yml" },
    reason: "render",
    says: /::error file=more\.yml,line=3,col=12::.*services\.web\.ports must be a list\./,
  },
  "a key that YAML does not read as text": {
    files: {
      "stack.yml": "services:\n  web:\n    image: $IMAGE\n    environment:\n      NULL: x\n",
      Dockerfile: "FROM scratch",
    },
    inputs: {},
    reason: "render",
    says: /::error file=stack\.yml,line=5,col=7::.*YAML does not read the key NULL as text\. Quote it\./,
  },
  "what docker tells only when it deploys": {
    files: {
      "stack.yml":
        "services:\n  web:\n    image: $IMAGE\n    deploy: { resources: { limits: { memory: 5Q } } }\n",
      Dockerfile: "FROM scratch",
    },
    inputs: {},
    reason: "render",
    says: /::error file=stack\.yml,line=4,col=46::.*Docker refuses the stack file: .*invalid suffix: 'q'/,
  },
  "what docker lets pass and an engine would refuse": {
    files: {
      "stack.yml":
        "services:\n  web:\n    image: $IMAGE\n    deploy: { update_config: { failure_action: explode } }\n",
      Dockerfile: "FROM scratch",
    },
    inputs: {},
    reason: "render",
    says: /::error file=stack\.yml,line=4,col=48::.*failure_action "explode" must be pause, continue or rollback\./,
  },
  "a key that docker does not know": {
    files: {
      "stack.yml": "services:\n  web:\n    image: $IMAGE\n    imagination: 1\n",
      Dockerfile: "FROM scratch",
    },
    inputs: {},
    reason: "render",
    says: /stack\.yml:\d+:\d+: Docker refuses the stack file: services\.web Additional property imagination is not allowed/,
  },
  "a service without an image": {
    files: { "stack.yml": "services:\n  web:\n    build: .\n", Dockerfile: "FROM scratch" },
    inputs: {},
    reason: "render",
    says: /Service web has no image/,
  },
};

describe("bad input", () => {
  test.each(Object.entries(CASES))("%s", async (_name, { files, inputs, reason, says }) => {
    const cwd = files === undefined ? buildable({ "stack.yml": STACK }) : workspace(files);
    const run = await runAction({ cwd, inputs: { ...nowhere(), ...inputs } });
    expect(run.log).toMatch(says);
    expect(run.code).toBe(1);
    expect(run.log.match(/^::error/gm)).toHaveLength(1);
    expect(run.outputs).toMatchObject({ status: "failed", reason: reason ?? "input" });
    expect(run.summary).toContain("was not deployed");
    expect(run.leftovers).toEqual([]);
    expect(rings).toBe(0);
    expect(run.log).not.toContain("::group::");
  });

  test("everything that is wrong is told at once", async () => {
    const run = await runAction({
      cwd: buildable({ "stack.yml": STACK }),
      inputs: { timeout: "x", prune: "y", version: "/" },
    });
    expect(run.log.match(/^::error/gm)).toHaveLength(3);
  });

  test("an undefined variable stops several places at once", async () => {
    const cwd = buildable({
      "stack.yml": "services:\n  web:\n    image: $IMAGE\n    hostname: $ONE\n    user: $TWO\n",
    });
    const run = await runAction({ cwd, inputs: {} });
    expect(run.log.match(/^::error/gm)).toHaveLength(2);
  });

  test("a secret in a bad input is not shown", async () => {
    const cwd = buildable({ "stack.yml": STACK });
    const run = await runAction({
      cwd,
      inputs: { ...CONNECTION, secrets: "GOOD=hunter2hunter2\nBAD hunter3hunter3" },
    });
    expect(run.code).toBe(1);
    expect(run.log).not.toMatch(/hunter[23]/);
  });
});
