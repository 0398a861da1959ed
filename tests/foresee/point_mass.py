"""A point on a plane that is pushed about, with a disc that it is not to enter.

Each step it moves by the action and Gaussian noise, so the probability that one step ends in the
disc is that of a noncentral chi-square distribution.
"""

import numpy as np

from viae.act import Reading, SteppedClock
from viae.foresee.dynamics import came
from viae.schema import Role, StreamSpec

PLACE = StreamSpec(name="place", shape=(2,), names=("x", "y"), unit="m")
ACTION = StreamSpec(name="action", shape=(2,), role=Role.ACTION)
SUCCESS = StreamSpec(name="success", dtype="bool", shape=(1,), role=Role.OUTCOME)
STREAMS = (PLACE, ACTION, SUCCESS)
DISC, RADIUS = np.array([0.5, 0.03]), 0.15
INSIDE = f"hypot(x - {DISC[0]}, y - {DISC[1]}) < {RADIUS}"
GOAL, NEAR, STEP = np.array([1.0, 0.0]), 0.06, 0.05
NOISE = 0.004
PERIOD_NS = 10_000_000


def probability(place, action, noise=NOISE):
    """That the next step ends in the disc."""
    from scipy.stats import ncx2

    far = np.sum((np.asarray(place) + action - DISC) ** 2) / noise**2
    return float(ncx2.cdf(RADIUS**2 / noise**2, 2, far))


class PointDynamics:
    """The true dynamics: groups 1."""

    groups = 1

    def __init__(self, noise=NOISE):
        self.noise = noise

    def imagine(self, history, actions, *, n, seed):
        place = np.asarray(history.values["place"])[-1]
        k, steps, _ = actions.shape
        noise = np.random.default_rng(seed).normal(0, self.noise, (1, n, steps, 2))
        places = place + np.cumsum(actions[:, None] + noise, axis=2)
        near = np.linalg.norm(places - GOAL, axis=-1, keepdims=True) < NEAR
        return {
            "place": places, "success": near,
            came("place"): np.ones((k, n, steps), bool), came("success"): near[..., 0],
        }  # fmt: skip


class PointRobot:
    name, task, streams, period_ns = "point", "go right", STREAMS, PERIOD_NS

    def __init__(self):
        self.clock = SteppedClock()
        self.place = np.zeros(2)
        self.was_inside = False

    def reset(self, conditions):
        self.clock = SteppedClock()
        self._rng = np.random.default_rng(conditions["seed"])
        self.place = np.array([0.0, self._rng.uniform(-0.05, 0.05)])
        self.was_inside = False

    def observe(self):
        return {"place": Reading(value=self.place.copy(), capture_ns=self.clock.now_ns())}

    def act(self, action):
        self.place = self.place + action["action"] + self._rng.normal(0, NOISE, 2)
        self.was_inside |= bool(np.linalg.norm(self.place - DISC) < RADIUS)

    def outcome(self):
        done = np.linalg.norm(self.place - GOAL) < NEAR
        return {"success": Reading(value=np.array([done]), capture_ns=self.clock.now_ns())}

    def save(self):
        return self.place, self.was_inside, self._rng.bit_generator.state

    def restore(self, saved):
        self.place, self.was_inside, self._rng.bit_generator.state = saved

    def close(self):
        pass


class StraightOn:
    """Goes straight to the goal."""

    agent = "scripted:straight"

    def reset(self, task, streams):
        assert [spec.name for spec in streams] == ["place", "action", "success"]
        self.place = None

    def add(self, stream, value, *, capture_ns, arrival_ns):
        if stream == "place":
            self.place = np.asarray(value)

    def act(self, at_ns):
        return {"action": towards_goal(self.place)}


def towards_goal(place):
    way = GOAL - place
    return way / max(np.linalg.norm(way), STEP) * STEP


def straight_plan(history, steps):
    """What `StraightOn` will do, [steps, 2]."""
    place, actions = np.asarray(history.values["place"])[-1], []
    for _ in range(steps):
        actions.append(towards_goal(place))
        place = place + actions[-1]
    return np.array(actions)
