"""Cloud Run Jobs v2: jobs, executions, tasks and their operations.

`api` answers the methods, `jobs` validates what a caller sends, `executions` starts and finds
executions, and a `coordinator` carries each one to its end through a runtime. `life` holds the
records' changes and Google's words for them, `state` keeps records and operations consistent, and
`runtimes` start the containers: as processes or with Docker.
"""
