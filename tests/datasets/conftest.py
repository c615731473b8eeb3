"""Folds of PanNuke that the tests of this folder share; they are not to be written to."""

import pytest

from tests.fakes.pannuke import FoldArrays, make_fold


@pytest.fixture(scope="session")
def fold() -> FoldArrays:
    """Three tiles of adrenal gland, bile duct and bladder."""
    made = make_fold(3)
    for array in made:
        array.setflags(write=False)
    return made
