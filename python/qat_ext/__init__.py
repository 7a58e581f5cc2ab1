"""Quantization-aware training on the integers that ship.

The same things in the three doors:

=====================================  ==========================  ================================
Python                                 C++ (``#include <qat.h>``)  YAML / command
=====================================  ==========================  ================================
``qat.prepare(model, x, recipe)``      ``qat::prepare``            ``recipe:`` of a job
``qat.plan(qmodel)``                   ``PreparedModel::plan``     ``qat plan``
``with qat.calibrate(qmodel)``         ``set_phase(calibrate)``    ``calibrate:``
``qat.step(qmodel, fraction)``         ``PreparedModel::step``     ``recipe.schedule``, ``.freeze``
``qat.oscillation_loss(qmodel)``       ``oscillation_loss``        ``recipe.oscillation``
``qat.equalize(qmodel)``, ...          ``qat::ptq::equalize``      ``calibrate.steps`` of a job
``qat.convert(qmodel.eval())``         ``qat::convert``            end of ``qat train``
``int8.save(p)``, ``qat.load(p)``      ``IntegerModel::save/load``  ``int8.safetensors`` of a run
``qat.verify(qmodel, int8, batches)``  ``qat::verify``             ``qat verify``
``qat.activation_ranges(qmodel, x)``   ``activation_ranges``       --
``qat.merge_ranges(qmodel, state)``    ``merge_observations``      --
``with qat.taps(qmodel, sites)``       ``forward_with_taps``       ``distill.features`` of a job
``qat.distillation_loss(...)``         --                          ``distill:`` of a job
``qat.pgd(model, x, y, epsilon)``      --                          ``adversarial:`` of a job
``torch.ops.qat_ext.*``, ``qat.ops``   the same dispatcher ops     --
``qat.Error``                          ``qat::Error``              exit code 1 or 2
=====================================  ==========================  ================================
"""

from qat_ext import _library

_library.load()

from qat_ext import ops  # noqa: E402  (needs the library)
from qat_ext._build_info import version as __version__  # noqa: E402
from qat_ext._C import Error  # noqa: E402
from qat_ext.adversarial import fgsm, pgd  # noqa: E402
from qat_ext.convert import IntegerModel, VerifyReport, convert, load, verify  # noqa: E402
from qat_ext.distillation import distillation_loss, feature_loss, taps  # noqa: E402
from qat_ext.merge import merge_ranges  # noqa: E402
from qat_ext.prepare import (  # noqa: E402
    PreparedModule,
    activation_ranges,
    calibrate,
    oscillation_loss,
    plan,
    prepare,
    step,
)
from qat_ext.ptq import (  # noqa: E402
    adaround,
    correct_bias,
    equalize,
    reestimate_batch_norm,
)

#: Folder to add to CMAKE_PREFIX_PATH so that find_package(QatExt) finds this installation.
cmake_prefix_path: str = _library.cmake_prefix_path()

__all__ = [
    "Error",
    "IntegerModel",
    "PreparedModule",
    "VerifyReport",
    "__version__",
    "activation_ranges",
    "adaround",
    "calibrate",
    "cmake_prefix_path",
    "convert",
    "correct_bias",
    "distillation_loss",
    "equalize",
    "feature_loss",
    "fgsm",
    "load",
    "merge_ranges",
    "ops",
    "oscillation_loss",
    "pgd",
    "plan",
    "prepare",
    "reestimate_batch_norm",
    "step",
    "taps",
    "verify",
]
