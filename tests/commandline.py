"""What runs left, and what commands said: for tests of the command line."""

from pathlib import Path

import pytest
import torch

from ptl_skel.cli.verbs import main
from ptl_skel.configs import CONFIGS
from ptl_skel.runs.record import read_metrics

BACKBONES = sorted(path.stem for path in (CONFIGS / "backbone").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
QUIET = ("--trainer.enable_progress_bar", "false")
ALL_VARIED = (  # everything that uses random numbers, and everything that depends on the step
    "--trainer.max_epochs", "4", "--model.dropout", "0.5", "--model.warmup", "0.2",
    "--data.augment.rotation", "20", "--data.augment.scale", "0.2", "--data.augment.shift", "0.1")


def weights(run_dir, name="last"):
    return torch.load(Path(run_dir) / f"checkpoints/{name}.ckpt")["state_dict"]


def same_weights(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def curve(run_dir):
    """The learning curve, without the test at its end."""
    return [row for row in read_metrics(Path(run_dir)) if "test/top1" not in row]


def leaves(config, name=""):
    """All settings of a config that hold no other settings, by dotted name."""
    if isinstance(config, dict):
        return {key: value for inner, part in config.items()
                for key, value in leaves(part, f"{name}.{inner}").items()}
    if isinstance(config, list) and any(isinstance(part, dict) for part in config):
        return leaves(dict(enumerate(config)), name)
    return {name.removeprefix("."): config}


def refusal(capsys, *arguments):
    """What a command says that ends with exit code 2: a sentence, and no traceback."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert stopped.value.code == 2, said
    assert said.startswith("ptl-skel: ")
    assert "Traceback" not in said
    return said.removeprefix("ptl-skel: ").strip()


def preprocess_or_check(arguments):
    """The exit code of `ptl-skel check` if the arguments begin with it, else of `preprocess`."""
    verb = [] if "check" in arguments[:1] else ["preprocess"]
    try:
        main([*verb, *arguments])
    except SystemExit as stopped:
        if not stopped.code:  # --help
            raise
        return stopped.code
    return 0
