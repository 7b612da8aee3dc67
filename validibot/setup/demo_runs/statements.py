"""The SQL statements of `fill`: temporary tables of the plan, then the rows of one batch.

`part(hex, n)` is the n-th of eight shares from 0 to below 1 that the MD5 of a run's number gives: of the
workflow (0), the result (1), the person (2), the source (3), the hour (4 and 5), the duration (6) and
the number of findings (7).
"""

TABLES = """
DROP TABLE IF EXISTS pg_temp.seed_workflow, pg_temp.seed_rule, pg_temp.seed_output, pg_temp.seed_run,
    pg_temp.seed_finding;
CREATE TEMPORARY TABLE seed_workflow (workflow bigint, project bigint, slug text, low float8,
    high float8, pass_rate float8, typical float8, steps int, errors int, notes int) ON COMMIT DROP;
CREATE TEMPORARY TABLE seed_rule (workflow bigint, is_error boolean, place int, severity text,
    code text, message text, path text) ON COMMIT DROP;
CREATE TEMPORARY TABLE seed_output (step bigint, slug text, middle float8) ON COMMIT DROP;
"""

# All runs that are missing, in the order of their times: that of the rows of a real site.
MOMENTS = """
CREATE OR REPLACE FUNCTION pg_temp.part(hex text, place int) RETURNS float8 LANGUAGE sql IMMUTABLE
    RETURN (('x' || substr(hex, place * 4 + 1, 4))::bit(16)::int) / 65536.0;
DROP TABLE IF EXISTS pg_temp.seed_moment;
CREATE TEMPORARY TABLE seed_moment AS
WITH drawn AS (
    SELECT number, md5(%(seed)s || ':' || number) AS hex
    FROM generate_series(1, %(runs)s::bigint) number
), dated AS (
    SELECT *, date_trunc('day', %(until)s::timestamptz - make_interval(secs => %(seconds)s
        * (1 - power(number * 0.6180339887498949 - floor(number * 0.6180339887498949), 0.75))), 'UTC') AS day
    FROM drawn
), timed AS (
    SELECT *, day + make_interval(secs => 21600 + 21600 * (pg_temp.part(hex, 4) + pg_temp.part(hex, 5)))
        - CASE WHEN extract(isodow FROM day AT TIME ZONE 'UTC') >= 6 AND pg_temp.part(hex, 5) > 0.2
            THEN interval '2 days' ELSE interval '0' END AS wanted
    FROM dated
), ordered AS (
    SELECT number, hex, CASE WHEN wanted > %(until)s THEN wanted - interval '1 day' ELSE wanted END AS at
    FROM timed WHERE NOT EXISTS (SELECT FROM runs_run WHERE runs_run.id = timed.hex::uuid)
)
SELECT *, row_number() OVER (ORDER BY at, number) AS place FROM ordered;
CREATE INDEX ON seed_moment (place);
ANALYZE seed_moment;
SELECT count(*) FROM seed_moment
"""

_RUNS_OF_BATCH = """
CREATE TEMPORARY TABLE seed_run ON COMMIT DROP AS
SELECT number, hex, hex::uuid AS id, flow.*, trunc(pg_temp.part(hex, 7) * 1000)::int AS draw, at,
    CASE WHEN pg_temp.part(hex, 1) < 0.97 * pass_rate THEN 'pass'
        WHEN pg_temp.part(hex, 1) < 0.97 THEN 'failed'
        WHEN pg_temp.part(hex, 1) < 0.98 THEN 'error'
        WHEN pg_temp.part(hex, 1) < 0.993 THEN 'canceled' ELSE 'timed_out' END AS result,
    1 + (trunc(pg_temp.part(hex, 7) * 1000)::int %% steps) AS bad,
    typical * (0.4 + 3 * power(pg_temp.part(hex, 6), 4)) AS lasted,
    floor(%(spread)s::float8 * power(pg_temp.part(hex, 7), 2) + 0.5)::int AS found
FROM seed_moment JOIN seed_workflow flow ON pg_temp.part(hex, 0) >= low AND pg_temp.part(hex, 0) < high
WHERE place BETWEEN %(first)s AND %(last)s
ORDER BY place;
UPDATE seed_run SET found = CASE WHEN result NOT IN ('pass', 'failed') THEN 0
    WHEN result = 'failed' THEN greatest(found, 1) ELSE found END;
ANALYZE seed_run
"""

_SUBMISSIONS = """
INSERT INTO submissions_submission (id, organisation_id, project_id, user_id, filename, mime_type,
    size_bytes, sha256, inline, uri, storage_version, name, metadata, short_description,
    content_removed_at, created_at)
SELECT id, %(organisation)s, project, NULL, slug || '-' || number || '.dat', 'application/octet-stream',
    1000 + draw * 37, md5(hex) || hex, '', '', '', 'Delivery ' || number, '{}', '', at + interval '1 day', at
FROM seed_run
"""

_RUNS = """
INSERT INTO runs_run (id, organisation_id, workflow_id, submission_id, user_id, source, scenario, status,
    error_category, error, created_at, enqueued_at, started_at, ended_at)
SELECT id, %(organisation)s, workflow, id,
    (%(people)s::bigint[])[1 + trunc(pg_temp.part(hex, 2) * cardinality(%(people)s::bigint[]))::int],
    CASE WHEN pg_temp.part(hex, 3) < 0.6 THEN 'API' WHEN pg_temp.part(hex, 3) < 0.8 THEN 'LAUNCH_PAGE'
        WHEN pg_temp.part(hex, 3) < 0.95 THEN 'CLI' ELSE 'SCHEDULE' END,
    '',
    CASE result WHEN 'pass' THEN 'SUCCEEDED' WHEN 'canceled' THEN 'CANCELED'
        WHEN 'timed_out' THEN 'TIMED_OUT' ELSE 'FAILED' END,
    CASE result WHEN 'failed' THEN 'VALIDATION_FAILED' WHEN 'error' THEN 'RUNTIME_ERROR'
        WHEN 'timed_out' THEN 'TIMEOUT' ELSE '' END,
    CASE result WHEN 'error' THEN 'The validator ended without an output.'
        WHEN 'timed_out' THEN 'The validator reached its time limit.' ELSE '' END,
    at, at, at + interval '50 ms', at + interval '50 ms' + make_interval(secs => lasted)
FROM seed_run
"""

_FINDINGS_OF_BATCH = """
CREATE TEMPORARY TABLE seed_finding ON COMMIT DROP AS
SELECT run.id, nth AS place, rule.severity, code,
    replace(message, '{n}', (run.draw + nth)::text) AS message,
    replace(path, '{n}', (run.draw + nth)::text) AS path
FROM seed_run run CROSS JOIN LATERAL generate_series(1, run.found) nth
JOIN seed_rule rule ON rule.workflow = run.workflow
    AND rule.is_error = (result = 'failed' AND nth %% 3 = 1)
    AND rule.place = CASE WHEN result = 'failed' AND nth %% 3 = 1 THEN (draw + nth / 3) %% errors
        ELSE (draw + nth * nth) %% notes END
"""

_STEPS_AND_FINDINGS = """
WITH counted AS (
    SELECT id, severity, code, count(*) AS count, min(place) AS at,
        to_jsonb((array_agg(place ORDER BY place))[1:5]) AS first
    FROM seed_finding GROUP BY id, severity, code
), summary AS (
    SELECT id, jsonb_agg(jsonb_build_object('severity', severity, 'code', code, 'assertion', NULL,
        'count', count, 'first', first)
        ORDER BY array_position(ARRAY['ERROR', 'WARNING', 'INFO'], severity), at) AS rules
    FROM counted GROUP BY id
), made AS (
    INSERT INTO runs_steprun (run_id, step_id, "order", name, validator, validator_version,
        config_digest, image, status, error, outputs, rules, starts, started_at, ended_at)
    SELECT run.id, step.id, step."order", step.name, validator.slug, validator.version, '',
        validator.image,
        CASE WHEN result = 'pass' OR step."order" < bad THEN 'PASSED' WHEN step."order" > bad THEN 'SKIPPED'
            WHEN result = 'canceled' THEN 'CANCELED' ELSE 'FAILED' END,
        '',
        CASE WHEN result <> 'pass' AND step."order" >= bad THEN '{}' ELSE coalesce((
            SELECT jsonb_object_agg(output.slug, round((middle * (0.8 + 0.4 * pg_temp.part(hex, 6)))::numeric, 1))
            FROM seed_output output WHERE output.step = step.id), '{}') END,
        CASE WHEN step."order" = bad THEN coalesce(summary.rules, '[]') ELSE '[]' END,
        1,
        at + interval '50 ms' + make_interval(secs => lasted * (step."order" - 1) / steps),
        at + interval '50 ms' + make_interval(secs => lasted * step."order" / steps)
    FROM seed_run run
    JOIN workflows_step step ON step.workflow_id = run.workflow AND step.is_enabled
    JOIN workflows_validator validator ON validator.id = step.validator_id
    LEFT JOIN summary ON summary.id = run.id
    RETURNING id, run_id, "order", rules
)
INSERT INTO runs_finding (run_id, step_run_id, "order", severity, code, message, path)
SELECT found.id, made.id, place, severity, code, message, path
FROM made JOIN seed_finding found ON found.id = made.run_id AND made.rules <> '[]'
"""

_EVENTS = """
INSERT INTO runs_runevent (run_id, at, kind, actor, message, data)
SELECT id, at, 'created', '', '', '{}'::jsonb FROM seed_run
UNION ALL
SELECT id, at + interval '50 ms' + make_interval(secs => lasted),
    CASE result WHEN 'pass' THEN 'passed' ELSE result END, 'worker', '', '{}'::jsonb FROM seed_run
"""

ROWS = (
    ("", _RUNS_OF_BATCH),
    ("", _SUBMISSIONS),
    ("runs", _RUNS),
    ("", _FINDINGS_OF_BATCH),
    ("findings", _STEPS_AND_FINDINGS),
    ("", _EVENTS),
)
