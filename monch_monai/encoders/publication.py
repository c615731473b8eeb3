"""Published weights: where they are, and in what kinds of files."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from monch_monai.encoders.formats import Format, State
from monch_monai.encoders.text import TextEncoder


@dataclass(frozen=True)
class Publication:
    """Where and in what formats an encoder's weights are published.

    Args:
        hub: repository on the hub.
        files: names of the file in the repository; the first that exists is used.
        formats: kinds of files in which the weights are published, on the hub and elsewhere.
        text: makes the text encoder that was published with the weights; None for an encoder of images alone.
        licence: of the weights.
        gated: whether the hub needs an access token for them.
        archive_sha256: of the publisher's own TorchScript archive. An archive contains code, so no other is opened.
    """

    hub: str
    files: tuple[str, ...]
    formats: tuple[Format, ...]
    licence: str
    text: Callable[[], TextEncoder] | None = None
    gated: bool = False
    archive_sha256: str | None = None

    def convert(self, file: State, wanted: State) -> dict[str, Tensor]:
        """Tensors under our names, by the format that fits best.

        Raises:
            InputError: by that format a tensor of `file` is missing, has another shape, or is unknown.
        """
        if file and all(name.startswith("module.") for name in file):
            file = {name.removeprefix("module."): value for name, value in file.items()}

        def absent(format: Format) -> int:
            return sum(source not in file for name in wanted for source in format.sources(name))

        return min(self.formats, key=absent).convert(file, wanted)
