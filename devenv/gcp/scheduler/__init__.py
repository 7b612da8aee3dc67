"""Cloud Scheduler v1: cron jobs delivered over HTTP.

A `ScheduleRunner` per job waits for the next slot of its schedule and executes the job, one
execution at a time. Slots that pass while the emulator is stopped are not made up for. The jobs of
devenv.toml follow the file: a job that it no longer declares is deleted.
"""
