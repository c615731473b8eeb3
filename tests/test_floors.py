import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from scripts import house

ROOT = Path(__file__).parents[1]
FLOORS = {room: floor for floor, rooms in enumerate(house.FLOORS) for room in rooms}
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


def imported_modules(parts):
    """Names of modules that a file imports from, each as the submodule where it is one."""
    tree = ast.parse(ROOT.joinpath(*parts).with_suffix(".py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = ROOT.joinpath(*node.module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def test_no_file_of_the_package_imports_in_a_circle():
    names = {".".join(parts).removesuffix(".__init__"): parts for parts in IN_ROOMS}
    uses = {name: {used for used in imported_modules(parts) if used in names} - {name} for name, parts in names.items()}
    TopologicalSorter(uses).prepare()  # raises CycleError, which names the circle


CODE = [path for folder in ("monch_monai", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_at_most_250_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


CONFIGS_OWN = {"Monch"}
"""Networks, whose switches configs name one by one."""


def test_no_class_has_more_than_ten_parameters():
    found = {}
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                for init in node.body:
                    if isinstance(init, ast.FunctionDef) and init.name == "__init__":
                        found[node.name] = len(init.args.args) + len(init.args.kwonlyargs) - 1
                if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
                    found[node.name] = sum(isinstance(field, ast.AnnAssign) for field in node.body)
    assert {name: count for name, count in found.items() if count > 10 and name not in CONFIGS_OWN} == {}


def test_every_room_has_its_floor():
    assert {parts[1] for parts in IN_ROOMS} == set(FLOORS)


def test_no_module_is_a_drawer():
    names = {Path(part).stem for path in CODE for part in path.relative_to(ROOT).parts}
    assert names & {"utils", "helpers", "common", "core"} == set()


def test_the_readme_lists_every_room_and_file():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert house.updated(readme) == readme, "run python scripts/house.py"
    assert all(house.sentence(ROOT.joinpath(*parts).with_suffix(".py")) for parts in IN_ROOMS)
