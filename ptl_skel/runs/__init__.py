"""The life of a run: what happens between the command line and the training loop.

::

    folder        a folder of its own for every run, agreed on by all processes
    length        how long a training takes where nobody said it
    record        what a run leaves in its folder; reading it takes neither torch nor matplotlib
    predictions   class probabilities of clips, written and matched
    callbacks     keep the record true while the run lasts, and after it failed
    loggers       the learning curve, and Weights & Biases
    checkpoints   checkpoints that describe themselves
    environment   versions, machine and commit of a run
    process       processes that end with the one that started them

A run resumes exactly because every random number is a function of the seed and of its place in
the training, never of what was sampled before: frames depend on seed, epoch and clip
(`ptl_skel.data.sampling`), augmentation and dropout on seed, step and rank
(`ptl_skel.data.datamodule`).
"""
