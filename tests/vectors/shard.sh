#!/usr/bin/env bash
# Where mails go, for bash and sha256sum. Reads lines of "mail_id key hand closed count" with U+001F between them, and
# spaces between the closed shards; prints the shard of each mail, one a line. Arithmetic wraps at 64 bits by itself.
set -euo pipefail
export LC_ALL=C

# jump COUNT FORMAT ARGUMENT…: sets $shard for the text that printf makes; only a pipe can carry its U+0000.
jump() {
    local count=$1 after=0 hash key
    hash=$(printf "${@:2}" | sha256sum)
    key=$((16#${hash:0:8} << 32 | 16#${hash:8:8}))
    while ((after < count)); do
        shard=$after
        key=$((key * 2862933555777941757 + 1))
        after=$((((shard + 1) << 31) / ((key >> 33 & 0x7fffffff) + 1)))
    done
}

# deal KEY HAND COUNT: sets the array $members.
deal() {
    local key=$1 hand=$2 count=$3 number first
    members=()
    if [[ -z $key ]] || ((hand < 1 || hand >= count)); then
        for ((number = 0; number < count; number++)); do members+=("$number"); done
        return
    fi
    for ((number = 0; number < 64 && ${#members[@]} < hand; number++)); do
        jump "$count" '%s\0%d' "$key" "$number"
        [[ " ${members[*]} " == *" $shard "* ]] || members+=("$shard")
    done
    first=${members[0]}
    for ((shard = (first + 1) % count; ${#members[@]} < hand; shard = (shard + 1) % count)); do
        [[ " ${members[*]} " == *" $shard "* ]] || members+=("$shard")
    done
}

is_open() {
    [[ " $closed " != *" $shard "* ]]
}

# place MAIL_ID KEY HAND COUNT: sets $shard to where the mail goes, given $closed; fails where all are closed.
place() {
    local id=$1 key=$2 hand=$3 count=$4 chosen step number
    deal "$key" "$hand" "$count"
    jump "${#members[@]}" '%s' "$id"
    chosen=$shard
    shard=${members[chosen]}
    is_open && return
    if ((${#members[@]} < count)); then
        for ((step = 1; step < ${#members[@]}; step++)); do
            shard=${members[(chosen + step) % ${#members[@]}]}
            is_open && return
        done
    fi
    for ((number = 1; number <= 64; number++)); do
        jump "$count" '%s\0%d' "$id" "$number"
        is_open && return
    done
    for ((step = 1; step < count; step++)); do
        shard=$(((members[chosen] + step) % count))
        is_open && return
    done
    return 1
}

while IFS=$'\x1f' read -r id key hand closed count; do
    place "$id" "$key" "$hand" "$count"
    echo "$shard"
done
