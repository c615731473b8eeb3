"""Evaluated runs grouped by method, so that only runs of one method are averaged, each group by a name of its own."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monch_monai.report.evaluated_run import EvaluatedRun

DIFFERENCES = 3
"""Differences that the name of a group states at most."""
LONGEST = 40
"""Characters of a value in such a name."""
Leaves = dict[str, str]
"""Values of a method as text, by dotted name."""


def group_runs(runs: Iterable[EvaluatedRun], by: str) -> dict[str, list[EvaluatedRun]]:
    """Runs of one method by the name of their row, in the order of the runs.

    Args:
        runs: of any methods.
        by: attribute that names a run's row, `system` or `encoder`. Where runs of several methods share the name, each
            group's name also states by what its method differs from the others.
    """
    named: dict[str, dict[tuple[tuple[str, str], ...], list[EvaluatedRun]]] = {}
    for run in runs:
        method = tuple(sorted(leaves(run.method).items()))
        named.setdefault(getattr(run, by), {}).setdefault(method, []).append(run)
    groups = {}
    for name, methods in named.items():
        labels = label_differences([dict(method) for method in methods])
        for label, group in zip(labels, methods.values(), strict=True):
            groups[f"{name}, {label}" if label else name] = group
    return groups


def label_differences(methods: Sequence[Leaves]) -> list[str]:
    """What each of several methods has that not all of them have, such as `normalisation instance`.

    Of a component of another class the class is named, without its arguments. At most `DIFFERENCES` are named; where
    they do not suffice, a piece of the method's SHA-256 follows.
    """
    names = dict.fromkeys(name for method in methods for name in method)
    differing = [n for n in names if len({method.get(n) for method in methods}) > 1]
    classes = [n.removesuffix("_target_") for n in differing if n.endswith("._target_")]
    shown = [n for n in differing if n.endswith("._target_") or not any(n.startswith(c) for c in classes)]
    labels = [", ".join(_difference(n, method.get(n)) for n in shown[:DIFFERENCES]) for method in methods]
    if len(set(labels)) == len(labels):
        return labels
    digests = [hashlib.sha256(json.dumps(method, sort_keys=True).encode()).hexdigest() for method in methods]
    return [f"{label}, method {digest[:12]}" for label, digest in zip(labels, digests, strict=True)]


def leaves(value: Any, name: str = "") -> Leaves:
    """Values in nested mappings, as text by dotted name. Lists of plain values are values; null ones are left out."""
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list) and any(isinstance(v, Mapping | list) for v in value):
        items = enumerate(value)
    elif value is None:
        return {}
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        return {name: text.lower() if text.lower() in ("true", "false") else text}  # command lines give flags as text
    found: Leaves = {}
    for key, inner in items:
        found |= leaves(inner, f"{name}.{key}" if name else str(key))
    return found


def _difference(name: str, value: str | None) -> str:
    label = name.removesuffix("._target_")
    if value is None:
        return f"no {label}"
    if name.endswith("._target_"):
        value = value.rpartition(".")[2]
    if name.endswith("sha256"):
        value = value[:12]
    return f"{label} {value[:LONGEST]}"
