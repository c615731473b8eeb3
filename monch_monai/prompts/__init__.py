"""The cell attributes: what each class looks like, in words.

Three sentences for the background and for each nucleus class, by size and shape, chromatin, and surroundings.
Deviation: the paper's sentences are by GPT-4 and are not printed. These were written for MONCH from histology
textbooks, for H&E sections at 40x. Each fits CLIP's 77 tokens.
"""

import json
from collections.abc import Mapping
from pathlib import Path

_SENTENCES = json.loads(Path(__file__).with_name("attributes.json").read_text(encoding="utf-8"))

ATTRIBUTES: Mapping[str, tuple[str, str, str]] = {name: tuple(of_class) for name, of_class in _SENTENCES.items()}
"""Class name to its sentences, in class order."""
