"""Finds and loads libqat_ext.so, once, beside the torch that it was built against."""

import importlib.util
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent


def cmake_prefix_path() -> str:
    """Folder that holds ``QatExt/QatExtConfig.cmake``."""
    return str(PACKAGE / "share" / "cmake")


def check_torch_version(built: str, found: str) -> None:
    """Raises ImportError unless both name the same release; local parts ("+cpu") may differ."""
    if built.split("+")[0] != found.split("+")[0]:
        raise ImportError(
            f"qat_ext: built against torch {built}, but torch {found} is installed; run "
            f"`pip install . --no-build-isolation` again in its checkout, or install torch {built}"
        )


def load() -> None:
    """Registers the operators ``torch.ops.qat_ext.*``. Raises ImportError when it cannot."""
    if importlib.util.find_spec("qat_ext._build_info") is None:
        raise ImportError(
            f"qat_ext: {PACKAGE} is not built; run `pip install . --no-build-isolation` in the "
            "checkout and import it from another folder"
        )
    from qat_ext import _build_info

    check_torch_version(_build_info.torch_version, torch.__version__)
    library = str(PACKAGE / "lib" / "libqat_ext.so")
    for loaded in torch.ops.loaded_libraries:
        if Path(loaded).name == "libqat_ext.so" and Path(loaded).resolve() != Path(library):
            raise ImportError(
                f"qat_ext: {loaded} is already loaded and registers the same operators as "
                f"{library}; use one of the two installations per process"
            )
    torch.ops.load_library(library)
    kernels = PACKAGE / "lib" / "libqat_ext_cuda.so"
    if torch.version.cuda and kernels.is_file():
        torch.ops.load_library(str(kernels))
