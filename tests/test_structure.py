"""The structure budget: module and function lengths, annotations, docstrings, imports."""

from __future__ import annotations

import ast
import graphlib
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("trialkit", "device_interface", "data_schemas")
MODULES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def functions() -> list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (path, node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length


def test_module_length() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    long = {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > 600}
    assert not long, f"modules above 600 lines: {long}"
    assert statistics.median(lengths.values()) <= 200


def test_function_length() -> None:
    every = functions()
    long = [(p.relative_to(ROOT), n.name, body_length(n)) for p, n in every if body_length(n) > 60]
    assert len(long) <= len(every) / 100, f"functions above 60 lines: {long}"
    assert not [row for row in long if row[2] > 100]


def test_everything_is_annotated() -> None:
    bare = []
    for path, node in functions():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        missing = [
            a.arg for a in arguments if a.annotation is None and a.arg not in {"self", "cls"}
        ]
        if missing or node.returns is None:
            bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {missing}")
    assert not bare, "\n".join(bare)


def test_every_raise_is_from_the_tree() -> None:
    """Outside argument checks (ValueError, TypeError, KeyError of a mapping) nothing bare."""
    bare = []
    for path, tree in TREES.items():
        if path.name == "verify.py":
            continue  # ships alone inside the package: standard library only
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = getattr(node.exc.func, "id", getattr(node.exc.func, "attr", ""))
                if name in {"Exception", "RuntimeError", "OSError", "AssertionError"}:
                    bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
    assert not bare, "\n".join(bare)


def test_no_import_cycle() -> None:
    import grimp

    # imports for annotations only are not run; those inside functions are, and count
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)
    # a package's __init__ re-exports its modules; cycles count between modules only
    modules = {m for m in graph.modules if not graph.find_children(m)}
    imports = {m: graph.find_modules_directly_imported_by(m) & modules for m in modules}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, naming the cycle


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_is_light(argument: str) -> None:
    program = (
        "import sys\nfrom trialkit.cli import main\n"
        f"sys.argv = ['trialkit', {argument!r}]\n"
        "try:\n    main()\nexcept SystemExit as leave:\n    assert not leave.code, leave.code\n"
        "heavy = {'pandas', 'numpy', 'pydantic', 'sqlalchemy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
