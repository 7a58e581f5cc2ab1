"""Quantization-aware training on the integers that ship.

The same things in the three doors:

=====================================  ==========================  ================================
Python                                 C++ (``#include <qat.h>``)  YAML / command
=====================================  ==========================  ================================
``qat.prepare(model, x, recipe)``      ``qat::prepare``            ``recipe:`` of a job
``qat.plan(qmodel)``                   ``PreparedModel::plan``     ``qat plan``
``with qat.calibrate(qmodel)``         ``set_phase(calibrate)``    ``calibrate:``
``qat.step(qmodel, fraction)``         ``PreparedModel::step``     ``recipe.freeze``
``qat.convert(qmodel.eval())``         ``qat::convert``            end of ``qat train``
``int8.save(p)``, ``qat.load(p)``      ``IntegerModel::save/load``  ``int8.safetensors`` of a run
``qat.verify(qmodel, int8, batches)``  ``qat::verify``             ``qat verify``
``torch.ops.qat_ext.*``, ``qat.ops``   the same dispatcher ops     --
``qat.Error``                          ``qat::Error``              exit code 1 or 2
=====================================  ==========================  ================================
"""

from qat_ext import _library

_library.load()

from qat_ext import ops  # noqa: E402  (needs the library)
from qat_ext._build_info import version as __version__  # noqa: E402
from qat_ext._C import Error  # noqa: E402
from qat_ext.convert import IntegerModel, VerifyReport, convert, load, verify  # noqa: E402
from qat_ext.prepare import PreparedModule, calibrate, plan, prepare, step  # noqa: E402

#: Folder to add to CMAKE_PREFIX_PATH so that find_package(QatExt) finds this installation.
cmake_prefix_path: str = _library.cmake_prefix_path()

__all__ = [
    "Error",
    "IntegerModel",
    "PreparedModule",
    "VerifyReport",
    "__version__",
    "calibrate",
    "cmake_prefix_path",
    "convert",
    "load",
    "ops",
    "plan",
    "prepare",
    "step",
    "verify",
]
