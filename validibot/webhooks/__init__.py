"""Webhooks: messages about events of an organisation, posted to addresses that its members chose.

The format, the headers and the signature are those of Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), for
which libraries exist in most languages. This package knows nothing of runs: whoever announces an event
brings its document.
"""
