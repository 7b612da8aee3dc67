"""The Telemetry API: spans that programs export by OTLP, by HTTP and gRPC.

See https://cloud.google.com/stackdriver/docs/reference/telemetry/overview.
"""
