"""Linear maps: the features of a layer, and the Jacobian of a module."""

from revgn.linear.features import Features as Features
from revgn.linear.features import Product as Product
from revgn.linear.functional import Change as Change
from revgn.linear.functional import Inputs as Inputs
from revgn.linear.functional import Whole as Whole
from revgn.linear.jacobian import Jacobian as Jacobian
from revgn.linear.layers import Affine as Affine
from revgn.linear.layers import Scaling as Scaling
from revgn.linear.layers import Use as Use
from revgn.linear.layers import layer_uses as layer_uses
from revgn.linear.map import LinearMap as LinearMap
from revgn.linear.map import Vector as Vector
from revgn.linear.processes import Processes as Processes
from revgn.linear.scaled import ScaledColumns as ScaledColumns
from revgn.linear.sharded_jacobian import jacobian_of as jacobian_of
from revgn.linear.shards import Rows as Rows
from revgn.linear.shards import Shard as Shard
from revgn.linear.shards import rows_of as rows_of
from revgn.linear.spread import of_all_rows as of_all_rows
from revgn.linear.weighted import Weighted as Weighted
from revgn.linear.weighted import WeightedRows as WeightedRows
