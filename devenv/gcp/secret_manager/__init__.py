"""Secret Manager v1: secrets and their versions, with aliases, expiry, states and checksums.

`SecretVault` keeps what is stored, `limits` checks what callers send, `SecretManagerService` has the
methods. Payloads are stored in the data folder of the emulated cloud like every other state: keep
only secrets of your development there.
"""
