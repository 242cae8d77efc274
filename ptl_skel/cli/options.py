"""The most common options, which ``ptl-skel VERB --help`` shows before all the others."""

from __future__ import annotations

FIT = {
    "--data.file FILE": "keypoint file, made by `ptl-skel preprocess`",
    "--data.protocol NAME": "which split of it to train and test on; `ptl-skel check` lists them",
    "--model.backbone YAML": "YAML of a network, yours or shipped, e.g. backbone/reduced.yaml",
    "--config YAML": "settings from a file, e.g. experiment/penn_action.yaml",
    "--run_dir DIR": "folder of the run; default: runs/<keypoint file>-<protocol>, numbered",
    "--trainer.max_epochs N": "passes over the training clips",
    "--trainer.devices N": "number of GPUs (or CPU processes)",
    "--trainer.precision P": "32-true, bf16-mixed or 16-mixed",
    "--data.batch_size N": "clips in a batch of each device",
    "--data.representation YAML": "input of the network, e.g. representation/limbs.yaml",
    "--seed_everything N": "random seed; true picks one and records it",
    "--ckpt_path FILE": "continue the run of this checkpoint; `last` continues that of --run_dir",
    "--init_from FILE": "start from the weights of a run, of PYSKL, MMAction2 or torchvision",
    "--wandb MODE": "off, offline or online",
}
TEST = {
    "--ckpt_path FILE": "checkpoint of a run; nothing else is needed",
    "--data.file FILE": "another keypoint file of the same joints",
    "--data.protocol NAME": "another split of the file",
    "--data.test_clips N": "views of each clip, whose probabilities are averaged",
    "--data.test_flip BOOL": "the horizontal flip of each view as well",
    "--data.corrupt DICT": "corrupted keypoints, e.g. '{kind: drop, level: 0.2}'; see `robustness`",
    "--data.batch_size N": "views in a batch of each device",
    "--data.live_score MAP": "test live recognition too, e.g. '{frame_rate: 30}'",
    "--run_dir DIR": "where to write; default: a folder beside the checkpoints, numbered",
    "--trainer.accelerator NAME": "auto, cpu or gpu",
    "--trainer.devices N": "number of GPUs (or CPU processes)",
    "--init_from FILE": "weights instead of a checkpoint; then name --model.backbone as well",
}
LEADING = {"fit": FIT, "validate": TEST, "test": TEST, "predict": TEST}
"""Options by verb, with descriptions."""


def leading_help(verb: str) -> str:
    """What ``ptl-skel VERB --help`` shows first."""
    lines = "\n".join(f"  {option:<28}{what}" for option, what in LEADING[verb].items())
    return (f"usage: ptl-skel {verb} [options]\n\nmost common options:\n{lines}\n\n"
            "Every setting of a config file is an option as well; all of them:\n")
