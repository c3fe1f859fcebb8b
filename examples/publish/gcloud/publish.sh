#!/usr/bin/env bash
# Publishes one mail with gcloud: `./publish.sh < mail.json` prints {"id", "shard"} when Pub/Sub has it, else ends with a
# status above 0: run it again with the same mail. For a mail now and then, since gcloud takes a second to start.
# It needs jq and sha256sum, and knows neither hands nor closed shards.
set -euo pipefail

# jump TEXT COUNT: prints one of COUNT shards, always the same one for TEXT. Arithmetic wraps at 64 bits by itself.
jump() {
    local count=$2 shard=0 after=0 hash key
    hash=$(printf '%s' "$1" | sha256sum)
    key=$((16#${hash:0:8} << 32 | 16#${hash:8:8}))
    while ((after < count)); do
        shard=$after
        key=$((key * 2862933555777941757 + 1))
        after=$((((shard + 1) << 31) / ((key >> 33 & 0x7fffffff) + 1)))
    done
    printf '%d\n' "$shard"
}

# The message as flags for gcloud, in a file: a mail is too long for a command line, and other users can read that one.
# In ASCII, since the file is read as YAML, to which some characters are line breaks.
flags() {
    jq --raw-input '. as $data | fromjson |
        {"--message": $data, "--attribute": ({mail_id: .id, schema: "1"} + if .tenant then {shard_key: .tenant} else {} end)}'
}

mail=$(jq --ascii-output --compact-output --exit-status 'if .id | type == "string" then . else error("no id") end')
id=$(jq --raw-output .id <<<"$mail")
shard=$(jump "$id" "${POSTMAN_SHARDS:-8}")
flags <<<"$mail" |
    gcloud pubsub topics publish "${POSTMAN_PREFIX:-postman}-mail-$shard" --flags-file=/dev/stdin --quiet >/dev/null
jq --null-input --compact-output --arg id "$id" --argjson shard "$shard" '{$id, $shard}'
