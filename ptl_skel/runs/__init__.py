"""The life of a run: what happens between the command line and the training loop.

::

    folder        a separate folder for every run, agreed on by all processes
    length        the length of a training if no setting gives it
    record        the files of a run; reading them needs neither torch nor matplotlib
    predictions   class probabilities of clips, written and matched
    callbacks     keep the record up to date, also if the run fails
    loggers       the learning curve, and Weights & Biases
    checkpoints   checkpoints that describe themselves
    environment   versions, machine and commit of a run
    process       child processes that end with their parent

A run resumes exactly because every random number is a function of the seed and of its position in
the training, never of what was sampled before: frames depend on seed, epoch and clip
(`ptl_skel.data.sampling`), augmentation and dropout on seed, step and rank
(`ptl_skel.data.datamodule`).
"""
