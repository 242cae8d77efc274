"""What `pyproject.toml` cannot say: where packages lie whose folders have another name.

In the repository `preprocessing` and `sweeps` are folders beside `ptl_skel`; installed they are
part of it, so that site-packages gets no top-level name that somebody else may use.
"""

from setuptools import find_packages, setup

BESIDE = ("preprocessing", "sweeps")
inside = find_packages(include=[f"{name}*" for name in BESIDE])

setup(packages=[*find_packages(include=["ptl_skel*"]), *(f"ptl_skel.{name}" for name in inside)],
      package_dir={f"ptl_skel.{name}": name for name in BESIDE})
