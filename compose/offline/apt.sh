#!/usr/bin/env bash
# Installs Debian packages: apt.sh PACKAGE...
#
# Waits up to ten minutes while another program uses apt. As an ordinary user it says sudo.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
seconds=600

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "To install $* takes root, and there is no sudo here." >&2; exit 1; }
    as_root=(sudo --preserve-env=LC_ALL,DEBIAN_FRONTEND)
fi

# DPkg::Lock::Timeout holds for installing only: `update` gives up on its own lock at once.
update() {
    local said until=$((SECONDS + seconds))
    until said=$("${as_root[@]}" apt-get -qq ${APT_OPTIONS:-} update 2>&1); do
        if [[ $said != *"Could not get lock"* ]] || [ "$SECONDS" -ge "$until" ]; then
            printf '%s\n' "$said" >&2
            return 1
        fi
        sleep 1
    done
}

update
"${as_root[@]}" apt-get install -y -qq ${APT_OPTIONS:-} -o DPkg::Lock::Timeout=$seconds --no-install-recommends "$@" >/dev/null
