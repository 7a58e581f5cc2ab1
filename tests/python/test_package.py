"""The installed package: what import gives, what the wheel holds, and find_package(QatExt)."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import qat_ext as qat
import torch
from qat_ext import _build_info, _library

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(qat.__file__).parent
PREFIXES = f"{qat.cmake_prefix_path};{torch.utils.cmake_prefix_path}"
RELEASE = torch.__version__.split("+")[0]

cuda_torch_without_toolkit = pytest.mark.skipif(
    torch.version.cuda is not None and shutil.which("nvcc") is None,
    reason="the TorchConfig.cmake of a CUDA wheel demands a CUDA toolkit",
)


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], text=True, capture_output=True, **options
    )


def test_versions_agree():
    assert qat.__version__ == importlib.metadata.version("qat_ext") == qat._C.version()
    assert _build_info.torch_version == qat._C.torch_version() == RELEASE


def test_wheel_demands_its_torch():
    assert f"torch=={RELEASE}" in importlib.metadata.requires("qat_ext")


def test_wheel_holds_the_headers_and_the_configuration():
    for file in (
        "include/qat.h",
        "include/numerics/quantize.h",
        "include/nlohmann/json_fwd.hpp",
        "share/cmake/QatExt/QatExtConfig.cmake",
        "lib/libqat_ext.so",
        "py.typed",
        "_C.pyi",
    ):
        assert (PACKAGE / file).is_file(), file
    assert not (PACKAGE / "include/nlohmann/json.hpp").exists()


def test_libraries_find_torch_relative_to_themselves():
    """No path of the machine that built them is left in the files."""
    for file, rpath in (
        ("lib/libqat_ext.so", b"$ORIGIN/../../torch/lib"),
        (Path(qat._C.__file__).name, b"$ORIGIN/lib:$ORIGIN/../torch/lib"),
    ):
        content = (PACKAGE / file).read_bytes()
        assert rpath in content, file
        assert b"site-packages/torch/lib" not in content, file


def test_error_type():
    assert issubclass(qat.Error, RuntimeError)
    assert qat.Error.__module__ == "qat_ext"
    with pytest.raises(qat.Error) as caught:
        qat.load("/does/not/exist.safetensors")
    message = str(caught.value)
    assert "/does/not/exist.safetensors" in message
    assert "\n" not in message  # no C++ backtrace


def test_another_torch_is_refused():
    _library.check_torch_version("2.13.0", "2.13.0+cpu")
    with pytest.raises(
        ImportError, match=re.escape("built against torch 2.13.0, but torch 2.14.1")
    ):
        _library.check_torch_version("2.13.0", "2.14.1+cu130")


def test_a_second_copy_of_the_library_is_refused(tmp_path):
    copy = tmp_path / "libqat_ext.so"
    copy.write_bytes(b"")
    torch.ops.loaded_libraries.add(str(copy))
    try:
        with pytest.raises(ImportError, match="already loaded and registers the same operators"):
            _library.load()
    finally:
        torch.ops.loaded_libraries.remove(str(copy))


def test_source_folder_says_how_to_build():
    result = run(sys.executable, "-c", "import qat_ext", cwd=ROOT / "python")
    assert result.returncode != 0
    assert "is not built; run `pip install . --no-build-isolation`" in result.stderr


@pytest.mark.skipif(not _build_info.has_driver, reason="built with QAT_DRIVER=OFF")
def test_command_runs_the_program_of_the_package():
    command = Path(sys.executable).parent / "qat"
    result = run(command, "--help")
    assert result.returncode == 0, result.stderr
    assert "train" in result.stdout
    assert run(command, "no-such-command").returncode == 2


def configure(source: Path, build: Path, prefixes: str) -> subprocess.CompletedProcess[str]:
    return run(
        "cmake", "-S", source, "-B", build, "-GNinja", "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_PREFIX_PATH={prefixes}",
    )  # fmt: skip


@cuda_torch_without_toolkit
def test_cpp_program_outside_of_the_tree(tmp_path):
    """find_package(QatExt), qat.h, and a training whose int8 file equals the prepared model."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "examples" / "cpp_train", source)
    assert len((source / "main.cpp").read_text().splitlines()) < 80
    configured = configure(source, tmp_path / "build", PREFIXES)
    assert configured.returncode == 0, configured.stderr
    built = run("cmake", "--build", tmp_path / "build")
    assert built.returncode == 0, built.stdout
    result = run(tmp_path / "build" / "cpp_train", 1280, tmp_path / "model.safetensors")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "differing_logits=0/10000\n"
    assert qat.load(tmp_path / "model.safetensors").nodes()


def test_find_package_refuses_another_torch(tmp_path):
    fake = tmp_path / "torch" / "Torch"
    fake.mkdir(parents=True)
    (fake / "TorchConfig.cmake").write_text("set(Torch_FOUND TRUE)\n")
    (fake / "TorchConfigVersion.cmake").write_text(
        'set(PACKAGE_VERSION "2.12.0")\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n'
    )
    source = ROOT / "examples" / "cpp_train"
    prefixes = f"{fake.parent};{qat.cmake_prefix_path}"
    result = configure(source, tmp_path / "build", prefixes)
    assert result.returncode != 0
    message = " ".join(result.stderr.split())
    assert f"QatExt: built against torch {RELEASE}, but CMake found torch 2.12.0 in" in message


def test_python_example(tmp_path):
    output = tmp_path / "model.safetensors"
    example = ROOT / "examples" / "python_train.py"
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    arguments = ("--limit", 1000, "--epochs", 1, "--output", output)
    result = run(sys.executable, example, *arguments, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    line = result.stdout.splitlines()[-1]
    assert re.fullmatch(
        r"float_accuracy=0\.\d{4} int8_accuracy=0\.\d{4} "
        r"differing_logits=0/10000 size_ratio=0\.[23]\d{3}",
        line,
    ), line
    assert output.stat().st_size > 70_000  # 78 k weights, one byte each
