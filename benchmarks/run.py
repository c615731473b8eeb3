"""Speed, memory, size and the worth of words, side by side in one run: `python benchmarks/run.py COMMAND --help`."""

import sys
from pathlib import Path
from pkgutil import resolve_name

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from monch_monai.arguments import run

COMMANDS = {
    "network": "comparison:print_networks",
    "gpu": "gpu:print_gpu",
    "ops": "operators:print_ops",
    "ablations": "ablations:print_ablations",
    "encoders": "encoders:print_encoders",
    "export": "exports:print_exports",
    "prepare": "preparation:print_preparation",
    "slide": "slides:print_slide",
    "slide_memory": "slides:print_memory",
    "slide_peak": "slides:print_peak",
    "words": "wordings:print_wordings",
    "fuzz": "fuzz:print_fuzz",
    "write": "writers:print_writers",
    "viewer": "viewer:print_viewer",
}
"""Each command's module and function: only what runs is imported, since memory is measured too."""


if __name__ == "__main__":
    chosen = [name for name in sys.argv[1:2] if name in COMMANDS] or COMMANDS
    run({name: resolve_name(f"benchmarks.{COMMANDS[name]}") for name in chosen}, "run.py")
