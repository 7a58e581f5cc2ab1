"""What holds for every operator of the namespace."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fresh_process import last_line_of
from torch.utils._pytree import tree_leaves

from ops.library import load
from ops.samples import samples

load()
NAMES = sorted(
    name.removeprefix("qat_ext::").split(".")[0]
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("qat_ext::")
)


def test_there_are_operators():
    assert len(NAMES) >= 16


@pytest.mark.parametrize("name", NAMES)
def test_opcheck(ops, name):
    torch.manual_seed(0)
    known = samples()
    assert name in known, f"give {name} sample arguments in tests/python/ops/samples.py"
    for arguments, keywords in known[name]:
        torch.library.opcheck(getattr(ops, name).default, arguments, keywords)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["CPU", "Meta", "Autograd", "AutocastCPU", "AutocastCUDA"])
def test_every_key_has_a_kernel(name, key):
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"qat_ext::{name}", key)


def digests():
    """{operator: hash of the bytes that its samples give}."""
    torch.manual_seed(0)
    ops, found = load(), {}
    for name, calls in samples().items():
        if name == "conv_int_backward":
            continue  # float32 products are oneDNN's; tests/cpp compares our own kernels
        sha = hashlib.sha256()
        for arguments, keywords in calls + larger(name):
            with torch.no_grad():
                results = getattr(ops, name)(*arguments, **keywords)
            if results is None:  # in place
                results = arguments[1:3]
            for result in tree_leaves(results):
                sha.update(result.detach().contiguous().numpy().tobytes())
        found[name] = sha.hexdigest()
    return found


def larger(name):
    """More elements than one thread's share, for the operators that reduce."""
    from ops.chains import random_chain

    chain = random_chain((8, 24, 40, 40), 1)
    if name == "batch_statistics":
        return [((chain.acc, chain.multiplier, chain.bias), {"axis": 1})]
    if name == "fake_quantize_learned_backward":
        grad, scales = torch.randn_like(chain.acc), torch.rand(24) + 0.5
        options = {"quant_min": -8, "quant_max": 7, "grad_scale": 1.0}
        return [
            ((grad, chain.acc, scales[:1], scales[1:2]), options | {"axis": -1}),
            ((grad, chain.acc, scales, -scales), options | {"axis": 1}),
            ((grad[:, :, 0, 0], chain.acc[:, :, 0, 0], scales, -scales), options | {"axis": 1}),
        ]
    if name == "bn_act_quantize_backward":
        scales, zeros = torch.rand(24) * 0.01, torch.arange(24, dtype=torch.int32)
        options = chain.keywords() | {"quant_min": 0, "quant_max": 255}
        options |= {"through_statistics": True, "residual_grad": False, "learned": True}
        batch_norm = torch.rand(24) * 1e-3, torch.randn(24), torch.randn(24)
        tensors = torch.randn_like(chain.acc), *chain.tensors()
        quantizers = (scales[:1], zeros[5:6]), (scales, zeros)
        return [((*tensors, *q, *batch_norm), options) for q in quantizers]
    if name == "bn_act":
        return [(chain.tensors(), chain.keywords())]
    return []


def digests_under(**environment):
    code = "import json, ops.test_all_ops as t; print(json.dumps(t.digests()))"
    return json.loads(last_line_of(code, environment))


@pytest.fixture(scope="module")
def portable():
    return digests_under(QAT_CPU_CAPABILITY="generic", OMP_NUM_THREADS="1")


@pytest.mark.parametrize("capability", ["avx2", "avx512"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_instruction_sets_and_threads_give_the_same_bits(portable, capability, threads):
    assert digests_under(QAT_CPU_CAPABILITY=capability, OMP_NUM_THREADS=threads) == portable


ABSENT = "avx2" if platform.machine() == "aarch64" else "neon"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sse9", "QAT_CPU_CAPABILITY: expected generic, avx2, avx512 or neon, got 'sse9'."),
        (ABSENT, f"QAT_CPU_CAPABILITY: this machine does not have {ABSENT}; unset the variable"),
    ],
)
def test_other_instruction_sets_are_refused(name, message):
    run = subprocess.run(
        [sys.executable, "-c", "import ops.test_all_ops as t; t.digests()"],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"QAT_CPU_CAPABILITY": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert message in run.stderr
