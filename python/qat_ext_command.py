"""The command `qat`: becomes the program inside the package.

A module of its own, because importing qat_ext would load torch once more than needed.
"""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return "none"


def main() -> NoReturn:
    """Runs bin/qat of the installed package with this process's arguments."""
    spec = find_spec("qat_ext")
    if spec is None or spec.origin is None:
        sys.exit("qat: the package qat_ext is not installed; run `pip install .` in its checkout")
    package = Path(spec.origin).parent
    program = package / "bin" / "qat"
    if not program.exists():
        sys.exit(
            "qat: this build has no driver (QAT_DRIVER=OFF); build qat_ext with yaml-cpp and CLI11"
        )
    built: dict[str, str] = {}
    exec((package / "_build_info.py").read_text(), built)
    found = _torch_version()
    if found.split("+")[0] != built["torch_version"].split("+")[0]:
        sys.exit(
            f"qat: built against torch {built['torch_version']}, but torch {found} is installed; "
            "install qat_ext again"
        )
    os.execv(program, [str(program), *sys.argv[1:]])
