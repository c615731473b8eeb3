import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "errors": 0,
    "files": 1, "settings": 1, "classes": 1, "ops": 1, "prompts": 1,
    "encoders": 2, "data": 2, "metrics": 2, "overlay": 2, "nuclei": 2, "inferers": 2, "losses": 2, "class_map": 2,
    "networks": 3, "baselines": 3, "datasets": 3, "slides": 4, "handlers": 4, "report": 5, "runs": 5, "label": 6,
    "__main__": 7,
}  # fmt: skip
MODULES = sorted(p.relative_to(ROOT).with_suffix("").parts for p in (ROOT / "monch_monai").rglob("*.py"))
IN_ROOMS = [parts for parts in MODULES if parts != ("monch_monai", "__init__")]


def imports(parts):
    tree = ast.parse(ROOT.joinpath(*parts).with_suffix(".py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = (node.module or "").split(".")
            yield from ([*module, alias.name] if module == ["monch_monai"] else module for alias in node.names)


@pytest.mark.parametrize("parts", IN_ROOMS, ids="/".join)
def test_a_room_imports_only_from_lower_floors(parts):
    room = parts[1]
    rooms = {name[1] for name in imports(parts) if name[0] == "monch_monai" and len(name) > 1 and name[1] in FLOORS}
    assert {other for other in rooms - {room} if FLOORS[other] >= FLOORS[room]} == set()


@pytest.mark.parametrize(
    "parts", [p for p in IN_ROOMS if p[1] in ("encoders", "networks", "ops", "losses")], ids="/".join
)
def test_the_network_knows_nothing_of_monai(parts):
    assert {name[0] for name in imports(parts)} & {"monai", "ignite"} == set()


def test_every_room_has_its_floor():
    assert {parts[1] for parts in IN_ROOMS} == set(FLOORS)


def test_no_module_is_a_drawer():
    paths = [path for folder in ("monch_monai", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    names = {Path(part).stem for path in paths for part in path.relative_to(ROOT).parts}
    assert names & {"utils", "helpers", "common", "core"} == set()
