"""How many nuclei change their class by other words, counted on the first tiles of a run."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from monch_monai.class_table import ClassTable
from monch_monai.geometry import NETWORK_MPP
from monch_monai.networks.provenance import Provenance
from monch_monai.networks.rewording import Rewording
from monch_monai.nuclei import WatershedNuclei
from monch_monai.predict.engine_network import AT_ONCE, EngineNetwork
from monch_monai.predict.prediction import classify

TILES = 64
"""Tiles on which a network's own words are run too."""

logger = logging.getLogger(__name__)


class ChangedNuclei(nn.Module):
    """A reworded network, which on the first tiles is compared with the words that it was trained with.

    Args:
        rewording: with other words.
        network: its network as an engine runs it; None runs it as it is.

    Attributes:
        nuclei: nuclei found by the other words on the tiles compared.
        changed: those among them that its own words call otherwise.
    """

    def __init__(self, rewording: Rewording, network: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.own = network or rewording.network, rewording.own
        self.rewording = rewording
        self.tiles = self.nuclei = self.changed = 0
        self.watershed = WatershedNuclei(NETWORK_MPP)

    @property
    def class_table(self) -> ClassTable:
        """The classes of the logits."""
        return self.rewording.class_table

    @property
    def provenance(self) -> Provenance:
        """The network's."""
        record: Provenance = self.network.provenance  # type: ignore[assignment] # Monch's and MergedClasses's
        return record

    @property
    def mean(self) -> Sequence[float]:
        """Of images, by channel, of values in [0, 1]: the network's."""
        values: Sequence[float] = self.network.mean  # type: ignore[assignment] # Monch's and MergedClasses's
        return values

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation of the same: the network's."""
        values: Sequence[float] = self.network.std  # type: ignore[assignment] # Monch's and MergedClasses's
        return values

    @torch.compiler.disable(recursive=False)  # both networks are compiled, the comparison of their results is not
    def forward(self, image: Tensor) -> Tensor:
        """Logits `[B, T, H, W]` by the other words for normalised images `[B, 3, H, W]`."""
        logits: Tensor = self.network(image)
        if self.own is not None and not self.training and self.tiles < TILES:
            self._compare(logits, torch.cat([self.own(tiles) for tiles in image.split(AT_ONCE)]))
        return logits

    def report(self) -> None:
        """Logs the share of nuclei that changed, where tiles were compared: other processes may have run them all."""
        if not self.tiles:
            return
        share = f"{self.changed / self.nuclei:.1%}" if self.nuclei else "none"
        logger.info("words: %s of %d nuclei on %d tiles changed their class", share, self.nuclei, self.tiles)

    @torch.compiler.disable
    def _compare(self, logits: Tensor, own: Tensor) -> None:
        wording = self.rewording.wording
        if wording is None or self.own is None:
            return
        names, own_names = self.class_table.names, self.own.class_table.names
        same = np.array([[wording.is_same(o, name) for o in own_names] for name in names])
        self.tiles += len(logits)
        for one, other in zip(logits.float(), own.float(), strict=True):
            found, probs, distance = (values.cpu().numpy() for values in classify(one, len(names)))
            nuclei = self.watershed(found[0], probs, distance)
            ids, by_own = nuclei.instance_map, other[1 : len(own_names)].sigmoid().cpu().numpy()
            areas = np.maximum(np.bincount(ids.ravel(), minlength=len(nuclei.classes) + 1)[1:], 1)
            sums = np.stack([np.bincount(ids.ravel(), p.ravel(), len(nuclei.classes) + 1)[1:] for p in by_own])
            called = (sums / areas).argmax(axis=0) + 1
            self.nuclei += len(nuclei.classes)
            self.changed += int((~same[nuclei.classes, called]).sum())


def with_words(rewording: Rewording, engine: str = "torch") -> nn.Module:
    """The network of a rewording as an `EngineNetwork`, compared with its own words where it has others.

    Raises:
        InputError: `engine` is unknown, or a package that it needs is not installed.
    """
    network = EngineNetwork(rewording.network, engine)
    return network if rewording.own is None else ChangedNuclei(rewording, network)


def report_words(network: nn.Module) -> None:
    """Logs what other words changed, where a network has other words."""
    if isinstance(network, ChangedNuclei):
        network.report()
