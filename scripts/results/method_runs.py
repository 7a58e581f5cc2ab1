"""Runs one row with one seed and reads what came out of it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from method_rows import BY_NAME, JOB, ROOT, Budget, Row, definition
from method_store import Entry, Measured, Robust, Store


class RunError(Exception):
    """A row that cannot be measured: what is missing, or what went wrong."""


@dataclass(frozen=True)
class Place:
    """Where runs lie and what they may spend."""

    runs: Path
    budget: Budget
    job: Path = JOB

    def folder(self, row: str, seed: int) -> Path:
        """The run folder of one row and seed."""
        return self.runs / f"{row}-{seed}"

    def float_model(self, row: Row, seed: int) -> Path:
        """The model that the row starts from."""
        return self.folder(row.start, seed) / "float.safetensors"


def qat_command() -> str:
    """$QAT_COMMAND, the one beside this Python, or one on the path."""
    if named := os.environ.get("QAT_COMMAND"):
        return named
    beside = Path(sys.executable).parent / "qat"
    found = str(beside) if beside.exists() else shutil.which("qat")
    if found is None:
        raise RunError("the command qat is not there; install the package or set QAT_COMMAND")
    return found


def overrides(row: Row, seed: int, place: Place) -> list[str]:
    """The keys that make the base job this row's."""
    keys = [f"name={row.name}", f"seed={seed}", *place.budget.overrides(row.command)]
    if row.shares_float:
        keys.append(f"weights={place.float_model(row, seed)}")
    if row.teacher:
        keys.append(f"distill={{teacher: {place.folder(row.teacher, seed)}}}")
    return [*keys, *row.overrides]


def recipe_file(row: Row, seed: int, place: Place) -> Path:
    """Where a search puts its recipe: not in the run folder, which has to be new."""
    return place.runs / f"{row.name}-{seed}.recipe.yaml"


def search(row: Row, seed: int, place: Place) -> list[str]:
    """The command line of the search, which begins at the float run of the seed."""
    target = ["--out", str(recipe_file(row, seed, place)), "--force"]
    folder = str(place.folder(row.start, seed))
    return [qat_command(), "search", folder, *row.overrides, *row.search, *target]


def peer(row: Row, seed: int, place: Place, folder: Path) -> list[str]:
    """The command line of a peer's training, which takes the budget as JSON."""
    script = Path(__file__).parent / "peer_training.py"
    given = {
        "peer": row.peer,
        "seed": str(seed),
        "budget": json.dumps(vars(place.budget)),
        "weights": str(place.float_model(row, seed)),
        "run": str(folder),
    }
    options = [part for key, value in given.items() for part in (f"--{key}", value)]
    return [sys.executable, str(script), *options]


def commands(row: Row, seed: int, place: Place) -> list[list[str]]:
    """The command lines of one row, in order."""
    folder = place.folder(row.name, seed)
    if row.command == "peer":
        return [peer(row, seed, place, folder)]
    keys = [*overrides(row, seed, place), f"run={folder}"]
    line = [qat_command(), row.command, str(place.job), *keys]
    if not row.search:
        return [line]
    return [search(row, seed, place), [*line, f"recipe={recipe_file(row, seed, place)}"]]


def execute(line: list[str], log: Path) -> None:
    """Runs a command into a log. Interrupted, it stops the command before it passes that on."""
    environment = {"OMP_WAIT_POLICY": "passive"} | os.environ
    with log.open("a", encoding="utf-8") as output:
        output.write(shlex.join(line) + "\n")
        output.flush()
        process = subprocess.Popen(
            line, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            code = process.wait()
        except BaseException:
            process.terminate()  # not SIGINT: what runs in the background may ignore it
            process.wait()
            raise
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise RunError(f"exit status {code}: {lines[-1]} ({log})")


def seconds_per_epoch(report: dict[str, Any], phase: str) -> float | None:
    """Mean over the phase's epochs, validation included."""
    epochs = [line for line in report["history"] if line["phase"] == phase and "seconds" in line]
    return sum(line["seconds"] for line in epochs) / len(epochs) if epochs else None


def read_report(row: Row, folder: Path) -> Measured:
    """The figures of a finished run's report.json."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    floating = row.floating
    accuracy = report["float"]["accuracy"]
    measured = Measured(
        float_accuracy=accuracy,
        int8_accuracy=accuracy if floating else report["int8"]["accuracy"],
        size_ratio=1.0 if floating else report["size"]["ratio"],
        int8_bytes=report["size"]["float_bytes" if floating else "int8_bytes"],
        seconds_per_epoch=seconds_per_epoch(report, "float" if floating else "qat"),
        differing_logits=None if floating else report["verify"]["differing_logits"],
        logits=None if floating else report["verify"]["logits"],
    )
    found: Robust | None = report.get("robustness")
    if found:
        measured["robustness"] = found
    return measured


def read_peer(folder: Path) -> Measured:
    """What peer_training.py wrote."""
    measured: Measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    return measured


def machine_name() -> dict[str, str]:
    """Processor, instruction sets, threads and torch, as the benchmarks name them."""
    sys.path.append(str(ROOT / "scripts" / "bench"))
    import torch
    from machine import machine

    cores = len(os.sched_getaffinity(0))
    return {**machine(), "threads": str(torch.get_num_threads()), "cores": str(cores)}


def versions() -> dict[str, str]:
    """Of the command, and the commit that the checkout is at."""

    def printed(*line: str) -> str:
        found = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        return found.stdout.strip()

    return {
        "qat": printed(qat_command(), "--version"),
        "commit": printed("git", "describe", "--always", "--dirty", "--abbrev=12"),
        "python": sys.version.split()[0],
    }


def shown(line: list[str], place: Place) -> str:
    """A command line without the folders of this machine."""
    text = shlex.join([Path(line[0]).name, *line[1:]])
    return text.replace(str(place.runs), "RUNS").replace(f"{ROOT}/", "")


def measure(row: Row, seed: int, place: Place, store: Store) -> Entry:
    """Runs the row from the start; what an interrupted run of it left is thrown away."""
    for name in row.needs():
        if store.get(name, seed) is None:
            raise RunError(f"needs the row {name} with seed {seed} first")
    if row.shares_float and not place.float_model(row, seed).exists():
        raise RunError(
            f"{place.float_model(row, seed)} is missing; train it anew with "
            f"--redo --rows {row.start} --seeds {seed}"
        )
    folder = place.folder(row.name, seed)
    shutil.rmtree(folder, ignore_errors=True)
    place.runs.mkdir(parents=True, exist_ok=True)
    log = place.runs / f"{row.name}-{seed}.log"
    log.unlink(missing_ok=True)
    lines = commands(row, seed, place)
    started = time.monotonic()
    for line in lines:
        execute(line, log)
    minutes = (time.monotonic() - started) / 60
    measured = read_peer(folder) if row.command == "peer" else read_report(row, folder)
    return Entry(
        row=row.name,
        seed=seed,
        minutes=round(minutes, 2),
        definition=definition(row, place.budget),
        commands=[shown(line, place) for line in lines],
        machine=machine_name(),
        versions=versions(),
        **measured,
    )


def with_needs(rows: list[Row]) -> list[Row]:
    """The rows and what they need, every row once and after what it needs."""
    ordered: dict[str, Row] = {}

    def add(row: Row) -> None:
        for name in row.needs():
            add(BY_NAME[name])
        ordered.setdefault(row.name, row)

    for row in rows:
        add(row)
    return list(ordered.values())
