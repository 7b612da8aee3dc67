#!/usr/bin/env bash
# Makes a cluster from POSTGRES_USER, _PASSWORD, _DB and _INITDB_ARGS where PGDATA has none, then starts the
# server; variables and files as the documentation of the public image has them.
set -euo pipefail

# The value of a variable, or what the file named by it and _FILE holds.
given() {
    local file=$1_FILE
    if [ -n "${!file:-}" ]; then cat "${!file}"; else printf '%s' "${!1:-${2:-}}"; fi
}

make_cluster() {
    local user password database initdb_args
    user=$(given POSTGRES_USER postgres)
    password=$(given POSTGRES_PASSWORD)
    database=$(given POSTGRES_DB "$user")
    read -ra initdb_args <<<"$(given POSTGRES_INITDB_ARGS)"
    if [ -z "$password" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo "A new database needs a password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE." >&2
        exit 1
    fi
    initdb --username="$user" --pwfile=<(printf '%s\n' "$password") "${initdb_args[@]}"
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
    # The first start listens on a socket only, so that nobody connects before everything is there.
    pg_ctl start --wait --silent -o "-c listen_addresses=''"
    [ "$database" = postgres ] || createdb --username="$user" --no-password -- "$database"
    run_initial_files "$user" "$database"
    pg_ctl stop --wait --silent --mode=fast
    echo "PostgreSQL init process complete; ready for start up."
}

run_initial_files() {
    local client=(psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --username="$1" --dbname="$2" --no-password)
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) "${client[@]}" --file="$file" ;;
            *.sql.gz) gunzip --stdout "$file" | "${client[@]}" ;;
        esac
    done
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
if [ "$1" = postgres ]; then
    if [ "$(id -u)" -eq 0 ]; then
        mkdir -p "$PGDATA"
        chown -R postgres: "$PGDATA" /var/run/postgresql
        exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    [ -s "$PGDATA/PG_VERSION" ] || make_cluster
fi
exec "$@"
