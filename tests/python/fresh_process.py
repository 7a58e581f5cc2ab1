"""Tests that need an environment of their own: an instruction set, a number of threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def last_line_of(code: str, environment: dict[str, str]) -> str:
    """The last line that `code` prints; skips where this machine lacks the instruction set."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if "this machine does not have" in run.stderr:
        pytest.skip(run.stderr.strip().splitlines()[-1])
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.splitlines()[-1]
