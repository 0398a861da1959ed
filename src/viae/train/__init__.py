"""Training: the loop, and the recipes that use it."""

from viae.train.clone import CloneRecipe, train_clone
from viae.train.loop import LoopConfig, Point, fit

__all__ = ["CloneRecipe", "LoopConfig", "Point", "fit", "train_clone"]
