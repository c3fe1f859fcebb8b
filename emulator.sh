#!/usr/bin/env bash
# Local runs of postman, with or without Google's emulators. `./emulator.sh help` says what it does.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
venv=$root/.venv
oldest=11 # of Python 3

usage() {
    cat <<'TEXT'
usage: ./emulator.sh VERB [ARGUMENT…]

  demo             the whole system before your eyes, on the emulators or, where there are none, on SQLite
  test [ARG…]      lint, types, import rules, then pytest with ARG… inside emulators; names what it could not exercise
  run CMD…         run CMD with the emulators in its environment
  simulate [ARG…]  the whole cluster in one process, in virtual time, under every fault: 20,000 seeds unless ARG… says otherwise
  chaos [ARG…]     workers killed, answers lost and emulators stopped while mails flow; --help names the arguments
  incidents [NAME…] provider_down, poison_storm, ledger_slow: played by the words of docs/runbook.md, with the times
  mutants [ARG…]   change the code that decides, line by line, and see whether the tests notice
  image [ARG…]     build the container image and let a worker in it deliver; --install gets the builders with apt
  docs [serve]     build the documentation into .postman/site, or serve it on this machine
  bench [NAME…]    run a program of tests/benchmarks with its arguments, beside other libraries; alone: name them
  up | down        start emulators and leave them running | stop these and no others
  env              print the exports for what `up` left running:  eval "$(./emulator.sh env)"
  lock [ARG…]      make the lock files anew with uv (--upgrade takes newer versions)
  help             this

It makes its own .venv with the newest Python from 3.11 on that it finds; POSTMAN_PYTHON names another.
The emulators are found running (PUBSUB_EMULATOR_HOST, FIRESTORE_EMULATOR_HOST), among the components of the
Google Cloud SDK (with Java), or as Google's Docker image, in this order.
TEXT
}

fail() {
    printf 'emulator.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

is_new_enough() {
    "$1" -c "import sys; sys.exit(not ((3, $oldest) <= sys.version_info and sys.version_info.releaselevel == 'final'))" \
        >/dev/null 2>&1
}

find_python() {
    local candidate
    if [[ -n ${POSTMAN_PYTHON:-} ]]; then
        is_new_enough "$POSTMAN_PYTHON" || fail "POSTMAN_PYTHON ($POSTMAN_PYTHON) is no Python 3.$oldest or newer"
        printf '%s\n' "$POSTMAN_PYTHON"
        return
    fi
    for candidate in $(seq -f 'python3.%g' 30 -1 "$oldest") python3 python; do
        if is_new_enough "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.$oldest or newer on PATH: install one, or name it in POSTMAN_PYTHON"
}

make_venv() {
    printf 'making %s with %s\n' "${venv#"$root"/}" "$("$1" --version)"
    "$1" -m venv --clear "$venv" || fail "$1 cannot make a virtual environment (Debian: apt-get install python3-venv)"
    printf '%s\n' "$2" >"$venv/.made-with"
}

install() {
    printf 'installing from %s\n' "$1"
    local pip=("$venv/bin/python" -m pip install -qq --disable-pip-version-check)
    "${pip[@]}" --require-hashes -r "$root/$1"
    "${pip[@]}" --no-deps --no-build-isolation -e "$root"
    printf '%s\n' "$2" >"$venv/.$1"
}

# Brings .venv up to the lock file $1 where it is not, one caller at a time.
prepare() {
    local python made stamp
    python=$(find_python)
    made="$root $("$python" -c 'import sys; print(sys.base_prefix, sys.version.replace("\n", " "))')"
    stamp=$(cat "$root/$1" "$root/pyproject.toml" | cksum)
    mkdir -p "$root/.postman"
    (
        "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
        if [[ $(cat "$venv/.made-with" 2>/dev/null) != "$made" ]]; then make_venv "$python" "$made"; fi
        if [[ $(cat "$venv/.$1" 2>/dev/null) != "$stamp" ]]; then install "$1" "$stamp"; fi
    ) 9>"$root/.postman/venv.lock" >&2
}

emulators() {
    exec "$venv/bin/python" -m postman.testing.emulators --state "$root/.postman/emulators.json" "$@"
}

inside() {
    emulators run --log-dir "$root/.postman/emulators" "$@"
}

step() {
    local tool=$1
    shift
    printf '== %s %s\n' "$tool" "$*"
    "$venv/bin/$tool" "$@"
}

run_tests() {
    cd "$root"
    step ruff check .
    step ruff format --check .
    step mypy
    step lint-imports
    printf '== pytest %s\n' "$*"
    inside --optional -- bash "$root/emulator.sh" pytest "$@"
}

# Whether the arguments name something to test, so that nothing must be added to them.
has_path() {
    local argument
    for argument in "$@"; do
        if [[ -e ${argument%%::*} ]]; then return; fi
    done
    return 1
}

# First the tests whose bounds are seconds, by themselves; then all others side by side. Status 5: none was chosen.
run_pytest() {
    local python=$venv/bin/python alone=0 others=0 files=()
    if ! has_path "$@"; then mapfile -t files < <(grep -rl --include='*.py' 'mark\.alone' tests); fi
    ALONE=only "$python" -m pytest "$@" "${files[@]}" --numprocesses=0 || alone=$?
    ALONE=none "$python" -m pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder "$@" || others=$?
    if ((alone == 5)); then exit "$others"; fi
    if ((others == 5)); then exit "$alone"; fi
    exit "$((alone ? alone : others))"
}

# What pip must find when it builds the project without fetching a build environment; editables is hatchling's for -e.
build_requirements() {
    printf 'editables\n'
    "$(find_python)" -c 'import sys, tomllib; print(*tomllib.load(sys.stdin.buffer)["build-system"]["requires"], sep="\n")' \
        <"$root/pyproject.toml"
}

bench() {
    cd "$root"
    if (($# == 0)); then
        grep -l __main__ tests/benchmarks/*.py tests/benchmarks/*/__main__.py | sed 's:/__main__\.py$::; s:.*/::; s:\.py$::'
        return
    fi
    [[ -f tests/benchmarks/$1.py || -f tests/benchmarks/$1/__main__.py ]] || fail "there is no benchmark $1" 2
    exec "$venv/bin/python" -m "tests.benchmarks.$1" "${@:2}"
}

build_docs() {
    cd "$root"
    local verb=${1:-build}
    shift || true
    "$venv/bin/python" -m tests.docs.reference || fail "outdated: python -m tests.docs.reference --write"
    NO_MKDOCS_2_WARNING=1 exec "$venv/bin/mkdocs" "$verb" --strict "$@"
}

lock() {
    local compile
    command -v uv >/dev/null || fail "lock needs uv on PATH (pip install uv)"
    cd "$root"
    compile=(uv pip compile --quiet --universal --python-version "3.$oldest" --generate-hashes --no-header --no-annotate
        --no-emit-index-url --no-emit-find-links)
    build_requirements | "${compile[@]}" "$@" --all-extras --group dev --group benchmarks --group docs \
        --output-file requirements-dev.lock pyproject.toml - >/dev/null
    build_requirements | "${compile[@]}" --upgrade --extra gcp --extra functions --extra telemetry --constraint requirements-dev.lock \
        --output-file requirements.lock pyproject.toml - >/dev/null
}

main() {
    local verb=${1:-help}
    shift || true
    case $verb in
        demo | run | up | down | env) prepare requirements.lock ;; # not joined by &&, which would switch off set -e
        test | docs | bench | simulate | chaos | incidents | mutants | image) prepare requirements-dev.lock ;;
    esac
    case $verb in
        demo) inside --optional -- "$venv/bin/postman" demo "$@" ;;
        test) run_tests "$@" ;;
        pytest) cd "$root" && run_pytest "$@" ;; # within the emulators that `test` has started
        docs) build_docs "$@" ;;
        bench) bench "$@" ;;
        simulate) cd "$root" && exec "$venv/bin/python" -m tests.simulation "$@" ;;
        chaos) cd "$root" && inside -- "$venv/bin/python" -m tests.chaos "$@" ;;
        incidents) cd "$root" && inside -- "$venv/bin/python" -m tests.incidents "$@" ;;
        mutants) cd "$root" && exec "$venv/bin/python" -m tests.mutation "$@" ;;
        image) cd "$root" && exec bash deploy/image.sh "$@" ;;
        run) inside "$@" ;;
        up | down | env) emulators "$verb" "$@" ;;
        lock) lock "$@" ;;
        help | -h | --help) usage ;;
        *) usage >&2 && fail "there is no verb $verb" 2 ;;
    esac
}

main "$@"
