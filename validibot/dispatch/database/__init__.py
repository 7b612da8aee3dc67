"""Database queue backend for django.tasks: procrastinate with lease recovery and bounded shutdown."""
