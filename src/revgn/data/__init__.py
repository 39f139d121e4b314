"""Data sets by name: where their files lie, what they must look like, and tensors ready for training."""

from revgn.data.dataset import Dataset
from revgn.data.errors import DataError
from revgn.data.registry import load, names

__all__ = ["DataError", "Dataset", "load", "names"]
