# Everything from nothing but Python >= 3.11 and make; `make help` lists what there is.
# On Linux pip takes PyTorch's CUDA build; where there is no GPU, this makes it a small download:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make setup
.DEFAULT_GOAL := help
.PHONY: help setup preprocess demo sweep test lint docs check-wheel bench bench-ntu clean

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
ARMS := full3d r2plus1d reduced
SHOWN := S002C002P001R001A013

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the versions of constraints.txt; again only when they change

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is \
	needed, this is " + sys.version.split()[0] + "; name another: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $(STAMP)

define WHAT_TO_PREPROCESS
make preprocess needs to know from what; give one of these:
  make preprocess NTU_DIR=<folder of .skeleton files>    NTU RGB+D 60 or 120; request the skeletons
      from the ROSE Lab: https://rose1.ntu.edu.sg/dataset/actionRecognition/
  make preprocess PENN_DIR=<folder of .mat labels>       Penn Action:
      http://dreamdragon.github.io/PennAction/
  make preprocess PYSKL=<file.pkl> [LAYOUT=sbu15]        a pickle of PYSKL or MMAction2:
      https://github.com/kennymckormick/pyskl/blob/main/tools/data/README.md
and if you like OUT=<file.h5> and ARGS=<further options>, e.g. ARGS=--overwrite.
endef
export WHAT_TO_PREPROCESS

preprocess: $(if $(NTU_DIR)$(PENN_DIR)$(PYSKL),$(STAMP)) ## keypoint file from NTU_DIR=, PENN_DIR= or PYSKL=; alone it says where the data come from
ifeq ($(NTU_DIR)$(PENN_DIR)$(PYSKL),)
	@printf '%s\n' "$$WHAT_TO_PREPROCESS" >&2; exit 1
endif
ifneq ($(NTU_DIR),)
	$(BIN)/ptl-skel preprocess ntu "$(NTU_DIR)" --out "$(or $(OUT),data/ntu.h5)" $(ARGS)
endif
ifneq ($(PENN_DIR),)
	$(BIN)/ptl-skel preprocess penn_action "$(PENN_DIR)" \
		--out "$(or $(OUT),data/penn_action.h5)" $(ARGS)
endif
ifneq ($(PYSKL),)
	$(BIN)/ptl-skel preprocess pyskl "$(PYSKL)" $(if $(LAYOUT),--layout "$(LAYOUT)") \
		--out "$(or $(OUT),data/$(basename $(notdir $(PYSKL))).h5)" $(ARGS)
endif

define FIT
$(BIN)/ptl-skel fit --config experiment/synthetic.yaml --model.backbone backbone/$(1).yaml \
	--data.file demo/synthetic.h5 --run_dir demo/runs/$(1) --wandb off

endef

demo: $(STAMP) ## the way of an NTU user on synthetic data: preprocess, fit and test three arms, compare
	rm -rf demo
	$(BIN)/ptl-skel preprocess synthetic demo/synthetic --replications 1
	$(BIN)/ptl-skel preprocess ntu demo/synthetic --out demo/synthetic.h5
	$(foreach arm,$(ARMS),$(call FIT,$(arm)))
	$(BIN)/ptl-skel show demo/synthetic.h5 --clip $(SHOWN) --out demo/skeleton.png
	$(BIN)/ptl-skel show demo/synthetic.h5 --clip $(SHOWN) --out demo/skeleton.gif
	$(BIN)/ptl-skel report demo/runs --baseline full3d --out demo/report
	@echo "report: demo/report/report.html"
	@echo "pictures:"; ls demo/*.png demo/*.gif demo/report/*.png 2>/dev/null | sed 's/^/  /'

sweep: $(if $(SWEEP),$(STAMP)) ## run a sweep file: SWEEP=sweeps/backbone.yaml [ARGS="--slots 2"]
ifeq ($(SWEEP),)
	@echo "which? make sweep SWEEP=sweeps/backbone.yaml, or one of:" sweeps/*.yaml >&2; exit 1
endif
	$(BIN)/ptl-skel sweep "$(SWEEP)" $(ARGS)

test: $(STAMP) ## run the tests, a file at a time on each CPU
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile

lint: $(STAMP) ## check style and types
	$(BIN)/ruff check
	$(BIN)/mypy

docs: $(STAMP) ## build the documentation as a site in build/site; a dead link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "documentation: build/site/index.html"

check-wheel: ## build the wheel and use it in an empty environment; takes minutes
	tests/benchmarks/wheel.sh $(PYTHON)

bench: $(STAMP) ## measure where the time goes, beside what the machine can do
	$(BIN)/python tests/benchmarks/run.py

bench-ntu: $(STAMP) ## measure preprocessing of NTU RGB+D at full scale; takes minutes and 2 GB of disk
	$(BIN)/python tests/benchmarks/ntu.py

clean: ## remove caches, build products and the demo's output; never data/, runs/ or .venv/
	rm -rf demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . \( -path ./.venv -o -path ./data -o -path ./runs \) -prune -o \
		-name __pycache__ -type d -prune -exec rm -rf {} +
