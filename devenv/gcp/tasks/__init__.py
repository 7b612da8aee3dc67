"""Cloud Tasks v2: queues that deliver HTTP requests at least once.

`methods` answers the calls, `rules` validates queues and tasks, `state` holds queues in memory and
in the store, and `dispatcher` delivers. An acknowledged task is on disk: after `kill -9` a task
that was in flight is delivered again.
"""
