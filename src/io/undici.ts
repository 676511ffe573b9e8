/**
 * Stands in for the package `undici` in the bundle (tsconfig.json, "paths"). Only the proxy support of @actions/core's OIDC client
 * uses it, which this action never opens; the real one is 900 KiB and a quarter of the time that the action takes to start.
 */
export function ProxyAgent(): never {
  throw new Error("This action opens no HTTP client of @actions/core: undici is not part of it.");
}
