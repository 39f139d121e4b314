"""Data sets by name: where their files lie, what they must look like, and tensors ready for training."""

from revgn_lab.data.data_error import DataError
from revgn_lab.data.dataset import Dataset
from revgn_lab.data.registry import load, names

__all__ = ["DataError", "Dataset", "load", "names"]
