#!/usr/bin/env bash
# Publishes mails with curl through `postman serve`: `./publish.sh < mails.json` takes one mail or an array of up to 500,
# and prints [{"id", "shard"}, …] when the queue has them all. Else it prints on stderr what the server says, as which
# field is wrong, and ends with a status above 0. Give each mail an id of your own: then it is safe to run this again, for
# the same ids are sent once.
set -euo pipefail

# Prints a header, where there is a key: from a file, since a command line can be read by other users.
authorization() {
    if [[ -n ${POSTMAN_API_KEY:-} ]]; then printf 'Authorization: Bearer %s\n' "$POSTMAN_API_KEY"; fi
}

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
# What it retries by itself: no connection, no answer in time, and 503 after the time that the server names.
if curl --silent --show-error --fail-with-body --max-time 30 --retry 4 --retry-connrefused --output "$answer" \
    --header 'Content-Type: application/json' --header @<(authorization) --data-binary @- \
    "${POSTMAN_URL:-http://127.0.0.1:8080}/v1/mails"; then
    cat "$answer"
else
    status=$?
    cat "$answer" >&2
    exit "$status"
fi
