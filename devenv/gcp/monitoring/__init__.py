"""Cloud Monitoring v3, as far as its configuration goes: policies, channels and uptime checks.

After https://cloud.google.com/monitoring/api/ref_v3/rest. Nothing is measured here, so that no alert
is ever raised and no check is made.
"""
