"""Converts keypoints from any source to one keypoint file."""
