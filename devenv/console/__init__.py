"""The console of a stack: its services, logs and emulated cloud, as pages for a browser.

One process beside the others. It reads the state file and the logs of the stack, sends commands to
the supervisor, and asks the emulated cloud by its control API and by Google's own APIs.
"""
