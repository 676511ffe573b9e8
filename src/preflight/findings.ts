/** What a look at the swarm, or at the files alone, may bring up before anything is sent. */
export interface FindingKind {
  /** As `ignore-findings` calls it. */
  readonly id: string;
  /** `error` stops the deployment; where it depends, the cause says on what. */
  readonly severity: "error" | "warning" | "error or warning";
  readonly cause: string;
  readonly fix: string;
}

/** All of them; docs/preflight.md has the same table. An error is only what can't end well; where that is not certain, it is a warning. */
export const FINDINGS = [
  {
    id: "missing-network",
    severity: "error",
    cause: "An external network does not exist on the swarm.",
    fix: "Name it in `networks`, which creates it, or create it by hand.",
  },
  {
    id: "missing-config",
    severity: "error",
    cause: "An external config does not exist on the swarm.",
    fix: "Create it, or give it `content` or `file` instead of `external`.",
  },
  {
    id: "missing-secret",
    severity: "error",
    cause: "An external secret does not exist on the swarm.",
    fix: "Create it, or give it `environment` or `file` instead of `external`.",
  },
  {
    id: "image-missing",
    severity: "error or warning",
    cause:
      "The registry has no such image, or refuses to show it with the credentials that the swarm will get. A warning where a service runs that very image, so that a node has it, and where the registry can't be asked; but not for the image of this repository.",
    fix: "Correct its name, push it, or give credentials that may read it. Pass it over where every node has the image already.",
  },
  {
    id: "network-scope",
    severity: "error",
    cause: "An external network ends at the manager: its scope is not `swarm`.",
    fix: "Create an overlay network, and name that one.",
  },
  {
    id: "network-name-taken",
    severity: "error",
    cause:
      "A network that docker would create for the stack is there already, and is not the stack's: the engine would refuse it in the middle of the deployment.",
    fix: "Write `external: true` for it, give it another key, or remove the one that is there.",
  },
  {
    id: "mode-change",
    severity: "error",
    cause:
      "A service is to have another `deploy.mode` than it has. The engine refuses that, when others may have been sent already.",
    fix: "Give the service another name, or remove it first.",
  },
  {
    id: "port-in-use",
    severity: "error or warning",
    cause:
      "Another service publishes the port, and the engine gives an ingress port to one service only. It may belong to another stack, or to this one and be in the file no more: it goes after the rollout, not before. A warning where another service of the stack gives it up in the same deployment, which goes well only in that order.",
    fix: "Publish another port, or remove that service first.",
  },
  {
    id: "no-eligible-node",
    severity: "error or warning",
    cause:
      "No node may take a task: constraints, and nodes that are drained, paused or down. A warning in global mode (also of a job), where it means no task at all.",
    fix: "Change the constraints, label a node, or bring one back.",
  },
  {
    id: "paused-node",
    severity: "error",
    cause:
      "A global service is to be replaced, and one of its tasks is on a paused node: Swarm replaces none there, so the update would not end.",
    fix: "`docker node update --availability active NODE`, or `drain`, which ends the task.",
  },
  {
    id: "missing-volume-driver",
    severity: "error or warning",
    cause:
      "A volume's driver is on none of the nodes that would be left otherwise. A warning in global mode.",
    fix: "Install the plugin on each node that is to run the service.",
  },
  {
    id: "image-platform",
    severity: "error or warning",
    cause:
      "The image is built for none of the nodes' platforms; a warning where some nodes remain, and in global mode.",
    fix: "Build for them too (`platforms`), or keep the service to the others by a constraint.",
  },
  {
    id: "too-few-nodes",
    severity: "error",
    cause:
      "More replicas than the nodes may run: `max_replicas_per_node`, or a port in host mode, which each node has once.",
    fix: "Fewer replicas, more nodes, or a higher limit.",
  },
  {
    id: "reservation-too-large",
    severity: "error",
    cause:
      "A reservation is beyond each node that may run the service, or beyond all of them taken together.",
    fix: "Reserve less, or add nodes.",
  },
  {
    id: "start-first-host-port",
    severity: "error or warning",
    cause:
      "With start-first the new task waits for a port of its node that the old one holds, for ever: the service runs on every node that it may use. A warning in global mode, where it does not always hang, and when the service is new: its next update would.",
    fix: "Write `order: stop-first`, or publish in ingress mode, or leave a node free.",
  },
  {
    id: "start-first-no-room",
    severity: "error or warning",
    cause:
      "With start-first the new task has no room beside the old one, by `max_replicas_per_node` or by reservations. A warning in global mode, where it does not always hang, and when the service is new: its next update would.",
    fix: "Write `order: stop-first`, or make room.",
  },
  {
    id: "start-first-host-network",
    severity: "warning",
    cause:
      "With start-first the new task shares its node's own network with the old one, and a port can be listened on once.",
    fix: "Write `order: stop-first`.",
  },
  {
    id: "start-first-single-writer",
    severity: "warning",
    cause:
      "A known database has a local volume and start-first: two of them write one volume during an update, or the new one starts empty on another node.",
    fix: "Write `order: stop-first`, and keep it to one node by a constraint.",
  },
  {
    id: "start-first-no-healthcheck",
    severity: "warning",
    cause:
      "The file disables the healthcheck, or neither the file nor the image has one: so with start-first the old task goes as soon as the new one's process has started. Only into an image that the runner has itself can be looked, as into one that this step has built.",
    fix: "Give a `healthcheck`, in the file or in the image.",
  },
  {
    id: "healthcheck-program",
    severity: "warning",
    cause:
      "A healthcheck runs a program that its image does not have: unless something puts it there when a container starts, no task will ever be healthy. Only an image that the runner has itself can be looked into, as one that this step has built.",
    fix: "Put the program into the image, or check with one that is there.",
  },
  {
    id: "failure-action-continue",
    severity: "warning",
    cause: "`failure_action: continue` replaces the tasks that work by ones that fail, to the last.",
    fix: "Write `failure_action: rollback`.",
  },
  {
    id: "monitor-too-short",
    severity: "warning",
    cause:
      "The file's `monitor` is over before the healthcheck (interval × retries) can tell that a task which ran has turned unhealthy.",
    fix: "A longer `monitor`, or a quicker healthcheck.",
  },
  {
    id: "network-differs",
    severity: "warning",
    cause:
      "A network of the stack is on the swarm with another definition than the file's (`driver`, `driver_opts`, `internal`, `attachable`, subnets). Docker does not change a network that is there, and says nothing.",
    fix: "Give it another key, which makes a new one, or take the stack down and remove it first.",
  },
  {
    id: "volume-differs",
    severity: "warning",
    cause:
      "A volume has another driver or other options than before. A node that has it already keeps it as it was made, and says nothing.",
    fix: "Give it another key, which makes a new one, or remove it from its nodes first.",
  },
  {
    id: "manager-quorum",
    severity: "warning",
    cause: "One more manager lost, and the swarm has no quorum: nothing could be deployed or moved.",
    fix: "Bring the lost manager back, or add one; three managers bear the loss of one.",
  },
  {
    id: "short-lived-credential",
    severity: "warning",
    cause:
      "The swarm keeps a credential that ends within hours (`GITHUB_TOKEN`, a token of ECR, Google or Azure); the next time a task moves, a private image can't be pulled.",
    fix: "Give `pull-username` and `pull-password`: a token that lives long and may only read.",
  },
  {
    id: "engine-too-old",
    severity: "error",
    cause:
      "The manager's engine is older than something that the file asks for, or docker on the runner is. It leaves that out in silence, so what runs would never be what was meant.",
    fix: "Update the engines, or docker on the runner; or leave it out of the file.",
  },
] as const satisfies readonly FindingKind[];

export type FindingId = (typeof FINDINGS)[number]["id"];

export const FINDING_IDS: readonly FindingId[] = FINDINGS.map(({ id }) => id);
