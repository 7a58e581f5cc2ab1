"""The examples in the docstrings hold, and every operator has one."""

import doctest
import importlib

import pytest
import qat_ext
import torch

MODULES = [
    "qat_ext.adversarial",
    "qat_ext.distillation",
    "qat_ext.ops.quantize",
    "qat_ext.ops.ranges",
    "qat_ext.ops.integer",
    "qat_ext.ops.chain",
    "qat_ext.prepare",
    "qat_ext.ptq",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_every_operator_has_a_documented_wrapper():
    registered = {
        schema.name.removeprefix("qat_ext::")
        for schema in torch._C._jit_get_all_schemas()
        if schema.name.startswith("qat_ext::")
    }
    assert registered
    assert registered <= set(qat_ext.ops.__all__)
    for name in registered:
        text = getattr(qat_ext.ops, name).__doc__
        for part in ("Args:", "Raises:", ">>> "):
            assert part in text, f"{name}: no {part!r} in its docstring"
