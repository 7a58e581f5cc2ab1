"""The script scripts/results/methods.py, a stand-in for the command, and made-up results."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "scripts" / "results"
needs_images = pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").exists(), reason="Fashion-MNIST is not installed"
)

# Stands for the command: notes how it was called, then succeeds, fails or takes its time.
STUB = """#!{python}
import json, pathlib, sys, time
here = pathlib.Path(__file__).parent
if sys.argv[1] == "--version":
    sys.exit(print("0"))
keys = dict(part.split("=", 1) for part in sys.argv[2:] if "=" in part)
with (here / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
mood = here / keys.get("name", "search")
if mood.exists() and mood.read_text() == "fail":
    sys.exit("qat: error: out of luck")
if mood.exists():
    (here / "started").touch()
    time.sleep(60)
if "run" in keys:
    run = pathlib.Path(keys["run"])
    run.mkdir()
    (run / "float.safetensors").touch()
    seed = int(keys["seed"])
    report = {{
        "float": {{"accuracy": 0.9}},
        "int8": {{"accuracy": 0.89 + seed / 1000}},
        "size": {{"float_bytes": 100, "int8_bytes": 25, "ratio": 0.25}},
        "verify": {{"differing_logits": 0, "logits": 10}},
        "robustness": None,
        "history": [
            {{"phase": "float", "seconds": 7.0}},
            {{"phase": "qat", "loss": 1.0}},
            {{"phase": "qat", "seconds": 2.0}},
            {{"phase": "qat", "seconds": 4.0}},
        ],
    }}
    (run / "report.json").write_text(json.dumps(report))
"""


def module(name: str) -> ModuleType:
    """One of the script's modules, which import each other by their bare names."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)


ROWS = module("method_rows").ROWS


def write_stub(folder: Path) -> None:
    """Puts the stand-in into the folder."""
    path = folder / "qat"
    path.write_text(STUB.format(python=sys.executable))
    path.chmod(0o755)


def line(folder: Path, *arguments: str) -> list[str]:
    """The command line of the script, its results and runs in the folder."""
    places = ["--results", str(folder / "methods.json"), "--runs", str(folder / "runs")]
    return [sys.executable, str(FOLDER / "methods.py"), *places, *arguments]


def script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with the stand-in."""
    return subprocess.run(
        line(folder, *arguments),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"QAT_COMMAND": str(folder / "qat")},
    )


def entry(row: str, seed: int, floating: float, int8: float, **other: Any) -> dict[str, Any]:
    """A made-up result."""
    figures = {"size_ratio": 0.25, "int8_bytes": 9, "seconds_per_epoch": 50.0}
    counts = {"differing_logits": 0, "logits": 1000, "minutes": 5.0}
    place = {"machine": {"machine": "M", "threads": "2", "cores": "2"}, "versions": {"qat": "0"}}
    made = {"row": row, "seed": seed, "definition": [], "commands": []}
    accuracies = {"float_accuracy": floating, "int8_accuracy": int8}
    return {**made, **accuracies, **figures, **counts, **place, **other}


def made_up(folder: Path, *entries: dict[str, Any]) -> Any:
    """A store of made-up results."""
    path = folder / "methods.json"
    path.write_text(json.dumps(entries))
    return module("method_store").Store.load(path)
