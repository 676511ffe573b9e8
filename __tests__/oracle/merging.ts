import { folderWith } from "./docker.ts";
import { Random } from "./random.ts";
import { type Disagreement, disagreements, dockersReading, ourReading } from "./readings.ts";

/**
 * Spellings of a service's keys, each one that docker takes. Docker merges the same key of several files by the Go type that it has
 * there, and an empty value by other rules than none: so every spelling meets every other, and three in a row now and then.
 */
export const SPELLINGS: Readonly<Record<string, readonly string[]>> = {
  image: ["a", "b", '""'],
  command: ['""', "[]", "a b", "[c]", '[""]', '" "', "\"'a b' c\""],
  entrypoint: ['""', "[]", "a b", "[c]"],
  environment: [
    "{}",
    "[]",
    "{ A: b }",
    "{ A: c, B: }",
    '{ A: "" }',
    "{ A: }",
    "{ A: 0 }",
    "[A=c]",
    "[A]",
    "[A=]",
    "{ SET: }",
    "{ SET: x }",
    '["1=a", "true=b", "~=c", "a b=d", "#=e", "<<=f", "*a=g", "- =h"]',
  ],
  labels: [
    "{}",
    "[]",
    "{ A: b }",
    "{ A: c, B: }",
    '{ A: "" }',
    "{ A: }",
    "{ A: 0 }",
    "[A=c]",
    "[A]",
    "[A=]",
    '["1=a", "true=b", "~=c", "a b=d", "#=e", "<<=f", "*a=g", "- =h"]',
  ],
  sysctls: ["{}", "{ a: 1 }", "{ a: 2, b: }", "{ a: }", "[a=3]", "[a]", "[a=]"],
  ports: [
    "[]",
    "[80]",
    "['80:80']",
    "['81:80']",
    "['80:81', '80:80/udp']",
    "[{ target: 80 }]",
    "[{ target: 80, published: 80, mode: host }]",
    "[{ target: 0x50, published: 0120 }]",
    "['9000-9001:9000-9001']",
    "['8000-8002:80']",
    "[0123]",
    "[0x50]",
    "[1_0]",
    "[10:20]",
    "['1.2.3.4:90:90']",
    "[80, 81, 82]",
    "['10:10', '9:9', '8:8']",
    "[{ target: $N, published: $N }]",
    "['$N:$N']",
  ],
  volumes: [
    "[]",
    "['a:/a']",
    "['b:/a:ro', 'c:/c']",
    "[/a]",
    "[{ type: tmpfs, target: /a }]",
    "[{ type: bind, source: ./x, target: /b, read_only: true }]",
    "['./x:/a', '/y:/z', '/b', '/a/']",
    "[{ type: volume, source: q, target: /a, volume: { nocopy: true } }]",
    '[{ type: volume, target: "" }]',
    "['C:\\a:/w', 'd:\\x']",
    "['x:/10', 'y:/9', 'z:/Z', 'w:/_', 'v:/a-b', 'u:/aé']",
    "['a:/$SET']",
    "[a, bb]",
  ],
  networks: [
    "[]",
    "{}",
    "[a]",
    "[b, a]",
    "{ a: }",
    "{ a: {} }",
    "{ a: { aliases: [x] } }",
    "{ a: { aliases: [y], driver_opts: { k: v } } }",
    "{ a: { aliases: [] }, c: }",
    "{ a: { driver_opts: { k: w, l: 1 } } }",
    "{ a: { ipv4_address: 1.2.3.4 } }",
  ],
  configs: [
    "[]",
    "[a]",
    "[b, a]",
    "[{ source: a, target: /x }]",
    "[{ source: a, mode: 0440 }, { source: a, target: /y }]",
    "[{ target: /z }]",
    "[{ source: c, uid: '1' }]",
  ],
  secrets: [
    "[]",
    "[a]",
    "[b, a]",
    "[{ source: a, target: x }]",
    "[{ source: a, mode: 0440 }, { source: a, target: y }]",
  ],
  logging: [
    "{}",
    "{ driver: x }",
    "{ driver: y }",
    "{ options: { a: 1 } }",
    "{ options: { a: 2, b: } }",
    '{ options: { a: "" } }',
    "{ options: { a: } }",
    "{ driver: x, options: { a: 3 } }",
    "{ driver: x, options: {} }",
    "{ driver: y, options: { c: 4 } }",
    '{ driver: "", options: { d: 5 } }',
  ],
  healthcheck: [
    "{}",
    "{ test: a }",
    "{ test: [CMD, b] }",
    "{ test: [] }",
    '{ test: "" }',
    "{ interval: 1s, retries: 3 }",
    "{ interval: 0s, retries: 0 }",
    "{ disable: true }",
    "{ disable: false }",
    "{ timeout: 1m, start_period: '0', start_interval: 0h0m }",
  ],
  ulimits: [
    "{}",
    "{ nofile: 1 }",
    "{ nofile: { soft: 2, hard: 3 } }",
    "{ nofile: 0 }",
    "{ nofile: { soft: 0, hard: 0 }, nproc: 5 }",
  ],
  extra_hosts: [
    "[]",
    "{}",
    "['a:1.1.1.1']",
    "['a:1.1.1.1', 'b=2.2.2.2']",
    "{ a: 3.3.3.3, b: '[::1]' }",
    "['a:[::1]']",
    "{ c: }",
    "['a=1.1.1.1']",
  ],
  dns: ["[]", "1.1.1.1", "[1.1.1.1]", "[2.2.2.2, 1.1.1.1]"],
  dns_search: ["x", "[x, y]", "[]"],
  cap_add: ["[]", "[A]", "[B, A]"],
  init: ["true", "false"],
  tty: ["true", "false", "$ON", "$OFF"],
  hostname: ["a", '""', "b"],
  user: ["a", '""', "'0'"],
  stop_grace_period: ["1s", "0s", "'0'", "2m", "0h0m0s", "-0s", "+0ms", "0.0s", ".0s", "0.s"],
  oom_score_adj: ["0", "5", "-5", "$N"],
  credential_spec: ["{}", "{ file: a }", "{ config: b }", '{ registry: c, file: "" }'],
  restart: ["always", "'no'", "on-failure:2"],
  deploy: [
    "",
    "{}",
    "{ mode: global }",
    '{ mode: "" }',
    "{ replicas: 0 }",
    "{ replicas: 2 }",
    "{ labels: { a: b } }",
    "{ labels: [a=c, d] }",
    "{ labels: { a: } }",
    "{ endpoint_mode: vip }",
    '{ endpoint_mode: "" }',
    "{ update_config: {} }",
    "{ update_config: { parallelism: 0, delay: 0s, max_failure_ratio: 0, order: start-first } }",
    "{ update_config: { parallelism: 2, delay: 5s, max_failure_ratio: 0.5, failure_action: pause, monitor: 1m } }",
    '{ update_config: { max_failure_ratio: 0.0, monitor: 0s, failure_action: "" } }',
    "{ rollback_config: { parallelism: 1 } }",
    "{ restart_policy: {} }",
    "{ restart_policy: { condition: any, delay: 1s, max_attempts: 3, window: 1m } }",
    '{ restart_policy: { condition: "", delay: 0s, max_attempts: 0, window: 0s } }',
    "{ resources: {} }",
    "{ resources: { limits: { cpus: '1', memory: 64M, pids: 5 } } }",
    "{ resources: { limits: { cpus: '0', memory: '0', pids: 0 } } }",
    '{ resources: { limits: { cpus: "", memory: 0b } } }',
    "{ resources: { limits: {}, reservations: { memory: 0.0M } } }",
    "{ resources: { reservations: { memory: 1g, generic_resources: [{ discrete_resource_spec: { kind: a, value: 1 } }] } } }",
    "{ resources: { reservations: { generic_resources: [{ discrete_resource_spec: { kind: a, value: 2 } }] } } }",
    "{ placement: { constraints: [a, b], preferences: [{ spread: x }], max_replicas_per_node: 2 } }",
    "{ placement: { constraints: [a], preferences: [{ spread: x }], max_replicas_per_node: 0 } }",
    "{ placement: { constraints: [] } }",
  ],
};

/** What one service has for a key in each of the files; undefined where a file does not mention the key. */
type Meeting = readonly (string | undefined)[];

const VARIABLES: ReadonlyMap<string, string> = new Map([
  ["SET", "s"],
  ["N", "3"],
  ["ON", "yes"],
  ["OFF", "no"],
]);

/** Each pair of spellings, and some rows of three. */
export function meetings(key: string, rows: number): Meeting[] {
  const random = Random.forCase(key.length, rows);
  const choices = [undefined, ...(SPELLINGS[key] ?? [])];
  const pairs = choices.flatMap((first) => choices.map((second) => [first, second, undefined]));
  return [...pairs, ...Array.from({ length: rows }, () => [0, 1, 2].map(() => random.pick(choices)))];
}

/** Three files in which each meeting is a service of its own, `s0` the first: docker starts once for all of them. */
function filesOf(key: string, all: readonly Meeting[]): [string, string][] {
  return [0, 1, 2].map((file) => {
    const services = all.map((meeting, index) => {
      const spelling = meeting[file];
      return `  s${index}: { x-file: ${file}${spelling === undefined ? "" : `, ${key}: ${spelling}`} }\n`;
    });
    return [`${file}.yml`, `services:\n${services.join("")}`];
  });
}

/** A key on which docker and we do not agree, and what the files say for it. */
export interface MergedWrongly extends Disagreement {
  readonly files: readonly string[];
}

export async function mergedWrongly(
  docker: string,
  key: string,
  all: readonly Meeting[],
): Promise<MergedWrongly[]> {
  const texts = filesOf(key, all);
  using folder = folderWith(texts);
  const stack = { folder: folder.path, files: texts.map(([path]) => path), variables: VARIABLES };
  const told = disagreements(await dockersReading(docker, stack), await ourReading(docker, stack));
  if (told.some(({ path }) => path === "") && all.length > 1) {
    // One that is refused hides the others.
    const middle = Math.ceil(all.length / 2);
    return [
      ...(await mergedWrongly(docker, key, all.slice(0, middle))),
      ...(await mergedWrongly(docker, key, all.slice(middle))),
    ];
  }
  return told.map((each) => {
    const meeting = all[Number(/^services\.s(\d+)/.exec(each.path)?.[1] ?? 0)] ?? [];
    return { ...each, files: meeting.map((spelling) => spelling ?? "(nothing)") };
  });
}
