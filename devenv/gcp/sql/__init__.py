"""Cloud SQL Admin API v1 for PostgreSQL.

After https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1. All instances are one PostgreSQL,
that of `gcp.sql_server`: databases and users are made there under names that begin with that of
their instance, and the sockets of `/cloudsql` lead to it. Without such a server instances, databases
and users are only kept as settings.
"""
