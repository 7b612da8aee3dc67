"""Tracking events: the use of the product, counted by operators.

An event holds who (by id only), in which organisation, what and when, and a few facts that name no
person and no content. Services call `events.track`.
"""
