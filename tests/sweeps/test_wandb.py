"""The commands of Weights & Biases themselves, against a server on loopback."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml
from sweep_files import COMMAND, epochs_of, write_sweep
from wandb_server import WandbServer, mirrored

from ptl_skel.runs.record import read_result


def test_two_agents_one_of_whose_runs_the_server_stops(tmp_path, tiny_file, tiny_config):
    """`wandb sweep FILE`, then `wandb agent` twice in the same folder."""
    values = {"model.lr_batch_size": None, "data.augment": {"flip": 0.0, "rotation": 10},
              "model.backbone.init_args.widths": [4, 6], "data.representation":
              "representation/limbs.yaml", "trainer.max_epochs": 1, "seed_everything": 3}
    server = WandbServer({"whole": values,
                          "stopped": {**values, "trainer.max_epochs": 100_000}})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        **{name: value for name, value in os.environ.items() if "WANDB" not in name},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path),
        "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": "offline",
        "OMP_NUM_THREADS": "1"}
    flags = ["--config", str(tiny_config), "--data.file", str(tiny_file)]
    write_sweep(tmp_path / "sweep.yaml", command=[*COMMAND[:5], *flags, *COMMAND[7:]],
                parameters={name: {"value": value} for name, value in values.items()})

    def wandb(*arguments):
        return subprocess.Popen([sys.executable, "-m", "wandb", *arguments], cwd=tmp_path,
                                env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    runs = {name: tmp_path / f"runs/tiny-cross-{name}" for name in ("whole", "stopped")}
    with wandb("sweep", "sweep.yaml") as command:
        said, _ = command.communicate(timeout=300)
    assert re.search(r"wandb agent .*sweep1", said), said
    assert yaml.safe_load(server.config)["parameters"]["model.lr_batch_size"] == {"value": None}
    agents = [wandb("agent", "me/tests/sweep1") for _ in runs]
    deadline = time.monotonic() + 400
    while epochs_of(runs["stopped"]) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    server.stop.add("stopped")
    said = [agent.communicate(timeout=400)[0] for agent in agents]
    server.shutdown()
    server.server_close()
    assert sorted(server.ended) == ["stopped", "whole"], said
    assert not server.asked
    assert "Traceback" not in "".join(said)

    result = read_result(runs["whole"])
    assert result["status"] == "finished"
    assert result["seed"] == 3
    config, summary, codes = mirrored(runs["whole"])
    assert config["config"] == yaml.safe_load((runs["whole"] / "config.yaml").read_text())
    assert config["config"]["model"]["lr_batch_size"] is None
    assert config["config"]["data"]["augment"]["rotation"] == 10.0
    assert config["config"]["model"]["backbone"]["init_args"]["widths"] == [4, 6]
    assert config["config"]["data"]["representation"]["class_path"].endswith("LimbHeatmaps")
    assert summary["test/top1"] == result["metrics"]["test/top1"]
    for name in ("params", "gmacs", "latency_ms"):
        assert summary[name] == result["model"][name]
    assert codes == [0]

    assert read_result(runs["stopped"])["status"] == "interrupted"
    assert (runs["stopped"] / "checkpoints/last.ckpt").exists()
    assert "`ptl-skel fit --ckpt_path runs/tiny-cross-stopped/checkpoints/last.ckpt` continues" in (
        "".join(said))
