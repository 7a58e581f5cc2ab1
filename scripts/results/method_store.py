"""The file of results: one entry per row and seed, replaced as a whole after each."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

from method_rows import ROWS, Budget, Row, definition


class Robust(TypedDict):
    """Accuracies under an attack."""

    attack: str
    epsilon: float
    steps: int
    float_accuracy: float
    int8_accuracy: float


class Measured(TypedDict):
    """What one run says; accuracies from 0 to 1, None where there is no such figure."""

    float_accuracy: float
    int8_accuracy: float
    size_ratio: float | None
    int8_bytes: int | None
    seconds_per_epoch: float | None
    differing_logits: int | None
    logits: int | None
    robustness: NotRequired[Robust]


class Entry(Measured):
    """A result, with what it takes to repeat it."""

    row: str
    seed: int
    minutes: float
    definition: list[str]
    commands: list[str]
    machine: dict[str, str]
    versions: dict[str, str]


def write_whole(path: Path, text: str) -> None:
    """Writes the file beside its place and moves it there: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp leaves it to its owner alone
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time changes a file of the folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@dataclass
class Store:
    """The entries of one file, by row and seed."""

    path: Path
    entries: dict[tuple[str, int], Entry] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Store":
        """Of a file that need not be there yet."""
        store = cls(path)
        if path.exists():
            for entry in json.loads(path.read_text(encoding="utf-8")):
                store.entries[entry["row"], entry["seed"]] = entry
        return store

    def put(self, entry: Entry) -> None:
        """Adds or replaces one entry, on disk too, beside what other processes have added."""
        place = {row.name: index for index, row in enumerate(ROWS)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.parent):
            self.entries |= Store.load(self.path).entries
            self.entries[entry["row"], entry["seed"]] = entry
            order = sorted(self.entries, key=lambda key: (place.get(key[0], len(place)), *key))
            text = json.dumps([self.entries[key] for key in order], indent=1)
            write_whole(self.path, text + "\n")

    def get(self, row: str, seed: int) -> Entry | None:
        """The entry, if it is there."""
        return self.entries.get((row, seed))

    def of(self, row: Row) -> list[Entry]:
        """The row's entries by ascending seed."""
        return [
            self.entries[row.name, seed] for seed in sorted(row.seeds) if self.get(row.name, seed)
        ]

    def missing(self, rows: list[Row], seeds: list[int]) -> Iterator[tuple[Row, int]]:
        """What has not been measured, row by row."""
        for row in rows:
            for seed in row.seeds:
                if seed in seeds and not self.get(row.name, seed):
                    yield row, seed

    def out_of_date(self, row: Row, seed: int, budget: Budget) -> bool:
        """Whether the entry was measured with another definition of the row."""
        entry = self.get(row.name, seed)
        return entry is not None and entry["definition"] != definition(row, budget)

    def expected_minutes(self, row: Row) -> float:
        """As measured with another seed, or the row's own estimate."""
        measured = [entry["minutes"] for entry in self.of(row)]
        return sum(measured) / len(measured) if measured else row.minutes
