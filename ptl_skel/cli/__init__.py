"""The command line, the only place that ties data and model together.

::

    verbs       the front door: one table of all verbs
    lightning   fit, validate, test, predict
    parser      what the command line accepts, and how it refuses the rest
    options     the options that people use, which `--help` shows first
    summary     what a run prints at its end
    profile, ensemble, show    further verbs
"""
