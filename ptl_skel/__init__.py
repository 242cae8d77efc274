"""Skeleton-based action recognition with factorised 3D-CNNs on PyTorch Lightning.

The subpackages, from the file on disk to the trained network::

    skeletons        joint layouts: names, limbs, left/right pairs
    storage          the keypoint file (HDF5): its schema, writer and reader
    data             clips to batches: sampling, geometry and augmentation, splits and loaders
    representations  keypoints to inputs of a network: heatmaps of joints or limbs, coordinates
    backbones        the networks, one file per paper
    training         backbone, head, loss, metrics and optimiser; published weights
    runs             the life of a run: folder, record, checkpoints, callbacks
    cost             parameters, multiply-accumulates, latency; folding of batch norms
    deploy           ONNX files from keypoints to probabilities, and a runtime without torch
    show             pictures of clips
    cli              the command line: verbs, parser, the LightningCLI subclass
    configs          YAML files: base, backbones, representations, experiments
    command, errors  what all commands share: terminal, exit codes, errors of users
    atomic, locks    atomic writes, and file locks

Two more packages are next to it in a checkout, and part of it once installed: ``preprocessing``
makes keypoint files, ``sweeps`` trains and compares runs.
"""
