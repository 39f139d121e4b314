"""Networks whose layers are reversible and linear in their own parameters."""

from revgn.linear import Affine as Affine
from revgn.linear import Scaling as Scaling
from revgn.linear import Use as Use
from revgn.linear import layer_uses as layer_uses
from revgn.nn.blocks import ReversibleBlock as ReversibleBlock
from revgn.nn.blocks import ReversibleLayer as ReversibleLayer
from revgn.nn.couplings import Coupling as Coupling
from revgn.nn.couplings import Point as Point
from revgn.nn.features import Features as Features
from revgn.nn.features import RandomFeatures as RandomFeatures
from revgn.nn.mlp import RevMLP as RevMLP
from revgn.nn.network import ReversibleNetwork as ReversibleNetwork
