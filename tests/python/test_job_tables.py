"""Jobs on tables of numbers: what is refused, and that it leaves nothing behind."""

import subprocess
from pathlib import Path

from job_support import fails, last_line, needs_qat, qat

pytestmark = needs_qat


def _table(path: Path, header: str, labels: list[int]) -> None:
    rows = (f"{row % 5},{row % 3},{label}\n" for row, label in enumerate(labels))
    path.write_text(header + "".join(rows))


def _train_tables(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """The job of train.csv and test.csv."""
    (folder / "t.yaml").write_text(
        "model: {name: mlp, hidden: [4]}\n"
        "data: {name: csv, train: train.csv, test: test.csv, batch: 8}\n"
    )
    return qat("train", "t.yaml", *overrides, cwd=folder)


def test_columns_in_another_order_are_refused(tmp_path: Path) -> None:
    """Columns go by their position: with these the test data would be read as other features."""
    _table(tmp_path / "train.csv", "x,noise,label\n", [0, 1] * 12)
    _table(tmp_path / "test.csv", "noise,x,label\n", [0, 1] * 12)
    fails(
        _train_tables(tmp_path),
        1,
        f"qat: error: {tmp_path}/test.csv: the columns besides the label are noise, x, those of "
        f"{tmp_path}/train.csv are x, noise; give both files the same columns in the same order",
    )


def test_a_table_without_a_header_needs_the_index_of_its_label(tmp_path: Path) -> None:
    fails(
        _train_tables(tmp_path, "data.header=false"),
        2,
        "t.yaml:2:7: error: data.label: the file has no header row, so no column is named 'label'; "
        "give the index of the label's column from 0, as in label: 0",
    )


def test_labels_of_a_table_are_named_with_their_line(tmp_path: Path) -> None:
    _table(tmp_path / "train.csv", "a,b,label\n", [0, 1] * 12)
    _table(tmp_path / "test.csv", "a,b,label\n", [0, 1, 2])
    fails(
        _train_tables(tmp_path),
        1,
        f"qat: error: {tmp_path}/test.csv: row 4: label 2 is outside 0 to 1 (the labels of the "
        "training data)",
    )


def test_a_label_that_is_none_is_named(tmp_path: Path) -> None:
    """A million classes would need more memory than there is."""
    for name in ("train.csv", "test.csv"):
        _table(tmp_path / name, "a,b,label\n", [0, 1_000_000, *[1] * 22])
    fails(
        _train_tables(tmp_path),
        1,
        f"qat: error: {tmp_path}/train.csv: row 3: label 1000000 is outside 0 to 99999; is this "
        "the column of the labels? Give other labels the numbers from 0 on",
    )


def test_a_job_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    """So that the mended job finds its folder free, and no numbered ones pile up."""
    for name in ("train.csv", "test.csv"):
        _table(tmp_path / name, "a,b,label\n", [0, 1] * 12)
    refused = (
        "data.classes=1",
        "weights=t.yaml",
        "recipe={rules: [{sites: '*', keep_float: true}]}",
    )
    for override in refused:
        for run in ((), ("run=r",)):
            assert _train_tables(tmp_path, override, *run).returncode != 0
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["t.yaml", "test.csv", "train.csv"]
    last_line(_train_tables(tmp_path, "run=r"))
