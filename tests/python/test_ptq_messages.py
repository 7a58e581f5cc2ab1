"""Every message of the post-training steps by its text."""

import re

import pytest
import qat_ext as qat
from ptq_support import BATCHES, X, calibrated, net, prepared


def message(text):
    return pytest.raises(qat.Error, match="^" + re.escape(text))


def test_messages():
    model = net()
    qmodel = prepared(model)
    with message("equalize: expected a model made by prepare(), got Net"):
        qat.equalize(model)
    with message("forward: the quantizer 'conv.input' has seen no data"):
        qat.correct_bias(qmodel, BATCHES)
    with message("adaround: batches: expected at least one batch, got none"):
        qat.adaround(qmodel, [])
    with message("correct_bias: batches[0]: expected a tensor, a tuple of arguments or a dict"):
        qat.correct_bias(qmodel, [[X]])
    for name in ("iterations", "lr", "samples"):
        with message(f"adaround: {name}: expected a number above 0, got 0"):
            qat.adaround(qmodel, BATCHES, **{name: 0})
    with message(
        "correct_bias: reference: the model has no tensor 'weight'; give the state_dict()"
    ):
        qat.correct_bias(qmodel, BATCHES, {"weight": X})
    calibrated(qmodel)
    with message("reference: 'conv.weight': expected the shape of the model's tensor, got 14400"):
        qat.correct_bias(qmodel, BATCHES, {"conv.weight": X})
    with message("equalize: ranges have been observed already, and they would no longer fit; "):
        qat.equalize(qmodel)
    qmodel.train()
    steps = {
        "batch_norm": qat.reestimate_batch_norm,
        "bias_correction": qat.correct_bias,
        "adaround": qat.adaround,
    }
    for name, step in steps.items():
        with message(f"{name}: the model is in training mode; call eval() first"):
            step(qmodel, BATCHES)
    with message("equalize: the model is in training mode; call eval() first"):
        qat.equalize(qmodel)
