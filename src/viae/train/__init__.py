"""Training: the loop, and the recipes that use it."""

from viae.train.clone import CloneRecipe, train_clone
from viae.train.guards import Guards
from viae.train.loop import LoopConfig, Point, fit

__all__ = ["CloneRecipe", "Guards", "LoopConfig", "Point", "fit", "train_clone"]
