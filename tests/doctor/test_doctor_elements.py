"""Elements that hardly move, against those that are small by nature."""

import numpy as np

from viae.doctor.elements import hardly_moves


def test_an_arm_that_rests():
    low = np.array([-0.732, 0.466, -1.0, -0.8, -0.9])
    high = np.array([-0.714, 0.480, 0.4, 0.6, 0.3])
    assert hardly_moves(low, high).tolist() == [True, True, False, False, False]


def test_a_gripper_of_another_unit_is_not_one():
    low = np.array([0.0, -1.0, -0.8, -0.9])
    high = np.array([0.04, 0.4, 0.6, 0.3])
    assert not hardly_moves(low, high).any()


def test_few_elements_and_missing_values_say_nothing():
    assert not hardly_moves(np.array([1.0, 0, 0]), np.array([1.001, 9, 9])).any()
    assert not hardly_moves(np.array([np.nan, 0, 0, 1]), np.array([np.nan, 9, 9, 1.001])).any()
