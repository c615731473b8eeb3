"""Which sentences describe a class at one pass, and what of their features the network takes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from monch_monai.class_table import EARLIER
from monch_monai.class_table.class_table import LEAST_SENTENCES, MOST_CLASSES, ClassTable
from monch_monai.errors import InputError

MOST_AXES = 64
"""Principal axes of the words trained on that a network has room for."""
ROWS = 256
"""Rows that text features are filled up to a multiple of: MONAI's loaders leave out tensors of another shape."""


def some_of_each(features: Tensor, counts: Sequence[int], draw: bool) -> Tensor:
    """Features `[T, S, D]` of S sentences of each of T classes, whose features `[N, D]` lie one class after another.

    S is three, or the fewest that a class has. Where they are drawn, that is without replacement and by PyTorch's
    generator of the CPU; else they are the first of each class.

    Args:
        features: at least as many rows as `counts` add up to.
        counts: sentences of each class.
        draw: whether to draw.
    """
    number = min(LEAST_SENTENCES, *counts)
    of_each = by_class(features, counts)
    if not draw:
        return torch.stack([of_class[:number] for of_class in of_each])
    rows = [torch.randperm(count)[:number].to(features.device) for count in counts]
    return torch.stack([of_class[drawn] for of_class, drawn in zip(of_each, rows, strict=True)])


def by_class(features: Tensor, counts: Sequence[int]) -> Sequence[Tensor]:
    """Views `[S, D]` of the features of all sentences of each class, which lie as those of `some_of_each`."""
    of_each: Sequence[Tensor] = features[: sum(counts)].split(list(counts))
    return of_each


def principal_axes(features: Tensor, classes: int) -> Tensor:
    """Mean and principal axes `[1 + A, D]` of sentences' features `[N, D]`.

    There are 16 axes, or twice the number of classes where that is more, at most `MOST_AXES`, and fewer than sentences.
    """
    mean = features.mean(dim=0, keepdim=True)
    _, sizes, axes = torch.linalg.svd(features - mean, full_matrices=False)
    spread = int((sizes > 1e-4 * sizes[0]).sum()) if sizes[0] > 0 else 0
    return torch.cat([mean, axes[: min(max(16, 2 * classes), MOST_AXES, spread)]])


def along(axes: Tensor, features: Tensor) -> Tensor:
    """Features `[..., D]` less the mean of those trained on, along their principal axes alone, as unit vectors.

    Sentences about nuclei are much alike, and other wordings of a class lie near those trained on only in the few
    directions in which these differ: what is left of a sentence is its own meaning. Of the mean itself nothing is left.

    Args:
        axes: see `principal_axes`, filled up with rows of 0 at will.
        features: of sentences, or means of them.
    """
    mean, directions = axes[0], axes[1:]
    return F.normalize((features - mean) @ directions.mT @ directions, dim=-1, eps=1e-3)


def words_of(class_table: ClassTable, kind: str) -> list[list[str]]:
    """Words that describe each class: all its sentences (`attributes`), the first three (`fixed`), or its name."""
    number = {"attributes": None, "fixed": LEAST_SENTENCES}
    return [[c.name] if kind == "names" else list(c.sentences[: number[kind]]) for c in class_table.classes]


def carried_over(prior: Tensor, had: ClassTable, class_table: ClassTable) -> Tensor:
    """Starting logits `[MOST_CLASSES]` of the classes of a table, from those `prior` of the classes that it replaces.

    A class has that of its name, else of the class of PanNuke that it is a kind of, else that of the rarest.
    """
    known = dict(zip(had.names, prior.tolist(), strict=False))
    rarest = min(known.values())
    return logits_of_classes([known.get(c.name, known.get(c.in_pannuke or "", rarest)) for c in class_table.classes])


def random_directions(rows: int, dim: int) -> Tensor:
    """The same unit vectors `[rows, dim]` whatever the seed, in place of features of words."""
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(0)), dim=-1)


def filled_up(features: Tensor) -> Tensor:
    """Features `[N, D]` with rows of 0 up to a multiple of `ROWS`."""
    return F.pad(features, (0, 0, 0, -len(features) % ROWS))


def logits_of_classes(logits: Sequence[float] | Tensor) -> Tensor:
    """A logit a class, filled up with 0 to `MOST_CLASSES`."""
    given = torch.as_tensor(logits, dtype=torch.float32)
    return F.pad(given, (0, MOST_CLASSES - len(given)))


def stored_logits(logits: Tensor) -> Tensor:
    """Logits of the classes as a checkpoint stores them, those of a version before 0.3.0 filled up.

    Raises:
        InputError: such a checkpoint has another number of classes than PanNuke, and no names for them.
    """
    if len(logits) not in (len(EARLIER), MOST_CLASSES):
        found = f"weights of before 0.3.0 have {len(logits)} classes, of which no names are stored"
        raise InputError(f"{found}: only PanNuke's {len(EARLIER)} can be used; train again with a class table")
    return logits_of_classes(logits)


def starting_logits(shares: Sequence[float] | None, classes: int) -> Tensor:
    """Logits of the share of the background, and of equal shares of the classes of nuclei, filled up.

    So classes of nuclei differ by their words alone. Where `shares` is None, nuclei have a fifth of the pixels.
    """
    background, nuclei = (0.8, 0.2) if shares is None else (shares[0], sum(shares[1:]))
    given = torch.tensor([background, *[nuclei / (classes - 1)] * (classes - 1)])
    return logits_of_classes(torch.logit(given.clamp(1e-5, 1 - 1e-5)))
