"""The command line, the only place that ties data and model together.

::

    verbs       one table of all verbs
    lightning   fit, validate, test, predict
    parser      the arguments that the command line accepts, and its error messages
    options     the most common options, which `--help` shows first
    summary     the table that a run prints at its end
    profile, ensemble, show    further verbs
"""
