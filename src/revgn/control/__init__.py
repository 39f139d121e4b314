"""Controls: how far a step goes, how much it is damped, and whether it is kept at all."""

from revgn.control.control import Attempt as Attempt
from revgn.control.control import Control as Control
from revgn.control.control import Trial as Trial
from revgn.control.fixed import Fixed as Fixed
from revgn.control.line_search import LineSearch as LineSearch
from revgn.control.ridge import Ridge as Ridge
from revgn.control.trust_region import TrustRegion as TrustRegion
