#!/usr/bin/env bash
# Makes a Docker engine answer on Debian: installs docker.io where there is none, and starts it.
#
# Does nothing where an engine answers already. As an ordinary user it says sudo.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# `docker version` and not `docker info`: it tells by its exit code whether the engine answered.
answers() { docker version >/dev/null 2>&1; }

if answers; then exit 0; fi
# A second engine on the data of the first would harm both.
if running=$(pgrep -x dockerd); then
    fail "dockerd runs already (process ${running//$'\n'/, }), but does not answer at ${DOCKER_HOST:-its usual socket}." \
        "Look into its log; whoever started it should restart it."
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "To start a Docker engine takes root, and there is no sudo here."
    as_root=(sudo)
fi

if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    command -v apt-get >/dev/null || fail "There is no Docker engine, and no apt-get to install one; see docs.docker.com."
    packages=(docker.io iptables)
    # Before trixie the client was part of docker.io.
    if apt-cache show docker-cli >/dev/null 2>&1; then packages+=(docker-cli); fi
    "$(dirname "$0")/apt.sh" "${packages[@]}"
    # The package starts it where there is an init system.
    if answers; then exit 0; fi
fi

# The user who started it may use it, without a new login.
log=$(mktemp -t dockerd.XXXXXX)
"${as_root[@]}" setsid dockerd --group "$(id -gn)" >"$log" 2>&1 </dev/null &
for _ in $(seq 60); do
    if answers; then exit 0; fi
    sleep 0.5
done
tail -n 20 "$log" >&2
fail "dockerd did not answer within 30 s; the last lines of its log, $log, are above."
