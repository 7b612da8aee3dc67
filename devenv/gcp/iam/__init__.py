"""Roles, bindings and the decision whether a caller may do something."""
