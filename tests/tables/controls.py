"""Every control of steps, with every option that changes what it decides."""

from revgn.control import Fixed, LineSearch, Ridge, TrustRegion

CONTROLS = {
    "fixed": Fixed(),
    "line search": LineSearch(),
    "trust region": TrustRegion(),
    "ridge by gcv": Ridge(),
    "ridge by evidence": Ridge("evidence"),
    "ridge of 0.1": Ridge(0.1),
}
# Those that keep no step that raises the loss; a ridge weighs the loss against the parameters' size.
NEVER_RISES = ["line search", "trust region"]
