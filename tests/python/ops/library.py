"""Loads the operators under test."""

import os

import torch


def load():
    """``torch.ops.qat_ext`` of the library that QAT_EXT_LIBRARY names, else of the package."""
    path = os.environ.get("QAT_EXT_LIBRARY")
    if path:
        torch.ops.load_library(path)
    else:
        import qat_ext  # noqa: F401
    return torch.ops.qat_ext
