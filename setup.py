"""Builds the wheel. CMake compiles and lays out the package folder; all flags live there.

CMAKE_ARGS holds further arguments for CMake, as in CMAKE_ARGS=-DQAT_DRIVER=OFF.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import torch
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Runs CMake in build/cmake, which pip keeps, so that a second build is incremental."""

    def run(self) -> None:
        if self.editable_mode:
            sys.exit("qat_ext: editable installs are not supported; run `pip install .`")
        build = ROOT / "build" / "cmake"
        package = Path(self.build_lib).resolve() / "qat_ext"
        arguments = [f"-DPython_EXECUTABLE={sys.executable}"]
        arguments += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
        for command in (
            ["cmake", "-S", str(ROOT), "-B", str(build), "-GNinja", *arguments],
            ["cmake", "--build", str(build), "--target", "qat_package", "--parallel", jobs],
            ["cmake", "--install", str(build), "--prefix", str(package), "--strip"],
        ):
            subprocess.run(command, check=True)

    def get_outputs(self) -> list[str]:
        """Everything that CMake put into the package."""
        return [str(path) for path in (Path(self.build_lib) / "qat_ext").rglob("*.so")]


# The library calls torch's C++ interface, which changes with every release.
release = torch.__version__.split("+")[0]

setup(
    ext_modules=[Extension("qat_ext._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
    install_requires=[f"torch=={release}"],
)
