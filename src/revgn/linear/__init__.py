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
from revgn.linear.scaled import ScaledColumns as ScaledColumns
from revgn.linear.weighted import Weighted as Weighted
from revgn.linear.weighted import WeightedRows as WeightedRows
from revgn.linear.whole import WholeJacobian as WholeJacobian
