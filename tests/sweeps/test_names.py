from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml
from records import config_of, read

from ptl_skel.configs import CONFIGS
from sweeps.report.names import name_arms, settings_of


def names(*configs):
    return [name for name, _ in name_arms([settings_of(config) for config in configs])]


def backbone(name, **arguments):
    config = config_of(name)
    config["model"]["backbone"]["init_args"] |= arguments
    return config


SGD = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.4}}
ADAMW = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001, "eps": 1e-8}}


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONFIGS / "backbone").iterdir())])
def test_a_shipped_backbone_has_its_name(name):
    assert names(config_of(name)) == [name]


def test_arms_are_named_by_shipped_backbones():
    assert names(config_of("full3d"), config_of("reduced")) == ["full3d", "reduced"]


def test_options_that_older_records_lack_have_their_defaults():
    older, newer = config_of("reduced"), config_of("reduced")
    older["data"].pop("use_scores", None)
    newer["data"] |= {"use_scores": True}
    for config in (older, newer):
        config["data"]["augment"] = {"flip": 0.5}
    newer["data"]["augment"] |= {"drop": 0.0, "displace": 0.0, "low_scores": 0.0}
    assert settings_of(older) == settings_of(newer)
    newer["data"]["augment"] |= {"drop": 0.2}
    assert names(older, newer) == ["drop=0", "drop=0.2"]


def test_a_changed_backbone_is_the_nearest_one_and_its_changes():
    conv = {"class_path": "ptl_skel.backbones.Conv2Plus1D", "init_args": {"middle": 0.5}}
    assert names(config_of("reduced"), backbone("reduced", conv=conv),
                 backbone("full3d", stem_width=16, widths=[16, 32, 64, 128])) == [
        "reduced", "reduced middle=0.5", "narrow conv=Conv3D"]


def test_the_sweep_of_reductions_is_named_after_the_narrow_arm():
    """Also its cell that r2plus1d is nearer to, except for the stem."""
    sweep = yaml.safe_load((Path(__file__).parents[2] / "sweeps/reduction.yaml").read_text())
    values = {key.rpartition(".")[2]: value["values"]
              for key, value in sweep["parameters"].items()}
    cells = [
        (f" middle={str(middle).removesuffix('.0')}" * (middle != 1.0)
         + f" widths={','.join(map(str, widths))}" * (widths[0] != 16),
         backbone("narrow", widths=widths, conv={
             "class_path": "ptl_skel.backbones.Conv2Plus1D", "init_args": {"middle": middle}}))
        for middle, widths in itertools.product(values["middle"], values["widths"])]
    assert len(cells) == 9
    assert names(*(config for _, config in cells)) == [f"narrow{name}" for name, _ in cells]


def test_a_lone_changed_backbone_is_not_called_like_the_shipped_one():
    assert names(backbone("reduced", stem_width=8)) == ["reduced stem_width=8"]
    assert names(backbone("reduced", stem_width=8), config_of("full3d")) == [
        "reduced stem_width=8", "full3d"]


def test_the_backbone_is_the_name_if_it_is_unique_and_the_rest_is_noted_elsewhere():
    arms = [config_of("full3d", data__clip_len=16), config_of("reduced", data__clip_len=32)]
    assert name_arms([settings_of(arm) for arm in arms]) == [
        ("full3d", "clip_len=16"), ("reduced", "clip_len=32")]
    more = [*arms, config_of("reduced", data__clip_len=16)]
    assert name_arms([settings_of(arm) for arm in more]) == [
        ("full3d clip_len=16", ""), ("reduced clip_len=32", ""), ("reduced clip_len=16", "")]


def test_what_all_arms_share_is_not_said():
    assert names(backbone("reduced", stem_stride=[1, 1]),
                 backbone("full3d", stem_stride=[1, 1])) == ["reduced", "full3d"]
    assert names(config_of(data__clip_len=16), config_of(data__clip_len=32)) == [
        "clip_len=16", "clip_len=32"]


def test_a_backbone_of_ones_own_has_the_name_of_its_class():
    own = {"class_path": "mine.Tiny", "init_args": {"width": 4}}
    wide = {"class_path": "mine.Tiny", "init_args": {"width": 8}}
    assert names(config_of(model__backbone=own), config_of()) == ["Tiny", "full3d"]
    assert names(config_of(model__backbone=own), config_of(model__backbone=wide)) == [
        "width=4", "width=8"]


def test_keys_that_go_together_are_said_once():
    assert names(*(config_of(data__size=size, data__eval_size=size) for size in (32, 56))) == [
        "size=32", "size=56"]


def test_arguments_of_another_class_are_no_difference():
    fast = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01, "eps": 1e-8}}
    assert names(config_of(model__optimizer=SGD), config_of(model__optimizer=ADAMW)) == [
        "optimizer=SGD", "optimizer=AdamW"]
    assert names(*(config_of(model__optimizer=one) for one in (SGD, ADAMW, fast))) == [
        "optimizer=SGD", "optimizer=AdamW lr=0.001", "optimizer=AdamW lr=0.01"]


def test_representations_have_their_names():
    wide = read("representation/joints")
    wide["init_args"]["sigma"] = 1.0
    assert names(config_of(), config_of(data__representation=read("representation/limbs")),
                 config_of(data__representation=wide)) == ["joints", "limbs", "joints sigma=1"]


def test_cameras_have_their_names():
    shipped = {name: read(f"camera/{name}") for name in ("front", "moving", "rotate")}
    # A record spells out what a file leaves to its default.
    shipped["rotate"] |= {"distance": 3.0, "focal": 0.9, "frame_size": [480, 640],
                          "random_distance": 0.0}
    cameras = [None, *shipped.values(), {**shipped["moving"], "random_yaw": 90.0}]
    assert names(*(config_of(data={**config_of()["data"], "camera": camera})
                   for camera in cameras)) == [
        "camera=null", "front", "moving", "rotate", "moving random_yaw=90"]


def test_lists_dicts_and_nothing_are_shown():
    averaging = [{"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging",
                  "init_args": {"decay": 0.99}}]
    slower = [{"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging",
               "init_args": {"decay": 0.999}}]
    assert names(config_of(), config_of(trainer__callbacks=averaging)) == [
        "callbacks=null", "callbacks=EMAWeightAveraging"]
    assert names(config_of(trainer__callbacks=averaging), config_of(trainer__callbacks=slower)
                 ) == ["decay=0.99", "decay=0.999"]
    assert names(config_of(data__augment={"crop_area": [0.5, 1.0]}), config_of()) == [
        "crop_area=0.5,1", "crop_area=0.56,1"]


def test_arms_of_one_name_are_numbered():
    one, other = ({"class_path": f"{package}.Tiny", "init_args": {}} for package in "ab")
    assert names(config_of(model__backbone=one), config_of(model__backbone=other)) == [
        "Tiny #1", "Tiny #2"]


def test_seeds_places_and_progress_bars_make_no_arm():
    one, other = config_of(), config_of()
    other |= {"seed_everything": 7, "run_dir": "elsewhere", "wandb": "online", "verbose": False}
    other["trainer"]["enable_progress_bar"] = False
    other["data"]["file"] = "/another/machine/x.h5"
    assert settings_of(one) == settings_of(other)
    other["data"]["file"] = "data/y.h5"
    assert names(one, other) == ["file=x.h5", "file=y.h5"]


def test_numbers_are_the_same_however_they_are_written():
    assert settings_of(config_of(model__dropout=1)) == settings_of(config_of(model__dropout=1.0))
