import { type RenderRequest, type RenderedStack } from "../../src/stack/render.ts";
import { type Mapping } from "../../src/stack/tree.ts";

/** What to render beside the stack files: nothing that they could need. */
export function renderRequest(changes: Partial<RenderRequest> = {}): Omit<RenderRequest, "templates"> {
  return {
    stack: "shop",
    variables: new Map(),
    secrets: new Map(),
    environment: {},
    strict: true,
    defaults: { updateOrder: "start-first", failureAction: "rollback" },
    envFile: undefined,
    envConfig: undefined,
    namingKey: Buffer.alloc(32, 1),
    taken: () => false,
    read: () => undefined,
    image: {
      registry: "r.io/acme",
      project: "shop",
      repository: "r.io/acme/shop",
      version: "v1",
      tags: [],
      digest: `sha256:${"0a".repeat(32)}`,
    },
    commit: "abc",
    dockerMajor: 28,
    ...changes,
  };
}

/** A file as it was rendered; of what that takes there is nothing. */
export function renderedStack(root: Mapping, changes: Partial<RenderedStack> = {}): RenderedStack {
  return {
    name: "shop",
    root,
    services: [],
    objects: [],
    envConfigName: "",
    borrowed: [],
    standIns: { names: [], files: [] },
    warnings: [],
    ...changes,
  };
}
