"""Submissions: the files that are validated, their intake and their storage."""
