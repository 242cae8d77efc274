"""Sweep files: what ships parses and is what it says; what cannot work ends in a sentence."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from sweep_files import COMMAND, write_sweep

import sweeps
from ptl_skel.cli import lightning as cli
from ptl_skel.configs import CONFIGS
from ptl_skel.errors import UserError
from ptl_skel.metrics import AT_THE_END, EVERY_EPOCH
from ptl_skel.runs.record import read_metrics, read_result
from sweeps.run.files import read_sweep
from sweeps.run.space import arguments_of, extremes, grid
from sweeps.run.trials import Trials
from sweeps.run.watch import logged_by

SHIPPED = sorted(Path(sweeps.__file__).parent.glob("*.yaml"))


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class TestShipped:
    def test_one_for_each_question(self):
        assert [path.stem for path in SHIPPED] == [
            "augmentation", "backbone", "cameras", "degraded", "design", "frames", "joints_limbs",
            "live", "reduction", "resolution", "seeds", "study"]

    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_it_states_a_hypothesis_and_every_seed(self, path):
        text = path.read_text()
        assert "# Hypothesis: " in text
        assert f"wandb sweep sweeps/{path.name}\n" in text
        assert f"ptl-skel sweep sweeps/{path.name}" in text
        repeated = read_sweep(path).parameters.keys() & {"seed_everything", "data.val_seed"}
        assert all(len(read_sweep(path).parameters[name].values) >= 3 for name in repeated)
        assert repeated

    def test_every_value_goes_through_the_parser_and_arrives(self):
        self.check([(sweep, cell) for sweep in map(read_sweep, SHIPPED)
                    for cell in extremes(sweep)])

    @pytest.mark.parametrize("experiment", ["synthetic", "ntu60_xsub"])
    def test_on_other_data(self, experiment):
        sweeps = [read_sweep(path, experiment=f"experiment/{experiment}.yaml") for path in SHIPPED
                  if path.stem != "study"]  # which has its data in its parameters
        self.check([(sweep, grid(sweep)[-1]) for sweep in sweeps])

    def check(self, cells):
        configs = cli.parse([arguments_of(sweep, cell) for sweep, cell in cells])
        for (_, cell), config in zip(cells, configs, strict=True):
            for name, value in cell.values.items():
                assert_holds(of(config, name), value)

    def test_every_value_is_among_the_extremes(self):
        for path in SHIPPED:
            sweep = read_sweep(path)
            for name, parameter in sweep.parameters.items():
                seen = [cell.values[name] for cell in extremes(sweep)]
                assert all(value in seen for value in parameter.choices)

    def test_cells(self):
        names = {path.stem: [cell.name for cell in grid(read_sweep(path))] for path in SHIPPED}
        assert {stem: len(cells) for stem, cells in names.items()} == {
            "augmentation": 21, "backbone": 21, "cameras": 9, "degraded": 12, "design": 48,
            "frames": 12, "joints_limbs": 6, "live": 6, "reduction": 27, "resolution": 27,
            "seeds": 10, "study": 225}
        assert names["live"][:2] == [
            "sampling=first_part,box=clip,loss_at=end,causal=false-seed0",
            "sampling=camera_rate,box=follow,loss_at=every_output,causal=true-seed0"]
        assert names["cameras"][1:3] == ["file=data_nw_ucla_3d.h5,front-seed0",
                                         "file=data_nw_ucla_3d.h5,moving-seed0"]
        assert names["backbone"][:2] == ["full3d-seed0", "r2plus1d-seed0"]
        assert names["reduction"][1] == "middle=matched,widths=16-32-64-128-seed0"
        assert names["resolution"][0] == "size=24,eval_size=24,sigma=0.4-seed0"
        assert names["seeds"][-1] == "seeds-seed9"
        assert ("val_seed=2,crop_area=1-1,flip=0,rotation=0,scale=0,shift=0"
                in names["augmentation"])

    def test_the_study_has_the_data_of_the_experiments_and_more_seeds_of_two_arms(self):
        sweep = read_sweep(Path("study.yaml"))
        experiments = [yaml.safe_load((CONFIGS / f"experiment/{name}.yaml").read_text())["data"]
                       for name in ("penn_action", "nw_ucla", "msr_action3d", "sbu")]
        values = sweep.parameters["data"].values
        assert [(one["file"], one["protocol"]) for one in experiments] == [
            (one["file"], one["protocol"]) for one in (values[0], values[1], values[3], values[4])]
        seeds = Counter((cell.values["model.backbone"], cell.values["data"]["file"],
                         cell.values["data"]["protocol"]) for cell in grid(sweep))
        assert len(seeds) == 7 * 9
        for (backbone, *_), number in seeds.items():
            more = backbone in {"backbone/full3d.yaml", "backbone/reduced.yaml"}
            assert number == (5 if more else 3)
        assert all(value in sweep.parameters[name].choices
                   for entry in sweep.skip for name, skipped in entry.items() for value in skipped)

    def test_the_study_gives_each_network_what_it_reads(self):
        sweep = read_sweep(Path("study.yaml"))
        cells = [cell for cell in grid(sweep) if cell.values["seed_everything"] == 0][:7]
        configs = cli.parse([arguments_of(sweep, cell) for cell in cells])
        assert [config["data"]["representation"]["class_path"].rpartition(".")[2]
                for config in configs] == [
                    "NormalizedCoordinates", "Coordinates", *["JointHeatmaps"] * 5]

    def test_found_by_name_from_anywhere(self):
        assert [read_sweep(Path(f"sweeps/{path.name}")).path for path in SHIPPED] == SHIPPED


def of(config, name):
    for part in name.split("."):
        config = config[part]
    return config


def assert_holds(found, value):
    """That a setting is the value, or has what the value or its file has, whatever else."""
    if isinstance(value, str) and value.endswith(".yaml"):
        value = yaml.safe_load((CONFIGS / value).read_text())
    if isinstance(found, Path):
        found = str(found)
    if isinstance(value, dict):
        for key, inner in value.items():
            assert_holds(found[key], inner)
    elif isinstance(value, list):
        assert len(found) == len(value)
        for one, other in zip(found, value, strict=True):
            assert_holds(one, other)
    else:
        assert type(found) in {type(value), float}
        assert found == value


class TestConfigsNameShippedFiles:
    def test_inside_json_as_agents_of_wandb_write_it(self):
        Path("args.json").write_text(json.dumps(
            {"model.backbone": "backbone/slowonly.yaml", "seed_everything": 3,
             "data.representation": "representation/limbs.yaml", "model.lr_batch_size": None}))
        config, = cli.parse([["--config", "experiment/penn_action.yaml", "--config", "args.json"]])
        assert config["model"]["backbone"]["class_path"].endswith("SlowOnly")
        assert config["data"]["representation"]["class_path"].endswith("LimbHeatmaps")
        assert config["model"]["lr_batch_size"] is None
        assert config["seed_everything"] == 3

    def test_a_file_of_ones_own_goes_first(self):
        Path("backbone").mkdir()
        own = (CONFIGS / "backbone/reduced.yaml").read_text().replace("stem_width: 32",
                                                                      "stem_width: 12")
        Path("backbone/reduced.yaml").write_text(own)
        Path("args.json").write_text(json.dumps({"model.backbone": "backbone/reduced.yaml"}))
        config, = cli.parse([["--config", "experiment/penn_action.yaml", "--config", "args.json"]])
        assert config["model"]["backbone"]["init_args"]["stem_width"] == 12


def test_the_metrics_are_those_that_a_run_logs(finished_run):
    every_epoch = {name for row in read_metrics(finished_run) for name in row}
    assert every_epoch - {"epoch", "step"} >= set(EVERY_EPOCH)
    assert set(logged_by(finished_run)) == set(EVERY_EPOCH) | set(AT_THE_END)
    assert read_result(finished_run)["metrics"].keys() < logged_by(finished_run).keys()


@pytest.mark.parametrize(("changes", "settings", "said"), [
    ({"parameters": {"run_dir": {"value": "x"}}}, [], "`run_dir` has no effect in a sweep"),
    ({"command": [*COMMAND, "--run_dir", "x"]}, [], "`run_dir` has no effect in a sweep"),
    ({}, ["run_dir=x"], "`run_dir` has no effect in a sweep"),
    ({"metod": "grid"}, [], "unknown key 'metod', perhaps 'method'"),
    ({"method": "gird"}, [], "`method` must be grid, random or bayes, got 'gird', perhaps 'grid'"),
    ({"method": None}, [], "`method` is missing"),
    ({"project": None}, [], "`wandb sweep` needs a `project`"),
    ({"parameters": {}}, [], "`parameters` is empty"),
    ({"parameters": [1]}, [], "`parameters` must be {key: value, ...}, got [1]"),
    ({"parameters": {"a": 3}}, [], "parameter `a`: must be {key: value, ...}, got 3"),
    ({"parameters": {"a": {"valeus": [3]}}}, [],
     "parameter `a`: unknown key 'valeus', perhaps 'values'"),
    ({"parameters": {"a": {"values": []}}}, [], "parameter `a`: `values` is empty"),
    ({"parameters": {"a": {"values": [1, 1]}}}, [], "parameter `a`: the value 1 is there twice"),
    ({"parameters": {"a": {"values": ["None"]}}}, [], "None is a word in YAML, write null"),
    ({"parameters": {"a": {"min": 1}}}, [], "parameter `a`: uniform takes max, min, got min"),
    ({"parameters": {"a": {"distribution": "beta", "min": 1}}}, [],
     "`distribution` must be constant, categorical, int_uniform"),
    ({"parameters": {"a": {"parameters": {"b": {"value": 1}}}}}, [], "dotted names"),
    ({"parameters": {"a": {"min": 1, "max": 3}}}, [], "which method grid cannot list"),
    ({"method": "random", "parameters": {"a": {"min": 3, "max": 1}}}, [], "`min` must be below"),
    ({"method": "random", "parameters": {"a": {"min": "1e-4", "max": 1}}}, [],
     "`min` must be a number, got '1e-4'; YAML needs a point, 1.0e-4"),
    ({"method": "random", "parameters": {"a": {"distribution": "log_uniform_values", "min": 0,
                                               "max": 1}}}, [], "`min` must be positive"),
    ({"method": "random", "parameters": {"a": {"min": 1, "max": 3}}}, [],
     "method random would never end"),
    ({"method": "bayes", "metric": None}, [], "method bayes needs a `metric`"),
    ({"metric": {"name": "val/los"}}, [], "got 'val/los', perhaps 'val/loss'"),
    ({"metric": {"name": "val/top1", "goal": "max"}}, [],
     "`metric`: `goal` must be maximize or minimize, got 'max'"),
    ({"method": "random", "run_cap": 1,
      "parameters": {"a": {"distribution": "int_uniform", "min": 1, "max": 2.5}}}, [],
     "int_uniform needs whole numbers"),
    ({"method": "random", "run_cap": 1,
      "parameters": {"a": {"distribution": "q_uniform", "min": 1, "max": 2, "q": 3}}}, [],
     "`q` must lie in the range, got 3"),
    ({"parameters": {"a": {"value": 1, "values": [2]}}}, [], "constant takes value, got value, "),
    ({"parameters": {"a": {"values": [1], "q": 2}}}, [], "categorical takes values, got q, "),
    ({"parameters": {"a": {}}}, [], "parameter `a`: give `value`, `values`, or `min` and `max`"),
    ({"run_cap": "3"}, [], "`run_cap` must be a valid integer, got '3'"),
    ({"command": "python -m ptl_skel fit"}, [], "`command` must be a valid list"),
    ({"metric": "val/top1"}, [], "`metric` must be {key: value, ...}, got 'val/top1'"),
    ({"metric": {"goal": "maximize"}}, [], "`metric`: `name` is missing"),
    ({"metric": {"name": "val/top1"}, "early_terminate": {"type": "hyperband", "eta": 1}}, [],
     "`early_terminate`: `eta` must be greater than or equal to 2, got 1"),
    ({"metric": {"name": "val/top1"}, "early_terminate": {"type": "hyperband", "s": 1}}, [],
     "`early_terminate` needs `min_iter`, or `max_iter` and `s`"),
    ({"run_cap": 0}, [], "`run_cap` must be greater than 0, got 0"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 2}}, [],
     "it needs a `metric` of every epoch"),
    ({"early_terminate": {"type": "median"}}, [],
     "`early_terminate`: `type` must be hyperband, got 'median'"),
    ({"command": ["python", "train.py"]}, [], "does not run `ptl_skel fit`"),
    ({"command": [*COMMAND[:5], "${args}"]}, [], "${args} writes null as the word None"),
    ({"command": [*COMMAND, "${args_no_hyphens}"]}, [], "pass the values twice"),
    ({}, ["model.backbone=backbone/full3d.yaml", "model.backbone.init_args.stem_width=8"],
     "a class and its argument cannot be given apart: use `model.backbone.class_path`"),
    ({}, ["data={size: 24}", "data.eval_size=24"], "`data.clip_len` lies inside `data`"),
    ({"skip": [{"seed": [1]}]}, [], "`skip` names seed; each of its entries needs parameters: see"),
    ({"skip": [{}]}, [], "`skip` names nothing"),
    ({"skip": [{"data.clip_len": 8}]}, [], "must be a valid list"),
    ({"method": "random", "run_cap": 2, "skip": [{"data.clip_len": [8]}]}, [],
     "`skip` leaves cells out of a grid; method random samples"),
    ({"description": 3}, [], "`description` must be a valid string, got 3"),
    ({}, ["wandb"], "--set takes NAME=VALUE, got 'wandb'"),
    ({}, ["a=2026-01-01"], "is a date in YAML; put it in quotes"),
])
def test_what_cannot_work_ends_in_a_sentence(changes, settings, said):
    with pytest.raises(UserError) as raised:
        read_sweep(write_sweep(**changes), settings=settings)
    message = str(raised.value)
    assert said in message
    assert message.startswith(("sweep.yaml: ", "--set ")), message


def test_cells_are_skipped_that_an_entry_describes_wholly():
    sweep = read_sweep(write_sweep(skip=[{"data.clip_len": [12, 99], "seed_everything": [1]}]))
    assert [cell.name for cell in grid(sweep)] == [
        "clip_len=8-seed0", "clip_len=12-seed0", "clip_len=8-seed1"]
    assert len(grid(read_sweep(write_sweep(skip=[{"seed_everything": [1]}])))) == 2


def test_a_grid_of_which_every_cell_is_skipped():
    sweep = read_sweep(write_sweep(skip=[{"seed_everything": [0, 1]}]))
    with pytest.raises(UserError, match=r"sweep\.yaml: `skip` leaves out every cell of the grid"):
        Trials(sweep, Path())


def test_files_that_are_none():
    Path("broken.yaml").write_text("a: [1,\n")
    Path("list.yaml").write_text("- 1\n")
    for name, said in (("absent.yaml", "No such file"), ("broken.yaml", "is not YAML"),
                       ("list.yaml", "`a sweep file` must be {key")):
        with pytest.raises(UserError, match=said):
            read_sweep(Path(name))


def test_an_experiment_takes_the_place_of_that_of_the_file():
    given = ["x" if word == "tiny.yaml" else word for word in COMMAND]
    sweep = read_sweep(write_sweep(command=[*COMMAND[:6], "experiment/sbu.yaml", *COMMAND[7:]]),
                       experiment="x")
    assert list(sweep.command) == given
    with pytest.raises(UserError, match="--experiment has nothing to replace"):
        read_sweep(write_sweep(), experiment="x")


def test_settings_are_parameters():
    sweep = read_sweep(write_sweep(), settings=[
        "wandb=off", "data.clip_len={values: [4, 6]}", "model.lr_batch_size=null",
        "seed_everything=7", "data.test_flip=true", "data.augment={flip: 0.0}"])
    assert {name: one.model_dump(exclude_unset=True)
            for name, one in sweep.parameters.items()} == {
        "wandb": {"value": "off"}, "data.clip_len": {"values": [4, 6]},
        "model.lr_batch_size": {"value": None}, "seed_everything": {"value": 7},
        "data.test_flip": {"value": True}, "data.augment": {"value": {"flip": 0.0}}}
    assert [cell.name for cell in grid(sweep)] == ["clip_len=4-seed7", "clip_len=6-seed7"]


@pytest.mark.parametrize(("given", "first", "eta"), [
    ({"min_iter": 3}, 3, 3), ({"min_iter": 2, "eta": 4}, 2, 4),
    ({"max_iter": 27, "s": 2}, 3, 3), ({"max_iter": 4, "s": 3, "eta": 2}, 1, 2)])
def test_halving(given, first, eta):
    path = write_sweep(metric={"name": "val/top1", "goal": "maximize"},
                       early_terminate={"type": "hyperband", **given})
    halving = read_sweep(path).halving
    assert (halving.first, halving.eta) == (first, eta)
