/**
 * Stands in for the package `undici` in the bundle (tsconfig.json, "paths"). Only the proxy support for `fetch` in
 * @actions/http-client uses it, which nothing here asks for; the real one is 900 KiB and a quarter of the time that the action takes to start.
 */
export function ProxyAgent(): never {
  throw new Error("This action does not use fetch: undici is not part of it.");
}
