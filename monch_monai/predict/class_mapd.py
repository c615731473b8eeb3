"""The dictionary transform from logits to classes."""

from collections.abc import Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor

from monch_monai.class_table import ClassTable
from monch_monai.predict.prediction import Classified, classify, most_probable_class, refuse_nan


class ClassMapd(MapTransform):
    """Dictionary transform of `classify`: logits `[T + D, H, W]` to a class map `[1, H, W]`.

    Args:
        keys: of the logits.
        probs_key: where to keep the probabilities of the nucleus classes, `[T - 1, H, W]` float16; None keeps none.
        class_table: of T classes; needed where the network has a distance map, kept as `distance [D, H, W]` float16.
        softmax: whether the maps `[T, H, W]` compete, as after training by softmax: the class is then that of
            `most_probable_class`, the probabilities are the softmax's, and there is no distance map.
    """

    def __init__(
        self,
        keys: KeysCollection,
        probs_key: str | None = None,
        class_table: ClassTable | None = None,
        softmax: bool = False,
    ) -> None:
        super().__init__(keys)
        self.probs_key, self.softmax = probs_key, softmax
        self.classes = None if class_table is None else len(class_table)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with class maps in place of logits.

        Raises:
            NaNError: a logit is NaN.
        """
        changed = dict(data)
        name = str(getattr(changed.get("image"), "meta", {}).get("filename_or_obj", "an image"))
        for key in self.key_iterator(changed):
            changed[key], probs, distance = self._classified(changed[key], name)
            if self.probs_key is not None:
                changed[self.probs_key], changed["distance"] = probs, distance
        return changed

    def _classified(self, logits: Tensor, name: str) -> Classified:
        if not self.softmax:
            return classify(logits, self.classes, name)
        refuse_nan(logits, name)
        return Classified(most_probable_class(logits), logits.softmax(dim=-3)[..., 1:, :, :].half(), logits[:0].half())
