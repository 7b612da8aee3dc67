#!/usr/bin/env bash
# `docker build` with BuildKit, and with what this machine needs to reach package registries:
# build.sh --tag TAG ARGUMENT...
#
# Neither certificates nor pip's settings enter a layer: they are secrets of the build, and where
# there are none the Dockerfiles do without.
#
#   SSL_CERT_FILE     the certificates to trust, else this machine's: a company's proxy has its own
#   PIP_CONFIG_FILE   pip's settings, for example for an index of one's own
#   NO_CACHE          anything: build every layer anew
set -euo pipefail
tag=$2

options=()
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [ -s "$certificates" ]; then options+=(--secret "id=ca,src=$certificates"); fi
if [ -s "${PIP_CONFIG_FILE:-}" ]; then options+=(--secret "id=pip,src=$PIP_CONFIG_FILE"); fi

before=$(docker image inspect -f '{{ .Id }}' "$tag" 2>/dev/null || true)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ -n "${NO_CACHE:-}" ]; then options+=(--no-cache); fi
if ! DOCKER_BUILDKIT=1 docker build --progress plain "${options[@]}" "$@" >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
# What had the tag until now has none any more, and would be kept for ever.
if [ -n "$before" ] && [ "$(docker image inspect -f '{{ len .RepoTags }}' "$before" 2>/dev/null)" = 0 ]; then
    docker image rm "$before" >/dev/null 2>&1 || true
fi
