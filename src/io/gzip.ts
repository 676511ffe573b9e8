import { gunzipSync, gzipSync } from "node:zlib";
import { type Compression } from "../world.ts";

/** Far more than a record of any stack holds; what claims to be larger was not made by us. */
const MOST_BYTES = 64 * 1024 * 1024;

export const gzip: Compression = {
  compress: (text) => gzipSync(text, { level: 9 }),
  expand: (bytes) => gunzipSync(bytes, { maxOutputLength: MOST_BYTES }).toString("utf8"),
};
