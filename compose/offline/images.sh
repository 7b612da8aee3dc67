#!/usr/bin/env bash
# Makes equivalents of the public base images, for machines that reach no container registry.
#
#   compose/offline/images.sh [NAME]...   all of them, or these and what they are built from
#   FORCE=1                               anew, whatever is there
#   ONLY_CHECK=1                          nothing: only look whether they can be made
#
# An image that is there already, pulled or made from the same recipe, is left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

# name of the recipe, tag, recipe that it is built from
catalogue="
debian           debian:trixie-slim            -
python           python:3.13-slim-trixie       debian
postgres         postgres:17                   debian
fake-gcs-server  fsouza/fake-gcs-server:1.54   python
"
label=io.validibot.offline

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# A field of a recipe in the catalogue: its tag (2) or its parent (3).
column() { awk -v name="$1" -v column="$2" '$1 == name { print $column }' <<<"$catalogue"; }

# A checksum of the recipe and of those below it.
recipe() {
    local parent
    parent=$(column "$1" 3)
    [ "$parent" = - ] || recipe "$parent"
    find "compose/offline/$1" -type f | LC_ALL=C sort | xargs cat
}

# Found: made from this recipe, or not by this script at all.
is_there() {
    local found
    found=$(docker image inspect -f "{{ index .Config.Labels \"$label\" }}" "$1" 2>/dev/null) &&
        { [ -z "$found" ] || [ "$found" = "$2" ]; }
}

made=" "
make_image() {
    local name=$1 tag parent stamp started=$SECONDS
    tag=$(column "$name" 2)
    case $made in *" $name "*) return ;; esac
    made+="$name "
    parent=$(column "$name" 3)
    [ "$parent" = - ] || make_image "$parent"
    stamp=$(recipe "$name" | cksum | cut -d' ' -f1)
    if [ -z "${FORCE:-}" ] && is_there "$tag" "$stamp"; then
        printf '  %-30s is there\n' "$tag"
        return
    fi
    if [ "$name" = debian ]; then
        compose/offline/debian/import.sh "$tag" "$label=$stamp"
    else
        compose/build.sh --tag "$tag" --label "$label=$stamp" --file "compose/offline/$name/Dockerfile" .
    fi
    printf '  %-30s made in %s s, %s\n' "$tag" $((SECONDS - started)) \
        "$(docker image inspect -f '{{ .Size }}' "$tag" | numfmt --to=si --suffix=B)"
}

# Before anything is downloaded: whether the first image can be made, if it has to be.
check() {
    docker info >/dev/null 2>&1 || fail "No Docker engine answers. Start it, then say it again;" \
        "on Debian, compose/offline/engine.sh installs and starts one."
    local name stamp
    for name in "$@"; do
        [ -n "$(column "$name" 2)" ] || fail "There is no base image '$name'; NAME is one of: ${known[*]}"
    done
    stamp=$(recipe debian | cksum | cut -d' ' -f1)
    if [ -n "${FORCE:-}" ] || ! is_there debian:trixie-slim "$stamp"; then
        (. compose/offline/mirror.sh && require_debootstrap)
    fi
}

mapfile -t known < <(awk 'NF { print $1 }' <<<"$catalogue")
[ $# -gt 0 ] || set -- "${known[@]}"
if [ "${ONLY_CHECK:-}" ]; then check "$@" && exit 0; fi
check "$@"
for name in "$@"; do make_image "$name"; done
