"""From a camera or a video to an action: live recognition, and segments of long videos.

Frames pass through stages, each in its own thread (`pipeline`): decode and scale, estimate poses,
track and recognise persons (`people`), then process the predictions: labels for each person
(`labels`), pictures (`drawing`), files (`writing`), a web page (`server`), or segments with start
and end (`segments`).
"""
