"""The viewer: results of inference in a browser, from this machine alone.

It imports neither MONAI nor PyTorch, so that it starts at once.
"""

from monch_monai.viewer.view import view

__all__ = ["view"]
