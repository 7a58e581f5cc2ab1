"""What 'qat resume' refuses: damaged files, another job and other data than the run began with."""

import re
import shutil
import signal
from pathlib import Path

import pytest
from job_support import (
    fails,
    images_with_bars,
    last_line,
    needs_qat,
    qat,
    stop_when,
    write_idx,
    write_job,
)

pytestmark = needs_qat


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job with a run r that was stopped in its first epoch."""
    job = write_job(tmp_path_factory.mktemp("stopped"))
    stop_when(job, "r", 2, signal.SIGTERM)
    return job.parent


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    """A copy of that run, with the job's data where they were."""
    shutil.copytree(stopped / "r", tmp_path / "r")
    return tmp_path / "r"


def _change_byte(path: Path) -> None:
    """The last one: of the numbers, not of the header."""
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _damaged(path: Path, remedy: str) -> re.Pattern[str]:
    digest = "[0-9a-f]{64}"
    return re.compile(
        rf"qat: error: {re.escape(str(path))}: __metadata__: qat_ext.sha256: the file is damaged: "
        rf"it says {digest}, its bytes give {digest}; {re.escape(remedy)}\n"
    )


def test_a_damaged_checkpoint_is_refused_until_it_is_deleted(stopped: Path, run: Path) -> None:
    latest = run / "checkpoints/latest.safetensors"
    _change_byte(latest)
    result = qat("resume", str(run), cwd=run.parent)
    assert result.returncode == 1
    remedy = "put back an undamaged copy, or delete the file: 'qat resume' then starts from the "
    assert _damaged(latest, remedy + "beginning").fullmatch(result.stderr)
    latest.unlink()
    whole = last_line(qat("train", "job.yaml", f"run={run.parent}/whole", cwd=stopped))
    assert last_line(qat("resume", str(run), cwd=run.parent)) == whole
    floating = run / "float.safetensors"
    _change_byte(floating)
    for command in ("evaluate", "resume"):
        result = qat(command, str(run), cwd=run.parent)
        assert result.returncode == 1
        remedy = "put back an undamaged copy or train anew"
        assert _damaged(floating, remedy).fullmatch(result.stderr)


@pytest.mark.parametrize(
    ("line", "other", "change"),
    [
        ("seed: 1", "seed: 2", "seed was 1, is 2"),
        ("    lr: 0.05", "    lr: 0.1", "float.optimizer.lr was 0.05, is 0.1"),
        ("  limit: 0", "  limit: 500", "data.limit was 0, is 500"),
    ],
)
def test_an_edited_job_is_refused_by_key(run: Path, line: str, other: str, change: str) -> None:
    job = run / "job.yaml"
    text = job.read_text()
    assert text.count(f"\n{line}\n") >= 1, text
    job.write_text(text.replace(f"\n{line}\n", f"\n{other}\n", 1))
    fails(
        qat("resume", str(run), cwd=run.parent),
        2,
        f"{job}: error: the run began with another job: {change}; put back what it began with, or "
        f"train anew in another folder with 'qat train {job} run=FOLDER'",
    )


def test_other_data_are_refused_and_moved_ones_are_not(stopped: Path, run: Path) -> None:
    """A third of the rows under the old path; then the old rows under another path."""
    job = run / "job.yaml"
    moved = run.parent / "moved"
    moved.mkdir()
    for name in ("train-images.gz", "train-labels.gz", "test-images.gz", "test-labels.gz"):
        shutil.copy(stopped / name, moved / name)
    job.write_text(job.read_text().replace(f"{stopped}/t", f"{moved}/t"))
    images, labels = images_with_bars(512, 8, seed=0)
    write_idx(moved / "train-images.gz", images)
    write_idx(moved / "train-labels.gz", labels)
    result = qat("resume", str(run), cwd=run.parent)
    assert result.returncode == 2
    digest = "sha256:[0-9a-f]{64}"
    message = rf"the run began with another job: the data were {digest}, are {digest}; put back "
    assert re.search(message, result.stderr)
    for name in ("train-images.gz", "train-labels.gz"):
        shutil.copy(stopped / name, moved / name)
    last_line(qat("resume", str(run), cwd=run.parent))


def test_a_checkpoint_of_an_earlier_version_loads(stopped: Path, run: Path) -> None:
    """Those carry no digest, no job and no data."""
    latest = run / "checkpoints/latest.safetensors"
    raw = latest.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + size].decode()
    for key in ("qat_ext.sha256", "job", "data"):
        header, count = re.subn(rf'"{key}":"(?:[^"\\]|\\.)*",?', "", header, count=1)
        assert count == 1
    header = header.replace(",}", "}").ljust(size)
    latest.write_bytes(raw[:8] + header.encode() + raw[8 + size :])
    last_line(qat("resume", str(run), cwd=run.parent))
