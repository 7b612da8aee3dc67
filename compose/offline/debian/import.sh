#!/usr/bin/env bash
# Imports a small Debian trixie, made by debootstrap, as the image TAG: import.sh TAG LABEL=VALUE
#
#   DEBIAN_MIRROR   where from; without it, the mirror that this machine's apt uses
set -euo pipefail
tag=$1
label=$2
. "$(dirname "$0")/../mirror.sh"

sources() {
    local security
    printf 'deb %s trixie main\ndeb %s trixie-updates main\n' "$mirror" "$mirror"
    security=$(archive Debian-Security)
    [ -z "$security" ] || printf 'deb %s trixie-security main\n' "$security"
}

require_debootstrap
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)

work=$(mktemp -d)
trap '"${as_root[@]}" rm -rf "$work"' EXIT
root=$work/root
"${as_root[@]}" debootstrap --variant=minbase --include=ca-certificates --force-check-gpg \
    --keyring="$keyring" trixie "$root" "$mirror" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    fail "debootstrap failed; its last lines are above."
}
sources | "${as_root[@]}" tee "$root/etc/apt/sources.list" >/dev/null
"${as_root[@]}" cp "$(dirname "$0")/dpkg.cfg" "$root/etc/dpkg/dpkg.cfg.d/slim"
"${as_root[@]}" cp "$(dirname "$0")/apt.conf" "$root/etc/apt/apt.conf.d/slim"
# dpkg.cfg leaves out the documentation of later packages; this removes that of debootstrap's
# packages, and the files that it copied from this machine.
"${as_root[@]}" sh -c "cd '$root' &&
    find usr/share/doc -type f ! -name copyright -delete && find usr/share/doc -depth -type d -empty -delete &&
    rm -rf usr/share/man/* usr/share/info/* usr/share/locale/* var/lib/apt/lists/* var/cache/apt/* \
        var/cache/ldconfig/aux-cache var/cache/debconf/*-old var/log/*.log var/log/apt/* &&
    : >etc/machine-id && : >etc/resolv.conf && echo localhost >etc/hostname"
"${as_root[@]}" tar -C "$root" --sort=name -c . | docker import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'CMD ["bash"]' \
    --change "LABEL $label" \
    --change 'LABEL org.opencontainers.image.title="Debian trixie, slim"' \
    --change 'LABEL org.opencontainers.image.description="Offline equivalent of debian:trixie-slim, made by debootstrap"' \
    - "$tag" >/dev/null
