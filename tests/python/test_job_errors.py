"""The command qat when something is wrong: one line that names it, and the exit code."""

import os
from pathlib import Path

import numpy as np
import pytest
from job_support import fails, needs_qat, qat, write_idx, write_job

pytestmark = needs_qat


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job that would run."""
    return write_job(tmp_path, rows=256)


def test_mistakes_in_the_job_exit_with_2_and_one_line(job: Path) -> None:
    job.write_text(job.read_text().replace("  batch: 16", "  bacth: 16"))
    fails(
        qat("train", "job.yaml", cwd=job.parent),
        2,
        "job.yaml:8:3: error: data: unknown key 'bacth'; did you mean 'batch'?",
    )


def test_overrides_name_the_command_line(job: Path) -> None:
    fails(
        qat("train", "job.yaml", "data.batch=many", cwd=job.parent),
        2,
        "command line: data.batch=many: error: data.batch: expected an integer from 1 to 65536, "
        "found 'many'",
    )


def test_what_is_no_job_and_no_run(job: Path) -> None:
    folder = job.parent
    missing = "none.yaml: error: cannot read this file: No such file or directory"
    fails(qat("train", "none.yaml", cwd=folder), 2, missing)
    (folder / "empty.yaml").write_text("")
    fails(qat("plan", "empty.yaml", cwd=folder), 2, "empty.yaml: error: the file is empty")
    (folder / "empty").mkdir()
    for command in ("resume", "verify"):
        message = "error: expected a run folder, but there is no"
        fails(qat(command, ".", cwd=folder), 2, f".: {message} {folder}/checkpoints")
        fails(qat(command, "empty", cwd=folder), 2, f"empty: {message} {folder}/empty/job.yaml")


USAGE = {
    "": "a command is needed; see 'qat --help'",
    "fly": "unknown command 'fly'; the commands are train, calibrate, resume, evaluate, verify, "
    "inspect, plan, sensitivity, search, bench; see 'qat --help'",
    "trian job.yaml": "unknown command 'trian'; did you mean 'train'?; see 'qat --help'",
    "train": "JOB is required; see 'qat train --help'",
    "verify a b": "The following argument was not expected: b; see 'qat verify --help'",
    "verify a --limit 0": "--limit: Value 0 not in range 1 to 1000000000; see 'qat verify --help'",
    "bench a --threads 100000": "--threads: Value 100000 not in range 1 to 1024; see 'qat bench "
    "--help'",
    "bench a --fast": "The following argument was not expected: --fast; see 'qat bench --help'",
}


@pytest.mark.parametrize("arguments", USAGE)
def test_bad_usage_points_to_the_help_of_the_command(tmp_path: Path, arguments: str) -> None:
    fails(qat(*arguments.split(), cwd=tmp_path), 2, "qat: error: " + USAGE[arguments])


@pytest.mark.parametrize("command", ["", "train", "resume", "evaluate", "verify", "inspect"])
def test_help_is_no_mistake(tmp_path: Path, command: str) -> None:
    result = qat(*command.split(), "--help", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert ("Exit codes:" in result.stdout) == (command == "")


def test_damaged_data_exits_with_1_and_names_the_file(job: Path) -> None:
    images = job.parent / "train-images.gz"
    images.write_bytes(images.read_bytes()[:-100])
    fails(
        qat("train", "job.yaml", cwd=job.parent),
        1,
        f"qat: error: {images}: cannot unpack the file: it ends in the middle of its gzip stream",
    )


def test_labels_out_of_range_are_named_with_their_row(job: Path) -> None:
    labels = np.zeros(256)
    labels[7] = 9
    write_idx(job.parent / "test-labels.gz", labels)
    fails(
        qat("train", "job.yaml", cwd=job.parent),
        1,
        f"qat: error: {job.parent}/test-labels.gz: row 7 (counted from 0): label 9 is outside 0 "
        "to 3 (the labels of the training data)",
    )


def test_a_missing_data_set_names_the_package(job: Path) -> None:
    job.write_text("model: {name: mlp}\ndata: {name: fashion_mnist, root: nowhere}\n")
    fails(
        qat("train", "job.yaml", cwd=job.parent),
        1,
        f"qat: error: data.root: Fashion-MNIST is not there, tried {job.parent}/nowhere/"
        "train-images-idx3-ubyte.gz; install the Debian package dataset-fashion-mnist or set "
        "data.root to a folder that has its files",
    )


def test_divergence_is_an_error_and_not_a_nan_model(job: Path) -> None:
    """Inputs of 1e36 give gradients whose step overflows the second forward."""
    overrides = ("model={name: mlp}", "data.mean=[0]", "data.std=[1e-36]")
    result = qat("train", "job.yaml", *overrides, cwd=job.parent)
    assert result.returncode == 1
    assert result.stderr.startswith("qat: error: training diverged: the loss is ")
    assert result.stderr.endswith("; lower float.optimizer.lr or set float.clip_norm\n")


def test_a_run_folder_is_not_used_twice(job: Path) -> None:
    (job.parent / "r").mkdir()
    (job.parent / "r/job.yaml").write_text("")
    fails(
        qat("train", "job.yaml", "run=r", cwd=job.parent),
        2,
        f"run: error: {job.parent}/r holds a run already; continue it with "
        f"'qat resume {job.parent}/r' or choose another folder",
    )


def test_a_truncated_data_file_is_named(job: Path) -> None:
    images = job.parent / "train-images"
    write_idx(images, np.zeros((256, 8, 8)))
    images.write_bytes(images.read_bytes()[:-1])
    fails(
        qat("train", "job.yaml", f"data.train_images={images}", cwd=job.parent),
        1,
        f"qat: error: {images}: truncated: the header says 256x8x8 bytes, the file holds 16383",
    )


def test_not_a_number_in_a_csv_file_is_named_with_its_row(job: Path) -> None:
    table = job.parent / "t.csv"
    table.write_text("a,b,label\n0.5,1,0\n0.25,NaN,1\n")
    data = "data={name: csv, train: t.csv, test: t.csv}"
    fails(
        qat("train", "job.yaml", "model={name: mlp}", data, cwd=job.parent),
        1,
        f"qat: error: {table}: row 3, column 1: expected a finite number, found 'NaN'",
    )


def test_a_recipe_without_an_integer_site_is_refused_before_the_training(job: Path) -> None:
    override = "recipe={rules: [{sites: '*', keep_float: true}]}"
    result = qat("train", "job.yaml", "run=r", override, cwd=job.parent)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("qat: error: prepare: the plan holds no site to quantize.")


@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_rule_that_does_nothing_is_named_once(job: Path, command: str) -> None:
    """C++'s linear layers transpose their weight first: `fc` is that, and `fc_1` the layer."""
    warning = (
        "recipe.rules[0].sites: 'fc' matches nothing but what is computed from weights alone, so "
        "the rule does nothing; 'qat plan' prints the sites"
    )
    for site, times in (("fc", 1), ("fc_1", 0)):
        rule = f"recipe={{rules: [{{sites: {site}, weight_bits: 4}}]}}"
        result = qat(command, "job.yaml", rule, "float.epochs=1", cwd=job.parent)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count(warning) == times
        if command == "plan":
            assert ("w s4" in result.stdout) == (site == "fc_1")


def test_one_row_is_too_few_to_train_on(job: Path) -> None:
    fails(
        qat("train", "job.yaml", "data.limit=1", cwd=job.parent),
        1,
        "qat: error: data: 1 of the 1 training rows leaves none to train on; make data.limit "
        "larger",
    )


def test_a_misspelt_recipe_is_told_what_was_meant(job: Path) -> None:
    result = qat("plan", "job.yaml", "recipe=int9", cwd=job.parent)
    assert result.returncode == 2
    assert result.stderr.startswith("command line: recipe=int9: error: recipe: expected one of ")
    assert result.stderr.endswith(", got 'int9'; did you mean 'int8'?\n")


def test_validation_rows_must_leave_some_to_train_on(job: Path) -> None:
    fails(
        qat("train", "job.yaml", "data.validation=256", cwd=job.parent),
        1,
        "qat: error: data.validation: 256 of the 256 training rows leave none to train on; make it "
        "smaller",
    )


def test_a_run_folder_that_cannot_be_made_is_named(job: Path) -> None:
    fails(
        qat("train", "job.yaml", "run=job.yaml/r", cwd=job.parent),
        2,
        f"run: error: cannot make the folder {job}/r: Not a directory",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_folder_that_may_not_be_written_is_named(job: Path) -> None:
    closed = job.parent / "closed"
    closed.mkdir(mode=0o555)
    fails(
        qat("train", "job.yaml", "run=closed/r", cwd=job.parent),
        2,
        f"run: error: cannot make the folder {closed}/r: Permission denied",
    )


def test_a_full_disk_leaves_nothing_half_written(job: Path) -> None:
    """4 KiB: enough for the job and the logs, not for the weights."""
    result = qat("train", "job.yaml", "run=r", cwd=job.parent, largest_file=4)
    run = job.parent / "r"
    assert result.returncode == 1
    assert result.stderr.startswith(f"qat: error: {run}/float.safetensors: cannot write ")
    assert result.stderr.endswith(" bytes: File too large\n")
    left = sorted(path.name for path in run.rglob("*"))
    assert left == ["checkpoints", "events.out.tfevents.qat", "job.yaml", "metrics.jsonl"]


def test_a_full_disk_stops_the_log_too(job: Path) -> None:
    """1 KiB holds less than the lines of 100 steps and 100 epochs."""
    overrides = ("model={name: mlp, hidden: [1]}", "float.epochs=100", "data.batch=235")
    result = qat("train", "job.yaml", "run=r", *overrides, cwd=job.parent, largest_file=1)
    assert result.returncode == 1
    assert result.stderr.startswith(f"qat: error: {job.parent}/r/")
    assert result.stderr.endswith(": File too large\n")
