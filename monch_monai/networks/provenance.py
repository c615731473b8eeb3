"""A network's provenance: the record of what it was made of and of the recipe that it was trained by."""

import hashlib
import json
import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

import monch_monai
from monch_monai.class_table import EARLIER, PANNUKE, ClassTable
from monch_monai.encoders import RANDOM, Origin, TextEncoder
from monch_monai.encoders.normalisation import INSTANCE_NORM
from monch_monai.errors import InputError, one_line

KEY = "_extra_state"
"""Name of the record in a state dict, PyTorch's own for what is no parameter and no buffer."""
EARLIER_KEY = "origin_bytes"
"""Name of what earlier versions stored in its place."""
DENSITY, EARLIER_DENSITY = "reference_density", "trained_density"
"""Names, now and in earlier versions, of the optical density of the tissue trained on, in files of any kind."""
ROOM = 2**17
"""Bytes that a record is filled up to a multiple of: MONAI's loaders leave out tensors of another shape."""


@dataclass(frozen=True)
class Parent:
    """The checkpoint that a training started from.

    Args:
        sha256: of its file.
        method: SHA-256 of its `Provenance.method`, which covers its own parent too.
    """

    sha256: str
    method: str


@dataclass(frozen=True)
class Words:
    """What text features are of.

    Args:
        kind: `attributes` (all sentences of the class table), `fixed` (the first three of each class), `names` or
            `random`.
        counts: number of features of each class, in the order of the table.
        sha256: of the words of all classes; None where they are random or an earlier version recorded none.
        axes: principal axes of the words trained on, along which features are taken; 0 takes them as they are.
    """

    kind: str
    counts: tuple[int, ...]
    sha256: str | None = None
    axes: int = 0


@dataclass(frozen=True)
class Provenance:
    """What a network was made of and how it was trained. Checkpoints, exports and `run.json` store it as JSON.

    Args:
        encoder: name of the image encoder; of a network without one, its class.
        image_weights: where the image encoder's weights came from; of a network without one, all weights.
        text_encoder: name of the text encoder that made the text features; None for random directions.
        text_weights: where its weights came from.
        words: what the text features are of.
        class_table: the classes, in the order of the network's maps, with the sentences that describe them.
        architecture: arguments of the network beside its encoder, classes and words, by name, and the encoder's
            `normalisation`; earlier versions recorded that alone.
        recipe: settings and parts of the config that the network was trained by; see `recipe`.
        version: of this package when training began; None where an earlier version recorded none.
        parent: the checkpoint that the training started from.
    """

    encoder: str
    image_weights: Origin = RANDOM
    text_encoder: str | None = None
    text_weights: Origin | None = None
    words: Words = Words("random", (3,) * len(PANNUKE))
    class_table: ClassTable = PANNUKE
    architecture: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = monch_monai.__version__
    parent: Parent | None = None

    @property
    def normalisation(self) -> str | None:
        """Of the image encoder, `batch`, `fixed` or `instance`; None where it has none, or none is recorded."""
        return self.architecture.get("normalisation")

    @property
    def distance_maps(self) -> int:
        """1 where the network's distance map follows those of the classes, else 0."""
        return int(self.architecture.get("distance", False))

    def __str__(self) -> str:
        """One line to read, such as `clip_rn50 (random), words attributes by clip_rn50 (random)`."""
        text_encoder = "" if self.text_weights is None else f" by {self.text_encoder} ({self.text_weights})"
        return f"{self.encoder} ({self.image_weights}), words {self.words.kind}{text_encoder}"

    def with_words(self, table: ClassTable, words: Sequence[Sequence[str]], kind: str, encoder: TextEncoder) -> Self:
        """This record with the text features that `encoder` made of the `words` of each class of a table."""
        plain = json.dumps([[c.name, *of] for c, of in zip(table.classes, words, strict=True)], ensure_ascii=False)
        made_of = Words(kind, tuple(map(len, words)), hashlib.sha256(plain.encode()).hexdigest())
        return replace(self, text_encoder=encoder.name, text_weights=encoder.origin, words=made_of, class_table=table)

    def child(self, sha256: str) -> Self:
        """Record of a training that starts from a checkpoint with this record; `sha256` is that of its file."""
        method = hashlib.sha256(json.dumps(self.method(), sort_keys=True).encode()).hexdigest()
        return replace(self, recipe={}, version=monch_monai.__version__, parent=Parent(sha256, method))

    def method(self) -> dict[str, Any]:
        """This record without what differs between runs of one method: names of known files, checkpoints' hashes.

        Of the class table it has the names of the classes; `words` has the hash of their descriptions.
        """
        record = self.to_dict() | {"class_table": self.class_table.names}
        del record["architecture"]  # which a run's `network_def` has
        record["normalisation"] = self.normalisation
        for weights in filter(None, (record["image_weights"], record["text_weights"])):
            if weights["sha256"] is not None:
                weights["source"] = None
            if weights["kind"] == "checkpoint":
                weights["sha256"] = None
        if record["parent"] is not None:
            del record["parent"]["sha256"]
        return record

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON; `from_dict` reads it."""
        return asdict(self) | {"class_table": self.class_table.to_dict()}

    def to_tensor(self) -> Tensor:
        """The record as JSON in UTF-8, uint8, filled up with spaces to a multiple of `ROOM` bytes."""
        text = json.dumps(self.to_dict(), ensure_ascii=False).encode()
        return torch.frombuffer(bytearray(text.ljust(-(-len(text) // ROOM) * ROOM)), dtype=torch.uint8)

    @classmethod
    def from_tensor(cls, stored: Tensor) -> Self:
        """The record of `to_tensor`.

        Raises:
            InputError: the tensor holds no such record.
        """
        try:
            return cls.from_dict(json.loads(bytes(stored.tolist())))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"its provenance cannot be read ({one_line(error, 80)}); give another file") from error

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The record of `to_dict`, as `run.json` has it; version 0.2.0 recorded names and colours of classes alone.

        Raises:
            KeyError, TypeError, ValueError: the mapping is no such record.
        """
        known = dict(record)
        known.setdefault("architecture", {"normalisation": known.pop("normalisation", None)})
        known["architecture"] = dict(known["architecture"])
        weights = {n: record[n] and Origin(**record[n]) for n in ("image_weights", "text_weights")}
        parent = record["parent"] and Parent(**record["parent"])
        if known.pop("classes", None) is not None:
            table, words = EARLIER, Words(counts=(3,) * len(EARLIER), **record["words"])
        else:
            table, words = ClassTable.from_dict(record["class_table"]), Words(**record["words"])
            words = replace(words, counts=tuple(words.counts))
        return cls(**{**known, **weights, "words": words, "parent": parent, "class_table": table})

    @classmethod
    def from_earlier(cls, text: str, normalisation: str | None = None) -> Self:
        """The record of what earlier versions stored: `ENCODER: [prompts WORDS: ][words of NAME (ORIGIN): ]ORIGIN`.

        They had one table of classes, and words by the encoder's own text encoder where they name no other.
        """
        encoder, _, rest = text.partition(": ")
        words, text_encoder, of_text, of_image = re.fullmatch(
            r"(?:prompts (\w+): )?(?:words of (\w+) \((.*?)\): )?(.*)", rest, re.DOTALL
        ).groups()  # type: ignore[union-attr] # every part may be absent, so that any text matches
        words, image_weights = words or "attributes", _earlier_origin(of_image)
        text_weights = image_weights if of_text is None else _earlier_origin(of_text)
        has_text = words != "random"
        return cls(
            encoder, image_weights, (text_encoder or encoder) if has_text else None, text_weights if has_text else None,
            Words(words, (3,) * len(EARLIER)), EARLIER, {"normalisation": normalisation}, version=None,
        )  # fmt: skip


class Recorded(nn.Module):
    """A network whose state dict stores its `provenance`."""

    provenance: Provenance

    def get_extra_state(self) -> Tensor:
        """The provenance as `torch.nn.Module.state_dict` stores it, uint8."""
        return self.provenance.to_tensor()

    def set_extra_state(self, state: Tensor) -> None:
        """Takes the provenance from a state dict.

        Raises:
            InputError: `state` holds no provenance.
        """
        self.provenance = Provenance.from_tensor(state)


def provenance_of(network: nn.Module) -> Provenance:
    """Provenance of a network; of another than MONCH its class, and random weights or the checkpoint loaded into it."""
    inner = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
    found = getattr(inner, "provenance", None)
    return found if isinstance(found, Provenance) else Provenance(type(inner).__name__)


def read_provenance(state: Mapping[str, Tensor], prefix: str = "") -> Provenance | None:
    """Provenance that a state dict of this or of an earlier version stores; None where it stores none.

    Args:
        state: the state dict.
        prefix: of the names that are the network's.

    Raises:
        InputError: what is stored cannot be read.
    """
    read = dict(state)
    convert_earlier(read, prefix)
    return Provenance.from_tensor(read[prefix + KEY]) if prefix + KEY in read else None


def convert_earlier(state: MutableMapping[str, Any], prefix: str = "") -> None:
    """Puts what this version stores in a state dict in the place of what earlier versions stored, where it has that."""
    if prefix + EARLIER_DENSITY in state:
        state[prefix + DENSITY] = state.pop(prefix + EARLIER_DENSITY)
    stored = state.pop(prefix + EARLIER_KEY, None)
    if stored is not None:
        text = bytes(stored.tolist()).rstrip(b"\0").decode(errors="replace")
        encoder = f"{prefix}image_encoder."
        batch = any(name.startswith(encoder) and name.endswith("running_var") for name in state)
        exchanged = encoder + INSTANCE_NORM in state and bool(state[encoder + INSTANCE_NORM])
        normalisation = "instance" if exchanged else "batch" if batch else None
        state[prefix + KEY] = Provenance.from_earlier(text, normalisation).to_tensor()


def _earlier_origin(text: str) -> Origin:
    for pattern in (r"(hub) (.*), revision (?P<revision>\w*)", r"(file) (.*), SHA-256 (?P<sha256>\w*)"):
        if match := re.fullmatch(pattern, text):
            return Origin(match[1], match[2], **match.groupdict())
    return RANDOM if text == "random" else Origin("unknown", text)
