"""Shipped configs parse, and compose as the documentation says."""

import inspect
import json
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from commandline import BACKBONES, EXPERIMENTS, leaves

from ptl_skel.cli import lightning as cli
from ptl_skel.configs import CONFIGS


class TestSharedConfigs:
    @pytest.fixture
    def parse(self, monkeypatch, tiny_file):
        """Parses flags as the command line does, without running anything."""
        def parse(*arguments):
            shown = cli.SkeletonCLI("fit", [*arguments, "--data.file", str(tiny_file)])
            return yaml.safe_load(shown.parser_text())

        monkeypatch.setattr(cli.SkeletonCLI, "instantiate_classes", lambda self: None)
        monkeypatch.setattr(cli.SkeletonCLI, "_run_subcommand", lambda self, name: None)
        return parse

    def test_there_are_shipped_configs(self):
        assert {"full3d", "r2plus1d", "reduced"} <= set(BACKBONES)
        assert EXPERIMENTS

    @pytest.mark.parametrize("name", BACKBONES)
    def test_every_backbone_spells_out_every_argument(self, name):
        def check(declared, given=()):
            module, _, kind = declared["class_path"].rpartition(".")
            signature = inspect.signature(getattr(import_module(module), kind))
            arguments = declared.get("init_args", {})
            assert set(arguments) == set(signature.parameters) - set(given)
            for value in arguments.values():
                if isinstance(value, dict) and "class_path" in value:
                    # The widths, kernels and strides of a unit are those of its place.
                    check(value, ("in_channels", "out_channels", "kernel", "stride"))

        check(yaml.safe_load((CONFIGS / f"backbone/{name}.yaml").read_text()),
              ("in_channels", "links"))  # the command line knows these from the data

    @pytest.mark.parametrize("name", BACKBONES)
    def test_every_backbone_parses_without_arguments_of_another(self, parse, name):
        one = f"backbone/{name}.yaml"
        alone = parse("--model.backbone", one)
        declared = yaml.safe_load((CONFIGS / one).read_text())
        assert alone["model"]["backbone"]["class_path"] == declared["class_path"]
        assert alone["model"]["backbone"].get("init_args", {}) == declared.get("init_args", {})
        for other in ("full3d", "reduced"):
            assert parse("--model.backbone", f"backbone/{other}.yaml",
                         "--model.backbone", one) == alone

    @pytest.mark.parametrize("options", [
        ["--data.representation.init_args.stream", "bone"],
        ["--data.representation.init_args.stream=bone"]])
    def test_options_of_the_representation_that_a_network_selects(self, parse, options):
        network = ["--model.backbone", "backbone/stgcnpp.yaml"]
        named = parse(*network, "--data.representation", "representation/coordinates.yaml",
                      *options)
        assert named["data"]["representation"]["init_args"]["stream"] == "bone"
        assert parse(*network, *options) == parse(*options, *network) == named
        file = ["--data.file", "file.h5"]
        parsed, = cli.parse([[*network, *options, *file]])
        assert parsed["data"]["representation"]["init_args"]["stream"] == "bone"

    @pytest.mark.parametrize(("name", "flags"), [
        ("reduced", {"conv.init_args.middle": "matched", "stem_width": 8, "stem_kernel": [5, 7],
                     "stem_stride": [2, 2], "widths": [8, 24], "depths": [2, 1],
                     "strides": [[1, 2], [4, 1]], "kernel": [7, 3]}),
        ("reduced", {"conv.init_args.middle": 0.5}), ("reduced", {"conv.init_args.middle": 32}),
        ("c3d_reduced", {"conv.init_args.middle": 32, "width": 8}),
        ("slowonly_r2plus1d", {"conv.init_args.middle": 1.0, "temporal_kernels": [1, 1, 5]}),
        ("slowonly", {"conv.class_path": "ptl_skel.backbones.Conv2Plus1D",
                      "conv.init_args.middle": 0.5})])
    def test_every_argument_of_a_design_is_a_flag(self, parse, name, flags):
        given = [part for key, value in flags.items()
                 for part in (f"--model.backbone.init_args.{key}", json.dumps(value).strip('"'))]
        config = parse("--model.backbone", f"backbone/{name}.yaml", *given)
        backbone = yaml.safe_load((CONFIGS / f"backbone/{name}.yaml").read_text())
        expected = leaves(backbone) | {f"init_args.{key}": value for key, value in flags.items()}
        if "conv.class_path" in flags:  # in place of null
            del expected["init_args.conv"]
            expected["init_args.conv.init_args.causal"] = False
        assert leaves(config["model"]["backbone"]) == expected

    @pytest.mark.parametrize("name", EXPERIMENTS)
    def test_every_experiment_parses(self, parse, name):
        declared = yaml.safe_load((CONFIGS / f"experiment/{name}.yaml").read_text())
        if "camera" in declared["data"]:  # a shipped file stands for what it holds
            camera = CONFIGS / declared["data"]["camera"]
            declared["data"]["camera"] = yaml.safe_load(camera.read_text())
        config = parse("--config", f"experiment/{name}.yaml",
                       "--model.backbone", "backbone/reduced.yaml")
        for key, value in leaves(declared).items():
            if key != "data.file":
                assert leaves(config)[key] == value

    def test_every_base_setting_is_the_one_of_the_file(self, parse):
        config = parse("--model.backbone", "backbone/reduced.yaml")
        declared = yaml.safe_load((CONFIGS / "base.yaml").read_text())
        found = leaves(config)
        assert {key: found[key] for key in leaves(declared)} == leaves(declared)

    @pytest.mark.parametrize(("name", "arguments"), [
        ("SGD", {"lr": 0.1}), ("AdamW", {"lr": 0.001}), ("Adam", {"lr": 0.001}),
        ("RMSprop", {"lr": 0.01})])
    def test_another_optimizer_has_its_own_defaults(self, parse, name, arguments):
        """It inherits neither the arguments of base.yaml nor those of an experiment."""
        Path("other.yaml").write_text(json.dumps({"model": {"optimizer": {
            "class_path": "torch.optim.Adagrad",
            "init_args": {"lr": 0.5, "weight_decay": 0.07, "eps": 0.3}}}}))
        Path("this.yaml").write_text(json.dumps({"model": {"optimizer": {
            "class_path": f"torch.optim.{name}", "init_args": arguments}}}))
        config = parse("--model.backbone", "backbone/reduced.yaml", "--config", "other.yaml",
                       "--config", "this.yaml")
        found = config["model"]["optimizer"]["init_args"]
        defaults = {key: value.default for key, value in inspect.signature(
            getattr(torch.optim, name)).parameters.items() if key != "params"}
        expected = {**defaults, **arguments}
        assert found == {key: list(value) if isinstance(value, tuple) else value
                         for key, value in expected.items()}
