"""Videos frame by frame: what is read, and what happens to files that are not as they should be."""

import io
import wave
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image
from videos import SIZE, paint, turn, walking, write_video

from ptl_skel.errors import MissingFileError, UserError
from ptl_skel.pose.video import Video, VideoError, scale_image, to_jpeg


def read(path):
    with Video(path) as video:
        return list(video), video


def test_frames_come_in_order_with_their_times(tmp_path):
    frames, video = read(walking(tmp_path / "a.mp4", 30, rate=25))
    assert [frame.number for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) / 25)
    assert (video.fps, video.num_frames, video.num_damaged) == (25, 30, 0)
    assert {frame.size for frame in frames} == {SIZE}
    for frame in frames[::7]:
        error = np.abs(frame.to_image().astype(int) - paint(frame.number))
        assert error.mean() < 6
        assert frame.to_image().dtype == np.uint8


def test_times_go_on_where_joined_recordings_begin_anew(tmp_path):
    path = walking(tmp_path / "a.ts", 50, rate=25)
    path.write_bytes(2 * path.read_bytes())
    times = [frame.time for frame in read(path)[0]]
    np.testing.assert_allclose(times, np.arange(100) / 25, atol=1e-4)


def test_frames_are_scaled_by_averaging_and_never_enlarged(tmp_path):
    checks = (np.indices(SIZE).sum(0) % 2 * 200).astype(np.uint8)  # single pixels: become grey
    frame, *_ = read(write_video(tmp_path / "a.mp4", [np.repeat(checks[..., None], 3, 2)]))[0]
    small = frame.to_image(80)
    assert small.shape == (48, 80, 3)
    assert np.abs(small.astype(int) - 100).max() < 20
    assert frame.to_image(1000).shape == (*SIZE, 3)
    np.testing.assert_array_equal(scale_image(frame.to_image(), 80).shape, small.shape)
    assert scale_image(small, 80) is small
    assert scale_image(small, None) is small


def test_a_video_of_a_phone_held_upright_is_turned(tmp_path):
    turned, = read(turn(walking(tmp_path / "a.mp4", 1)))[0]
    assert turned.size == SIZE[::-1]
    upright = np.rot90(paint(0), -1)
    assert np.abs(turned.to_image().astype(int) - upright).mean() < 6
    assert turned.to_image(80).shape == (80, 48, 3)


def test_what_is_not_a_video(tmp_path):
    with pytest.raises(MissingFileError, match=r"none\.mp4 does not exist"):
        Video(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="is not a file; give a video"):
        Video(tmp_path)
    for name, content in (("empty.mp4", b""), ("text.mp4", b"Dear diary,\n" * 99)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VideoError, match=f"{name} is not a video, or was cut off"):
            Video(tmp_path / name)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0" * 16000)
    with pytest.raises(VideoError, match=r"sound\.wav has no video stream, only audio"):
        Video(tmp_path / "sound.wav")


def test_a_video_that_was_cut_off(tmp_path):
    whole = walking(tmp_path / "whole.mp4", 30).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index is at the end
    with pytest.raises(VideoError, match=r"cut\.mp4 is not a video, or was cut off"):
        Video(tmp_path / "cut.mp4")
    stream = walking(tmp_path / "whole.ts", 60).read_bytes()
    (tmp_path / "cut.ts").write_bytes(stream[: len(stream) // 2])
    frames, _ = read(tmp_path / "cut.ts")
    assert 15 < len(frames) < 60


def test_damaged_packets_are_skipped_and_counted(tmp_path):
    content = bytearray(walking(tmp_path / "a.mp4", 60, 2, group=3).read_bytes())
    start, end = content.index(b"mdat") + 4, content.index(b"moov")
    places = np.random.default_rng(0).integers(start, end, (end - start) // 40)
    for place in places:
        content[place] ^= 0x55
    (tmp_path / "a.mp4").write_bytes(content)
    frames, video = read(tmp_path / "a.mp4")
    assert video.num_damaged > 0
    assert 10 < len(frames) < 60
    assert max(frame.time for frame in frames) > 1.5  # it reads on behind the damage


def test_a_video_without_a_single_good_frame(tmp_path):
    content = bytearray(walking(tmp_path / "a.mp4", 10).read_bytes())
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    content[start:end] = bytes(end - start)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=r"no frame of .*a\.mp4 can be decoded"):
        read(tmp_path / "a.mp4")


def test_any_error_of_a_decoder_is_damage(tmp_path):
    path = walking(tmp_path / "a.avi", 20, codec="mjpeg")
    content = path.read_bytes()
    factors = content.rindex(b"\xff\xc0") + 11  # of the first channel of the last picture
    path.write_bytes(content[:factors] + b"\x33" + content[factors + 1 :])  # FFmpeg cannot do it
    frames, video = read(path)
    assert (len(frames), video.num_damaged) == (19, 1)


def test_damage_that_looks_like_further_streams(tmp_path, monkeypatch):
    """PyAV reads beyond its list of streams then, but only at the end."""
    demux = av.container.InputContainer.demux

    def fail_at_end(container, stream):
        for packet in demux(container, stream):
            if packet.dts is None:  # the last one, which is empty
                raise IndexError("list index out of range")
            yield packet

    path = walking(tmp_path / "a.ts", 30)
    with Video(path) as video:
        monkeypatch.setattr(video, "_container", SimpleNamespace(
            demux=partial(fail_at_end, video._container), close=video._container.close))
        assert len(list(video)) == 30


def test_an_unknown_colour_matrix(tmp_path):
    frames, _ = read(walking(tmp_path / "a.mp4", 3))
    expected = frames[1].to_image(40)
    frames[1].decoded.colorspace = 65  # no colour matrix has this number
    np.testing.assert_allclose(frames[1].to_image(40), expected, atol=40)


def test_a_title_may_have_any_encoding(tmp_path):
    path = write_video(tmp_path / "a.avi", [paint(0)] * 3, title="Cafe in May")
    path.write_bytes(path.read_bytes().replace(b"Cafe", b"Caf\xe9"))
    assert len(read(path)[0]) == 3


def test_the_size_of_frames_may_change(tmp_path):
    one = walking(tmp_path / "one.ts", 20).read_bytes()
    other = write_video(tmp_path / "two.ts", [paint(i, size=(64, 128)) for i in range(20)])
    (tmp_path / "both.ts").write_bytes(one + other.read_bytes())
    frames, _ = read(tmp_path / "both.ts")
    sizes = [frame.size for frame in frames]
    assert set(sizes) == {SIZE, (64, 128)}
    assert sizes == sorted(sizes, reverse=True)
    assert [frame.to_image().shape[:2] for frame in frames] == sizes


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_long_videos_are_read_in_bounded_memory(tmp_path):
    path = walking(tmp_path / "long.mp4", 6000, group=250)  # 4 minutes
    resident = []
    with Video(path) as video:
        for frame in video:
            frame.to_image(64)
            if frame.number % 1500 == 1499:
                resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
    assert len(resident) == 4
    assert resident[-1] - resident[0] < 4e6  # one frame in ten would be 28 MB


def test_images_become_jpeg():
    image = paint(3, 2)
    opened = np.asarray(Image.open(io.BytesIO(to_jpeg(image))))
    assert opened.shape == image.shape
    assert np.abs(opened.astype(int) - image).mean() < 8


def test_without_pyav(tmp_path, monkeypatch):
    path = walking(tmp_path / "a.mp4", 2)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'ptl_skel\[video\]'"):
        Video(path)
