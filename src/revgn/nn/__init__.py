"""Networks whose layers are reversible and linear in their own parameters."""

from revgn.linear import Affine as Affine
from revgn.linear import Scaling as Scaling
from revgn.linear import Use as Use
from revgn.linear import layer_uses as layer_uses
from revgn.nn.activations import find_activation as find_activation
from revgn.nn.blocks import ReversibleBlock as ReversibleBlock
from revgn.nn.blocks import ReversibleLayer as ReversibleLayer
from revgn.nn.conv import RevConv as RevConv
from revgn.nn.couplings import Coupling as Coupling
from revgn.nn.couplings import Point as Point
from revgn.nn.fixed_maps import InvertibleLinear as InvertibleLinear
from revgn.nn.fixed_maps import Permutation as Permutation
from revgn.nn.mixer import RevMixer as RevMixer
from revgn.nn.mlp import RevMLP as RevMLP
from revgn.nn.network import ReversibleNetwork as ReversibleNetwork
from revgn.nn.random_features import Features as Features
from revgn.nn.random_features import RandomFeatures as RandomFeatures
from revgn.nn.shared import Layout as Layout
from revgn.nn.shared import SharedFeatures as SharedFeatures
from revgn.nn.shared import Tokens as Tokens
from revgn.nn.shared import Windows as Windows
