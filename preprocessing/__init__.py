"""Keypoints of any source into one keypoint file."""
