from functools import partial

import pytest

from monch_monai.encoders import ClipText, weights
from tests.fakes.encoders import TOWER


@pytest.fixture
def small_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoders of images alone go with CLIP RN50's text encoder: here with one narrow layer of it."""
    monkeypatch.setattr(weights, "ClipText", partial(ClipText, **TOWER))
