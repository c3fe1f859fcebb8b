// Where mails go, for Node: `node shard.mjs docs/shard-vectors.json` prints the shard of every vector, one a line.

import { readFileSync } from "node:fs";
import { place } from "../../examples/publish/node/place.mjs";

const { vectors, places } = JSON.parse(readFileSync(process.argv[2], "utf8"));
for (const { id, shards } of vectors) for (const count of Object.keys(shards)) console.log(place(id, Number(count)));
for (const { mail_id, count, ...rest } of places) console.log(place(mail_id, count, rest));
