# Start with `make demo` or `make test`; each sets up what it needs on its first run.

# To use CUDA, choose your build of torch: make demo TORCH=torch==2.13.0+cu126 PIP_EXTRA_INDEX_URL=...
TORCH ?= torch==2.13.0
BLENDER_4_2 := 4.2.23
BLENDER_4_5 := 4.5.15
BLENDER_5_0 := 5.0.1
BLENDER_5_2 := 5.2.3
# The Blender program that make gui-test runs.
BLENDER ?= blender

main := .venv/.set-up
protoc := .venv-protoc/.set-up
blender_4_2 := .venv-blender-4.2/.set-up
blender_4_5 := .venv-blender-4.5/.set-up
blender_5_0 := .venv-blender-5.0/.set-up
blender_5_2 := .venv-blender-5.2/.set-up
browser := .stamps/browser

.DEFAULT_GOAL := help
.PHONY: help demo foley setup test test-fast test-browser test-weights gui-test docs docs-images lint format extension serve parity clean FORCE
.DELETE_ON_ERROR:

help:
	@echo "make demo          turn two silent clips into a film with sound; the results are in demo-output/"
	@echo "make foley         make the library pack foley from free recordings in packages of Debian and Ubuntu"
	@echo "make setup         set up the development environment in .venv"
	@echo "make test          run every check: style, types, layers, tests, and the add-on in four Blenders; 25 minutes"
	@echo "make test-fast     the checks that need neither the shipped weights nor Blender, without slow tests; 6 minutes"
	@echo "make test-browser  the tests of the web page in Chromium"
	@echo "make test-weights  measure the shipped weights on many clips, before a release"
	@echo "make gui-test      use the add-on with mouse and keys in a window of Blender; BLENDER=/path/to/blender"
	@echo "make docs          build the documentation site in build/site, with the sounds and plots of its examples"
	@echo "make docs-images   draw the plots that are in the repository again"
	@echo "make lint          check style, types, layers and the contract, and build the documentation site"
	@echo "make format        format the code"
	@echo "make extension     build the Blender extension in dist/"
	@echo "make serve         start the local server for the add-on"
	@echo "make parity        compare the networks with the reference implementation's arrays in PARITY=<folder>"
	@echo "make clean         remove results and caches; the environments stay"

setup: $(main)

demo: $(main) $(blender_4_5)
	@.venv/bin/python scripts/demo/run_demo.py

# FROM is a folder with the packages, for systems other than Debian and Ubuntu.
foley: $(main)
	@.venv/bin/python scripts/foley/make_foley.py $(if $(FROM),--from '$(FROM)')

test: $(main) $(protoc) $(browser) $(blender_4_2) $(blender_4_5) $(blender_5_0) $(blender_5_2)
	@.venv/bin/python scripts/dev/run_tests.py

test-fast: $(main) $(protoc)
	@.venv/bin/python scripts/dev/run_tests.py fast

test-browser: $(main) $(browser)
	@.venv/bin/python -m pytest -q tests/server/test_web_browser.py

test-weights: $(main)
	@.venv/bin/python scripts/dev/run_tests.py weights

gui-test: $(main)
	@BLENDER='$(BLENDER)' .venv/bin/python -m pytest -q -x -p no:cacheprovider tests/gui

lint: $(main) $(protoc)
	@.venv/bin/python scripts/dev/run_tests.py lint

# The sounds and plots of the examples are not in the repository: they are generated once, in a few minutes.
docs: $(main) docs/generated/.complete
	@.venv/bin/mkdocs build --strict --quiet && echo "Open build/site/index.html"

docs/generated/.complete: scripts/docs/make_examples.py rewas_engine/data/packs/starter/pack.toml | $(main)
	@.venv/bin/python scripts/docs/make_examples.py && touch $@

# Draws the plots that are in the repository again, for a release.
docs-images: $(main) $(blender_4_5)
	@.venv/bin/python scripts/docs/make_examples.py --tracked
	@.venv/bin/python scripts/docs/draw_controls.py
	@.venv/bin/python scripts/docs/draw_recordings.py
	@.venv/bin/python scripts/docs/draw_world.py
	@.venv/bin/python scripts/docs/draw_unseen_sounds.py
	@.venv/bin/python scripts/docs/draw_world.py --rendered --blender .venv-blender-4.5/bin/python

format: $(main)
	@.venv/bin/ruff check --fix --quiet .
	@.venv/bin/ruff format .

extension: $(main)
	@.venv/bin/python scripts/dev/build_extension.py

serve: $(main)
	@.venv/bin/rewas serve

# PARITY is a folder with golden/ and manifests/; PREFIX is added before every key of the weight recipe.
parity: $(main)
	@PARITY='$(PARITY)' PREFIX='$(PREFIX)' .venv/bin/python scripts/measure/parity.py

clean:
	rm -rf demo-output dist build proto/build *.egg-info proto/*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find addon server proto rewas_engine tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Each environment has a stamp: it is set up again only when its inputs have changed.
$(main): pyproject.toml proto/pyproject.toml scripts/dev/constraints/main.txt
	@TORCH='$(TORCH)' scripts/dev/set_up.sh main
	@touch $@

# A requested build of torch replaces the installed one; later runs without TORCH keep it.
ifneq ($(origin TORCH),file)
$(main): .stamps/torch
.stamps/torch: FORCE
	@mkdir -p .stamps && { echo '$(TORCH)' | cmp --silent - $@ || echo '$(TORCH)' > $@; }
endif

$(browser):
	@scripts/dev/set_up.sh browser
	@mkdir -p .stamps && touch $@

$(protoc): scripts/dev/constraints/protoc.txt
	@scripts/dev/set_up.sh protoc
	@touch $@

$(blender_4_2): scripts/dev/constraints/blender.txt
	@scripts/dev/set_up.sh blender-$(BLENDER_4_2)
	@touch $@

$(blender_4_5): scripts/dev/constraints/blender.txt
	@scripts/dev/set_up.sh blender-$(BLENDER_4_5)
	@touch $@

$(blender_5_0): scripts/dev/constraints/blender.txt
	@scripts/dev/set_up.sh blender-$(BLENDER_5_0)
	@touch $@

# Without Python 3.13, no environment is set up, and the next run looks for Python again.
$(blender_5_2): scripts/dev/constraints/blender.txt
	@scripts/dev/set_up.sh blender-$(BLENDER_5_2)
	@if [ -d $(@D) ]; then touch $@; fi
