"""``python -m ptl_skel``, the same as ``ptl-skel``."""

from ptl_skel.cli.verbs import main

if __name__ == "__main__":
    main()
