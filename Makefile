# `make demo` and `make test` set up everything they need in .venv. On Windows, see README.md for the same steps with pip.
PYTHON ?= python3
INPUT ?=
FROM ?=
BIN := .venv/bin

.PHONY: demo test lint format docs weights clean

demo: .venv/demo.stamp
	$(BIN)/python -m modality_conversion.demo demo $(if $(INPUT),--input "$(INPUT)") $(if $(FROM),--from $(FROM))

test: .venv/test.stamp lint
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term --cov-fail-under=95

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site in build/site; --strict makes a dead link, a page outside the contents and a missing name errors.
docs: .venv/docs.stamp
	$(BIN)/python -m mkdocs build --quiet --strict

# Makes the bundled any-to-any model from the data: hours. MODALITY_DATA and MODALITY_WORK say where, see training/README.md.
CONFIGS := training/configs
weights: .venv/test.stamp
	$(BIN)/python -m training simulate $(CONFIGS)/any_to_any.yaml
	$(BIN)/python -m training qc $(CONFIGS)/any_to_any.yaml
	for part in first second third; do $(BIN)/python -m training train $(CONFIGS)/any_to_any_$$part.yaml || exit 1; done
	for verb in train export evaluate export calibrate; do $(BIN)/python -m training $$verb $(CONFIGS)/any_to_any.yaml || exit 1; done

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/demo.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[cpu,demo]"
	touch $@

# constraints.txt pins torch, since a free choice brings gigabytes of CUDA on Linux.
.venv/test.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cpu,demo,dicom,remote,torchscript,training,test]"
	touch $@

.venv/docs.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

clean:
	rm -rf .venv demo build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
