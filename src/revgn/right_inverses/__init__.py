"""Right inverses of the Jacobian: the ways to take a step that moves the outputs by r."""

from revgn.right_inverses.adjoint import Adjoint as Adjoint
from revgn.right_inverses.moore_penrose import MoorePenrose as MoorePenrose
from revgn.right_inverses.names import find_right_inverse as find_right_inverse
from revgn.right_inverses.reversible import Reversible as Reversible
from revgn.right_inverses.right_inverse import Change as Change
from revgn.right_inverses.right_inverse import Equation as Equation
from revgn.right_inverses.right_inverse import LayerReport as LayerReport
from revgn.right_inverses.right_inverse import Linearized as Linearized
from revgn.right_inverses.right_inverse import RightInverse as RightInverse
