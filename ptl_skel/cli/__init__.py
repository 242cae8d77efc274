"""The command line, the only place that ties data and model together.

::

    verbs       one table of all verbs
    lightning   fit, validate, test, predict
    parser      the arguments that the command line accepts, and its error messages
    setup       the preparation of a run: its settings, its facts, checks
    outcome     the end of a run: cost, predictions, scores of classes, the table that it prints
    options     the most common options, which `--help` shows first
    calibrate, ensemble, export, live, pose, profile, robustness, segment, show    further verbs
    deployable, export_stream    from a checkpoint to a checked file for `export`, `live`, `segment`
    recognition    the options that `live` and `segment` share
    live_score, evidence         a network on parts of clips, for `test`, `calibrate` and `show`
"""
