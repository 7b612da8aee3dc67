"""Cloud Run Jobs: jobs, executions, tasks and the processes that they run."""
