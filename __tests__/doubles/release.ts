import { type JsonObject } from "../../src/json.ts";
import { encoded, recordObjects } from "../../src/release/record.ts";
import { type Release } from "../../src/release/release.ts";
import { type NewObject } from "../../src/swarm.ts";
import { serviceSpec } from "./swarm.ts";

/** A release of the stack `shop`. */
export function release(changes: Partial<Release> = {}): Release {
  const number = changes.number ?? 1;
  return {
    number,
    origin: number,
    version: `v${number}`,
    image: `app:v${number}`,
    digest: "sha256:0a",
    configName: "",
    commit: "0123456789abcdef",
    run: "https://github.com/acme/shop/actions/runs/1",
    actor: "dev",
    at: "2026-08-01T10:00:00.000Z",
    by: "v1",
    file: "services: {}\n",
    services: [serviceSpec(`app:v${number}`)],
    networks: [],
    configs: [],
    secrets: [],
    hidden: {},
    ...changes,
  };
}

/** As the engine lists it. */
export function stored({ kind, name, labels, bytes }: NewObject): JsonObject {
  const data = kind === "config" ? { Data: Buffer.from(bytes).toString("base64") } : {};
  return { ID: `id-${name}`, Spec: { Name: name, Labels: Object.fromEntries(labels), ...data } };
}

/** The docker configs that keep it, uncompressed. */
export function recorded(each: Release): JsonObject[] {
  return recordObjects("shop", each, Buffer.from(encoded(each))).map(stored);
}
