// Publishes mails with Google's own client: `node publish.mjs < mails.jsonl` reads one mail a line, and prints {"id", "shard"}
// of each that Pub/Sub has. Where some could not be published it names their ids, and ends with 1: run it again with the
// same mails. Those that Pub/Sub had already are published twice then, and sent once, for their ids are the same.

import { createInterface } from "node:readline";
import { PubSub } from "@google-cloud/pubsub";
import { place } from "./place.mjs";

const { GOOGLE_CLOUD_PROJECT: projectId, POSTMAN_PREFIX: prefix = "postman" } = process.env;
const count = Number(process.env.POSTMAN_SHARDS ?? 8);
const hand = Number(process.env.POSTMAN_SHARD_HAND ?? 0);

const patience = { gaxOpts: { timeout: 60_000 } }; // milliseconds for which the client itself tries again
const pubsub = new PubSub({ projectId });
const topics = Array.from({ length: count }, (_, shard) => pubsub.topic(`${prefix}-mail-${shard}`, patience));

// Returns when Pub/Sub has the mail, and not before: only then may its caller forget it.
async function publish(mail) {
  const key = mail.tenant ?? "";
  const shard = place(mail.id, count, { key, hand });
  const attributes = { mail_id: mail.id, schema: "1", ...(key && { shard_key: key }) };
  await topics[shard].publishMessage({ json: mail, attributes });
  return { id: mail.id, shard };
}

async function report(mail) {
  try {
    console.log(JSON.stringify(await publish(mail)));
  } catch (error) {
    console.error(JSON.stringify({ id: mail.id, not_published: error.details ?? error.message }));
    process.exitCode = 1;
  }
}

const mails = [];
for await (const line of createInterface({ input: process.stdin })) mails.push(JSON.parse(line));
await Promise.all(mails.map(report));
await pubsub.close();
