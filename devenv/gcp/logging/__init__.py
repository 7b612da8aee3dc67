"""Cloud Logging v2: log entries of programs, and the output of jobs and services.

`LoggingService` is what callers see, over gRPC and REST. `LogStore` keeps the entries, bounded;
`filters` and `fields` are the query language; `OutputLines` turns lines of containers into entries.
"""
