# Short names for the commands of this repository; `make` alone lists them.
.DEFAULT_GOAL := help

PYTHON ?= .venv/bin/python

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: help
