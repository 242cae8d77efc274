import math

import numpy as np
import pytest
import torch
from commandline import preprocess_or_check as preprocess
from hypothesis import given
from hypothesis import strategies as st
from test_datamodule import trainer
from tiny import CONFIG, spatial_clips, write_clips

from ptl_skel.data.cameras import Camera, persons_center
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.transforms import Augmentation
from ptl_skel.errors import UserError
from ptl_skel.representations import Coordinates, JointHeatmaps
from ptl_skel.storage import Clip, KeypointFile

degrees = st.floats(-720, 720)


def persons(seed=0, clips=2):
    """Persons about 2 m tall and 4 m away, a third of their joints missing, of random scores."""
    random = torch.Generator().manual_seed(seed)
    keypoints = torch.rand(clips, 2, 3, 5, 3, generator=random) * 2 - 1
    keypoints += torch.tensor([0.5, 0.2, 4.0])
    scores = torch.rand(clips, 2, 3, 5, generator=random)
    return keypoints, torch.where(scores < 1 / 3, 0.0, scores)


def look_slowly(camera, point, center):
    """Pixel of one joint, from the position and the axes of the camera."""
    yaw, pitch = math.radians(camera.yaw), math.radians(camera.pitch)
    away = np.array([-math.sin(yaw) * math.cos(pitch), -math.sin(pitch),
                     math.cos(yaw) * math.cos(pitch)])
    right = np.array([math.cos(yaw), 0, math.sin(yaw)])
    up = np.cross(away, right)  # axes are left-handed: x right, y up, z away
    place = center - camera.distance * away
    depth = (point - place) @ away
    if camera.projection == "orthographic":
        depth = camera.distance
    height, width = camera.frame_size
    scale = camera.focal * width / depth
    return [width / 2 + scale * ((point - place) @ right),
            height / 2 - scale * ((point - place) @ up)]


class TestProjection:
    @pytest.mark.parametrize("projection", ["perspective", "orthographic"])
    @pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (90, 0), (0, 40), (-130, 25), (200, -60)])
    def test_each_joint_is_where_a_camera_at_that_place_sees_it(self, projection, yaw, pitch):
        camera = Camera(projection, yaw=yaw, pitch=pitch, distance=5.0)
        keypoints, scores = persons()
        pixels, seen = camera.project(keypoints, scores)
        for clip in range(2):
            known = scores[clip] > 0
            center = keypoints[clip][known].mean(0).double().numpy()
            for place in known.nonzero().tolist():
                expected = look_slowly(camera, keypoints[clip][*place].double().numpy(), center)
                np.testing.assert_allclose(pixels[clip][*place], expected, atol=2e-3)
        assert torch.equal(seen, scores)

    def test_the_side_of_a_person(self):
        keypoints = torch.tensor([[0.0, 0, 4], [0, 1, 4], [0, -1, 4], [0, 0, 5], [0, 0, 3]])
        camera = Camera("orthographic", yaw=90, distance=2.0, focal=0.5, frame_size=(100, 200))
        pixels, _ = camera.project(keypoints[None, None, None], torch.ones(1, 1, 1, 5))
        # From the right, what was far is to the right: 50 pixels a metre.
        expected = [[100, 50], [100, 0], [100, 100], [150, 50], [50, 50]]
        torch.testing.assert_close(pixels[0, 0, 0], torch.tensor(expected).float())

    @pytest.mark.parametrize(("axes", "stored"), [
        (("x", "-y", "z"), (1.0, -2, 5)), (("x", "z", "y"), (1.0, 5, 2)),
        (("-z", "y", "x"), (5.0, 2, -1)), (("x", "y", "-z"), (1.0, 2, -5))])
    def test_axes_of_other_data(self, axes, stored):
        ones = torch.ones(1, 1, 1, 1)
        for projection in ("perspective", "orthographic", "none"):
            same = [Camera(projection, axes=a, distance=None).project(
                torch.tensor(point).view(1, 1, 1, 1, 3), ones)[0]
                for a, point in ((("x", "y", "z"), (1.0, 2, 5)), (axes, stored))]
            torch.testing.assert_close(*same)

    @given(degrees, st.floats(-90, 90), st.integers(-2, 2), st.sampled_from([None, 4.0]))
    def test_a_full_circle_changes_nothing(self, yaw, pitch, circles, distance):
        keypoints, scores = persons()
        camera = Camera(yaw=yaw, pitch=pitch, distance=distance)
        once = camera.project(keypoints, scores)
        again = camera.project(keypoints, scores, 360.0 * circles)
        torch.testing.assert_close(again[0], once[0], atol=0.1, rtol=1e-3)
        torch.testing.assert_close(again[1], once[1])

    @given(st.floats(0.01, 1000), degrees, st.sampled_from(["perspective", "orthographic"]))
    def test_larger_persons_farther_off_look_the_same(self, factor, yaw, projection):
        keypoints, scores = persons()
        for distance in (None, 4.0):
            camera = Camera(projection, yaw=yaw, distance=distance)
            larger = Camera(projection, yaw=yaw, distance=distance and distance * factor)
            seen = camera.project(keypoints, scores)
            torch.testing.assert_close(larger.project(keypoints * factor, scores), seen,
                                       atol=0.05, rtol=1e-3)

    @given(degrees, st.floats(-80, 80), st.integers(0, 10))
    def test_persons_turned_about_their_centre_are_a_camera_turned_the_other_way(
            self, yaw, pitch, seed):
        keypoints, scores = persons(seed)
        center = persons_center(keypoints.movedim(-1, 0), scores).movedim(0, -1)
        x, y, z = (keypoints - center).unbind(-1)
        cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
        turned = torch.stack([cos * x + sin * z, y, cos * z - sin * x], -1) + center
        seen = Camera(pitch=pitch, yaw=yaw).project(keypoints, scores)
        torch.testing.assert_close(Camera(pitch=pitch).project(turned, scores), seen,
                                   atol=0.05, rtol=1e-3)

    @given(degrees, st.floats(-90, 90), st.integers(0, 10))
    def test_an_orthographic_camera_keeps_heights_and_the_middle(self, yaw, pitch, seed):
        keypoints, scores = persons(seed)
        camera = Camera("orthographic", yaw=yaw, distance=4.0)
        pixels, _ = camera.project(keypoints, scores)
        front, _ = Camera("orthographic", distance=4.0).project(keypoints, scores)
        torch.testing.assert_close(pixels[..., 1], front[..., 1])
        tilted, _ = Camera("orthographic", yaw=yaw, pitch=pitch, distance=4.0).project(
            keypoints, scores)
        for clip in range(2):
            middle = tilted[clip][scores[clip] > 0].mean(0)
            torch.testing.assert_close(middle, torch.tensor([320.0, 240]), atol=0.05, rtol=0)

    @given(st.integers(0, 100), degrees)
    def test_clips_do_not_know_each_other(self, seed, yaw):
        keypoints, scores = persons(seed, clips=4)
        camera = Camera(yaw=yaw, distance=None)
        pixels, seen = camera.project(keypoints, scores)
        for clip in range(4):
            alone = camera.project(keypoints[clip : clip + 1], scores[clip : clip + 1])
            torch.testing.assert_close(alone[0][0], pixels[clip])
            torch.testing.assert_close(alone[1][0], seen[clip])


class TestMissingJoints:
    def test_what_is_behind_the_camera_is_missing(self):
        keypoints = torch.tensor([[0.0, 0, 4], [0, 0, 0.01], [0, 0, -4], [1, 1, 8]])
        scores = torch.tensor([1.0, 1, 1, 0.5]).view(1, 1, 1, 4)
        pixels, seen = Camera(distance=None).project(keypoints[None, None, None], scores)
        assert seen.flatten().tolist() == [1, 0, 0, 0.5]
        assert pixels[0, 0, 0, 1:3].tolist() == [[0, 0], [0, 0]]
        _, seen = Camera("orthographic", distance=None).project(keypoints[None, None, None], scores)
        assert seen.flatten().tolist() == [1, 1, 1, 0.5]

    def test_persons_behind_the_sensor_are_missing(self):
        keypoints, scores = persons()
        for projection in ("perspective", "orthographic"):
            camera = Camera(projection, distance=None)
            pixels, seen = camera.project(-keypoints, scores)
            assert not pixels.any()
            assert not seen.any()

    @given(st.integers(0, 20), degrees)
    def test_a_missing_joint_stays_missing_and_has_no_say(self, seed, yaw):
        keypoints, scores = persons(seed)
        camera = Camera(yaw=yaw)
        pixels, seen = camera.project(keypoints, scores)
        assert torch.equal(seen, scores)
        wild = torch.where((scores > 0)[..., None], keypoints, 1e6)
        assert torch.equal(camera.project(wild, scores)[0], pixels)
        assert torch.equal(camera.project(wild, scores)[1], seen)

    def test_nobody_at_all(self):
        keypoints, scores = torch.zeros(1, 1, 2, 3, 3), torch.zeros(1, 1, 2, 3)
        for camera in (Camera(), Camera(distance=None), Camera("orthographic", distance=None)):
            for look in (camera.project, camera.project_random, camera.project_test_views):
                pixels, seen = look(keypoints, scores)
                assert not pixels.any()
                assert not seen.any()


class TestPlaces:
    def test_a_moving_camera_has_a_place_for_each_clip_within_its_bounds(self):
        one, score = persons(clips=1)
        keypoints, scores = one.expand(500, -1, -1, -1, -1), score.expand(500, -1, -1, -1)
        camera = Camera("none", yaw=10, pitch=5, random_yaw=30, random_pitch=20)
        torch.manual_seed(0)
        turned, _ = camera.project_random(keypoints, scores)
        straight, _ = Camera("none", yaw=10, pitch=5).project(keypoints, scores)
        assert len(turned[:, 0, 0, 0, 0].unique()) > 490
        torch.testing.assert_close(turned.norm(dim=-1), straight.norm(dim=-1))  # only rotated
        torch.manual_seed(0)
        assert torch.equal(camera.project_random(keypoints, scores)[0], turned)
        # A point straight away from the centre shows the angles.
        arrow = torch.tensor([[0.0, 0, 1], [0, 0, -1]]).expand(500, 1, 1, 2, 3)
        seen = camera.project_random(arrow, torch.ones(500, 1, 1, 2))[0][:, 0, 0, 0]
        pitch = torch.rad2deg(torch.atan2(seen[:, 1], (seen[:, 0] ** 2 + seen[:, 2] ** 2).sqrt()))
        assert pitch.abs().max() <= 25.001
        sideways = seen[:, 0].asin().rad2deg()
        assert -20.001 <= sideways.min() < -15
        assert 35 < sideways.max() <= 40.001

    def test_the_distance_changes_by_its_share(self):
        arrow = torch.tensor([[1.0, 0, 4], [-1, 0, 4]]).expand(500, 1, 1, 2, 3)
        for distance in (None, 4.0):
            camera = Camera(distance=distance, focal=1.0, random_distance=0.5)
            pixels, _ = camera.project_random(arrow, torch.ones(500, 1, 1, 2))
            away = 640 / (pixels[:, 0, 0, 0, 0] - 320)
            assert 2 <= away.min() < 2.2
            assert 5.8 < away.max() <= 6

    def test_a_camera_that_does_not_move_stands_still_while_training(self):
        keypoints, scores = persons()
        for distance in (None, 3.0):
            camera = Camera(yaw=20, pitch=10, distance=distance)
            torch.testing.assert_close(camera.project_random(keypoints, scores),
                                       camera.project(keypoints, scores))

    def test_cameras_around_are_cameras_that_stand_there(self):
        keypoints, scores = persons()
        pixels, seen = Camera(yaw=10, test_yaws=(-30, 0, 50)).project_test_views(keypoints, scores)
        assert pixels.shape[0] == seen.shape[0] == 6
        for number, yaw in enumerate((-20, 10, 60)):
            expected = Camera(yaw=yaw).project(keypoints, scores)
            torch.testing.assert_close((pixels[number::3], seen[number::3]), expected)

    @pytest.mark.parametrize(("changes", "message"), [
        ({"projection": "fisheye"}, "`projection` must be one of"),
        ({"axes": ("x", "y", "-y")}, "`axes` must name x, y and z once each"),
        ({"pitch": 100}, "`pitch` must lie in -90..90"), ({"distance": 0}, "`distance` must be"),
        ({"focal": -1}, "`focal` must be positive"), ({"frame_size": (0, 5)}, "`frame_size`"),
        ({"random_yaw": -1}, "`random_yaw`"), ({"random_distance": 1}, "`random_distance`"),
        ({"test_yaws": ()}, "at least one at the test"), ({"yaw": math.nan}, "`yaw`")])
    def test_arguments_out_of_range(self, changes, message):
        with pytest.raises(UserError, match=message):
            Camera(**changes).check()


class TestDataModule:
    def module(self, file, stage, representation=JointHeatmaps, **changes):
        data = KeypointDataModule(file, representation, **{
            **CONFIG["data"], "augment": Augmentation(), **changes})
        data.trainer = trainer(stage)
        return data

    def test_cameras_are_views_of_a_clip(self, spatial_file):
        camera = Camera(test_yaws=(-40, 0, 40))
        data = self.module(spatial_file, "testing", camera=camera, test_clips=2, test_flip=True,
                           batch_size=24)
        batch = next(iter(data.test_dataloader()))
        assert len(batch["clip"]) == 2  # 12 views each
        made = data.on_after_batch_transfer(batch, 0)
        assert made["views"] == 12
        assert made["inputs"].shape == (24, *data.input_shape)
        views = made["inputs"].unflatten(0, (2, 3, 4))
        for number, yaw in enumerate(camera.test_yaws):
            alone = self.module(spatial_file, "testing", camera=Camera(yaw=yaw), test_clips=2,
                                test_flip=True, batch_size=24)
            expected = alone.on_after_batch_transfer(batch, 0)["inputs"]
            torch.testing.assert_close(views[:, number].flatten(0, 1), expected)

    def test_validation_has_one_camera(self, spatial_file):
        data = self.module(spatial_file, "validating", camera=Camera(test_yaws=(0, 90)))
        batch = next(iter(data.val_dataloader()))
        made = data.on_after_batch_transfer(batch, 0)
        assert (len(made["inputs"]), made["views"]) == (len(batch["clip"]), 1)

    @pytest.mark.parametrize("on_device", [False, True])
    def test_training_moves_the_camera_as_it_was_seeded(self, spatial_file, on_device):
        data = self.module(spatial_file, "training", camera=Camera(random_yaw=90),
                           on_device=on_device)
        batch = next(iter(data.train_dataloader()))
        torch.manual_seed(3)
        first, second = (data.on_after_batch_transfer(batch, 0)["inputs"] for _ in range(2))
        assert not torch.equal(first, second)
        torch.manual_seed(3)
        assert torch.equal(data.on_after_batch_transfer(batch, 0)["inputs"], first)

    @pytest.mark.parametrize("camera", [None, Camera("none", random_yaw=50, test_yaws=(0, 90))])
    def test_coordinates_stay_3d(self, spatial_file, camera):
        data = self.module(spatial_file, "training", Coordinates, camera=camera)
        batch = next(iter(data.train_dataloader()))
        made = data.on_after_batch_transfer(batch, 0)["inputs"]
        assert made.shape == (4, *data.input_shape) == (4, 3, 8, 2, 13)
        data.trainer = trainer("testing")
        views = data.on_after_batch_transfer(next(iter(data.test_dataloader())), 0)["views"]
        assert views == (1 if camera is None else 2)

    def test_only_the_flip_augments_coordinates_in_3d(self, spatial_file):
        data = self.module(spatial_file, "training", Coordinates)
        batch = next(iter(data.train_dataloader()))
        made = data.on_after_batch_transfer(batch, 0)["inputs"]
        data.trainer = trainer("validating")
        plain = data.on_after_batch_transfer(batch, 0)["inputs"]
        flipped = data.maker.representation.flip(plain)
        for one, same, other in zip(made, plain, flipped, strict=True):
            assert torch.equal(one, same) != torch.equal(one, other)

    def test_coordinates_in_3d_are_rotated_and_scaled(self):
        keypoints = torch.randn(50, 2, 4, 5, 3)
        scores = torch.ones(keypoints.shape[:-1])
        assert Augmentation().spatial(keypoints, scores) == (keypoints, scores)
        rotated, same = Augmentation(rotation=30).spatial(keypoints, scores)
        assert same is scores
        assert not torch.allclose(rotated, keypoints)
        assert torch.equal(rotated[..., 2], keypoints[..., 2])
        torch.testing.assert_close(rotated.norm(dim=-1), keypoints.norm(dim=-1))
        angle = (torch.atan2(rotated[..., 1], rotated[..., 0])
                 - torch.atan2(keypoints[..., 1], keypoints[..., 0])).flatten(1)
        angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        torch.testing.assert_close(angle, angle[:, :1].expand_as(angle), rtol=0, atol=1e-4)
        assert 20 < math.degrees(float(angle.abs().max())) <= 30
        scaled, _ = Augmentation(scale=0.2).spatial(keypoints, scores)
        scale = (scaled / keypoints).flatten(1, 3)
        torch.testing.assert_close(scale, scale[:, :1].expand_as(scale))
        assert 0.8 <= float(scale.min()) < 0.85
        assert 1.15 < float(scale.max()) <= 1.2

    @pytest.mark.parametrize(("changes", "message"), [
        ({}, "3D coordinates; heatmaps need 2D pixels: project them by a camera"),
        ({"camera": Camera("none")}, "heatmaps need 2D pixels")])
    def test_heatmaps_need_a_projection(self, spatial_file, changes, message):
        with pytest.raises(UserError, match=message):
            self.module(spatial_file, "testing", **changes)

    def test_pixels_need_no_camera(self, tiny_file):
        with pytest.raises(UserError, match=r"holds 2D pixels, and `data.camera` is for 3D"):
            self.module(tiny_file, "testing", camera=Camera())

    def test_a_camera_that_sees_nobody_is_refused(self, spatial_file, tmp_path):
        clips = spatial_clips()
        millimetres = [Clip(c.id, c.keypoints * 1000, c.scores, (1, 1), c.label, c.subject)
                       for c in clips]
        file = write_clips(tmp_path / "millimetres.h5", millimetres)
        about = [Clip(c.id, c.keypoints - np.float32([0, 0, 3]), c.scores, (1, 1), c.label,
                      c.subject) for c in clips]
        around_origin = write_clips(tmp_path / "origin.h5", about)
        for wrong, camera in ((file, Camera()), (file, Camera("orthographic")),
                              (around_origin, Camera(distance=None)),
                              (spatial_file, Camera(distance=None, axes=("x", "y", "-z")))):
            for stage in ("fit", "test", "predict"):
                with pytest.raises(UserError, match=r"the camera sees \d+ % of the joints"):
                    self.module(wrong, "training", camera=camera).setup(stage)
        for right, camera in ((file, Camera(distance=3000)), (file, Camera(distance=None)),
                              (around_origin, Camera()), (spatial_file, Camera(distance=None))):
            self.module(right, "training", camera=camera).setup("fit")


def test_the_sensors_own_camera_gives_the_pixels_of_nw_ucla(shared, tmp_path):
    layout = tmp_path / "kinect20.yaml"
    names = [f"joint{number}" for number in range(20)]
    layout.write_text(f"name: kinect20\njoints: [{', '.join(names)}]\nlimbs: []\npairs: []\n")
    files = []
    for kind in ("3d", "2d"):
        out = tmp_path / f"{kind}.h5"
        preprocess(["pyskl", str(shared / f"data/nw_ucla/nw_ucla_{kind}.pkl"), "--layout",
                    str(layout), "--out", str(out)])
        files.append(KeypointFile(out, in_memory=True))
    camera = Camera(distance=None, focal=580 / 640, frame_size=(480, 640))
    spatial, flat = files
    assert len(spatial) == 1484
    farthest, missing = 0.0, 0
    for clip in range(len(spatial)):
        keypoints, scores = (torch.from_numpy(each.astype(np.float32))[None]
                             for each in spatial.frames(clip))
        pixels, seen = camera.project(keypoints, scores)
        assert torch.equal(seen, scores)
        expected, _ = flat.frames(flat.position(spatial.ids[clip]))
        # 12 joints are missing: (0, 0, 0) in 3D, which the 2D file has in the middle of the frame.
        missing += int((seen == 0).sum())
        assert (expected[seen[0].numpy() == 0] == [320, 240]).all()
        farthest = max(farthest, float(np.abs(pixels[0].numpy() - expected)[seen[0] > 0].max()))
    assert missing == 12
    assert farthest < 5e-4
