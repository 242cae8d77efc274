"""What an installation puts where, and that a checkout works without one."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from ptl_skel.cli.verbs import VERBS, installed_name

ROOT = Path(__file__).parents[1]
# As the console script of an editable installation finds them, from any folder.
INSTALLED = """
import importlib.util, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        for room in ("preprocessing", "sweeps"):
            if name == f"ptl_skel.{room}":
                folder = ROOT + "/" + room
                return importlib.util.spec_from_file_location(
                    name, folder + "/__init__.py", submodule_search_locations=[folder])
        if name == "ptl_skel":
            folder = ROOT + "/ptl_skel"
            return importlib.util.spec_from_file_location(
                name, folder + "/__init__.py", submodule_search_locations=[folder])
sys.meta_path.insert(0, Finder)
from ptl_skel.cli.verbs import main
main(sys.argv[1:])
"""


def run(*command, cwd):
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "200"}
    return subprocess.run([sys.executable, *command], cwd=cwd, env=environment, text=True,
                          capture_output=True, check=False, timeout=120)


def test_one_name_is_installed(tmp_path, monkeypatch):
    """By setup.py, whose call of setuptools is caught."""
    setuptools = pytest.importorskip("setuptools")
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **options: given.update(options))
    monkeypatch.chdir(ROOT)
    exec(compile((ROOT / "setup.py").read_text(), "setup.py", "exec"), {})
    assert {name.split(".")[0] for name in given["packages"]} == {"ptl_skel"}
    folders = {file.parent.relative_to(ROOT) for package in ("ptl_skel", "preprocessing", "sweeps")
               for file in (ROOT / package).rglob("*.py")}
    assert len(given["packages"]) == len(folders)
    for name in given["packages"]:
        for package, folder in given["package_dir"].items():
            if name == package or name.startswith(f"{package}."):
                name = folder + name.removeprefix(package)
        assert Path(*name.split(".")) in folders


def test_the_front_door_finds_the_packages_of_this_checkout():
    assert {installed_name(verb.module) for verb in VERBS.values()} == {
        verb.module for verb in VERBS.values()}


def test_another_package_of_the_same_name_is_not_taken_for_ours(tmp_path):
    for name in ("preprocessing", "sweeps"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')\n")
    code = f"ROOT = {str(ROOT)!r}\n{INSTALLED}"
    for verb in ("preprocess", "report"):
        done = run("-c", code, verb, "--help", cwd=tmp_path)
        assert done.stdout.startswith(f"usage: ptl-skel {verb}"), done.stderr


@pytest.mark.parametrize("command", [
    ["ptl_skel", "preprocess", "--help"], ["ptl_skel", "sweep", "--help"]])
def test_a_checkout_works_without_installation(command):
    done = run("-m", *command, cwd=ROOT)
    assert done.stdout.startswith("usage: ptl-skel "), done.stderr


def test_the_version_is_in_one_place():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    for name in ("setup.py", "CITATION.cff", "ptl_skel/__init__.py"):
        assert version[1] not in (ROOT / name).read_text()


def test_the_citation_names_software_and_paper():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    paper, = cited["references"]
    assert paper["title"] == "Factorized 3D-CNN for Skeleton-based Action Recognition"


def test_ci_tries_every_python_that_is_supported():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [name.rpartition(" ")[2] for name in project["classifiers"]
                if name.startswith("Programming Language :: Python :: ")]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert jobs["newest"]["strategy"]["matrix"]["python"] == versions
    assert project["requires-python"] == f">={versions[0]}"
    lowest, = (step["with"]["python-version"] for step in jobs["lowest"]["steps"] if "with" in step)
    assert lowest == versions[0]
    runs = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    assert "bash .ci/run" in runs
    named = {word for line in runs for word in line.split() if word.startswith("tests/")}
    assert named
    assert all((ROOT / name).exists() for name in named)


def test_ci_installs_a_browser_only_where_it_is_asked_to(tmp_path):
    """A machine without a browser, whose apt-get and make leave a note."""
    for name in ("apt-get", "make", "sudo"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {name} $@ >> {tmp_path}/called\n"
                           + 'exec "$@"\n' * (name == "sudo"))
        program.chmod(0o755)
    for name in ("bash", "sh", "dirname", "timeout"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    for variables, expected in (({}, []), ({"CI": "true"}, ["apt-get update"])):
        (tmp_path / "called").unlink(missing_ok=True)
        done = subprocess.run(["bash", str(ROOT / ".ci/run")], text=True, capture_output=True,
                              check=True, env={"PATH": str(tmp_path), **variables}, timeout=60)
        assert "no chromium on PATH" in done.stdout
        called = (tmp_path / "called").read_text().splitlines()
        assert [line for line in called if line in ("make lint", "make test")] == [
            "make lint", "make test"]
        assert [line for line in called if line == "apt-get update"] == expected
