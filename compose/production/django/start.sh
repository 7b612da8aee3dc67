#!/bin/sh
# What a container of this image does:
#
#   (nothing)             serve on PORT, as APP_ROLE says: web or worker
#   release, check, ...   this command of manage.py, then end
#
# Whatever it is takes this shell's place, so signals reach it and its exit code is the container's.
set -eu

# Cloud Run sends SIGTERM and ten seconds later SIGKILL: requests have nine to end.
serve() {
    exec granian --host 0.0.0.0 --port "$PORT" --no-ws --log-level warning \
        --workers-kill-timeout 9 "$@"
}

if [ $# -gt 0 ]; then exec python manage.py "$@"; fi

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
