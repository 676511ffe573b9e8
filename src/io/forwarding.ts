import { HELD_BACK } from "../apply.ts";
import { textAt } from "../json.ts";
import { writesService } from "../plan.ts";
import { type Write } from "../world.ts";
import { type PatientEngine } from "./steady-engine.ts";
import { type OnWrite } from "./stand-in.ts";
import { type WriteAnswer, sendWrite } from "./write.ts";

export interface Forwarding {
  readonly onWrite: OnWrite;
  /** Those that were created so far, names to ids. */
  readonly networks: ReadonlyMap<string, string>;
}

/**
 * Passes on to the manager what several dockers write at once, until one of them fails. What more than one of them asks for, such as the
 * stack's own network, is created once and all hear the one answer; one after the other, since two networks made at once may get one
 * subnet (Docker 28, "Pool overlaps"). `onSent` hears which services the manager took; one that got no answer may have been taken.
 */
export function forwarding(
  engine: PatientEngine,
  signal: AbortSignal,
  onSent: (serviceName: string) => void,
): Forwarding {
  const networks = new Map<string, string>();
  const common = new Map<string, Promise<WriteAnswer>>();
  let last: Promise<unknown> = Promise.resolve();
  let failed = false;

  const send = async (write: Write, query: string): Promise<WriteAnswer> => {
    if (failed) return { status: 409, body: { message: HELD_BACK } };
    const name = textAt(write.body, "Name");
    try {
      const answer = await sendWrite(engine, write, query, signal);
      if (answer.status >= 300) failed = true;
      else if (writesService(write.path)) onSent(name);
      else if (write.path === "/networks/create") networks.set(name, textAt(answer.body, "Id"));
      return answer;
    } catch (error) {
      failed = true;
      if (writesService(write.path)) onSent(name);
      throw error;
    }
  };

  const sendOnce = async (write: Write, query: string): Promise<WriteAnswer> => {
    const what = `${write.path}${query} ${textAt(write.body, "Name")}`;
    let asked = common.get(what);
    if (asked === undefined) {
      asked = last.then(async () => await send(write, query));
      common.set(what, asked);
      last = asked.catch(() => undefined); // Whoever asked hears of it; the next one is then held back.
    }
    return await asked;
  };

  return {
    networks,
    onWrite: async (write, query) => await (writesService(write.path) ? send : sendOnce)(write, query),
  };
}
