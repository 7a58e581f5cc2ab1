"""Independent reference interpreter of int8 checkpoints, written from docs/ alone.

It shares no code with the C++ sources, so a test that compares the two compares two readings
of docs/numerics.md and docs/format.md.
"""

from .container import OracleError
from .interpreter import Evaluator, run, trace
from .model import Model, Node, Value, load

__all__ = ["Evaluator", "Model", "Node", "OracleError", "Value", "load", "run", "trace"]
