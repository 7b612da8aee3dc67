#!/bin/sh
# Make .venv hold what requirements/LOCK.txt says: sh devenv/bootstrap.sh LOCK (runtime or dev).
# Does nothing in a few milliseconds when it does already.
set -eu

say() { printf '  %s\n' "$*" >&2; }

is_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1
}

find_python() {
    for candidate in "${PYTHON313:-python3.13}" python3.13 python3 python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python; do
        if is_python "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    say "Python 3.13 was not found; it is all that is needed."
    say "Install it (apt install python3.13-venv, brew install python@3.13, pyenv install 3.13)"
    say "or name it: PYTHON313=/path/to/python3.13 make up"
    exit 1
}

find_uv() {
    for candidate in uv .tools/uv/bin/uv; do
        if "$candidate" --version >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    say "Getting uv, which installs packages, into .tools/uv"
    if ! "$python" -m venv --clear .tools/uv >&2; then
        say "This Python cannot make virtual environments: apt install python3.13-venv"
        exit 1
    fi
    .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv >&2
    echo .tools/uv/bin/uv
}

lock=$1
stamp=.venv/synced
# A developer's environment stays one: it holds everything that the product needs, too.
if [ -x .venv/bin/pytest ]; then lock=dev; fi
place=$(pwd)
wanted="$lock $(cksum <"requirements/$lock.txt") $place"
found=$(cat "$stamp" 2>/dev/null || true)
if [ "$found" = "$wanted" ] && [ -x .venv/bin/devenv ]; then exit 0; fi

python=$(find_python)
uv=$(find_uv)
# Scripts in an environment know the folder where it was made: after a move it is made anew.
if ! is_python .venv/bin/python || { [ -n "$found" ] && [ "${found%" $place"}" = "$found" ]; }; then
    rm -rf .venv
    "$uv" venv --quiet --no-project --python "$python" .venv
fi
install() {
    UV_PYTHON_DOWNLOADS=never "$uv" pip sync --quiet --require-hashes \
        --python .venv/bin/python "requirements/$lock.txt"
}

say "Installing the packages of requirements/$lock.txt into .venv"
# uv brings its own certificates; behind a company's proxy those of the machine are needed.
install || {
    say "Once more, with the certificates of this machine"
    UV_SYSTEM_CERTS=true install
}
# The command `devenv`, from any folder: it looks for devenv.toml in the one where it is called.
cat >.venv/bin/devenv <<'END'
#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
exec "$root/.venv/bin/python" -c '
import sys
sys.path.insert(0, sys.argv.pop(1))
from devenv.cli.commands import main
sys.exit(main(sys.argv[1:]))' "$root" "$@"
END
chmod +x .venv/bin/devenv
printf '%s' "$wanted" >"$stamp"
