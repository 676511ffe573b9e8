import { Socket, createServer } from "node:net";

// A long way to one TCP port: a relay that holds up every byte for so long each way, and the first ones for as long as a TCP handshake
// takes besides. It is a process of its own, so that nobody's work delays what goes through it.
//   node bench/relay/slow-link.ts HOST PORT ONE_WAY_MS
// It prints the port at 127.0.0.1 that it listens on. Neither loss nor slow start are part of it.

const [host = "", port = "", oneWay = ""] = process.argv.slice(2);
const DELAY_MS = Number(oneWay);

/** Hands on what comes from `near`, in its order, so many milliseconds later, and not before `opensAt`. */
function carry(near: Socket, far: Socket, opensAt: number): void {
  const waiting: (() => void)[] = [];
  const later = (deliver: () => void): void => {
    waiting.push(deliver);
    const due = Math.max(performance.now() + DELAY_MS, opensAt);
    setTimeout(() => waiting.shift()?.(), Math.ceil(due - performance.now()));
  };
  near.on("data", (chunk) => later(() => far.writable && far.write(chunk)));
  near.on("end", () => later(() => far.end()));
  near.on("error", () => far.destroy());
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  // The server sees a connection when the third packet of its handshake has come; the client may speak after the second.
  const handshakeMs = 3 * DELAY_MS;
  const far = new Socket({ allowHalfOpen: true });
  far.setNoDelay(true);
  carry(near, far, performance.now() + handshakeMs + 1);
  carry(far, near, 0);
  near.on("close", () => far.destroy());
  far.on("close", () => near.destroySoon());
  setTimeout(() => far.destroyed || far.connect(Number(port), host), handshakeMs);
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`${typeof address === "object" && address !== null ? address.port : ""}\n`);
});
