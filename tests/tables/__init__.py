"""Every network, loss, solver, right inverse and control that properties are tested on: a new one is a line here.

Parts multiply, and so do tests. A property is written once and draws from the tables all that it should hold for:

    @each("case", SOLVERS, lambda case: case.pseudo_inverse)
    def test_...(case): ...

What a property must know of a part (that it damps, that it draws noise) stands in the part's entry, and is no list in
the test. A kind of part that has no table yet gets a file beside these and a line below.
"""

from tables.controls import CONTROLS as CONTROLS
from tables.controls import NEVER_RISES as NEVER_RISES
from tables.each import each as each
from tables.losses import LOSSES as LOSSES
from tables.losses import LossCase as LossCase
from tables.networks import ADJOINT as ADJOINT
from tables.networks import REFUSED as REFUSED
from tables.networks import REVERSIBLE as REVERSIBLE
from tables.networks import ZOO as ZOO
from tables.right_inverses import RIGHT_INVERSES as RIGHT_INVERSES
from tables.right_inverses import RightInverseCase as RightInverseCase
from tables.solvers import SOLVERS as SOLVERS
from tables.solvers import SolverCase as SolverCase
