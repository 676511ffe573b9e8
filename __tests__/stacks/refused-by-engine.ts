/** A stack file that docker's own checks let through and an engine does not, beside one that nearly is such a file. */
export interface Example {
  /** Lines of a service `web`, or a whole file. */
  readonly wrong: string;
  /** An engine takes this one. */
  readonly fine: string;
  /** Line, column and the start of our words, where the stack is called `shop`. */
  readonly says: string;
  /** Who refuses it: the manager, the node that is to run a task of it, or nobody, and its task waits for ever. */
  readonly by: "manager" | "node" | "nobody";
}

/** What stands in front of the lines of a service. */
const HEAD = "services:\n  web:\n    image: a";

export function fileOf(lines: string): string {
  return lines.startsWith("services:") ? lines : `${HEAD}\n    ${lines}\n`;
}

export const EXAMPLES: readonly Example[] = [
  {
    wrong: "deploy: { update_config: { failure_action: explode } }",
    fine: "deploy: { update_config: { failure_action: pause } }",
    says: '4:48: services.web.deploy.update_config.failure_action "explode" must be pause, continue or rollback.',
    by: "manager",
  },
  {
    wrong: "deploy: { rollback_config: { failure_action: Continue } }",
    fine: 'deploy: { rollback_config: { failure_action: "" } }',
    says: '4:50: services.web.deploy.rollback_config.failure_action "Continue" must be pause, continue or rollback. Did you mean continue?',
    by: "manager",
  },
  {
    wrong: "deploy: { update_config: { max_failure_ratio: 1.01 } }",
    fine: "deploy: { update_config: { max_failure_ratio: 1 }, rollback_config: { max_failure_ratio: 1.01 } }",
    says: '4:51: services.web.deploy.update_config.max_failure_ratio "1.01" must be between 0 and 1.',
    by: "manager",
  },
  {
    wrong: "deploy: { update_config: { delay: -1s } }",
    fine: "deploy: { update_config: { delay: 0s }, rollback_config: { delay: -1s } }",
    says: '4:39: services.web.deploy.update_config.delay "-1s" must not be negative.',
    by: "manager",
  },
  {
    wrong: "deploy: { update_config: { monitor: -1h2m } }",
    fine: "deploy: { update_config: { monitor: 1h2m } }",
    says: '4:41: services.web.deploy.update_config.monitor "-1h2m" must not be negative.',
    by: "manager",
  },
  {
    wrong: "deploy: { restart_policy: { condition: always } }",
    fine: "deploy: { restart_policy: { condition: any } }",
    says: '4:44: services.web.deploy.restart_policy.condition "always" must be none, on-failure or any.',
    by: "manager",
  },
  {
    wrong: "deploy: { restart_policy: { delay: -5ms } }",
    fine: "deploy: { restart_policy: { delay: 5ms } }",
    says: '4:40: services.web.deploy.restart_policy.delay "-5ms" must not be negative.',
    by: "manager",
  },
  {
    wrong: "deploy: { restart_policy: { window: -1m } }",
    fine: "deploy: { restart_policy: { window: 0s } }",
    says: '4:41: services.web.deploy.restart_policy.window "-1m" must not be negative.',
    by: "manager",
  },
  {
    wrong: "deploy: { endpoint_mode: dns }",
    fine: "deploy: { endpoint_mode: DNSRR }",
    says: '4:30: services.web.deploy.endpoint_mode "dns" must be vip or dnsrr.',
    by: "manager",
  },
  {
    wrong: "deploy: { placement: { constraints: [node.role = manager] } }",
    fine: 'deploy: { placement: { constraints: [node.role==manager, " NODE.Role  !=  worker "] } }',
    says: '4:42: services.web.deploy.placement.constraints "node.role = manager" must have == or != between a key and a value.',
    by: "manager",
  },
  {
    wrong: `deploy: { placement: { constraints: ["node.role == 'manager'"] } }`,
    fine: 'deploy: { placement: { constraints: ["node.labels.a != x:-_.*()?+[]^$$|/ y"] } }',
    says: `4:42: services.web.deploy.placement.constraints "node.role == 'manager'" must have a value of letters`,
    by: "manager",
  },
  {
    wrong: 'deploy: { placement: { constraints: ["node.labels.a/b == c"] } }',
    fine: 'deploy: { placement: { constraints: ["node.labels.a.b-c_d != c"] } }',
    says: '4:42: services.web.deploy.placement.constraints "node.labels.a/b == c" must begin with',
    by: "manager",
  },
  {
    wrong: "deploy: { placement: { constraints: [node.hostnaem != a] } }",
    fine: "deploy: { placement: { constraints: [node.hostname != a, Engine.Labels.x != y] } }",
    says: '4:42: services.web.deploy.placement.constraints "node.hostnaem != a" must begin with node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, node.labels.NAME or engine.labels.NAME. Did you mean node.hostname?',
    by: "node",
  },
  {
    wrong: 'deploy: { resources: { limits: { memory: "512" } } }',
    fine: "deploy: { resources: { limits: { memory: 6M } } }",
    says: '4:46: services.web.deploy.resources.limits.memory "512" must be at least 6m. Without a unit it is a number of bytes.',
    by: "manager",
  },
  {
    wrong: "deploy: { resources: { limits: { memory: 5.9mb } } }",
    fine: 'deploy: { resources: { limits: { memory: "0" } } }',
    says: '4:46: services.web.deploy.resources.limits.memory "5.9mb" must be at least 6m.',
    by: "node",
  },
  {
    wrong: "deploy: { resources: { reservations: { memory: 4095k } } }",
    fine: "deploy: { resources: { reservations: { memory: 4096KiB } } }",
    says: '4:52: services.web.deploy.resources.reservations.memory "4095k" must be at least 4m.',
    by: "manager",
  },
  {
    wrong: 'deploy: { resources: { limits: { cpus: "0.0009" } } }',
    fine: 'deploy: { resources: { limits: { cpus: "0.1" }, reservations: { cpus: "1e-3" } } }',
    says: '4:44: services.web.deploy.resources.limits.cpus "0.0009" must be at least 0.001.',
    by: "manager",
  },
  {
    wrong: 'deploy: { resources: { reservations: { cpus: "-1" } } }',
    fine: 'deploy: { resources: { reservations: { cpus: "0" } } }',
    says: '4:50: services.web.deploy.resources.reservations.cpus "-1" must be at least 0.001.',
    by: "manager",
  },
  {
    wrong: "healthcheck: { test: [CMD, /bin/true], interval: 999us }",
    fine: "healthcheck: { test: [CMD, /bin/true], interval: 1ms }",
    says: '4:54: services.web.healthcheck.interval "999us" must be at least 1ms.',
    by: "manager",
  },
  {
    wrong: "healthcheck: { test: [CMD, /bin/true], timeout: -1s }",
    fine: "healthcheck: { test: [CMD, /bin/true], timeout: 0s }",
    says: '4:53: services.web.healthcheck.timeout "-1s" must be at least 1ms.',
    by: "manager",
  },
  {
    wrong: "healthcheck: { test: [CMD, /bin/true], start_period: 10ns }",
    fine: "healthcheck: { test: [CMD, /bin/true], start_period: 10h }",
    says: '4:58: services.web.healthcheck.start_period "10ns" must be at least 1ms.',
    by: "manager",
  },
  {
    wrong: "healthcheck: { test: [curl, -f, http://localhost], interval: 1s }",
    fine: 'healthcheck: { test: [CMD, /bin/busybox, "true"], interval: 1s }',
    says: "4:27: The health check of service web must begin with CMD, CMD-SHELL or NONE.",
    by: "nobody",
  },
  {
    wrong: "healthcheck: { test: [CMD-SHELL], interval: 1s }",
    fine: "healthcheck: { test: [NONE] }",
    says: "4:27: The health check of service web has no command behind CMD-SHELL.",
    by: "nobody",
  },
  {
    wrong: "volumes: [{ type: bind, source: /tmp, target: /t, bind: { propagation: foo } }]",
    fine: "volumes: [{ type: bind, source: /tmp, target: /t, bind: { propagation: RPRIVATE } }]",
    says: '4:76: services.web.volumes.bind.propagation "foo" must be private, rprivate, shared, rshared, slave or rslave.',
    by: "manager",
  },
  {
    wrong: "services:\n  web:\n    image: a\n    configs: [{ source: c, target: /c, uid: app }]\nconfigs: { c: { file: /etc/hostname } }\n",
    fine: 'services:\n  web:\n    image: a\n    configs: [{ source: c, target: /c, uid: "1000", gid: "0" }]\nconfigs: { c: { file: /etc/hostname } }\n',
    says: '4:45: services.web.configs.uid "app" must be a number.',
    by: "node",
  },
  {
    wrong: 'hostname: "{{.Node.Name}}"',
    fine: 'hostname: "{{.Node.Hostname}}-{{.Task.Slot}}"',
    says: '4:15: services.web.hostname "{{.Node.Name}}" is a template to Swarm, which knows no such field.',
    by: "manager",
  },
  {
    wrong: 'environment: { A: "a {{ foo }}" }',
    fine: `environment: { A: '{{ "{{" }} foo }}', B: '{{ index .Service.Labels "b" }}', C: "}} { {" }`,
    says: "4:23: services.web.environment.A is a template to Swarm, which knows no such function.",
    by: "manager",
  },
  {
    wrong: 'environment: ["A={{- .Service.Labels.a }}"]',
    fine: 'environment: ["A={{- .Service.Name }} {{if false}}{{.Foo}}{{end}}"]',
    says: "4:19: services.web.environment is a template to Swarm, which knows no such field.",
    by: "manager",
  },
  {
    wrong: 'environment: { A: "{{ .Task.ID" }',
    fine: 'environment: { A: "{{ .Task.ID }}" }',
    says: "4:23: services.web.environment.A is a template to Swarm, which finds no }} behind its {{.",
    by: "manager",
  },
  {
    wrong: 'extra_hosts: ["db:10.0.0.256"]',
    fine: 'extra_hosts: ["db:10.0.0.255", "a:::1", "b:host-gateway"]',
    says: '4:19: services.web.extra_hosts "db:10.0.0.256" must be an IP address or host-gateway.',
    by: "node",
  },
  {
    wrong: "stop_signal: SIGFOO",
    fine: "stop_signal: sigrtmin+15",
    says: '4:18: services.web.stop_signal "SIGFOO" must be the name or the number of a signal, such as SIGTERM.',
    by: "node",
  },
  {
    wrong: "working_dir: srv/app",
    fine: "working_dir: /srv/app",
    says: '4:18: services.web.working_dir "srv/app" must be an absolute path.',
    by: "node",
  },
  {
    wrong: "ports: [{ target: 80, published: 65536 }]",
    fine: "ports: [{ target: 80, published: 65535 }]",
    says: '4:38: services.web.ports.published "65536" must be at most 65535.',
    by: "nobody",
  },
  {
    wrong: 'deploy: { endpoint_mode: dnsrr }\n    ports: ["80"]',
    fine: "deploy: { endpoint_mode: dnsrr }\n    ports: [{ target: 80, mode: host }]",
    says: "5:13: Service web has endpoint_mode dnsrr, with which no port can be published in ingress mode.",
    by: "manager",
  },
  {
    wrong: 'ports: ["9180:80", "9170-9190:70-90/udp", { target: 81, published: 9180, mode: host }]',
    fine: 'ports: ["9180:80", "9180:80/udp", "81", "82"]',
    says: "4:47: Service web publishes port 9180/tcp that it publishes already, at line 4.",
    by: "manager",
  },
  {
    wrong:
      "services:\n  a:\n    image: a\n    ports: ['9181:80']\n  b:\n    image: a\n    ports: [{ target: 80, published: 9181, mode: host }]\n",
    fine: "services:\n  a:\n    image: a\n    ports: [{ target: 80, published: 9184, mode: host }]\n  b:\n    image: a\n    ports: [{ target: 80, published: 9184, mode: HOST }, 9184:81/udp]\n",
    says: "7:13: Service b publishes port 9181/tcp that service a publishes already, at line 4.",
    by: "manager",
  },
  {
    wrong:
      "services:\n  web:\n    image: a\n    networks: [h]\n    ports: ['9182:80']\nnetworks: { h: { external: true, name: host } }\n",
    fine: "services:\n  web:\n    image: a\n    networks: [h]\n    ports: [{ target: 80, published: 9183, mode: host }]\nnetworks: { h: { external: true, name: host } }\n",
    says: "5:13: Service web is on its node's own network, and no task can be on that and another one, which a port in ingress mode needs.",
    by: "node",
  },
  {
    wrong: "services:\n  web:\n    image: a\n    networks: [h, n]\nnetworks: { h: { external: true, name: host }, n: }\n",
    fine: "services:\n  web:\n    image: a\n    networks: [h]\nnetworks: { h: { external: true, name: host }, n: }\n",
    says: "4:19: Service web is on its node's own network, and no task can be on that and another one.",
    by: "node",
  },
  {
    wrong: 'volumes: ["/tmp:/t", { type: tmpfs, target: /t/ }]',
    fine: 'volumes: ["/tmp:/t", { type: tmpfs, target: /t2 }]',
    says: "4:49: A volume of service web mounts at the same path as another one.",
    by: "node",
  },
  {
    wrong: 'volumes: ["/tmp:t"]',
    fine: 'volumes: ["/tmp:/t"]',
    says: "4:15: A volume of service web must be mounted at an absolute path.",
    by: "node",
  },
  {
    wrong: "volumes: [{ type: volume }]",
    fine: "volumes: [{ type: volume, target: /t }]",
    says: "4:15: A volume of service web has no target.",
    by: "node",
  },
  {
    wrong: "volumes: [{ type: tmpfs, target: /t/.. }]",
    fine: "volumes: [{ type: tmpfs, target: /t/../s }]",
    says: "4:38: A volume of service web can't be mounted at the root.",
    by: "node",
  },
  {
    wrong: "services:\n  web:\n    image: a\n    volumes: ['v:/data']\nvolumes: { v: }\n",
    fine: "services:\n  web:\n    image: a\n    volumes: ['vv:/data']\nvolumes: { vv: }\n",
    says: "4:15: A volume of service web named by a single letter is a drive of Windows to docker. Give it a longer name.",
    by: "node",
  },
  {
    wrong: "services:\n  web.api:\n    image: a\n",
    fine: "services:\n  web__api--2:\n    image: a\n",
    says: "2:3: The service's name on the swarm, shop_web.api, is none that Swarm takes.",
    by: "manager",
  },
  {
    wrong: `services:\n  ${"w".repeat(59)}:\n    image: a\n`,
    fine: `services:\n  ${"w".repeat(58)}:\n    image: a\n`,
    says: `2:3: The service's name on the swarm, shop_${"w".repeat(59)}, has 64 characters, and Swarm takes 63.`,
    by: "manager",
  },
  {
    wrong: "deploy: { mode: replicated-job, update_config: { parallelism: 1 } }",
    fine: "deploy: { mode: replicated-job, rollback_config: { parallelism: 1 } }",
    says: "4:52: Service web is a job, and Swarm takes no update_config for one.",
    by: "manager",
  },
  {
    wrong: "services:\n  web:\n    image: a\n    networks: [n.m]\nnetworks: { n.m: }\n",
    fine: "services:\n  web:\n    image: a\n    networks: [n-m]\nnetworks: { n-m: , o.p: }\n",
    says: "5:13: The network's name on the swarm, shop_n.m, is none that Swarm takes.",
    by: "manager",
  },
  {
    wrong: "services:\n  web:\n    image: a\n    networks: [h]\nnetworks: { h: { name: host } }\n",
    fine: "services:\n  web:\n    image: a\n    networks: [host]\nnetworks: { host: }\n",
    says: "5:24: Network h is one that every engine has already.",
    by: "manager",
  },
  {
    wrong: "services:\n  web:\n    image: a\nnetworks: { default: { driver: bridge } }\n",
    fine: "services:\n  web:\n    image: a\nnetworks: { default: { driver: overlay }, other: { driver: bridge } }\n",
    says: "4:32: Network default has a driver whose networks end at their node, and Swarm takes none of them for a service.",
    by: "manager",
  },
  {
    wrong: "services:\n  web:\n    image: a\nnetworks: { default: { ipam: { config: [{ subnet: 10.97.1.0 }] } } }\n",
    fine: "services:\n  web:\n    image: a\nnetworks: { default: { ipam: { config: [{ subnet: 10.97.1.0/24 }] } } }\n",
    says: "4:51: A subnet of network default must be an address with the length of its prefix, such as 10.1.0.0/24.",
    by: "manager",
  },
];
