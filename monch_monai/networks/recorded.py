"""Networks other than MONCH whose state dict stores their provenance."""

from typing import Any

from monch_monai.class_table import ClassTable
from monch_monai.encoders import Origin
from monch_monai.networks.provenance import KEY, Provenance, Recorded

UNRECORDED = Origin("unknown", "an earlier version recorded no start")


class RecordedNetwork(Recorded):
    """A network whose checkpoints state its classes, which weights its training started from, and by what recipe.

    State dicts of earlier versions, which store no provenance, load as from an unknown start.

    Args:
        class_table: T classes, background included.
    """

    def __init__(self, class_table: ClassTable) -> None:
        super().__init__()
        self.provenance = Provenance(type(self).__name__, class_table=class_table)
        self.register_load_state_dict_pre_hook(add_record)  # type: ignore[no-untyped-call]


def add_record(network: RecordedNetwork, state: dict[str, Any], prefix: str = "", *_: Any) -> None:
    """Adds the record of an unknown start to a state dict that stores none."""
    own = network.provenance
    unknown = Provenance(own.encoder, UNRECORDED, class_table=own.class_table, version=None)
    state.setdefault(prefix + KEY, unknown.to_tensor())
