"""Causal networks on streams: in PyTorch, as ONNX files, and in the runtime without torch."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from preprocessing.core.plausibility import check_clip
from ptl_skel.backbones import C3DLight, Conv2Plus1D, SlowOnly, VideoResNet
from ptl_skel.data.datamodule import KeypointDataModule
from ptl_skel.data.dataset import ClipDataset
from ptl_skel.data.transforms import Augmentation, drop_far, follow_box
from ptl_skel.deploy.runtime import drop_missing
from ptl_skel.deploy.runtime_stream import FollowBox
from ptl_skel.deploy.streaming import StreamNetwork
from ptl_skel.errors import UserError
from ptl_skel.representations import JointHeatmaps
from ptl_skel.storage import Clip
from ptl_skel.training.module import classifier, means_so_far

CAUSAL = partial(Conv2Plus1D, middle=1.0, causal=True)
BACKBONES = {
    "strides": lambda: VideoResNet(5, CAUSAL, 4, (3, 3), (2, 2), (4, 8), (1, 2), ((1, 1), (2, 2)),
                                   (3, 3)),
    "kernels": lambda: VideoResNet(5, CAUSAL, 4, (1, 3), (1, 2), (4, 8), (1, 1), ((3, 1), (2, 2)),
                                   (5, 3)),
    "c3d": lambda: C3DLight(5, 2, CAUSAL),
    "slowonly": lambda: SlowOnly(5, 4, 3, 1, (4, 8), (1, 2), ((1, 2), (2, 2)), (1, 3), CAUSAL)}
PERIODS = {"strides": 4, "kernels": 6, "c3d": 1, "slowonly": 2}
FRAMES = 48


def network(name):
    """A network whose batch norms and head are not those of a fresh one."""
    torch.manual_seed(0)
    made = classifier(BACKBONES[name](), 6)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    nn.init.normal_(made[1][-1].weight)
    return made.eval()


@torch.inference_mode()
def offline(made, inputs):
    """Probabilities ``(N, T', K)`` after each output of the network on whole clips."""
    features = made[0](inputs)
    begun = torch.ones(len(features), features.shape[2])
    return made[1][2:](means_so_far(features, begun)).softmax(-1)


@torch.inference_mode()
def in_chunks(stream, inputs, sizes):
    states, found, first = stream.zeros(len(inputs)), [], 0
    for size in sizes:
        probabilities, *states = stream(inputs[:, :, first : first + size], *states)
        found.append(probabilities)
        first += size
    return torch.cat(found, 1), states


@pytest.fixture(scope="module", params=BACKBONES)
def case(request):
    """A network, its step form and its frame form, inputs, and its predictions offline."""
    made = network(request.param)
    forms = [StreamNetwork(made, (5, 16, 16), every_frame=each, memory=10**6)
             for each in (False, True)]
    assert forms[0].period == forms[0].chunk == forms[1].period == PERIODS[request.param]
    assert forms[1].chunk == 1
    inputs = torch.rand(2, 5, FRAMES, 16, 16)
    return made, *forms, inputs, offline(made, inputs)


class TestNetwork:
    @settings(max_examples=8)
    @given(data=st.data())
    def test_any_chunks_give_what_the_whole_clip_gives(self, case, data):
        _, step, frame, inputs, expected = case
        for stream in (step, frame):
            sizes, left = [], FRAMES // stream.chunk
            while left:
                sizes.append(data.draw(st.integers(1, left)))
                left -= sizes[-1]
            probabilities, _ = in_chunks(stream, inputs, [stream.chunk * size for size in sizes])
            if stream is step:
                torch.testing.assert_close(probabilities, expected, rtol=0, atol=1e-5)
            else:
                whole, _ = in_chunks(frame, inputs, [FRAMES])
                torch.testing.assert_close(probabilities, whole, rtol=0, atol=1e-5)

    @torch.inference_mode()
    def test_the_frame_form_has_the_features_of_the_whole_clip(self, case):
        made, step, frame, inputs, _ = case
        features, _ = frame._run(inputs, frame.zeros(2)[2:])
        assert features.shape[2] == FRAMES
        torch.testing.assert_close(features[:, :, step.period - 1 :: step.period], made[0](inputs),
                                   rtol=1e-4, atol=1e-4)

    @torch.inference_mode()
    def test_a_chunk_sees_only_what_it_needs_of_the_past(self, case):
        _, step, frame, inputs, _ = case
        for stream in (step, frame):
            states = stream.start(2)
            for chunk in inputs.split(stream.chunk, 2):
                seen = stream.select(states)
                assert len(seen) == len(stream.links)
                probabilities, *new = stream.forward_chunk(chunk, *seen)
                expected, *states = stream(chunk, *states)
                made = [probabilities, *new]
                wanted = [expected, *stream.select(states, newest=True)]
                for one, other in zip(made, wanted, strict=True):
                    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)

    def test_streams_are_rows_that_may_be_stacked_and_split(self, case):
        _, step, _, inputs, expected = case
        half = FRAMES // 2 // step.chunk * step.chunk
        _, one = in_chunks(step, inputs[:1], [half])
        _, other = in_chunks(step, inputs[1:], [half])
        states = [torch.cat(rows) for rows in zip(one, other, strict=True)]
        with torch.inference_mode():
            probabilities, *states = step(inputs[:, :, half : half + step.chunk], *states)
            torch.testing.assert_close(probabilities[:, 0], expected[:, half // step.chunk],
                                       rtol=0, atol=1e-5)
            alone = [state[1:] for state in states]
            last = step(inputs[1:, :, half + step.chunk : half + 2 * step.chunk], *alone)[0]
        torch.testing.assert_close(last[0, 0], expected[1, half // step.chunk + 1], rtol=0,
                                   atol=1e-5)

    @torch.inference_mode()
    def test_a_stream_begins_after_an_empty_scene(self, case):
        made, step, frame, inputs, _ = case
        padded = torch.cat([torch.zeros(2, 5, 120, 16, 16), inputs], 2)
        expected = made[0](padded)[:, :, 120 // step.period :]
        for stream in (step, frame):
            features, _ = stream._run(inputs, stream.start(2)[2:])
            skip = step.period // stream.chunk
            torch.testing.assert_close(features[:, :, skip - 1 :: skip], expected, rtol=1e-4,
                                       atol=1e-4)

    def test_no_batch_norm_is_left(self, case):
        for stream in case[1:3]:
            assert not any(isinstance(module, nn.BatchNorm3d) for module in stream.modules())

    @torch.inference_mode()
    def test_the_memory_forgets(self):
        made = network("c3d")
        stream = StreamNetwork(made, (5, 16, 16), every_frame=True, memory=4)
        inputs = torch.rand(1, 5, 12, 16, 16)
        features = made[0](inputs).mean((3, 4))[0].T
        mean = features[0]
        for number, each in enumerate(features[1:], 2):
            mean = mean + (each - mean) / min(number, 4)
        probabilities, states = in_chunks(stream, inputs, [12])
        torch.testing.assert_close(probabilities[0, -1], made[1][-1](mean).softmax(0), rtol=0,
                                   atol=1e-5)
        assert states[1].tolist() == [4]  # the counter does not grow for ever

    def test_networks_that_see_the_future_are_refused(self):
        other = classifier(VideoResNet(5, Conv2Plus1D, 4, (3, 3), (1, 2), (4,), (1,), ((1, 1),),
                                       (3, 3)), 3).eval()
        with pytest.raises(UserError, match="needs a causal network"):
            StreamNetwork(other, (5, 16, 16), every_frame=True, memory=8)

    def test_networks_that_do_more_over_time_are_refused(self):
        class Averaging(C3DLight):
            def forward(self, inputs):
                features = super().forward(inputs)
                return features - 0.5 * features.mean(2, keepdim=True)

        made = classifier(Averaging(5, 2, CAUSAL), 3).eval()
        with pytest.raises(UserError, match="more over time than causal convolutions"):
            StreamNetwork(made, (5, 16, 16), every_frame=True, memory=8)

    def test_a_memory_needs_an_output(self):
        with pytest.raises(UserError, match="must be >= 1 frame, got 0"):
            StreamNetwork(network("c3d"), (5, 16, 16), every_frame=True, memory=0)


class TestFollowBox:
    @settings(max_examples=30)
    @given(st.integers(0, 10**6), st.integers(1, 3))
    def test_it_is_the_one_of_the_training(self, seed, persons):
        random = np.random.default_rng(seed)
        keypoints = random.uniform(0, 400, (persons, 20, 13, 2)).astype(np.float32)
        keypoints = 200 + (keypoints - 200) * random.choice([0.01, 0.5, 1], (1, 20, 1, 1))
        keypoints = keypoints.astype(np.float32)
        scores = random.choice([0, 0.4, 1], keypoints.shape[:-1]).astype(np.float32)
        scores[:, random.integers(0, 20, 5)] = 0
        expected = follow_box(*(torch.from_numpy(each)[None] for each in (keypoints, scores)),
                              torch.tensor([[240.0, 320.0]]))[0].numpy()
        box = FollowBox((240, 320))
        for frame in range(20):
            box.update(keypoints[:, frame], scores[:, frame])
            made = np.concatenate([box.center - box.half, box.center + box.half])
            np.testing.assert_allclose(made, expected[frame], rtol=1e-5, atol=1e-4)


class TestFarJoints:
    @settings(max_examples=30)
    @given(st.integers(0, 10**6), st.sampled_from([(240, 320), (480, 270), (9, 9)]))
    def test_the_rule_is_one_in_preprocessing_training_and_runtime(self, seed, frame_size):
        random = np.random.default_rng(seed)
        height, width = frame_size
        keypoints = random.uniform(0, 1, (2, 20, 13, 2)) * (width, height)
        shape = keypoints.shape[:-1]
        keypoints[random.random(shape) < 0.2] *= random.choice([12, -12, 1e6, 1e9])
        scores = random.choice([0, 0.5, 1], shape).astype(np.float32)
        keypoints = keypoints.astype(np.float32)
        checked = check_clip(Clip("a", keypoints.copy(), scores.copy(), frame_size))
        trained = drop_far(*(torch.from_numpy(each)[None] for each in (keypoints, scores)),
                           torch.tensor([[height, width]], dtype=torch.float32))
        drop_missing(keypoints, scores, frame_size)
        np.testing.assert_array_equal(scores, checked.scores)
        np.testing.assert_array_equal(scores, trained[1][0].numpy())
        np.testing.assert_array_equal(keypoints, trained[0][0].numpy() * (scores > 0)[..., None])
        assert (scores[np.abs(keypoints).max(-1) > 12 * max(frame_size)] == 0).all()

    def test_training_and_test_ignore_them(self, tiny_file):
        """Whatever wrote the file: what reaches the network is as if the joint were missing."""
        for box in ("clip", "follow"):
            data = KeypointDataModule(tiny_file, partial(JointHeatmaps, sigma=0.6), "cross",
                                      clip_len=8, box=box, augment=Augmentation((1.0, 1.0), flip=0))
            batch = ClipDataset(data.file, np.arange(6), 8).__getitems__(range(6))
            batch["scores"][:, :, 3, 5] = 0
            expected = [make(batch, torch.float32) for make in (
                data.maker.train, partial(data.maker.evaluate, several=False))]
            batch["scores"][:, :, 3, 5] = 1
            batch["keypoints"][:, :, 3, 5] = 1e9
            made = [make(batch, torch.float32) for make in (
                data.maker.train, partial(data.maker.evaluate, several=False))]
            for one, other in zip(made, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=0)
