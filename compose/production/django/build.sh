#!/usr/bin/env bash
# Builds the production image under the version of pyproject.toml, and says what it became: build.sh [EXTRA]
#
# EXTRA is an extra of pyproject.toml that has a lock of its own: `modal` or `ses`.
set -euo pipefail
cd "$(dirname "$0")/../../.."

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
image=validibot/validibot:$version
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
started=$SECONDS
lock=${1:-product}
if [ ! -e "requirements/$lock.txt" ]; then
    printf '%s\n' "EXTRA is '$lock', which has no lock requirements/$lock.txt. Use EXTRA=modal or EXTRA=ses, or leave it out." >&2
    exit 1
fi
compose/build.sh --tag "$image" --file compose/production/django/Dockerfile --build-arg "LOCK=$lock" \
    --label org.opencontainers.image.title=Validibot \
    --label "org.opencontainers.image.description=Web and worker of Validibot; APP_ROLE decides" \
    --label org.opencontainers.image.licenses=Apache-2.0 \
    --label "org.opencontainers.image.version=$version" \
    --label "org.opencontainers.image.revision=$revision" .
printf '  %s  %s  %s s\n' "$image" \
    "$(docker image ls --format '{{ .Size }}' "$image")" $((SECONDS - started))
