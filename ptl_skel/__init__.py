"""Skeleton-based action recognition with factorised 3D-CNNs on PyTorch Lightning.

A map of the package, from the file on disk to the trained network::

    skeletons        joint layouts: names, limbs, left/right pairs
    storage          the keypoint file (HDF5): its schema, writer and reader
    sampling         which frames of a clip a network sees
    dataset          clips to batches of keypoints
    transforms       geometry and augmentation of batches of keypoints, on the device
    representations  keypoints to what a network reads: heatmaps of joints or limbs, coordinates
    datamodule       splits, loaders, and inputs made after the transfer to the device
    backbones        the networks
    module           backbone, head, loss, metrics, optimiser
    folding          batch norms folded into convolutions, for inference
    complexity       parameters, multiply-accumulates, latency
    records          what a run leaves in its folder
    checkpoints      checkpoints that describe themselves, exact resume
    weights          published weights into our networks
    arguments        what the command line accepts, and how it refuses the rest
    cli              fit, validate, test, predict
    profile, show, ensemble    further commands
    configs          YAML files: base, backbones, experiments

Top-level packages beside it: ``preprocessing`` makes keypoint files, ``sweeps`` compares runs.
"""
