#!/usr/bin/env bash
# Builds the image of the emulated cloud alone from the wheel of devenv.
set -euo pipefail
cd "$(dirname "$0")/../../.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' packaging/pyproject.toml)
image=devenv/gcp:$version
started=$SECONDS
rm -rf dist/cloud
(cd packaging && ../.venv/bin/python -m hatchling build --target wheel --directory ../dist/cloud >/dev/null)
compose/build.sh --tag "$image" --file compose/production/cloud/Dockerfile \
    --label org.opencontainers.image.title="Emulated Google Cloud" \
    --label org.opencontainers.image.licenses=Apache-2.0 \
    --label "org.opencontainers.image.version=$version" .
printf '  %s  %s  %s s\n' "$image" \
    "$(docker image ls --format '{{ .Size }}' "$image")" $((SECONDS - started))
