// Which shard a mail goes into; explained in docs/shard-mapping.md.

import { createHash } from "node:crypto";

function jump(text, count) {
  let key = createHash("sha256").update(text, "utf8").digest().readBigUInt64BE();
  let shard = 0n;
  for (let after = 0n; after < count; after = ((shard + 1n) << 31n) / ((key >> 33n) + 1n)) {
    shard = after;
    key = BigInt.asUintN(64, key * 2862933555777941757n + 1n);
  }
  return Number(shard);
}

const list = (length, item) => Array.from({ length }, (_, index) => item(index));
const tries = (text, first, count) => list(64, (index) => jump(`${text}\0${first + index}`, count));
const following = (shard, count) => list(count - 1, (index) => (shard + 1 + index) % count);

function handOf(key, count, hand) {
  if (key === "" || hand < 1 || hand >= count) return list(count, (index) => index);
  const dealt = tries(key, 0, count);
  return [...new Set([...dealt, ...following(dealt[0], count)])].slice(0, hand);
}

function place(mailId, count, { key = "", hand = 0, closed = [] } = {}) {
  const members = handOf(key, count, hand);
  const chosen = jump(mailId, members.length);
  if (!closed.includes(members[chosen])) return members[chosen];
  const others = members.length < count ? [...members.slice(chosen + 1), ...members.slice(0, chosen)] : [];
  const choices = [...others, ...tries(mailId, 1, count), ...following(members[chosen], count)];
  return choices.find((shard) => !closed.includes(shard)); // undefined where all are closed
}

export { place };
