/**
 * For stack files that are about no network and publish no port: the node's own network does. To put a task on an overlay costs an old
 * engine more than all the rest of it.
 */
export const LEAN = "networks: { default: { external: true, name: host } }\n";
