import { ManagerRefusal } from "../errors.ts";
import { credentialKey } from "../image/reference.ts";
import { textAt } from "../json.ts";
import { type RegistryLogin } from "../world.ts";
import { type RegistryAuth } from "./docker-config.ts";
import { type Engine, REGISTRY_DEADLINE_MS, Timeout, json } from "./engine.ts";

/**
 * What `docker login` asks its engine, without a docker: the manager shows the credential to the registry. What to keep of it, which may
 * be a token that the registry gives in exchange; or the reason of a refusal.
 */
export async function askForLogin(
  engine: Engine,
  { registryHost, credential }: RegistryLogin,
): Promise<RegistryAuth | string> {
  const body = { ...credential, serveraddress: credentialKey(registryHost) };
  try {
    // It changes nothing on the swarm, so it may be asked again.
    const call = { method: "POST", body, repeatable: true, deadlineMs: REGISTRY_DEADLINE_MS };
    const identitytoken = textAt(await json(engine, "/auth", call), "IdentityToken");
    return identitytoken === "" ? credential : { identitytoken };
  } catch (error) {
    if (error instanceof ManagerRefusal) return error.said;
    if (error instanceof Timeout) return `it gave ${error.message}`;
    throw error;
  }
}
