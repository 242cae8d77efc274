"""Keypoints that pose estimators wrote, one reader per format."""
