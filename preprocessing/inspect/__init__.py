"""What is in a keypoint file: tables and pages."""
