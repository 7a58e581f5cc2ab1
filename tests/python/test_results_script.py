"""scripts/results/methods.py: its rows, what it runs, skips and keeps."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from job_support import needs_qat, qat
from results_support import ROWS, entry, line, made_up, module, needs_images, script, write_stub


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A folder with the stand-in for the command."""
    write_stub(tmp_path)
    return tmp_path


def calls(folder: Path) -> list[str]:
    """The runs that the stand-in was asked for since the last look."""
    path = folder / "calls"
    made = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [Path(call.split("run=")[-1].split(" ")[0]).name for call in made]


def stored(folder: Path) -> list[tuple[str, int]]:
    """Rows and seeds of the file."""
    return [(e["row"], e["seed"]) for e in json.loads((folder / "methods.json").read_text())]


def test_rows_refer_to_rows_that_are_there() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    for row in ROWS:
        assert not row.against or names.index(row.against) < names.index(row.name) or row.search
        assert (row.command == "peer") == bool(row.peer)
        assert set(row.seeds) <= {1, 2, 3}


@needs_qat
@needs_images
@pytest.mark.parametrize("row", [row for row in ROWS if not row.peer], ids=lambda row: row.name)
def test_the_command_takes_the_row(row: Any, tmp_path: Path) -> None:
    runs, rows = module("method_runs"), module("method_rows")
    keys = runs.overrides(row, 1, runs.Place(tmp_path, rows.QUICK))
    result = qat("plan", str(rows.JOB), *keys, "data.limit=200", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "layer3.0.conv2" in result.stdout


def test_every_row_and_seed_runs_once(stub: Path) -> None:
    first = script(stub, "--rows", "w8a8,w2a2", "--seeds", "1,3")
    assert (first.returncode, first.stderr) == (0, "")
    done = [("float", 1), ("float", 3), ("w8a8", 1), ("w8a8", 3), ("w2a2", 1), ("w2a2", 3)]
    assert stored(stub) == done
    assert calls(stub) == [f"{row}-{seed}" for row, seed in done]
    assert script(stub, "--rows", "w8a8,w2a2", "--seeds", "1,3").returncode == 0
    assert calls(stub) == []
    assert script(stub, "--rows", "w8a8", "--seeds", "1,2").returncode == 0
    assert calls(stub) == ["float-2", "w8a8-2"]
    assert script(stub, "--rows", "w8a8", "--seeds", "3", "--redo").returncode == 0
    assert calls(stub) == ["w8a8-3"]


def test_an_entry_has_the_figures_and_how_they_came_about(stub: Path) -> None:
    assert script(stub, "--rows", "w8a8", "--seeds", "2").returncode == 0
    floating, int8 = json.loads((stub / "methods.json").read_text())
    assert (floating["float_accuracy"], floating["int8_accuracy"]) == (0.9, 0.9)
    assert (floating["size_ratio"], floating["seconds_per_epoch"]) == (1.0, 7.0)
    assert (int8["float_accuracy"], int8["int8_accuracy"]) == (0.9, 0.892)
    assert (int8["size_ratio"], int8["seconds_per_epoch"]) == (0.25, 3.0)
    assert (int8["differing_logits"], int8["logits"]) == (0, 10)
    (command,) = int8["commands"]
    assert command.startswith("qat train configs/fashion_mnist_resnet.yaml name=w8a8 seed=2 ")
    assert "weights=RUNS/float-2/float.safetensors" in command
    assert str(stub) not in command
    assert int8["machine"]["threads"].isdigit()
    assert set(int8["versions"]) == {"qat", "commit", "python"}


def test_the_search_comes_before_its_training(stub: Path) -> None:
    assert script(stub, "--rows", "mixed", "--seeds", "1").returncode == 0
    search, train = [
        call for call in (stub / "calls").read_text().splitlines() if "name=float" not in call
    ]
    recipe = stub / "runs" / "mixed-1.recipe.yaml"
    assert search.startswith(f"search {stub / 'runs' / 'float-1'} recipe=")
    assert search.endswith(f"--size 0.5 --out {recipe} --force")
    assert train.startswith("train ") and train.endswith(f" recipe={recipe}")


def test_a_row_that_fails_does_not_stop_the_others(stub: Path) -> None:
    (stub / "w8a8").write_text("fail")
    result = script(stub, "--rows", "w8a8,w2a2", "--seeds", "1")
    assert result.returncode == 1
    log = stub / "runs" / "w8a8-1.log"
    assert result.stderr == (
        f"[2/3] w8a8 seed 1: failed: exit status 1: qat: error: out of luck ({log})\n"
    )
    assert stored(stub) == [("float", 1), ("w2a2", 1)]


def test_rows_wait_for_the_float_model(stub: Path) -> None:
    (stub / "float").write_text("fail")
    result = script(stub, "--rows", "w8a8", "--seeds", "1")
    assert result.stderr.splitlines()[1] == (
        "[2/2] w8a8 seed 1: failed: needs the row float with seed 1 first"
    )
    (stub / "float").unlink()
    assert script(stub, "--rows", "float", "--seeds", "1").returncode == 0
    (stub / "runs" / "float-1" / "float.safetensors").unlink()
    result = script(stub, "--rows", "w8a8", "--seeds", "1")
    assert "is missing; train it anew with --redo --rows float --seeds 1" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_loses_the_current_row_only(stub: Path, number: signal.Signals) -> None:
    (stub / "w8a8").write_text("sleep")
    environment = os.environ | {"QAT_COMMAND": str(stub / "qat")}
    process = subprocess.Popen(
        line(stub, "--rows", "w8a8", "--seeds", "1"), env=environment, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not (stub / "started").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    started = time.monotonic()
    process.send_signal(number)
    _, message = process.communicate(timeout=50)
    assert process.returncode == 130
    assert time.monotonic() - started < 30  # the stand-in sleeps for a minute
    assert message == b"stopped; finished rows are kept, the current one starts anew\n"
    assert stored(stub) == [("float", 1)]
    (stub / "w8a8").unlink()
    assert script(stub, "--rows", "w8a8", "--seeds", "1").returncode == 0
    assert stored(stub) == [("float", 1), ("w8a8", 1)]


def test_runs_beside_one_another_keep_each_others_entries(tmp_path: Path) -> None:
    one, other = made_up(tmp_path), module("method_store").Store.load(tmp_path / "methods.json")
    one.put(entry("w8a8", 1, 0.9, 0.9))
    other.put(entry("w8a8", 2, 0.9, 0.9))
    one.put(entry("w8a8", 3, 0.9, 0.9))
    assert stored(tmp_path) == [("w8a8", 1), ("w8a8", 2), ("w8a8", 3)]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made_up(tmp_path, entry("w8a8", 1, 0.9, 0.9))
    before = (tmp_path / "methods.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        store.put(entry("w8a8", 2, 0.9, 0.9))
    assert (tmp_path / "methods.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["methods.json"]


def test_the_list_names_what_is_missing_and_what_is_out_of_date(tmp_path: Path) -> None:
    rows = module("method_rows")
    same = rows.definition(rows.BY_NAME["float"], rows.Budget())
    made_up(
        tmp_path,
        *(entry("float", seed, 0.9, 0.9, definition=same) for seed in (1, 2, 3)),
        entry("w8a8", 2, 0.9, 0.9, minutes=4.0),
    )
    result = script(tmp_path, "--list", "--rows", "w8a8,adversarial")
    assert result.stdout.splitlines() == [
        "w8a8                   4.0 min for each of the seeds [1, 3]",
        "adversarial           60.0 min for each of the seeds [1]",
        "w8a8                 seed 2 was measured with another definition: --redo",
        "missing: 68 minutes",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "w8a9"], "--rows: no row 'w8a9'; there are float, float-10, w8a8, "),
        (["--seeds", "one"], "--seeds: expected numbers such as 1,2,3, got 'one'"),
    ],
)
def test_bad_usage(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = script(tmp_path, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
