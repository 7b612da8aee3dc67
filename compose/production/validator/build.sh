#!/usr/bin/env bash
# Builds the images of validators under the names that their manifests give: build.sh [NAME]...
set -euo pipefail
cd "$(dirname "$0")/../../.."

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

field() {
    .venv/bin/python -c 'import sys, tomllib; print(tomllib.load(open(sys.argv[1], "rb"))[sys.argv[2]])' \
        "validators/$1/validator.toml" "$2" 2>/dev/null ||
        fail "validators/$1/validator.toml cannot be read, or has no line: $2 = \"…\""
}

# Commit and origin of this checkout, without a local path, which helps nobody, or a password.
origin_labels() {
    local commit source
    if commit=$(git rev-parse HEAD 2>/dev/null); then
        [ -z "$(git status --porcelain -- validators compose)" ] || commit+=-modified
        printf '%s\n' --label "org.opencontainers.image.revision=$commit"
    fi
    source=$(git remote get-url origin 2>/dev/null | sed -nE 's#^(https://)([^@/]*@)?#\1#p')
    [ -z "$source" ] || printf '%s\n' --label "org.opencontainers.image.source=$source"
}

build() {
    local name=$1 image version title description started=$SECONDS
    image=$(field "$name" image)
    version=$(field "$name" version)
    title=$(field "$name" title)
    description=$(field "$name" description)
    [ -e "validators/$name/requirements.txt" ] ||
        fail "validators/$name has no lock: say in requirements.in what it needs, then make lock"
    compose/build.sh --tag "$image" --file compose/production/validator/Dockerfile \
        --build-arg "VALIDATOR=$name" \
        --label "org.opencontainers.image.title=$title" \
        --label "org.opencontainers.image.description=$description" \
        --label "org.opencontainers.image.version=$version" \
        ${origin[@]+"${origin[@]}"} .
    printf '  %s %s %s, %s s\n' "$image" \
        "$(docker image inspect -f '{{ .Id }}' "$image")" \
        "$(docker image ls --format '{{ .Size }}' "$image")" $((SECONDS - started))
}

origin=()
while IFS= read -r option; do origin+=("$option"); done < <(origin_labels)
known=$(cd validators && printf '%s\n' */validator.toml | sed 's#/.*##' | tr '\n' ' ')
# shellcheck disable=SC2086 # names have no blanks
[ $# -gt 0 ] || set -- $known
for name in "$@"; do
    [ -e "validators/$name/validator.toml" ] && [ -n "$name" ] ||
        fail "There is no validator '$name'; NAME is one of: $known"
    build "$name"
done
