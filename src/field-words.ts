import { type Path } from "./spec.ts";

/** The Engine API's paths in the words of a stack file; the first that fits. What follows is told in detail. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  // Docker asks the registry for an image's platforms: no file says them, and a rebuilt image may have others.
  [
    /^TaskTemplate\.ContainerSpec\.Image$|^Labels\.com\.docker\.stack\.image$|^TaskTemplate\.Placement\.Platforms/,
    "image",
  ],
  [/^TaskTemplate\.ContainerSpec\.Env/, "environment"],
  [/^TaskTemplate\.ContainerSpec\.Labels/, "labels"],
  [/^TaskTemplate\.ContainerSpec\.Args/, "command"],
  [/^TaskTemplate\.ContainerSpec\.Command/, "entrypoint"],
  [/^TaskTemplate\.ContainerSpec\.Mounts/, "volumes"],
  [/^TaskTemplate\.ContainerSpec\.Dir/, "working_dir"],
  [/^TaskTemplate\.ContainerSpec\.Groups/, "group_add"],
  [/^TaskTemplate\.ContainerSpec\.Hosts/, "extra_hosts"],
  [/^TaskTemplate\.ContainerSpec\.DNSConfig\.Nameservers/, "dns"],
  [/^TaskTemplate\.ContainerSpec\.DNSConfig\.Search/, "dns_search"],
  [/^TaskTemplate\.ContainerSpec\.DNSConfig/, "dns_opt"],
  [/^TaskTemplate\.ContainerSpec\.OpenStdin/, "stdin_open"],
  [/^TaskTemplate\.ContainerSpec\.CapabilityAdd/, "cap_add"],
  [/^TaskTemplate\.ContainerSpec\.CapabilityDrop/, "cap_drop"],
  [/^TaskTemplate\.ContainerSpec\.TTY/, "tty"],
  [/^TaskTemplate\.ContainerSpec\.(\w+)/, "$1"],
  [/^TaskTemplate\.Networks/, "networks"],
  [/^TaskTemplate\.Resources/, "deploy.resources"],
  [/^TaskTemplate\.RestartPolicy/, "deploy.restart_policy"],
  [/^TaskTemplate\.Placement/, "deploy.placement"],
  [/^TaskTemplate\.LogDriver/, "logging"],
  [/^EndpointSpec\.Ports/, "ports"],
  [/^EndpointSpec(\.Mode)?/, "deploy.endpoint_mode"],
  [/^Mode\.Replicated\.Replicas/, "deploy.replicas"],
  [/^Mode/, "deploy.mode"],
  [/^UpdateConfig/, "deploy.update_config"],
  [/^RollbackConfig/, "deploy.rollback_config"],
  [/^Labels/, "deploy.labels"],
];

/** Where the stack file's word is not the engine's in another spelling. */
const LEAVES: Readonly<Record<string, string>> = {
  MemoryBytes: "memory",
  NanoCPUs: "cpus",
  Pids: "pids",
  MaxReplicas: "max_replicas_per_node",
  MaxAttempts: "max_attempts",
  Name: "driver",
};

/** The keys of the stack file that differ, each once. */
export function fieldsOf(paths: readonly Path[]): string[] {
  return [...new Set(paths.map((path) => wordFor(path).word))];
}

/** The field itself, for instance `deploy.update_config.order`. */
export function fieldOf(path: Path): string {
  const { word, rest } = wordFor(path);
  const name = path.at(-1) ?? "";
  if (word === "labels" || word === "deploy.labels") return `${word}.${name}`;
  if (word === "deploy.mode") return word;
  const parts = rest.split(".").filter((part) => part !== "");
  return [word, ...parts.map((part) => LEAVES[part] ?? snakeCased(part))].join(".");
}

function wordFor(path: Path): { readonly word: string; readonly rest: string } {
  const text = path.join(".");
  for (const [pattern, word] of WORDS) {
    const found = pattern.exec(text);
    if (found === null) continue;
    return { word: word.replace("$1", snakeCased(found[1] ?? "")), rest: text.slice(found[0].length) };
  }
  return { word: text, rest: "" };
}

function snakeCased(name: string): string {
  return name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toLowerCase();
}
