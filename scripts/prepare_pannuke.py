"""PanNuke to a prepared dataset: `python scripts/prepare_pannuke.py --source S --out D [--download]`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.__main__ import main

if __name__ == "__main__":
    main("prepare_pannuke")
