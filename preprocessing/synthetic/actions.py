"""The actions of the synthetic data set, as motions of one or two bodies.

They can only be distinguished by motion: most come in pairs that are each other's reversal in time,
or differ only in rhythm, so that a single frame is not enough.

Adding an action: 1. write a function like those below; 2. list it at the end of `ACTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .body import Floats, Motion

SECONDS_PER_FRAME = 1 / 30


@dataclass(frozen=True)
class Style:
    """The style of a performance.

    Args:
        tempo: Factor of the speed of repeated movements.
        vigour: Factor of the size of a movement.
        phase: Start of a repeated movement, 0..1 of a period.
        side: The active hand or foot: ``left`` or ``right``.
    """

    tempo: float = 1.0
    vigour: float = 1.0
    phase: float = 0.0
    side: str = "right"


# A frame's progress through the clip 0..1, ``(T,)``, and the style -> a motion for each person.
Performance = Callable[[Floats, Style], list[Motion]]


@dataclass(frozen=True)
class Action:
    """A class of the data set.

    Args:
        name: Its name.
        perform: Motions of one person, or of two who face each other.
        reverse: Perform it backwards in time.
    """

    name: str
    perform: Performance
    reverse: bool = False

    def motions(self, num_frames: int, style: Style) -> list[Motion]:
        """A motion of ``num_frames`` frames for each person."""
        progress = np.linspace(0, 1, num_frames)
        return self.perform(progress[::-1] if self.reverse else progress, style)


def _ease(progress: Floats, start: float, end: float) -> Floats:
    """From 0 at ``start`` to 1 at ``end``, smoothly."""
    part: Floats = np.clip((progress - start) / (end - start), 0, 1)
    return part * part * (3 - 2 * part)


def _there_and_back(progress: Floats, start: float, top: float, left: float, end: float) -> Floats:
    return _ease(progress, start, top) - _ease(progress, left, end)


def _cycle(progress: Floats, style: Style, hertz: float) -> Floats:
    """Angle of something that rotates ``hertz`` times per second, if the clip runs forward."""
    seconds = progress * (len(progress) - 1) * SECONDS_PER_FRAME
    return 2 * np.pi * (hertz * style.tempo * seconds + style.phase)


def _circle_arms(progress: Floats, style: Style) -> list[Motion]:
    angle = _cycle(progress, style, 0.8)
    return [{"left_arm_ahead": angle, "right_arm_ahead": angle, "left_arm_out": 0.2,
             "right_arm_out": 0.2, "left_elbow": 0.1, "right_elbow": 0.1}]


def _wave(hertz: float) -> Performance:
    def perform(progress: Floats, style: Style) -> list[Motion]:
        swing = np.sin(_cycle(progress, style, hertz))
        side = style.side
        return [{f"{side}_arm_out": 1.5, f"{side}_arm_turn": 1.5,
                 f"{side}_elbow": 1.5 + 0.8 * style.vigour * swing}]
    return perform


def _sit_down(progress: Floats, style: Style) -> list[Motion]:
    down = _ease(progress, 0.1, 0.8)
    motion: dict[str, Floats | float] = {
        "lean": 0.5 * style.vigour * np.sin(np.pi * down), "ahead": -0.4 * down}
    for side in ("left", "right"):
        motion |= {f"{side}_leg_ahead": 1.5 * down, f"{side}_knee": 1.5 * down,
                   f"{side}_arm_ahead": 0.5 * down, f"{side}_elbow": 0.7 * down}
    return [motion]


def _pick_up(progress: Floats, style: Style) -> list[Motion]:
    down = _there_and_back(progress, 0.05, 0.45, 0.55, 0.95)
    motion: dict[str, Floats | float] = {"lean": 0.9 * style.vigour * down, "bend": 0.5 * down}
    for side in ("left", "right"):
        motion |= {f"{side}_leg_ahead": 0.9 * down, f"{side}_knee": 1.2 * down}
    motion |= {f"{style.side}_arm_ahead": 0.9 * down,
               f"{style.side}_elbow": 1.5 * _ease(progress, 0.5, 0.95)}
    return [motion]


def _kick(progress: Floats, style: Style) -> list[Motion]:
    back = _there_and_back(progress, 0.05, 0.3, 0.3, 0.5)
    kick = _there_and_back(progress, 0.3, 0.5, 0.55, 0.85)
    other = "left" if style.side == "right" else "right"
    return [{f"{style.side}_leg_ahead": 1.1 * style.vigour * kick - 0.4 * back,
             f"{style.side}_knee": 0.9 * back, "lean": -0.2 * kick,
             f"{other}_arm_ahead": 0.7 * kick, f"{style.side}_arm_out": 0.5 * kick}]


def _jump(progress: Floats, style: Style) -> list[Motion]:
    crouch = (_there_and_back(progress, 0.1, 0.3, 0.35, 0.45)
              + _there_and_back(progress, 0.65, 0.72, 0.75, 0.95))
    flight = np.clip((progress - 0.42) / 0.26, 0, 1)
    motion: dict[str, Floats | float] = {
        "lift": 1.2 * style.vigour * flight * (1 - flight), "lean": 0.4 * crouch}
    for side in ("left", "right"):
        motion |= {f"{side}_leg_ahead": 0.8 * crouch, f"{side}_knee": 1.5 * crouch,
                   f"{side}_arm_ahead": 2.0 * np.sin(np.pi * flight) - 0.5 * crouch}
    return [motion]


def _shake_hands(progress: Floats, style: Style) -> list[Motion]:
    reach = _there_and_back(progress, 0.0, 0.25, 0.8, 1.0)
    shake = reach * np.sin(_cycle(progress, style, 2.5))
    # Right hands meet on the middle line.
    one: Motion = {"right_arm_ahead": reach * (0.7 + 0.12 * style.vigour * shake),
                   "right_elbow": reach * (0.7 + 0.25 * style.vigour * shake),
                   "right_arm_out": -0.35 * reach, "ahead": -0.48}
    return [one, one]


def _push(progress: Floats, style: Style) -> list[Motion]:
    ready = _there_and_back(progress, 0.0, 0.25, 0.75, 1.0)
    push = _there_and_back(progress, 0.3, 0.45, 0.6, 0.85)
    thrown = _ease(progress, 0.42, 0.75)
    reel = _there_and_back(progress, 0.42, 0.55, 0.7, 1.0)
    pusher: dict[str, Floats | float] = {"ahead": -0.42 + 0.1 * push, "lean": 0.2 * push}
    pushed: dict[str, Floats | float] = {
        "ahead": -0.42 - 0.5 * style.vigour * thrown, "lean": -0.3 * reel,
        "left_leg_ahead": -0.4 * reel, "right_leg_ahead": 0.3 * reel}
    for side in ("left", "right"):
        pusher |= {f"{side}_arm_ahead": 0.5 * ready + 0.8 * push, f"{side}_elbow": 1.9 * ready
                   - 1.7 * push}
        pushed |= {f"{side}_arm_ahead": 0.9 * reel, f"{side}_arm_out": 0.5 * reel}
    return [pusher, pushed]


def _approach(progress: Floats, style: Style) -> list[Motion]:
    stride = _cycle(progress, style, 0.9)
    motions: list[Motion] = []
    for shift in (0.0, 2.1):  # out of step with each other
        swing = 0.45 * style.vigour * np.sin(stride + shift)
        motions.append({
            "ahead": -1.15 + 0.75 * progress, "left_leg_ahead": swing, "right_leg_ahead": -swing,
            "left_knee": 0.4 + 0.4 * np.cos(stride + shift),
            "right_knee": 0.4 - 0.4 * np.cos(stride + shift),
            "left_arm_ahead": -0.7 * swing, "right_arm_ahead": 0.7 * swing,
            "left_elbow": 0.3, "right_elbow": 0.3})
    return motions


ACTIONS = (
    Action("circle arms forward", _circle_arms, reverse=False),
    Action("circle arms backward", _circle_arms, reverse=True),
    Action("wave slowly", _wave(0.8)),
    Action("wave fast", _wave(2.6)),
    Action("sit down", _sit_down),
    Action("stand up", _sit_down, reverse=True),
    Action("pick up", _pick_up),
    Action("put down", _pick_up, reverse=True),
    Action("kick", _kick),
    Action("jump", _jump),
    Action("shake hands", _shake_hands),
    Action("push", _push),
    Action("approach each other", _approach),
    Action("back away from each other", _approach, reverse=True),
)
