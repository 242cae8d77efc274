"""From a camera or a video to an action: live recognition, and segments of long videos.

Frames pass through stages, each in a thread of its own (`pipeline`): decode and scale, find poses,
follow and recognise persons (`people`), then what is done with the answers: labels for each person
(`labels`), pictures (`drawing`), files (`writing`), a web page (`server`), or segments with start
and end (`segments`).
"""
