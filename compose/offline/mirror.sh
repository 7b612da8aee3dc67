# Where Debian's packages come from; sourced by the scripts beside it.
# shellcheck shell=bash
keyring=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# The address of a Debian archive that apt knows, by the label of its Release file.
archive() {
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -F '|' -v label="$1" '$1 == "Debian" && $2 == label { print $3; exit }'
}

# Fails unless a Debian can be bootstrapped here: asked before the first of several minutes is spent.
require_debootstrap() {
    require_debian_archive
    command -v debootstrap >/dev/null || fail "Debian images are made by debootstrap, which is not installed." \
        "Next: compose/offline/apt.sh debootstrap"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
        fail "debootstrap must run as root, and there is no sudo here."
}

require_debian_archive() {
    command -v apt-get >/dev/null || fail "This is done with Debian's packages, and there is no apt-get here." \
        "On other systems install Docker with its plugins, and pull the images from a registry."
    [ -e "$keyring" ] || fail "Debian's signatures cannot be checked: apt-get install debian-archive-keyring"
    mirror=${DEBIAN_MIRROR:-$(archive Debian)}
    [ -n "$mirror" ] || fail "apt on this machine knows no Debian archive. Say sudo apt-get update, or name one:" \
        "DEBIAN_MIRROR=<address of a Debian mirror> make images-offline"
}
