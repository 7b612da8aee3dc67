#!/usr/bin/env bash
# `docker build` with BuildKit, and with the certificates and settings by which this machine reaches package registries:
# build.sh --tag TAG ARGUMENT...
#
# Certificates and pip's settings are secrets of the build: neither enters a layer, and the Dockerfiles
# work without them.
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
if ! DOCKER_BUILDKIT=1 docker build --progress plain ${options[@]+"${options[@]}"} "$@" >"$log" 2>&1; then
    if grep -qE 'failed to (resolve source metadata|do request|authorize|fetch anonymous token)|load metadata for .*(failed|ERROR)|pull access denied' "$log"; then
        image=$(grep -oE 'docker\.io/[^: ]+[^ ]*' "$log" | head -n 1 | sed -E 's#docker\.io/(library/)?##; s#[:,]$##')
        printf '%s\n' "The base image ${image:-of this Dockerfile} is not here, and no registry can be reached." \
            "Next: make images-offline, which makes it from Debian's packages." >&2
        exit 1
    fi
    cat "$log" >&2
    exit 1
fi
# Remove the image that had this tag before, if it has no other.
if [ -n "$before" ] && [ "$(docker image inspect -f '{{ len .RepoTags }}' "$before" 2>/dev/null)" = 0 ]; then
    docker image rm "$before" >/dev/null 2>&1 || true
fi
