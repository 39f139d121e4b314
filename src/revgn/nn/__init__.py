"""Networks whose layers are reversible and linear in their own parameters."""

from revgn.nn.blocks import ReversibleBlock as ReversibleBlock
from revgn.nn.blocks import ReversibleLayer as ReversibleLayer
from revgn.nn.couplings import Coupling as Coupling
from revgn.nn.couplings import Point as Point
from revgn.nn.features import Factor as Factor
from revgn.nn.features import Features as Features
from revgn.nn.features import Linearization as Linearization
from revgn.nn.features import RandomFeatures as RandomFeatures
from revgn.nn.mlp import RevMLP as RevMLP
from revgn.nn.network import ReversibleNetwork as ReversibleNetwork
