"""A hook of MkDocs: the site has the repository's documents under their own paths, so that links work in both."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*.*", "bundle/docs/*.*", "bundle/models/card.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The documents, and of MkDocs' own files those of the theme."""
    folder = Path(config.docs_dir)
    themes = [file for file in files if not Path(file.abs_src_path or "/").is_relative_to(folder)]
    paths = sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern))
    ours = (File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)) for path in paths)
    return Files([*themes, *ours])
