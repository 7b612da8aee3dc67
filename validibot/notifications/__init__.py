"""Notifications: messages to people about runs that have ended, in a list on the site and by mail.

This package knows nothing of runs: the end of a run brings its facts (`delivery.EndedRun`).
"""
