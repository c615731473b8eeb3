"""The cell attributes: what each class looks like, in words."""

from monch_monai.prompts.attributes import ATTRIBUTES

__all__ = ["ATTRIBUTES"]
