"""Cloud Tasks: queues, tasks, delivery with retries."""
