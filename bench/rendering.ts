import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { parseStackFile } from "../src/stack/stack-file.ts";
import { printed, render } from "../src/stack/render.ts";
import { renderRequest } from "../__tests__/doubles/stack.ts";
import { median } from "./measure/median.ts";

// How long a stack file takes us, beside docker's own reading of it (`docker stack config`) in the same run.
//   script/bench rendering

const ROUNDS = 7;
const SIZES = [62, 125, 250, 500, 1000];

/** A stack of so many services, about 2 KiB each. */
function stackOf(services: number): string {
  const service = (index: number): string =>
    [
      `  web${index}:`,
      "    image: $REGISTRY_URL/app:${VERSION:-latest}",
      "    environment:",
      ...Array.from(
        { length: 30 },
        (_, n) => `      KEY_${n}: "value of \${VAR_${n}:-default ${n}} and more text"`,
      ),
      "    configs: [{ source: site, target: /etc/site.conf }]",
      "    networks: [front, back]",
      "    deploy:",
      "      replicas: ${N:-2}",
      "      labels:",
      `        - "traefik.http.routers.r${index}.rule=Host(\`a${index}.example.com\`)"`,
      "      resources: { limits: { cpus: '0.5', memory: 128M } }",
    ].join("\n");
  const all = Array.from({ length: services }, (_, index) => service(index)).join("\n");
  return `version: "3.9"\nservices:\n${all}\nnetworks: { front: , back: }\nconfigs: { site: { content: "listen 80" } }\n`;
}

const REQUEST = renderRequest({
  stack: "bench",
  environment: process.env,
  image: { ...renderRequest().image, project: "app", repository: "r.io/acme/app" },
});

function ours(text: string): void {
  printed(render({ templates: [parseStackFile(text, "stack.yml")], ...REQUEST }));
}

/** With an inline config taken out: only we know those. */
function dockers(text: string): void {
  const input = text.replace(/^configs:.*$/m, "configs: { site: { external: true } }");
  const env = { PATH: process.env.PATH, REGISTRY_URL: "r.io/acme" };
  const { status, stderr } = spawnSync("docker", ["stack", "config", "-c", "-"], {
    input,
    env,
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(`docker stack config: ${stderr.toString()}`);
}

function milliseconds(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

interface Row {
  readonly services: number;
  readonly kib: number;
  readonly ours: number;
  readonly dockers: number;
}

const first = stackOf(500);
/** As a deployment meets it: nothing is compiled yet. */
const cold = milliseconds(() => ours(first));
const rows = SIZES.map((services): Row => {
  const text = stackOf(services);
  const rounds = Array.from({ length: ROUNDS }, () => [
    milliseconds(() => ours(text)),
    milliseconds(() => dockers(text)),
  ]);
  return {
    services,
    kib: Math.round(text.length / 1024),
    ours: median(rounds.map(([mine = 0]) => mine)),
    dockers: median(rounds.map(([, theirs = 0]) => theirs)),
  };
});

const perService = (row: Row): number => (row.ours / row.services) * 1000;
const [smallest, largest] = [rows[0], rows.at(-1)];
const growth =
  smallest === undefined || largest === undefined ? 0 : perService(largest) / perService(smallest);

const report = `# Rendering

Made by \`script/bench rendering\`: from the text of a stack file to what docker is given (parsed, interpolated, configs versioned,
defaults added, printed), beside \`docker stack config\` reading the same file in the same run. Medians of ${ROUNDS} rounds, interleaved.

| services | file | ours | docker stack config | ratio | ours, per service |
|---|---|---|---|---|---|
${rows
  .map(
    (row) =>
      `| ${row.services} | ${row.kib} KiB | ${row.ours.toFixed(0)} ms | ${row.dockers.toFixed(0)} ms | ${(row.ours / row.dockers).toFixed(2)} | ${perService(row).toFixed(0)} µs |`,
  )
  .join("\n")}

The first rendering of a process, with nothing compiled yet (500 services): ${cold.toFixed(0)} ms.
A service of the largest file takes ${growth.toFixed(2)} times what one of the smallest takes: ${growth < 1.5 ? "the time grows with the file, no faster" : "the time grows faster than the file"}.

\`\`\`mermaid
xychart-beta
    title "Milliseconds by number of services (bars: ours, line: docker stack config)"
    x-axis [${rows.map(({ services }) => services).join(", ")}]
    y-axis "ms"
    bar [${rows.map((row) => row.ours.toFixed(0)).join(", ")}]
    line [${rows.map((row) => row.dockers.toFixed(0)).join(", ")}]
\`\`\`
`;

writeFileSync("bench/rendering.md", report);
process.stdout.write(report);
