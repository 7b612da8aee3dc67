#!/usr/bin/env bash
# Gives the Docker client its commands `compose` and `buildx`, where it has none, from Debian's packages.
#
# They are unpacked into the client's own folder, ~/.docker/cli-plugins (or below DOCKER_CONFIG):
# installed as packages they would replace the engine.
#
#   DEBIAN_MIRROR   where from; without it, the mirror that this machine's apt uses
set -euo pipefail
cd "$(dirname "$0")"
. ./mirror.sh

missing=()
docker compose version >/dev/null 2>&1 || missing+=(docker-compose)
docker buildx version >/dev/null 2>&1 || missing+=(docker-buildx)
[ "${#missing[@]}" -gt 0 ] || exit 0

require_debian_archive
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache"
echo "deb [signed-by=$keyring] $mirror trixie main" >"$work/sources.list"
options=(-qq -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::SourceList="$work/sources.list"
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User="")
apt-get "${options[@]}" update
(cd "$work" && apt-get "${options[@]}" download "${missing[@]}")

plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
mkdir -p "$plugins"
for package in "$work"/*.deb; do
    dpkg-deb --extract "$package" "$work/unpacked"
done
cp "$work"/unpacked/usr/libexec/docker/cli-plugins/* "$plugins"
printf '  %s: now in %s\n' "${missing[*]}" "$plugins" >&2
