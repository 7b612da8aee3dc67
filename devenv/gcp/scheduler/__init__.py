"""Cloud Scheduler: cron jobs delivered over HTTP."""
