"""The command qat as users meet it: mistakes, exit codes, and stopping and resuming."""

import gzip
import json
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def _command() -> str | None:
    """The built executable: $QAT_COMMAND, one on the path, or one in a build folder."""
    if named := os.environ.get("QAT_COMMAND"):
        return named
    built = sorted(ROOT.glob("build*/**/bin/qat"))
    return str(built[0]) if built else shutil.which("qat")


QAT = _command()
pytestmark = pytest.mark.skipif(QAT is None, reason="the command qat is not built")


def qat(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(QAT), *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    with gzip.open(path, "wb") as file:
        file.write(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A small job on images whose class is the row of a bright bar."""
    generator = np.random.default_rng(0)
    for split, rows in (("train", 1536), ("test", 256)):
        labels = generator.integers(0, 4, rows)
        images = generator.integers(0, 80, (rows, 8, 8))
        images[np.arange(rows), labels * 2] += 120
        write_idx(tmp_path / f"{split}-images.gz", images)
        write_idx(tmp_path / f"{split}-labels.gz", labels)
    path = tmp_path / "job.yaml"
    path.write_text(
        "model: {name: resnet, depth: 8, width: 8}\n"
        "data:\n"
        "  name: idx\n"
        "  train_images: train-images.gz\n"
        "  train_labels: train-labels.gz\n"
        "  test_images: test-images.gz\n"
        "  test_labels: test-labels.gz\n"
        "  batch: 16\n"
        "  augment: {flip: true, shift: 1}\n"
        "threads: 1\n"
        "float: {epochs: 3, optimizer: {lr: 0.05}, schedule: {name: one_cycle}}\n"
        "calibrate: {batches: 4}\n"
    )
    return path


def fails(result: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    assert (result.returncode, result.stderr) == (code, message + "\n")


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


def test_a_missing_job_and_bad_usage_exit_with_2(tmp_path: Path) -> None:
    fails(qat("train", "none.yaml", cwd=tmp_path), 2, "none.yaml: error: cannot read this file")
    fails(
        qat("resume", ".", cwd=tmp_path),
        2,
        f".: error: expected a run folder, but there is no {tmp_path}/job.yaml",
    )
    assert qat("fly", cwd=tmp_path).returncode == 2
    assert qat(cwd=tmp_path).returncode == 2
    assert qat("--help", cwd=tmp_path).returncode == 0


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
        f"qat: error: {job.parent}/test-labels.gz: row 7: label 9 is outside 0 to 3 "
        "(the labels of the training data)",
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


def _stop_when(job: Path, run: str, rows: int, number: int) -> None:
    """Trains until metrics.jsonl has `rows` lines, then sends the signal and awaits the end."""
    process = subprocess.Popen(
        [str(QAT), "train", job.name, f"run={run}"], cwd=job.parent, stdout=subprocess.DEVNULL
    )
    metrics = job.parent / run / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= rows):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number


def _without_time(path: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize(("rows", "number"), [(2, signal.SIGTERM), (18, signal.SIGINT)])
def test_a_stopped_run_resumes_to_identical_files(job: Path, rows: int, number: int) -> None:
    """96 steps an epoch, a line every 20 steps and one an epoch: line 2 is of the first epoch, line
    18 is the first of the quantization-aware one, after 14 + 3 of the float ones."""
    whole = qat("train", "job.yaml", "run=whole", cwd=job.parent)
    assert whole.returncode == 0, whole.stderr
    _stop_when(job, "halved", rows, number)
    resumed = qat("resume", "halved", cwd=job.parent)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]
    for name in ("float.safetensors", "model.safetensors", "checkpoints/best_qat.safetensors"):
        assert (job.parent / "halved" / name).read_bytes() == (
            job.parent / "whole" / name
        ).read_bytes(), name
    assert _without_time(job.parent / "halved/metrics.jsonl") == _without_time(
        job.parent / "whole/metrics.jsonl"
    )
    assert (job.parent / "whole/report.html").read_text().count("<svg") >= 4


def test_the_last_line_and_verify_agree(job: Path) -> None:
    trained = qat("train", "job.yaml", "float.epochs=1", "run=r", cwd=job.parent)
    assert trained.returncode == 0, trained.stderr
    line = trained.stdout.splitlines()[-1]
    fields = dict(field.split("=") for field in line.split(" "))
    assert list(fields) == ["float_accuracy", "int8_accuracy", "differing_logits", "size_ratio"]
    assert fields["differing_logits"] == f"0/{256 * 4}"
    verified = qat("verify", "r", cwd=job.parent)
    assert verified.stdout == f"differing_logits=0/{256 * 4} differing_parameters=0\n"
    evaluated = qat("evaluate", "r", cwd=job.parent)
    assert evaluated.stdout.splitlines()[-1] == " ".join(line.split(" ")[:2])
    model = qat("evaluate", "r/model.safetensors", cwd=job.parent)
    assert model.stdout.splitlines()[-1] == line.split(" ")[1]
