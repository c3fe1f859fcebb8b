// What Node makes of the vectors, as JSON: `node vectors.mjs docs/mail-vectors.json docs/shard-vectors.json`.

import { readFileSync } from "node:fs";
import { place } from "../../examples/publish/node/place.mjs";

const [mails, shards] = process.argv.slice(2).map((name) => JSON.parse(readFileSync(name, "utf8")));

function shardsOf({ attributes, shards, hands }) {
  const key = attributes.shard_key ?? "";
  const plain = Object.keys(shards).map((count) => place(attributes.mail_id, Number(count), { key }));
  return [...plain, ...hands.map(({ count, hand }) => place(attributes.mail_id, count, { key, hand }))];
}

console.log(
  JSON.stringify({
    places: shards.places.map(({ mail_id, count, ...rest }) => place(mail_id, count, rest)),
    shards: mails.valid.map(shardsOf),
    written: mails.valid.map(({ canonical }) => JSON.stringify(JSON.parse(canonical))),
  }),
);
