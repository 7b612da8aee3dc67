#!/bin/sh
# The commands of a container of this image:
#
#   (nothing)             serve on PORT, as APP_ROLE says: web or worker
#   release, check, ...   this command of manage.py, then end
#
# Signals are passed on to the program, and its exit code is the container's. The program is not process 1:
# that one ignores signals without a handler, and a program that is still starting has none.
set -eu
child=
asked=
stop() {
    asked=1
    [ -n "$child" ] || return 0
    # A copy of this shell that has yet to become the program may lose a signal.
    name=$ours
    while [ "$name" = "$ours" ]; do
        name=
        read -r name 2>/dev/null <"/proc/$child/comm" || true
    done
    kill -TERM "$child" 2>/dev/null || true
}
trap stop TERM INT
read -r ours <"/proc/$$/comm"

run() {
    [ -z "$asked" ] || exit 143
    "$@" <&0 &
    child=$!
    [ -z "$asked" ] || stop
    code=0
    wait "$child" || code=$?
    # A signal ends `wait` before the program has ended. Where the shell has noticed its end in between, it
    # knows the program no more and says 2; the code of the signal stays then.
    while kill -0 "$child" 2>/dev/null; do
        last=0
        wait "$child" 2>/dev/null || last=$?
        [ "$last" = 2 ] || code=$last
    done
    # It may have noticed that before the first `wait`, too.
    [ -z "$asked" ] || [ "$code" != 2 ] || code=143
    exit "$code"
}

# Cloud Run sends SIGTERM and ten seconds later SIGKILL: requests have nine to end.
serve() {
    run granian --host 0.0.0.0 --port "$PORT" --no-ws --log-level warning \
        --workers-kill-timeout 9 "$@"
}

if [ $# -gt 0 ]; then run python manage.py "$@"; fi

case ${APP_ROLE:-} in
web)
    serve --interface asginl config.asgi:application
    ;;
worker)
    threads=${WORKER_THREADS:-$((2 * $(nproc) + 1))} # the most that granian takes without a warning
    serve --interface wsgi --blocking-threads "$threads" config.wsgi:application
    ;;
*)
    echo "APP_ROLE is '${APP_ROLE:-}'. Set it to web or worker to serve, or give a command of manage.py." >&2
    exit 2
    ;;
esac
