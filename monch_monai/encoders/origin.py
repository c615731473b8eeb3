"""Where an encoder's weights came from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Where weights came from.

    Args:
        kind: `random`, `hub`, `file`, `checkpoint`, `published` where a file has the published SHA-256, whatever its
            source, or `unknown` where an earlier version recorded another text.
        source: repository on the hub, or name of the file.
        revision: of the repository.
        sha256: of the file, in hexadecimal; earlier versions recorded its beginning alone.
    """

    kind: str = "random"
    source: str | None = None
    revision: str | None = None
    sha256: str | None = None

    @property
    def pretrained(self) -> bool:
        """Whether the weights were trained before."""
        return self.kind != "random"

    def __str__(self) -> str:
        """One line to read, such as `hub vinid/plip, revision 0123456789ab`."""
        text = self.kind if self.source is None else f"{self.kind} {self.source}"
        if self.revision is not None:
            text += f", revision {self.revision[:12]}"
        return text if self.sha256 is None else f"{text}, SHA-256 {self.sha256[:12]}"


RANDOM = Origin()
