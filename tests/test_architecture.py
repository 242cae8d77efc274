"""Who may import whom: the layers of the framework, checked on the text of its modules."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ptl_skel", "preprocessing", "sweeps")

# What a module of the framework may import of the framework. Those that are not listed (commands,
# and what comes after training) are bound by the general rules below alone.
LAYERS = {
    "skeletons": set(),
    "storage": {"storage", "skeletons"},
    "sampling": set(),
    "dataset": {"storage", "sampling", "skeletons"},
    "transforms": {"skeletons"},
    "representations": {"representations", "skeletons", "transforms"},
    "datamodule": {"dataset", "storage", "skeletons", "transforms", "representations"},
    "backbones": {"backbones"},
    "module": {"backbones"},
    "folding": set(),
    "complexity": {"folding"},
    "records": {"complexity", "commands"},
    "commands": set(),
}
# What the layers below the network may import from elsewhere, but for the standard library.
LIBRARIES = {
    "skeletons": {"yaml"},
    "storage": {"h5py", "numpy"},
    "sampling": {"numpy", "torch"},
    "dataset": {"numpy", "torch"},
    "transforms": {"torch"},
    "representations": {"torch"},
    "backbones": {"torch"},
    "folding": {"torch"},
    "complexity": {"torch"},
}
# What the other packages may know of the framework.
OUTSIDE = {
    "preprocessing": {"skeletons", "storage", "pose"},
    "sweeps": {"records", "commands", "cli"},
}


def modules(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}


def imports(file):
    """Dotted names of all modules that a file imports, wherever in it; relative ones are refused.

    ``from a import b`` may take a module or a name, so it counts as ``a.b``.
    """
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relative to itself"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def of_framework(names):
    """The modules of `ptl_skel` among dotted names, without its name: the first part behind it."""
    return {name.split(".")[1] for name in names if name.startswith("ptl_skel.")}


def role(module):
    """``ptl_skel.backbones.layers`` plays the role ``backbones``."""
    return module.split(".")[1]


FRAMEWORK = modules("ptl_skel")


def test_it_finds_the_modules():
    assert {role(module) for module in FRAMEWORK} >= set(LAYERS)
    assert of_framework(imports(FRAMEWORK["ptl_skel.cli"])) >= {"datamodule", "module", "storage"}
    # Imports inside functions count.
    assert "cli" in of_framework(imports(FRAMEWORK["ptl_skel.__main__"]))


@pytest.mark.parametrize("module", [name for name in FRAMEWORK if role(name) in LAYERS])
def test_a_layer_imports_only_layers_below(module):
    assert of_framework(imports(FRAMEWORK[module])) <= LAYERS[role(module)]


@pytest.mark.parametrize("module", [name for name in FRAMEWORK if role(name) in LIBRARIES])
def test_a_layer_knows_its_libraries_only(module):
    known = LIBRARIES[role(module)] | {"ptl_skel"} | set(sys.stdlib_module_names)
    assert {name.split(".")[0] for name in imports(FRAMEWORK[module])} <= known


@pytest.mark.parametrize("module", FRAMEWORK)
def test_the_framework_knows_nothing_of_what_stands_on_it(module):
    top = {name.split(".")[0] for name in imports(FRAMEWORK[module])}
    assert not top & {"preprocessing", "sweeps", "tests"}


def test_the_command_line_alone_ties_data_and_model():
    both = [module for module, file in FRAMEWORK.items()
            if of_framework(imports(file)) >= {"datamodule", "module"}]
    assert both == ["ptl_skel.cli"]


@pytest.mark.parametrize("package", OUTSIDE)
def test_other_packages_know_little_of_the_framework(package):
    for file in modules(package).values():
        names = imports(file)
        assert of_framework(names) <= OUTSIDE[package], file
        other = set(PACKAGES) - {package, "ptl_skel"}
        assert not {name.split(".")[0] for name in names} & other, file
        assert "ptl_skel" not in names, file
