"""What the operator tests share."""

import pytest

from ops.library import load


@pytest.fixture(scope="session")
def ops():
    return load()
