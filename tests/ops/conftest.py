"""Kernels run interpreted only in a process that asked for it before Triton was imported; `test_triton` starts one."""

import os

collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted"]
