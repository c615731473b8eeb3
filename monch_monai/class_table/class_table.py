"""A class table: the classes that a network separates, in the order of its maps, and their descriptions."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from monch_monai.errors import InputError, shown

BACKGROUND = "background"
PARENTS = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")
"""PanNuke's classes of nuclei (Gamper et al., 2020), which classes of other tables may name as their parent."""
LEAST_SENTENCES = 3
"""Sentences that describe a class in the paper, and that a step of training draws."""
MOST_CLASSES, MOST_SENTENCES, LONGEST_SENTENCE, LONGEST_NAME = 64, 200, 500, 40
NOT_IN_NAMES = ',;"/\\|<>'
"""Characters that separate names in files."""
RESERVED = ("any nucleus", "any", "ignored", "ignore", "region", "all", "error", "image")
"""Names that result tables, tables of types, or the outlines of viewers, have for something else."""

Color = tuple[int, int, int]


@dataclass(frozen=True)
class NucleusClass:
    """One class.

    Attributes:
        index: in class maps; 0 is the background.
        name: in tables, files and messages.
        color: red, green and blue, 0 to 255.
        sentences: descriptions of the class, each complete in itself. The first three are used where none are drawn.
        held_out: descriptions that training never draws, to measure what other words cost.
        parent: the class among `PARENTS` that this one is a kind of; None where it is of none.
        of: names of other tables' classes that are this one.
    """

    index: int
    name: str
    color: Color
    sentences: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    parent: str | None = None
    of: tuple[str, ...] = ()

    @property
    def in_pannuke(self) -> str | None:
        """The class of PanNuke that this one is, or is a kind of."""
        return self.name if self.name in PARENTS else self.parent


@dataclass(frozen=True)
class ClassTable:
    """Classes in order, the background first.

    Args:
        name: of the table, for messages.
        classes: in the order of the network's maps.

    Raises:
        InputError: there are fewer than two classes, or more than `MOST_CLASSES`. The first is not the background. A
            name is empty, too long, reserved, that of two other classes joined by `or`, or occurs twice (whatever its
            case, spaces and Unicode form). A colour is no colour, or occurs twice. A class has fewer than three
            sentences, or too many. A sentence has no letters, characters that do not print, or too many, or occurs
            twice. A parent is none of PanNuke's classes, the background has one, or one of these has another. `of`
            is not of names, each once.
    """

    name: str
    classes: tuple[NucleusClass, ...]

    def __post_init__(self) -> None:
        """Refuses what cannot be used, in one line."""
        if not 2 <= len(self.classes) <= MOST_CLASSES:
            found = f"has {len(self.classes)} classes"
            raise self._error(f"{found}: give the background and 1 to {MOST_CLASSES - 1} classes of nuclei")
        if self.classes[0].name != BACKGROUND:
            raise self._error(f"begins with class {shown(self.classes[0].name)}: put {BACKGROUND!r} first")
        for c in self.classes:
            self._check(c)
        self._check_unlike("name", [(_alike(c.name), c.name) for c in self.classes])
        for name in self.names:
            parts = name.split(" or ")
            if len(parts) > 1 and set(parts) <= set(self.names):
                raise self._error(f"names a class {shown(name)}, as labels of either are called: rename it")
        self._check_unlike("color", [(c.color, c.name) for c in self.classes])
        words = [(_alike(s), c.name) for c in self.classes for s in (*c.sentences, *c.held_out)]
        self._check_unlike("sentence", words)

    def __len__(self) -> int:
        """T, background included."""
        return len(self.classes)

    @property
    def nuclei(self) -> tuple[NucleusClass, ...]:
        """All classes but the background."""
        return self.classes[1:]

    @property
    def names(self) -> list[str]:
        """Names in order."""
        return [c.name for c in self.classes]

    def to_dict(self) -> dict[str, Any]:
        """The table as plain JSON; `from_dict` reads it."""
        of_classes = [
            {n: list(v) if isinstance(v, tuple) else v for n, v in asdict(c).items() if n != "index"}
            for c in self.classes
        ]
        return {"name": self.name, "classes": of_classes}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The table of `to_dict`.

        Raises:
            InputError: the table cannot be used.
            KeyError, TypeError, ValueError: the mapping is no such record.
        """
        classes = [
            NucleusClass(
                index, c["name"], tuple(c["color"]), tuple(c["sentences"]), tuple(c.get("held_out", ())),
                c.get("parent"), tuple(c.get("of", ())),
            )
            for index, c in enumerate(record["classes"])
        ]  # fmt: skip
        return cls(record["name"], tuple(classes))

    def _check(self, c: NucleusClass) -> None:
        name = c.name
        if not _is_text(name) or name != " ".join(name.split()) or set(name) & set(NOT_IN_NAMES):
            expected = f"give 1 to {LONGEST_NAME} letters without {' '.join(NOT_IN_NAMES)}"
            raise self._error(f"has the class name {shown(name)}: {expected}")
        if len(name) > LONGEST_NAME:
            raise self._error(f"has the class name {shown(name)} of {len(name)} letters: at most {LONGEST_NAME}")
        if name.casefold() in RESERVED:
            raise self._error(
                f"names a class {shown(name)}, which means something else in results and viewers: rename it"
            )
        if len(c.color) != 3 or not all(
            isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in c.color
        ):
            raise self._error(f'gives {name} the color {shown([*c.color])}: give [R, G, B], 0 to 255, or "#rrggbb"')
        if not LEAST_SENTENCES <= len(c.sentences) <= MOST_SENTENCES:
            found = f"describes {name} by {len(c.sentences)} sentences"
            raise self._error(f"{found}: give at least {LEAST_SENTENCES} and at most {MOST_SENTENCES}")
        for sentence in (*c.sentences, *c.held_out):
            if not _is_text(sentence):
                found = f"has an empty sentence of {name}, or one that is no plain text ({shown(sentence)})"
                raise self._error(f"{found}: write it out, in quotes where it has a colon")
            if len(sentence) > LONGEST_SENTENCE:
                raise self._error(f"has a sentence of {name} of {len(sentence)} letters: at most {LONGEST_SENTENCE}")
        needs_none = c.index == 0 or (name in PARENTS and c.parent != name)
        if c.parent is not None and (needs_none or c.parent not in PARENTS):
            expected = f"leave it out for {name}" if needs_none else f"give one of {', '.join(PARENTS)}"
            raise self._error(f"names {shown(c.parent)} as the parent of {name}: {expected}")
        if not all(_is_text(other) and other != BACKGROUND for other in c.of) or len(set(c.of)) < len(c.of):
            raise self._error(f"has {shown([*c.of])} as `of` of {name}: give names of classes of nuclei, each once")

    def _check_unlike(self, what: str, found: Iterable[tuple[Any, str]]) -> None:
        known: dict[Any, str] = {}
        for value, of in found:
            if value in known:
                twin = shown(value[:60] if isinstance(value, str) else list(value))
                raise self._error(f"has the {what} {twin} twice, of {known[value]} and of {of}: no two may be alike")
            known[value] = of

    def _error(self, problem: str) -> InputError:
        return InputError(f"class table {self.name} {problem}")


def _is_text(value: Any) -> bool:
    """Whether a value is text with letters or digits that prints, line breaks aside."""
    return isinstance(value, str) and " ".join(value.split()).isprintable() and any(map(str.isalnum, value))


def _alike(text: str) -> str:
    """What texts have in common that differ in case, spaces or Unicode form alone."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
