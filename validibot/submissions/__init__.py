"""Submissions: the files that were sent to be validated."""
