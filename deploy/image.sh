#!/usr/bin/env bash
# Builds the image of deploy/Dockerfile and tries it. `deploy/image.sh --help` says how, docs/image.md why.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
python=$root/.venv/bin/python
store=$root/.postman/image
tag=localhost/postman:tried
base=localhost/postman-base
may_install=
container=
inside=("$root/emulator.sh" run --)
look=()

usage() {
    cat <<'TEXT'
usage: deploy/image.sh [--install] [--look-only]

Builds the image with Docker where an engine answers, else, as root, with buildah on a base that mmdebstrap makes of Debian's
packages. Then a worker in it delivers from the emulators to the sandbox, drains and exits. Its last lines say what was not run.

  --install      get buildah and mmdebstrap with apt where they are missing
  --look-only    look at the image, and run nothing in it

buildah's build asks the index that pip asks here; nothing of pip's configuration stays in the image.
TEXT
}

fail() {
    printf 'image.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

step() {
    printf '== %s\n' "$*"
}

has_engine() {
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

buildah_() {
    BUILDAH_ISOLATION=chroot buildah --root "$store/storage" --runroot "$store/run" "$@"
}

clean() {
    rm -f "$store/pip.conf" "$store/base.tar"
    if [[ $container ]]; then buildah_ rm "$container" >/dev/null; fi
    container=
}

# What an image is told of where it comes from.
arguments() {
    printf -- '--build-arg=VERSION=%s\n' "$(sed -nE 's/^version = "(.*)"$/\1/p' "$root/pyproject.toml")"
    printf -- '--build-arg=REVISION=%s\n' "$(revision)"
}

revision() {
    git --no-optional-locks -C "$root" describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || printf unknown
}

build_with_docker() {
    mapfile -t given < <(arguments)
    step docker build
    docker build --quiet --file "$root/deploy/Dockerfile" --tag "$tag" "${given[@]}" "$root"
}

get_builders() {
    local tool packages=()
    for tool in buildah mmdebstrap; do
        command -v "$tool" >/dev/null || packages+=("$tool")
    done
    ((${#packages[@]})) || return 0
    [[ $may_install ]] || fail "nothing was built: no Docker engine answers, and there is no ${packages[*]}; --install gets it"
    step apt-get install "${packages[@]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends "${packages[@]}" >/dev/null
}

# A base that has what deploy/Dockerfile needs of one: python3 with venv, and certificates.
make_base() {
    if buildah_ inspect --type image "$base" >/dev/null 2>&1; then return; fi
    step mmdebstrap, about two minutes
    mmdebstrap --quiet --variant=minbase --include=python3-venv,ca-certificates bookworm "$store/base.tar"
    container=$(buildah_ from scratch)
    buildah_ add --quiet "$container" "$store/base.tar" / >/dev/null
    buildah_ config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah_ commit --quiet "$container" "$base" >/dev/null
    clean
}

# Lends the build pip's index and certificates as they are here; what lies in folders of this machine is left out.
write_pip_settings() {
    local line
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n'
    while IFS= read -r line; do
        [[ $line =~ ^[^.]+\.(index-url|extra-index-url|trusted-host|proxy)=\'(.*)\'$ ]] || continue
        [[ ${BASH_REMATCH[2]} == *file:* ]] || printf '%s = %s\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    done < <("$python" -m pip config list)
}

certificates() {
    realpath "${PIP_CERT:-$("$python" -m pip config get global.cert 2>/dev/null || "$python" -m certifi)}"
}

build_with_buildah() {
    mapfile -t given < <(arguments)
    step buildah bud
    (umask 077 && write_pip_settings >"$store/pip.conf")
    buildah_ bud --quiet --pull-never --network host --timestamp 0 --build-arg "BASE=$base" "${given[@]}" \
        --volume "$store/pip.conf:/etc/pip.conf:ro" --volume "$(certificates):/etc/ssl/certs/ca-certificates.crt:ro" \
        --ignorefile "$root/.dockerignore" --file "$root/deploy/Dockerfile" --tag "$tag" "$root" >/dev/null
    buildah_ rmi --prune >/dev/null
}

try_with_docker() {
    docker image inspect "$tag" >"$store/image.json"
    exec "${inside[@]}" "$python" -m tests.deploy --image "$store/image.json" --docker "$tag" "${look[@]}"
}

try_with_buildah() {
    container=$(buildah_ from --pull-never "$tag")
    buildah_ inspect --type image "$tag" >"$store/image.json"
    "${inside[@]}" "$python" -m tests.deploy --image "$store/image.json" \
        --root "$(buildah_ mount "$container")" "${look[@]}"
}

main() {
    while (($#)); do
        case $1 in
            --install) may_install=yes ;;
            --look-only) look=(--look-only) inside=(env) ;;
            -h | --help) usage && return ;;
            *) usage >&2 && fail "there is no option $1" 2 ;;
        esac
        shift
    done
    cd "$root"
    if has_engine; then
        mkdir -p "$store"
        build_with_docker
        try_with_docker
    else
        ((EUID == 0)) || fail "nothing was built: no Docker engine answers, and buildah on a base of packages needs root"
        get_builders
        mkdir -p "$store"
        trap clean EXIT
        make_base
        build_with_buildah
        try_with_buildah
    fi
}

main "$@"
