#!/usr/bin/env bash
# Holds the module against Checkov's rules; what is skipped stands in .checkov.yaml with its reason.
#   terraform/checkov.sh [--install]    --install: makes .postman/checkov, a virtual environment of its own
# Checkov brings some hundred packages with it, and wants old versions of some: too much for the lock of the tests.
set -euo pipefail

version=3.3.30
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
own=$here/../.postman/checkov

if [[ ${1:-} == --install ]]; then
    shift
    python3 -m venv "$own"
    "$own/bin/pip" install --quiet --disable-pip-version-check "checkov==$version"
fi

checkov=$own/bin/checkov
[[ -x $checkov ]] || checkov=$(command -v checkov) || {
    echo "checkov.sh: Checkov is not installed: terraform/checkov.sh --install" >&2
    exit 2
}
exec "$checkov" --directory "$here" --config-file "$here/.checkov.yaml" "$@"
