# Short names for the commands of this repository; `make` alone lists them.
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
DEVENV := @$(PYTHON) -m devenv
json := $(if $(JSON),--json)
compile := uv pip compile --quiet --universal --generate-hashes --python-version 3.13 \
	--no-header --no-annotate --no-emit-index-url
everything := pyproject.toml --extra deploy --extra devenv $(wildcard validators/*/requirements.in)

export MOCK_VALIDATORS JOBS DEBUGPY WATCH CMD
# Python starts three times as fast with bytecode. Where none is wanted beside the sources, it goes here.
ifdef PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
unexport PYTHONDONTWRITEBYTECODE
endif

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: runtime ## start everything and stream the logs (DETACH=1: in the background; MOCK_VALIDATORS=1: no cloud; RUNTIME=docker: in containers)
	$(DEVENV) up $(if $(DETACH),--detach) $(if $(MODE),--mode '$(MODE)') \
		$(if $(RUNTIME),--runtime '$(RUNTIME)') $(json)

down: runtime ## stop it; the data stays
	$(DEVENV) down $(json)

status: runtime ## what runs, where it is and how to get in (JSON=1 for scripts)
	$(DEVENV) status $(json)

logs: runtime ## what the services write (S=worker: only that one)
	$(DEVENV) logs $(json) $(S)

start: runtime ## start one service of the running stack (S=worker)
	$(DEVENV) start $(json) '$(S)'

stop: runtime ## stop one service (S=worker)
	$(DEVENV) stop $(json) '$(S)'

restart: runtime ## stop and start one service (S=worker)
	$(DEVENV) restart $(json) '$(S)'

run: override CMD := $(value CMD)
run: runtime ## run a command in the environment of the web service (CMD='python manage.py shell')
	$(DEVENV) run -- $(if $(value CMD),sh -c "$$CMD")

reset: runtime ## stop, and delete all data (YES=1: do not ask)
	$(DEVENV) reset $(if $(YES),--yes) $(json)

doctor: runtime ## look for what may be in the way
	$(DEVENV) doctor $(json)

test: dev ## run all tests (T='tests/unit -k word': some of them)
	@$(PYTHON) -m pytest -n auto --dist loadgroup $(T)

check: dev ## lint, type checks and static checks
	@$(PYTHON) -m ruff format --check --quiet . && $(PYTHON) -m ruff check --quiet .
	@.venv/bin/lint-imports --no-logo && $(PYTHON) -m mypy . && .venv/bin/deptry .
	@.venv/bin/codespell $$(git ls-files) && .venv/bin/djlint --check --lint --quiet validibot
	@DJANGO_SETTINGS_MODULE=config.settings.test sh -c '$(PYTHON) manage.py check && \
		$(PYTHON) manage.py makemigrations --check --dry-run && \
		$(PYTHON) manage.py spectacular --validate --fail-on-warn --file /dev/null'

fmt: dev ## format the code
	@$(PYTHON) -m ruff check --fix --quiet . ; $(PYTHON) -m ruff format --quiet . && .venv/bin/djlint --reformat --quiet validibot

messages: dev ## collect the texts that are marked for translation, and compile the catalogues
	@DJANGO_SETTINGS_MODULE=config.settings.test $(PYTHON) manage.py makemessages --all --no-obsolete --no-location \
		$(foreach folder,.venv deploy devenv examples staticfiles tests validators,--ignore $(folder))
	@# A date of its own would differ, and conflict, in every commit.
	@sed -i.bak '/^"POT-Creation-Date:/s/:.*/: 2026-01-01 00:00+0000\\n"/' validibot/locale/*/LC_MESSAGES/django.po && \
		rm validibot/locale/*/LC_MESSAGES/django.po.bak
	@.venv/bin/pybabel --quiet compile --domain django --directory validibot/locale --statistics

mutate: dev ## change the code of runs and dispatch, and list the changes that no test notices (SAMPLE=1000 M='validibot.runs.states*')
	@nice $(PYTHON) -m tests.mutation $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(M),'$(M)')

bench: dev ## measure what docs/benchmarks.md promises (PART='cloud peers': some parts of it)
	@$(PYTHON) -m tests.bench $(PART)

compare: dev ## try the same cases on other emulators, and write the table of docs/comparison.md
	@$(PYTHON) -m tests.bench.peers

validators: runtime ## build the images of all validators
	@compose/production/validator/build.sh

validator: runtime ## build the image of one validator (NAME=fmu)
	@compose/production/validator/build.sh '$(NAME)'

image: ## build the production image of web and worker (EXTRA=modal: with what that extra needs)
	@compose/production/django/build.sh $(EXTRA)

cloud-image: dev ## build the image of the emulated cloud alone
	@compose/production/cloud/build.sh

wheel: dev ## build devenv, and the Cloud Tasks backend for Django, as wheels for other projects, into dist
	@cd packaging && ../$(PYTHON) -m hatchling build --target wheel --directory ../dist
	@cd packaging/tasks && ../../$(PYTHON) -m hatchling build --target wheel --directory ../../dist

images-offline: ## make the base images where no registry can be reached (FORCE=1: anew)
	@ONLY_CHECK=1 compose/offline/images.sh && compose/offline/plugins.sh && compose/offline/images.sh

foreign: ## install Google's Node and Go clients, and the generator of the TypeScript client, for the tests
	@cd tests/emulator/foreign/node && npm ci --silent --ignore-scripts
	@cd tests/flows/typescript && npm ci --silent --ignore-scripts
	@mkdir -p .tools && cd tests/emulator/foreign/go && go test -vet=off -c -o ../../../../.tools/go-clients .

lock: dev ## write the locks anew from pyproject.toml and each requirements.in
	@PATH="$$PATH:.tools/uv/bin"; set -e; \
	$(compile) $(everything) -o requirements/runtime.txt; \
	$(compile) $(everything) --group pyproject.toml:dev -o requirements/dev.txt; \
	$(compile) pyproject.toml -c requirements/runtime.txt -o requirements/product.txt; \
	$(compile) pyproject.toml --extra modal -c requirements/runtime.txt -o requirements/modal.txt; \
	$(compile) pyproject.toml --extra ses -c requirements/dev.txt -o requirements/ses.txt; \
	$(compile) pyproject.toml --extra devenv -c requirements/runtime.txt -o compose/local/requirements.txt; \
	for wants in validators/*/requirements.in compose/offline/*/requirements.in tests/standin/requirements.in; do \
		$(compile) $$wants -c requirements/runtime.txt -o $${wants%.in}.txt; done

runtime dev:
	@sh devenv/bootstrap.sh $@

.PHONY: help up down start stop restart status logs run reset doctor test check fmt mutate bench compare messages validators validator image cloud-image wheel \
	images-offline foreign lock runtime dev
