# Everything here runs in .venv, which the first target that needs it makes: `make run` and `make test`
# work in a fresh clone with nothing but Python 3.11 or newer.

.DEFAULT_GOAL := help
.PHONY: help run test test-browser screenshots api-fuzz check fmt bench dashboard prism lock sbom licenses clean

BIN := .venv/bin
PACKAGES := balancer api config examples bench deploy
DRAWN := api/dashboard/vendor/LICENSES.txt
JUDGED := build/dashboard/tools
# More for the command behind a target: make test ARGS="-k reload -x", make lock ARGS=--upgrade
ARGS :=
COMPILE = @build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	--custom-compile-command 'make lock' $(ARGS)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: .venv/ready $(DRAWN) ## Start the demonstration: three sample servers, some traffic and the balancer
	@exec $(BIN)/python -m examples.demo $(ARGS)

# Three processes for two cores, as many tests wait. One file's tests stay in one process, which shares what is slow to start between them.
test: .venv/ready $(JUDGED) ## Run every test
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

test-browser: .venv/ready $(JUDGED) ## Look at the dashboard with a browser, which is installed where that may be done
	@.ci/install-browser
	@$(BIN)/python -m pytest tests/browser $(ARGS)

screenshots: .venv/ready $(JUDGED) ## Take the pictures of the dashboard in docs/img again, after some minutes of traffic
	@.ci/install-browser
	@exec $(BIN)/python -m tests.browser.screenshots $(ARGS)

api-fuzz: .venv/ready ## Search long for answers of the admin API that its document does not have
	@exec $(BIN)/python -m tests.api_fuzz $(ARGS)

# --no-cache: with one, import-linter does not notice a module that was removed.
check: .venv/ready $(JUDGED) ## Check style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(PACKAGES)
	@$(BIN)/lint-imports --no-logo --no-cache
	@if [ -e $(JUDGED) ]; then $(BIN)/python -m deploy.dashboard --check; else echo 'the scripts of the dashboard were not checked: make dashboard says why' >&2; fi

fmt: .venv/ready ## Format the code and fix what can be fixed safely
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/ready ## Measure the cost of a request beside other proxies
	@exec $(BIN)/python -m bench $(ARGS)

dashboard: $(DRAWN) ## Fetch what the dashboard is drawn with (npm, or a wheel that has it)

# Everything else runs without it, and its page says what to do: so this is no reason to stop.
$(DRAWN): .venv/ready api/dashboard/package-lock.json deploy/dashboard.py
	@$(BIN)/python -m deploy.dashboard || true

# Also what judges its pages.
$(JUDGED): .venv/ready api/dashboard/package-lock.json deploy/dashboard.py
	@$(BIN)/python -m deploy.dashboard --tools && touch $@ || true

prism: build/prism/ready ## Install what answers as an OpenAPI document says, for tests of CDNs (needs Node.js)

build/prism/ready: tests/cdn/prism/package.json tests/cdn/prism/package-lock.json
	@mkdir -p build/prism && cp tests/cdn/prism/package.json tests/cdn/prism/package-lock.json build/prism
	@cd build/prism && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

# --no-build-isolation: the build backend is the one in the lock. The stamp comes last, so that an
# interrupted installation is done again.
.venv/ready: requirements/dev.lock pyproject.toml balancer/__init__.py
	@python=$$(sh .ci/find-python) && echo "Setting up .venv with $$python (a minute, the first time)" && "$$python" -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Each lock builds on the one before it, so that a package has one version everywhere. --no-strip-extras: pip before
# 23.3 takes the newest version for an extra that the lock does not name, and then finds no hash for it.
lock: ## Pin again what pyproject.toml asks for (ARGS=--upgrade: everything anew)
	@python=$$(sh .ci/find-python) && "$$python" -m venv build/uv
	@build/uv/bin/python -m pip install -qq --disable-pip-version-check uv
	$(COMPILE) pyproject.toml --extra aws --extra compression -o requirements/run.lock
	$(COMPILE) requirements/build.in -c requirements/run.lock -o requirements/build.lock
	$(COMPILE) requirements/node.in -o requirements/node.lock
	$(COMPILE) pyproject.toml --extra dev requirements/build.in -c requirements/run.lock -c requirements/build.lock -o requirements/dev.lock

sbom: .venv/ready ## Write what an installation consists of to build/sbom.cdx.json (CycloneDX)
	@$(BIN)/python -m deploy.sbom $(ARGS)

licenses: .venv/ready ## Show the licence of each package that an installation has
	@$(BIN)/python -m deploy.sbom --licenses

clean: ## Remove everything the tools made, the virtual environment included
	rm -rf .venv api/dashboard/vendor build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
