"""Fingerprints of a database: rows and a checksum of each table, and the state of each sequence.

The checksum of a table is the sum of the MD5 digests of its rows as text, so that it does not depend on
their order. PostgreSQL writes values in the same way from version 13 to 18 under the settings below.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql

_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL statement_timeout = 0",
)
_TABLES = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY c.relname
"""
_ROWS = """
    SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 16))::bit(64)::bigint::numeric), 0)::text
    FROM public.{} AS t
"""
_SEQUENCES = (
    "SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = 'public'"
)


@dataclass(frozen=True, slots=True)
class TableFingerprint:
    """Number of rows of a table, and the sum of their digests."""

    rows: int
    checksum: str


@dataclass(frozen=True, slots=True)
class DatabaseFingerprint:
    """Fingerprint of each table of the schema `public`, and the last value of each sequence."""

    tables: dict[str, TableFingerprint]
    sequences: dict[str, int]

    def differences(self, copy: "DatabaseFingerprint") -> list[str]:
        """Return what differs in a copy, one sentence each.

        A sequence does not belong to a snapshot: that of the copy may be ahead of this one.
        """
        found = []
        for name in sorted({*self.tables, *copy.tables}):
            ours, theirs = self.tables.get(name), copy.tables.get(name)
            if ours is None or theirs is None:
                found.append(f"Table {name} is only in the {'copy' if ours is None else 'source'}.")
            elif ours.rows != theirs.rows:
                found.append(f"Table {name} has {ours.rows} rows, and the copy {theirs.rows}.")
            elif ours != theirs:
                found.append(f"The rows of table {name} differ from those of the copy.")
        for name, value in sorted(self.sequences.items()):
            if copy.sequences.get(name, -1) < value:
                found.append(
                    f"Sequence {name} is at {value}, and in the copy at {copy.sequences.get(name)}."
                )
        return found


def fingerprint(connection: psycopg.Connection[tuple[object, ...]]) -> DatabaseFingerprint:
    """Return the fingerprint of the schema `public`, within the transaction of a connection."""
    for statement in _SETTINGS:
        connection.execute(statement)
    tables = {}
    for (name,) in connection.execute(_TABLES).fetchall():
        query = sql.SQL(_ROWS).format(sql.Identifier(str(name)))
        rows, checksum = connection.execute(query).fetchall()[0]
        tables[str(name)] = TableFingerprint(int(str(rows)), str(checksum))
    sequences = {str(n): int(str(v)) for n, v in connection.execute(_SEQUENCES).fetchall()}
    return DatabaseFingerprint(tables, sequences)
