"""Pictures of what the one model says, for the documents.

``python benchmarks/model_pictures.py --work W --out docs/images`` draws all of them; W is the
folder of ``model_base.py``, which is ``base`` in that of ``model.py``. Base models,
demonstrations and attempts are taken from there; attempts that are not there are run. Trust is
that of the weak model, as in ``model.py``.

- ``foreseen.svg``: futures beside what truly came, of an attempt from an unseen initial state.
- ``reliability.svg``: what trust said of the attempts of `model_trust`, and how they ended.
- ``alarm.svg``: an alarm that rises in one of them.
- ``search.svg``: moments of the demonstrations that are like one of them.

What is shown is chosen by rule: the first attempt or demonstration, or the middle one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from danger_zone import ACTION, GOAL, OBJECT, STATE, STEPS, WORLD, Attempt, attempt_of
from model_trust import ALPHA, COUNTS, attempts, early, fit
from viae.errors import UsageError, ViaeError
from viae.load.live import LiveEvents
from viae.schema import NS_PER_S, Events, to_s
from viae.store import Store
from viae.verbs.figures import COLOURS
from viae.verbs.search import Hit, search
from viae.verbs.trust_base import FittedTrust
from viae.verbs.trust_watch import Watched
from viae.worlds import open_world
from viae.worlds.metaworld import PERIOD_NS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Doubles: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

PICTURE_SEED = 3_000_000
FORESEEN, SEARCHED = "basketball", "pick-place"
"""Tasks: of the attempt that is foreseen, one of the longer ones, so that there is something before
the horizon; and of the moment that is searched for."""
HAND = slice(0, 3)
FUTURES, SINGLE = 30, 6
"""Futures that are drawn from the model, and how many of them are shown one by one."""
BAND = (0.05, 0.95)
NEAREST = 5
BINS = 10
"""Of the reliability diagram, equally wide."""
HAND_COLOUR, OBJECT_COLOUR, BLUE, SKY, RED, GREY = (COLOURS[i] for i in (5, 2, 0, 4, 5, 6))


# -- futures ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Futures:
    """What came, and what was foreseen from a moment on.

    Args:
        title: of the picture.
        names: D of them.
        real_s: float64 [T], since the attempt began.
        real: float64 [T, D], m.
        moment_s: when it was foreseen.
        future_s: float64 [m].
        drawn: float64 [n, m, D], m.
    """

    title: str
    names: Sequence[str]
    real_s: Doubles
    real: Doubles
    moment_s: float
    future_s: Doubles
    drawn: Doubles


def foreseen(bundle: Path, task: str, seed: int) -> Futures:
    """Futures of the scripted expert's attempt, given the actions that it went on to do.

    The horizon lies in the middle of the attempt.
    """
    from viae.foresee.base_dynamics import BaseDynamics
    from viae.model import BaseBundle

    robot = open_world(WORLD).robot(task)
    attempt = attempt_of(robot, open_world(WORLD).operator(task), seed)
    at = max(1, (len(attempt.actions) - STEPS) // 2)
    plan = attempt.actions[at : at + STEPS]
    dynamics = BaseDynamics(bundle=BaseBundle.load(bundle), robot=robot.name)
    history = history_of(robot, attempt, at)
    states = dynamics.imagine(history, plan[None], n=FUTURES, seed=seed)[STATE][0]
    now = np.repeat(attempt.states[None, [at]], FUTURES, axis=0)
    end = at + len(plan) + 1
    first = max(1, at - len(plan))  # the first state may be from before the simulator settled
    time_s = to_s(PERIOD_NS) * np.arange(end, dtype=np.float64)
    return Futures(
        title=f"{task}, seed {seed}: {FUTURES} futures of {len(plan)} steps, given what was done",
        names=[f"{what} {axis}" for what in ("hand", "object") for axis in "xyz"],
        real_s=time_s[first:], real=_hand_and_object(attempt.states[first:end]),
        moment_s=float(time_s[at]), future_s=time_s[at:],
        drawn=_hand_and_object(np.concatenate([now, states], axis=1)),
    )  # fmt: skip


def history_of(robot: Any, attempt: Attempt, at: int) -> Events:
    """What a decision before the action of a step may see, as `viae.act.run` records it."""
    live = LiveEvents(robot.streams, robot.task)
    now_ns = attempt.moments[0].now_ns
    for step in range(at + 1):
        now_ns = attempt.moments[step].now_ns
        add = partial(live.add, capture_ns=now_ns, arrival_ns=now_ns)
        if step:
            add("success", np.array([False]))
        add(STATE, attempt.states[step])
        if step < at:
            add(ACTION, attempt.actions[step])
    return live.events(now_ns)


def draw_foreseen(futures: Futures) -> Figure:
    """A panel per element; all are equally high, so that what is narrow is well known."""
    figure = _figure(7.6, 4.6)
    names = futures.names
    panels = figure.subplots(2, len(names) // 2, sharex=True).flat
    low, high = np.quantile(futures.drawn, BAND, axis=0)
    shown = np.concatenate([futures.real, low, high, *futures.drawn[:SINGLE]])
    middle = (shown.min(0) + shown.max(0)) / 2
    reach = 0.53 * float(np.ptp(shown, axis=0).max())
    for d, (panel, name) in enumerate(zip(panels, names, strict=True)):
        panel.fill_between(
            futures.future_s, low[:, d], high[:, d], color=SKY, alpha=0.35, linewidth=0,
            label="foreseen: 5 to 95%",
        )  # fmt: skip
        for number, one in enumerate(futures.drawn[:SINGLE]):
            panel.plot(
                futures.future_s, one[:, d], color=BLUE, linewidth=0.7, alpha=0.7,
                label="" if number else "single futures",
            )  # fmt: skip
        panel.plot(
            futures.real_s, futures.real[:, d], color="black", linewidth=1.6, label="what came"
        )
        panel.axvline(futures.moment_s, color=GREY, linestyle=":", label="the moment of asking")
        panel.set_ylim(middle[d] - reach, middle[d] + reach)
        panel.locator_params(nbins=5)
        panel.set_title(f"{name}, m", fontsize=9)
        if d >= len(names) // 2:
            panel.set_xlabel("s since the attempt began")
    _title(figure, futures.title)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _hand_and_object(states: Doubles) -> Doubles:
    """Of [..., 39] the places of both: [..., 6]."""
    return np.concatenate([states[..., HAND], states[..., OBJECT]], axis=-1)


# -- trust -----------------------------------------------------------------------------------------


def draw_reliability(outcome: Bools, estimate: Doubles, title: str) -> Figure:
    """A reliability diagram; beneath, how many attempts are in each of its bins.

    Args:
        outcome: bool [N].
        estimate: float64 [N], probability of success.
        title: of the picture.
    """
    from viae.trust import wilson

    figure = _figure(4.4, 5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    edges = np.linspace(0, 1, BINS + 1)
    which = np.minimum((estimate * BINS).astype(np.int64), BINS - 1)
    for number in np.unique(which):
        here = which == number
        rate = wilson(int(outcome[here].sum()), int(here.sum()))
        ends = [[rate.value - rate.low], [rate.high - rate.value]]
        above.errorbar(
            estimate[here].mean(), rate.value, yerr=np.abs(ends), fmt="o", color=BLUE, capsize=3,
            markersize=5, elinewidth=1,
        )  # fmt: skip
        below.annotate(
            str(rate.n), (edges[number : number + 2].mean(), rate.n), ha="center", fontsize=7,
            textcoords="offset points", xytext=(0, 2),
        )  # fmt: skip
    below.hist(
        [estimate[~outcome], estimate[outcome]], bins=edges, stacked=True, rwidth=0.9,
        color=[RED, SKY], label=["failed", "succeeded"],
    )  # fmt: skip
    above.set(ylim=(-0.03, 1.03), ylabel="share that succeeded, 95% interval")
    below.set(xlim=(-0.03, 1.03), xlabel="probability of success that was said", ylabel="attempts")
    below.margins(y=0.2)
    below.legend(
        frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.98),
        borderpad=0,
    )  # fmt: skip
    _title(figure, title)
    return figure


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """An attempt, and what was said of it as it went.

    Args:
        name: its episode's id.
        task: of it.
        outcome: of it.
        said_s: float64 [k], since the attempt began.
        said: float64 [k], probability of success before calibration: what alarms look at.
        level: below which there is an alarm.
        alarm_s: when it rose; inf if never.
        real_s: float64 [T].
        away_m: float64 [T], from the object to its goal.
    """

    name: str
    task: str
    outcome: bool
    said_s: Doubles
    said: Doubles
    level: float
    alarm_s: float
    real_s: Doubles
    away_m: Doubles


def alarm(fitted: FittedTrust, tested: Watched, store: Store) -> tuple[Course, Course, str]:
    """An attempt that failed with an alarm, one that succeeded without, and how often both are so.

    Of the failures whose alarm rose later than at the first time it could, the one whose alarm rose
    at the middle time; and the first such success at that task.

    Raises:
        UsageError: there are no thresholds, or no two such attempts.
    """
    rules = [rule for rule in fitted.saved.file.rules if rule.kind == "constant"]
    if not rules:
        raise UsageError("; ".join(fitted.refused))
    [rule], tested = rules, fitted.saved.aligned(tested)
    scores = fitted.saved.scores(tested)
    cases = tested.cases(scores, Path("tested"))
    at = rule.times(cases.runs(cases.scores[:, 0]), tested.tasks)
    right = tested.outcome
    pair = telling(right, at, tested.tasks, first=tested.steps[0] / tested.horizon)
    if pair is None:
        raise UsageError("no failure with an alarm has a success without one at its task")
    raised = np.isfinite(at)
    counts = (
        f"alarms, set to disturb {ALPHA:.0%} of the successes, rose in {int(raised[right].sum())} "
        f"of {int(right.sum())} successes and {int(raised[~right].sum())} of "
        f"{int((~right).sum())} failures"
    )
    period_s = to_s(PERIOD_NS)
    courses = []
    for n in pair:
        name, task, going = str(tested.names[n]), str(tested.tasks[n]), tested.going[n]
        samples = store.samples([name], [STATE])[name, STATE]
        states = np.asarray(samples.values, np.float64)[1:]
        level = rule.groups.get(task, rule.pooled).at(np.zeros(1))
        courses.append(
            Course(
                name=name, task=task, outcome=bool(right[n]),
                said_s=period_s * np.array(tested.steps)[going], said=scores[n, going],
                level=-float(level[0]), alarm_s=float(at[n]) * tested.horizon * period_s,
                real_s=(samples.arrival_ns - samples.arrival_ns[0])[1:] / NS_PER_S,
                away_m=np.linalg.norm(states[:, OBJECT] - states[:, GOAL], axis=1),
            )
        )  # fmt: skip
    return courses[0], courses[1], counts


def telling(
    outcome: Bools, alarm_at: Doubles, tasks: npt.NDArray[Any], *, first: float
) -> tuple[int, int] | None:
    """Numbers of a failure with an alarm and of a success without one at the same task.

    Args:
        outcome: bool [N].
        alarm_at: float64 [N], shares of the horizon; inf for never.
        tasks: [N], strings.
        first: the earliest time of an alarm. Later ones are preferred: they are seen to rise.
    """
    quiet = outcome & np.isinf(alarm_at)
    found = np.flatnonzero(~outcome & np.isfinite(alarm_at) & np.isin(tasks, tasks[quiet]))
    late = found[alarm_at[found] > first]
    chosen = late if len(late) else found
    if not len(chosen):
        return None
    ranked = chosen[np.argsort(alarm_at[chosen], kind="stable")]
    failed = int(ranked[(len(ranked) - 1) // 2])
    return failed, int(np.flatnonzero(quiet & (tasks == tasks[failed]))[0])


def draw_alarm(failed: Course, succeeded: Course, counts: str) -> Figure:
    """The running estimate of both against the threshold; beneath, how the attempts went."""
    figure = _figure(6.4, 4.8)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for course, colour in ((succeeded, SKY), (failed, "black")):
        how = "succeeds" if course.outcome else "fails"
        until = np.append(course.said_s, course.real_s[-1])
        held = np.append(course.said, course.said[-1])
        above.step(until, held, where="post", linewidth=1.8, color=colour)
        above.plot(course.said_s, course.said, "o", color=colour, markersize=4)
        below.plot(
            course.real_s, course.away_m, linewidth=1.8, color=colour,
            label=f"{course.name[:6]}, which {how}",
        )  # fmt: skip
    above.axhline(failed.level, color=RED, linestyle="--", linewidth=1)
    above.annotate(
        "alarm threshold", (failed.real_s[-1], failed.level), ha="right", color=RED, fontsize=8,
        textcoords="offset points", xytext=(0, 3),
    )  # fmt: skip
    for panel in (above, below):
        panel.axvline(failed.alarm_s, color=RED, linewidth=1)
    above.annotate(
        f"alarm at {failed.alarm_s:.2f} s", (failed.alarm_s, 1.0), textcoords="offset points",
        xytext=(4, -2), color=RED, fontsize=8,
    )  # fmt: skip
    above.set(ylim=(-0.03, 1.08), ylabel="estimate of success\n(before calibration)")
    below.set(xlabel="s since the attempt began", ylabel="object to goal, m")
    below.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    _title(figure, f"two attempts at {failed.task}\n{counts}")
    return figure


# -- search ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """A moment, and the attempt around it.

    Args:
        hit: the moment.
        at_s: float64 [T], since the episode's start.
        places: float64 [T, 6], of hand and object, m.
    """

    hit: Hit
    at_s: Doubles
    places: Doubles


def searched(bundle: Path, store: Store, like: str) -> list[Found]:
    """The moment asked for, and those nearest to it.

    Args:
        bundle: whose vectors; those that are not in the store yet are made.
        store: of demonstrations.
        like: ``EPISODE@SECONDS``; empty: the middle of the first demonstration of `SEARCHED`.
    """
    if not like:
        first = next(episode for episode in store.episodes() if episode.task == SEARCHED)
        like = f"{first.episode_id}@{to_s(first.end_ns - first.start_ns) / 2:.3f}s"
    report = search(store, like=like, k=NEAREST, embedder=bundle)
    assert report.like is not None
    return [_found(store, hit) for hit in (report.like, *report.hits)]


def _found(store: Store, hit: Hit) -> Found:
    name = hit.episode.episode_id
    samples = store.samples([name], [STATE])[name, STATE]
    states = np.asarray(samples.values, np.float64)[1:]
    at_s = (samples.arrival_ns[1:] - hit.episode.start_ns) / NS_PER_S
    return Found(hit=hit, at_s=at_s, places=_hand_and_object(states))


def draw_search(found: Sequence[Found]) -> Figure:
    """Hand and object seen along one axis, up to each moment and after it.

    Args:
        found: the moment asked for, then the hits; all in the plane in which the first one's hand
            moves most.
    """
    figure = _figure(7.6, 5.2, layout="compressed")
    panels = figure.subplots(2, -(-len(found) // 2), sharex=True, sharey=True).flat
    hand = found[0].places[:, :3]
    across, up = sorted(np.argsort(np.ptp(hand, axis=0), kind="stable")[1:].tolist())
    for number, (panel, one) in enumerate(zip(panels, found, strict=False)):
        _paths(panel, one, (across, up))
        hit = one.hit
        what = f"distance {hit.distance:.4f}" if number else "asked for"
        panel.set_title(f"{hit.episode.task}\n{hit.episode.episode_id[:6]}@{hit.at_s:.2f}s, {what}",
                        fontsize=8, fontweight=None if number else "bold")  # fmt: skip
        panel.set_aspect("equal")
        panel.locator_params(nbins=5)
        if panel.get_subplotspec().is_last_row():
            panel.set_xlabel(f"{'xyz'[across]}, m")
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel(f"{'xyz'[up]}, m")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _paths(panel: Axes, one: Found, plane: tuple[int, int]) -> None:
    now = int(np.searchsorted(one.at_s, one.hit.at_s, "right")) - 1
    for what, first, colour in (("hand", 0, HAND_COLOUR), ("object", 3, OBJECT_COLOUR)):
        x, y = (one.places[:, first + axis] for axis in plane)
        before, after = slice(now + 1), slice(now, None)
        panel.plot(x[before], y[before], color=colour, linewidth=2, label=f"{what}, until then")
        panel.plot(x[after], y[after], color=colour, linewidth=1, alpha=0.4, label="after")
        panel.plot(x[now], y[now], "o", color=colour, markersize=6, markeredgecolor="white")


# -- all -------------------------------------------------------------------------------------------


def _figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize=9)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG; equal figures give equal files."""
    import matplotlib as mpl

    for panel in figure.axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
        for axis in (panel.xaxis, panel.yaxis):
            axis.label.set_fontsize(9)
    with mpl.rc_context({"svg.hashsalt": "viae"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    """Draw what is asked for; exits with 1 where something could not be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="of model_base.py")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    parser.add_argument("--bundle", type=Path, help="default: W/seed-0/base")
    parser.add_argument("--judge", type=Path, help="whose trust; default: W/seed-0/weak")
    parser.add_argument("--store", type=Path, help="to search in; default: W/seed-0/store")
    parser.add_argument("--trust", type=Path, help="attempts of model_trust; default: W/trust")
    parser.add_argument("--policy", type=Path, help="who acts in them; default: the judge")
    parser.add_argument("--workers", type=int, default=1, help="processes that run attempts")
    for name, count in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=count, help="attempts, over all tasks")
    parser.add_argument("--task", default=FORESEEN, help="of the attempt that is foreseen")
    parser.add_argument("--seed", type=int, default=PICTURE_SEED, help="of its initial state")
    parser.add_argument("--like", default="", help="EPISODE@SECONDS to search for")
    parser.add_argument("--only", nargs="+", help="of foreseen, reliability, alarm, search")
    given = parser.parse_args()
    bundle = given.bundle or given.work / "seed-0" / "base"
    judge = given.judge or given.work / "seed-0" / "weak"
    trust = given.trust or given.work / "trust"

    @cache
    def watched() -> tuple[FittedTrust, Watched]:
        counts = {name: getattr(given, name) for name in COUNTS}
        parts = attempts(judge, given.policy or judge, trust, workers=given.workers, counts=counts)
        return fit(parts, judge), parts["tested"]

    def of_reliability() -> Figure:
        fitted, tested = watched()
        outcome, said = fitted.said(tested, early(tested))
        return draw_reliability(
            outcome, said,
            f"what was said after {early(tested)} of {tested.horizon} steps,\n"
            f"of the {len(said)} of {len(tested)} attempts that still went on",
        )  # fmt: skip

    def of_alarm() -> Figure:
        return draw_alarm(*alarm(*watched(), Store.open(trust / "tested" / "store")))

    def of_search() -> Figure:
        store = Store.open(given.store or given.work / "seed-0" / "store")
        return draw_search(searched(bundle, store, given.like))

    pictures: dict[str, Callable[[], Figure]] = {
        "foreseen": lambda: draw_foreseen(foreseen(bundle, given.task, given.seed)),
        "reliability": of_reliability, "alarm": of_alarm, "search": of_search,
    }  # fmt: skip
    if unknown := sorted({*(given.only or ())} - pictures.keys()):
        parser.error(f"no picture {', '.join(unknown)}; choose from {', '.join(pictures)}")
    given.out.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in given.only or pictures:
        path = given.out / f"{name}.svg"
        try:
            save(pictures[name](), path)
        except ViaeError as error:
            failed = True
            print(f"{path}: not drawn: {error}", file=sys.stderr)
        else:
            print(path)
    sys.exit(failed)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
