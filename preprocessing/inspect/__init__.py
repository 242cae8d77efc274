"""Shows the contents of a keypoint file: tables and pages."""
