"""Kinds of files that weights are published in, each by the names of its tensors. They stand in `formats.toml`."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import torch
from torch import Tensor

from monch_monai.errors import InputError

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
            if _without_ones(value) == _without_ones(wanted[name]):
                converted[name] = value.reshape(wanted[name].shape)
            else:
                reshaped.append(f"{found[0]} {list(value.shape)} instead of {list(wanted[name].shape)}")
        wrong = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
        if any(wrong.values()):
            listed = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in wrong.items() if names)
            raise InputError(f"as {self.name} {listed}")
        return converted


def _without_ones(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


_TABLES = tomllib.loads(resources.files("monch_monai.encoders").joinpath("formats.toml").read_text("utf-8"))
FORMATS = {key: Format(**fields) for key, fields in _TABLES.items()}
"""The kinds by key in `formats.toml`, such as `open_clip_vit`."""


def formats(*keys: str) -> tuple[Format, ...]:
    """The kinds of these keys in `FORMATS`."""
    return tuple(FORMATS[key] for key in keys)
