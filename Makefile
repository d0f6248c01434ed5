# Every command of the project; CI calls the same ones. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

SYSTEM_PYTHON ?= python3
PYTHON := .cache/venv/bin/python
NODES ?= 3
DISKS ?= 1
LAB_TESTS ?= tests
MINUTES ?= 1
STEPS ?= 600
DEEPER ?= 1
ALARM_MINUTES ?= 1
REPETITIONS ?= 3
VOLUMES ?= 100
MANY ?= 40
MEMORY ?= 2048
ARCH ?= amd64
STORIES := tests/lab/stories tests/lab/test_bad_days.py tests/lab/test_agent_killed.py tests/lab/test_last_replica.py \
	tests/lab/test_control_killed.py
# `$(call timed,NAME,COMMAND)` runs a command and says how long it took.
timed = @started=$$SECONDS; $(2) && echo "make: $(1): $$((SECONDS - started)) s"

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## everything that tests and demo need, into caches; nothing is installed
	@$(SYSTEM_PYTHON) hack/setup.py --for test

.PHONY: setup-check
setup-check:
	@$(SYSTEM_PYTHON) hack/setup.py --for check

.PHONY: fmt
fmt: setup-check ## format the code
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix --select I .

.PHONY: lint
lint: setup-check ## ruff: style and format
	$(call timed,lint,$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .)

.PHONY: type
type: setup-check ## mypy --strict
	$(call timed,type,$(PYTHON) -m mypy)

.PHONY: unit
unit: setup-check ## tests that need neither root nor machines
	$(call timed,unit,$(PYTHON) -m pytest -q -n 2 --dist worksteal)

.PHONY: check
check: lint type unit check-generated ## lint, type, unit and check-generated: no root, under a minute

.PHONY: test
test: setup check ## check, mutants, e2e, then the tests on real kernels in QEMU machines (root, Go)
	@$(SYSTEM_PYTHON) hack/setup.py --for kubernetes
	@$(MAKE) -j 2 e2e-api beside-e2e-api
	@$(MAKE) e2e-cluster
	$(call timed,lab tests,$(PYTHON) -m pytest -v --timeout=900 -m "lab and not long and not more" --durations=0 --durations-min=5 $(LAB_TESTS))

# The tests of the API server wait more than they compute: who only computes does it meanwhile, and yields to them.
.PHONY: beside-e2e-api
beside-e2e-api:
	@nice -n 19 $(MAKE) mutants
	@nice -n 19 $(SYSTEM_PYTHON) hack/setup.py --for cluster

.PHONY: e2e
e2e: e2e-api e2e-cluster ## e2e-api, then the tests in a whole cluster of three machines, with the chart installed (root, Go)

.PHONY: e2e-cluster
e2e-cluster:
	@$(SYSTEM_PYTHON) hack/setup.py --for cluster
	$(call timed,e2e in a cluster,$(PYTHON) -m pytest -v -s --timeout=900 -m "kubelet and not more" --durations=0 --durations-min=5 tests/cluster)

.PHONY: e2e-api
e2e-api: ## the tests on a real Kubernetes API server: its first build takes minutes; no root (Go)
	@$(SYSTEM_PYTHON) hack/setup.py --for kubernetes
	$(call timed,e2e of the API server,$(PYTHON) -m pytest -v --timeout=300 -m "kubernetes and not more" --durations=10 tests/kubernetes)

.PHONY: e2e-long
e2e-long: ## what `e2e` leaves out (root, Go)
	@$(SYSTEM_PYTHON) hack/setup.py --for cluster
	$(call timed,more of the API server,$(PYTHON) -m pytest -v --timeout=900 -m "kubernetes and more" --durations=10 tests/kubernetes)
	$(call timed,more in a cluster,$(PYTHON) -m pytest -v -s --timeout=3600 -m "kubelet and more" --durations=0 --durations-min=5 tests/cluster)

.PHONY: simulate
simulate: setup-check ## the protocol enumerated DEEPER=1, then MINUTES=1 of random weather; or one SEED= with its STEPS=
	@$(PYTHON) -m tests.simulation --deeper $(DEEPER) --minutes $(MINUTES) --steps $(STEPS) $(if $(SEED),--seed $(SEED))

.PHONY: mutants
mutants: setup-check ## mistakes made on purpose in the product: does the suite catch each?
	$(call timed,mutants,$(PYTHON) -m tests.mutants.hunt)

.PHONY: test-long
test-long: setup e2e-long ## all tests that are not in every run (root, Go)
	$(call timed,long tests,$(PYTHON) -m pytest -v --timeout=3600 -m "lab and (long or more)" --durations=0 --durations-min=5 $(LAB_TESTS))

.PHONY: stories
stories: setup ## the failure stories on real kernels, and the table of what they cost (root)
	$(call timed,stories,$(PYTHON) -m pytest -v --timeout=900 -m "lab and not long" --durations=0 --durations-min=5 $(STORIES))

.PHONY: stories-long
stories-long: setup ## the slow ones and those with more machines (root)
	$(call timed,long stories,$(PYTHON) -m pytest -v --timeout=3600 -m "lab and long" --durations=0 --durations-min=5 $(STORIES))

.PHONY: soak
soak: setup ## random faults for MINUTES=1 on NODES=3 under checked writes, the same ones again with SEED= (root)
	@$(PYTHON) -m hack.soak --minutes $(MINUTES) --nodes $(NODES) $(if $(SEED),--seed $(SEED))

.PHONY: demo
demo: setup ## a cluster that loses a node while somebody writes (root)
	@$(PYTHON) -m hack.demo

.PHONY: sanity
sanity: setup ## csi-sanity for mounts and blocks on three replicas, about eight minutes (root, Go)
	@$(PYTHON) -m hack.sanity

.PHONY: bench-quick
bench-quick: setup ## speed, stalls, times; ALARM_MINUTES=1 of full load (root)
	@$(PYTHON) -m hack.bench.quick --alarm-minutes $(ALARM_MINUTES)

.PHONY: bench-csi
bench-csi: setup ## volumes one by one, and MANY=40 at once: the time of each CSI call, and what it costs (root)
	@$(PYTHON) -m hack.bench.many --volumes $(MANY)

.PHONY: bench-health
bench-health: setup ## REPETITIONS=3 of each death, copies, VOLUMES=100 watched; or some PARTS="stalls moves …" (root)
	@$(PYTHON) -m hack.bench.health --repetitions $(REPETITIONS) --alarm-minutes $(ALARM_MINUTES) \
		--volumes $(VOLUMES) --memory $(MEMORY) $(PARTS)

.PHONY: bench-scale
bench-scale: setup-check ## the control plane with 500 simulated nodes and up to 20,000 volumes; or VOLUMES="100 1000"
	@$(PYTHON) -m tests.scale $(if $(filter command line,$(origin VOLUMES)),--volumes $(VOLUMES))

.PHONY: bench-footprint
bench-footprint: setup-check ## a controller in Kubernetes with 1,000 volumes: its memory, and what it asks while idle (Go)
	@$(SYSTEM_PYTHON) hack/setup.py --for kubernetes
	@$(PYTHON) -m tests.scale.footprint

.PHONY: image
image: setup-check ## the image of deploy/Dockerfile, as an archive; ARCH=arm64 is emulated, and slow (root)
	$(call timed,image,$(PYTHON) -m hack.image.build --architecture $(ARCH))

.PHONY: lab-shell
lab-shell: setup ## an interactive prompt with NODES=3 DISKS=1 machines (root)
	@$(PYTHON) -m hack.lab.shell --nodes $(NODES) --disks $(DISKS)

.PHONY: generate
generate: setup-check ## write the generated files anew
	@$(PYTHON) -m hack.generate

.PHONY: check-generated
check-generated: setup-check ## are the generated files those that `generate` writes?
	$(call timed,check-generated,$(PYTHON) -m hack.generate --check)

.PHONY: clean
clean: ## remove what was built in the checkout; the user's cache of packages stays
	@rm -rf .cache .mypy_cache .ruff_cache .pytest_cache .coverage
