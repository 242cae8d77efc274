"""The keypoint file: the one definition of how 2D or 3D keypoints are cached in HDF5.

Frames of all clips are stored in flat contiguous arrays; an index lists the rows of each clip::

    attrs: format  schema_version  dataset  layout  class_names  source  created_by  complete
           job  num_inputs  num_lost                          only in files of ptl-skel preprocess
    /frames/keypoints (R, V, 2|3) float16|float32     /frames/scores (R, V) float16
    /clips/{id, label, start, num_frames, num_persons, height, width,
            subject, camera, setup, replication}                          one entry per clip
    /clips/{fps, first_frame}       only if known for some clip: frames per second, 0 if it is not
                                    known for a clip; index of the first frame in the video
    /splits/<protocol>/<train|val|test>                                   indices into /clips
            attrs: how                            of a random split: how it was made

Rows ``start : start + num_persons * num_frames`` of a clip, viewed as ``(M, T, V, C)``, are its
persons, frames, joints and coordinates (pixels of the frame, or metres for 3D). A missing joint has
score 0, and its coordinates have no meaning. Unknown numbers are -1.

`ClipWriter` writes such files, `add_split` adds a protocol to one, `KeypointFile` reads them.
"""

from ptl_skel.storage.reader import KeypointFile
from ptl_skel.storage.schema import (
    MAX_SIDE,
    PARTS,
    Clip,
    FileTakenError,
    Floats,
    Header,
    KeypointFileError,
    UpToDate,
    valid_clip,
)
from ptl_skel.storage.splits import add_split
from ptl_skel.storage.writer import ClipWriter

__all__ = ["MAX_SIDE", "PARTS", "Clip", "ClipWriter", "FileTakenError", "Floats", "Header",
           "KeypointFile", "KeypointFileError", "UpToDate", "add_split", "valid_clip"]
