#!/usr/bin/env python
"""Run a management command of the product."""

import gc
import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    # Hardly any of the objects that are loaded becomes garbage: to look for some at the usual rate
    # took a sixth of the time of a command.
    gc.set_threshold(100_000)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")
    try:
        execute_from_command_line(sys.argv)
    finally:
        gc.freeze()  # or the interpreter would take each object apart before it ends: a quarter more
