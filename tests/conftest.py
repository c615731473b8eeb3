"""Test processes run side by side, so each computes with one thread, as do the programs it starts."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
