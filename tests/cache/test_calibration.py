"""What is learned while running, and what may be risked."""

import json

import numpy as np
import pytest

from llmapi.cache.calibration import WINDOW, Calibration, Risk

PRIOR = {"mean": [0.0], "scale": [1.0], "weights": [0.0, 2.0], "firmness": 30.0}


def taught(labels, weight=1.0):
    calibration = Calibration(PRIOR)
    for label in labels:
        calibration.learn([1.0], label, weight)
    return calibration


def test_without_labels_the_shipped_weights_decide():
    assert Calibration(PRIOR).probability([1.0]) == pytest.approx(1 / (1 + np.exp(-2)))


def test_labels_move_the_probability_to_what_happens_here():
    assert taught([False] * 800).probability([1.0]) < 0.1
    assert taught([True, False] * 300).probability([1.0]) == pytest.approx(0.5, abs=0.08)


def test_few_labels_move_it_little():
    assert taught([False] * 20).probability([1.0]) > 0.45


def test_an_explored_request_counts_for_those_that_were_served():
    assert taught([False] * 20, weight=20).probability([1.0]) < taught([False] * 20).probability([1.0])


def test_only_the_last_labels_count():
    calibration = taught([True] * WINDOW + [False] * WINDOW)
    assert len(calibration.state()["seen"]) == WINDOW
    assert calibration.probability([1.0]) < 0.1


def test_what_was_learned_survives_json():
    calibration = taught([True, False, False] * 30)
    again = Calibration(PRIOR)
    again.restore(json.loads(json.dumps(calibration.state())))
    assert again.probability([0.3]) == calibration.probability([0.3])
    assert again.state() == calibration.state()


@pytest.mark.parametrize("other", [{"weights": [0.0, 1.0, 2.0]}, {"seen": [[[1.0, 2.0], 1.0, 1.0]]}])
def test_what_was_learned_of_other_features_is_refused(other):
    with pytest.raises(ValueError):
        Calibration(PRIOR).restore(taught([True]).state() | other)


def risk(chances):
    held = Risk()
    for chance in chances:
        held.add(chance)
    return held


def test_the_expected_errors_of_what_is_served_stay_within_the_bound():
    chances = np.random.default_rng(0).beta(5, 1, WINDOW)
    for bound in (0.01, 0.02, 0.05):
        served = chances[chances >= risk(chances).threshold(bound)]
        assert 0.5 * bound * WINDOW < (1 - served).sum() <= bound * WINDOW


def test_nothing_is_served_on_a_guess_however_rich_the_budget():
    assert risk([0.0] * 1000 + [0.55]).threshold(0.05) > 0.55
    assert risk([]).threshold(1.0) == 1.0


def test_a_bound_of_nothing_serves_only_certainty():
    assert risk([0.999] * 100).threshold(0.0) == 1.0
