"""Predictions of clips, from any number of views and processes, and their accuracies."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import in_two_processes
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from ptl_skel.data.dataset import DrawSampler
from ptl_skel.training.evaluation import ClipPredictions, accuracies, class_scores


class TestClipPredictions:
    def test_views_of_a_clip_are_averaged_as_probabilities(self):
        predictions = ClipPredictions()
        logits = torch.tensor([[0.0, 3.0], [5.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
        predictions.update(torch.tensor([7, 2]), torch.tensor([1, 0]), logits, 2)
        clip, label, probabilities = predictions.gather()
        assert clip.tolist() == [2, 7]
        assert label.tolist() == [0, 1]
        first = (torch.tensor([1 / (1 + math.e**3), 1 / (1 + math.e**-5)])).mean()
        torch.testing.assert_close(probabilities, torch.stack([
            torch.tensor([0.5, 0.5]), torch.stack([first, 1 - first])]))

    @pytest.mark.parametrize(("logits", "views"), [(4, 1), (5, 2), (2, 2)])
    def test_another_number_of_views_is_a_bug(self, logits, views):
        with pytest.raises(ValueError, match=f"2 clips of {views} views have {2 * views} logits"):
            ClipPredictions().update(torch.tensor([7, 2]), torch.tensor([1, 0]),
                                     torch.zeros(logits, 2), views)

    def test_a_clip_that_comes_twice_counts_once(self):
        predictions = ClipPredictions()
        logits = torch.eye(3)
        predictions.update(torch.tensor([4, 0, 9]), torch.tensor([0, 1, 2]), logits)
        predictions.update(torch.tensor([0, 4]), torch.tensor([1, 0]), logits[[1, 0]])
        clip, label, probabilities = predictions.gather()
        assert clip.tolist() == [0, 4, 9]
        assert label.tolist() == [1, 0, 2]
        torch.testing.assert_close(probabilities, logits[[1, 0, 2]].softmax(1))

    def test_an_epoch_forgets_the_one_before(self):
        predictions = ClipPredictions()
        predictions.update(torch.tensor([1]), torch.tensor([0]), torch.zeros(1, 2))
        assert predictions.gather()[0].tolist() == [1]
        predictions.reset()
        predictions.update(torch.tensor([5]), torch.tensor([1]), torch.zeros(1, 2))
        assert predictions.gather()[0].tolist() == [5]

    @pytest.mark.parametrize("classes", [1, 2])
    def test_one_clip_is_a_list_of_one(self, classes):
        predictions = ClipPredictions()
        predictions.update(torch.tensor([6]), torch.tensor([0]), torch.zeros(1, classes))
        assert [tuple(value.shape) for value in predictions.gather()] == [(1,), (1,), (1, classes)]

    def test_half_precision_logits_are_averaged_in_single(self):
        predictions = ClipPredictions()
        predictions.update(torch.tensor([0]), torch.tensor([0]), torch.ones(2, 3).bfloat16(), 2)
        assert predictions.gather()[2].dtype == torch.float32

    def test_processes_join_their_clips(self, tmp_path):
        in_two_processes(predict_share, tmp_path)
        for rank in range(2):
            clip, label, probabilities = torch.load(tmp_path / str(rank))
            assert clip.tolist() == list(range(5))
            assert label.tolist() == [0, 1, 2, 0, 1]
            torch.testing.assert_close(probabilities, logits_of(clip).softmax(1))


def logits_of(clip):
    return torch.stack([clip, clip.square() % 5, 3 - clip], 1).float()


def predict_share(rank, folder):
    """What one of two processes does at test: five clips, the last batch padded."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank,
                                         world_size=2)
    predictions = ClipPredictions()
    for draw in DrawSampler(5, 2, rank, None):
        clip = torch.tensor([draw])
        predictions.update(clip, clip % 3, logits_of(clip))
    torch.save(predictions.gather(), folder / str(rank))
    torch.distributed.destroy_process_group()


class TestAccuracies:
    @settings(deadline=None)
    @given(st.integers(2, 12), st.integers(1, 40), st.integers(0, 2**31))
    def test_against_counting_with_numpy(self, classes, clips, seed):
        random = np.random.default_rng(seed)
        probabilities = random.dirichlet(np.ones(classes), clips).astype(np.float32)
        label = random.integers(0, classes, clips)
        label[label == 1] = 0  # a class that nobody shows
        ranked = probabilities.argsort(1)[:, ::-1]
        right = ranked[:, 0] == label
        expected = {
            "top1": right.mean(),
            "top5": (ranked[:, :5] == label[:, None]).any(1).mean(),
            "mean_class": np.mean([right[label == k].mean() for k in np.unique(label)]),
            "f1": f1_score(label, ranked[:, 0], classes)}
        found = accuracies(torch.from_numpy(probabilities), torch.from_numpy(label))
        assert set(found) == set(expected)
        for name, value in found.items():
            assert float(value) == pytest.approx(expected[name], abs=1e-6), name

    def test_by_hand(self):
        label = torch.tensor([0, 0, 0, 1])
        probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
        found = {name: float(value) for name, value in accuracies(probabilities, label).items()}
        assert found == pytest.approx({"top1": 3 / 4, "top5": 1, "mean_class": (2 / 3 + 1) / 2,
                                       "f1": (4 / 5 + 2 / 3) / 2})


def f1_score(label, predicted, classes):
    """Mean over the classes that are true or predicted of any clip, by counting."""
    scores = []
    for k in range(classes):
        right = ((label == k) & (predicted == k)).sum()
        if either := (label == k).sum() + (predicted == k).sum():
            scores.append(2 * right / either)
    return np.mean(scores)


@given(st.integers(2, 8), st.integers(1, 40), st.integers(0, 2**31))
def test_scores_of_each_class_against_torchmetrics(classes, clips, seed):
    random = torch.Generator().manual_seed(seed)
    predicted, label = torch.randint(classes, (2, clips), generator=random)
    found = class_scores(multiclass_confusion_matrix(predicted, label, classes))
    assert [each["clips"] for each in found] == torch.bincount(
        label, minlength=classes).tolist()
    for name, metric in (("precision", multiclass_precision), ("recall", multiclass_recall),
                         ("f1", multiclass_f1_score)):
        expected = metric(predicted, label, classes, average="none")
        assert [each[name] for each in found] == pytest.approx(expected.tolist(), abs=1e-4)
