"""Who may import whom: the layers of the framework, checked on the text of its modules."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ptl_skel", "preprocessing", "sweeps")

# What a room of the framework may import of the framework, by the first parts of dotted names.
# `cli` and `show` are bound by the general rules below only.
LAYERS = {
    "errors": set(),
    "atomic": set(),
    "metrics": set(),
    "locks": {"errors"},
    "command": {"errors"},
    "configs": set(),
    "skeletons": {"errors", "configs"},
    "storage": {"storage", "skeletons", "errors", "atomic", "locks"},
    "data.sampling": {"errors"},
    "data.live": {"errors", "metrics"},
    "data.dataset": {"storage", "data.sampling", "skeletons", "errors"},
    "data.classes": {"errors"},
    "data.parts": {"storage"},
    "data.transforms": {"skeletons", "errors"},
    "data.corruption": {"data.dataset", "data.transforms", "errors"},
    "representations": {"representations", "skeletons", "data.transforms", "errors"},
    "representations.kernel": {"representations.base", "representations.limbs", "skeletons"},
    "data.cameras": {"data.transforms", "errors"},
    "data.inputs": {"data", "skeletons", "representations", "errors"},
    "data.datamodule": {"data", "storage", "skeletons", "representations", "errors"},
    "backbones": {"backbones", "errors"},
    "training": {"training", "backbones", "metrics", "errors"},
    "pose": {"pose", "skeletons", "errors", "atomic"},
    "cost": {"cost", "errors"},
    "deploy": {"deploy", "representations", "data.transforms", "data.cameras", "errors"},
    "deploy.__init__": set(),
    "deploy.past": {"backbones.layers"},
    "deploy.streaming": {"deploy", "backbones.layers", "cost.folding", "representations", "errors"},
    "deploy.runtime": set(),
    "deploy.runtime_stream": {"deploy.runtime"},
    "deploy.runtime_window": {"deploy.runtime"},
    "live": {"live", "pose", "deploy.runtime", "deploy.runtime_stream", "deploy.runtime_window",
             "skeletons", "errors"},
    "runs.record": {"errors", "atomic"},
    "runs.predictions": {"errors", "atomic"},
    "runs": {"runs", "skeletons", "metrics", "errors", "atomic", "locks", "command"},
}
# What they may import from elsewhere, besides the standard library.
LIBRARIES = {
    "errors": set(),
    "metrics": set(),
    "locks": set(),
    "command": {"rich"},
    "configs": set(),
    "skeletons": {"yaml"},
    "storage": {"h5py", "numpy"},
    "data.sampling": {"numpy", "torch"},
    "data.live": {"numpy", "torch"},
    "data.dataset": {"numpy", "torch"},
    "data.classes": set(),
    "data.parts": {"numpy"},
    "data.transforms": {"torch"},
    "data.corruption": {"numpy", "torch"},
    "data.cameras": {"torch"},
    "data.inputs": {"torch"},
    "representations": {"torch"},
    "representations.kernel": {"torch", "triton"},
    "backbones": {"torch"},
    "cost": {"torch"},
    "deploy": {"numpy", "torch", "onnx", "onnxruntime"},
    "deploy.__init__": set(),
    "deploy.runtime": {"numpy", "onnxruntime"},
    "deploy.runtime_stream": {"numpy", "runtime"},  # as a copy outside of its package
    "deploy.runtime_window": {"numpy", "runtime"},
    "live": {"numpy", "av", "PIL", "matplotlib"},
    "pose": {"numpy", "scipy", "av", "onnx", "onnxruntime", "openvino", "rtmlib"},
    "runs.record": set(),
    "runs.predictions": {"numpy"},
}
# What a room of preprocessing may import of preprocessing; only `commands` is bound by nothing.
ROOMS = {
    "core": {"core"},
    "tools": {"core", "tools"},
    "datasets": {"core", "datasets"},
    "synthetic": {"synthetic", "datasets.ntu"},  # it writes that format
    "inspect": {"inspect"},
}
# What the other packages may know of the framework.
OUTSIDE = {
    "preprocessing": {"skeletons", "storage", "pose", "errors", "command", "atomic"},
    "sweeps": {"runs", "cli", "configs", "metrics", "errors", "command", "atomic", "locks"},
}


def modules(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}


def imports(file):
    """Dotted names of all modules that a file imports, wherever in it; relative ones in full.

    ``from a import b`` may take a module or a name, so it counts as ``a.b``.
    """
    names = set()
    package = file.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_only_packages_with_two_names_import_relative_to_themselves(package):
    """Installed, `preprocessing` and `sweeps` are parts of the framework."""
    for file in modules(package).values():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                own = node.level > 0 or node.module.split(".")[0] == package
                assert not own or (node.level > 0) == (package != "ptl_skel"), (file, node.lineno)
            elif isinstance(node, ast.Import):
                assert package == "ptl_skel" or not any(
                    alias.name.split(".")[0] == package for alias in node.names), file


def of_framework(names):
    """Dotted names below `ptl_skel`, without its name."""
    return {name.removeprefix("ptl_skel.") for name in names if name.startswith("ptl_skel.")}


def within(name, rooms):
    """Whether a dotted name is one of the rooms or lies in one of them."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def layer(module):
    """The most specific layer that a module belongs to; None for `cli` and `show`."""
    name = module.removeprefix("ptl_skel.")
    found = [one for one in LAYERS if within(name, [one])]
    return max(found, key=len, default=None)


FRAMEWORK = modules("ptl_skel")


def test_it_finds_the_modules():
    assert {layer(module) for module in FRAMEWORK} >= set(LAYERS)
    found = of_framework(imports(FRAMEWORK["ptl_skel.cli.lightning"]))
    assert all(any(within(name, [room]) for name in found)
               for room in ("data.datamodule", "training.module", "runs"))
    # Imports inside functions count.
    assert "storage.KeypointFile" in of_framework(imports(FRAMEWORK["ptl_skel.cli.show"]))


@pytest.mark.parametrize("module", [name for name in FRAMEWORK if layer(name)])
def test_a_layer_imports_only_layers_below(module):
    allowed = LAYERS[layer(module)]
    assert not {name for name in of_framework(imports(FRAMEWORK[module]))
                if not within(name, allowed)}


@pytest.mark.parametrize("module", [name for name in FRAMEWORK if layer(name) in LIBRARIES])
def test_a_layer_knows_its_libraries_only(module):
    known = LIBRARIES[layer(module)] | {"ptl_skel"} | set(sys.stdlib_module_names)
    assert {name.split(".")[0] for name in imports(FRAMEWORK[module])} <= known


@pytest.mark.parametrize("module", FRAMEWORK)
def test_the_framework_knows_nothing_of_what_stands_on_it(module):
    top = {name.split(".")[0] for name in imports(FRAMEWORK[module])}
    assert not top & {"preprocessing", "sweeps", "tests"}


def test_only_the_command_line_ties_data_and_model():
    both = [module for module, file in FRAMEWORK.items()
            if all(any(within(name, [room]) for name in of_framework(imports(file)))
                   for room in ("data.datamodule", "training.module"))]
    assert both
    assert all(module.startswith("ptl_skel.cli.") for module in both)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_preprocessing_imports_only_what_it_stands_on(room):
    inside = {name: file for name, file in modules("preprocessing").items()
              if within(name.removeprefix("preprocessing."), [room])}
    assert inside
    for file in inside.values():
        found = {name.removeprefix("preprocessing.") for name in imports(file)
                 if name.startswith("preprocessing.")}
        assert not {name for name in found if not within(name, ROOMS[room])}, file


def test_every_module_of_preprocessing_has_a_room():
    rooms = {name.split(".")[1] for name in modules("preprocessing")}
    assert rooms == {*ROOMS, "__init__", "commands"}


@pytest.mark.parametrize("package", ["preprocessing"])
def test_there_are_no_import_circles(package):
    files = modules(package)
    TopologicalSorter({name: {other for other in files for imported in imports(file)
                              if within(imported, [other])}
                       for name, file in files.items()}).prepare()


@pytest.mark.parametrize("package", OUTSIDE)
def test_other_packages_know_little_of_the_framework(package):
    for file in modules(package).values():
        names = imports(file)
        assert not {name for name in of_framework(names)
                    if not within(name, OUTSIDE[package])}, file
        other = set(PACKAGES) - {package, "ptl_skel"}
        assert not {name.split(".")[0] for name in names} & other, file
        assert "ptl_skel" not in names, file


@pytest.mark.parametrize(("room", "other"), [("run", "report"), ("report", "run")])
def test_rooms_of_sweeps_do_not_know_each_other(room, other):
    for name, file in modules(f"sweeps/{room}").items():
        assert not {one for one in imports(file) if within(one, [f"sweeps.{other}"])}, name


def test_sweeps_know_the_command_line_only_where_values_are_checked():
    found = {name: file for name, file in modules("sweeps").items()
             if any(within(one, ["cli"]) for one in of_framework(imports(file)))}
    assert set(found) == {"sweeps.run.coordinator"}
    top = [node for file in found.values()
           for node in ast.parse(file.read_text(encoding="utf-8")).body
           if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ptl_skel.cli")]
    assert not top  # it takes seconds, so only the function that checks imports it


@pytest.mark.parametrize("library", ["optuna", "submitit", "plotly", "kaleido", "pandas",
                                     "pydantic", "scipy", "numpy"])
def test_the_front_of_sweeps_loads_no_library_of_its_rooms(library):
    for module in ("sweeps", "sweeps.commands"):
        file = modules("sweeps").get(module, ROOT / "sweeps/__init__.py")
        assert library not in {name.split(".")[0] for name in imports(file)}
