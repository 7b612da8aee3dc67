"""Django's tasks in the product's own database: procrastinate keeps the queue, we say what it means."""
