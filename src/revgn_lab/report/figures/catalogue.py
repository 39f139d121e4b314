"""Every figure of a report, an entry each: name, title, caption, column of the metrics, label, and how it is drawn."""

from dataclasses import replace
from functools import partial

from revgn_lab.report.figures.courses import courses
from revgn_lab.report.figures.curves import SMALLEST
from revgn_lab.report.figures.gaps import gaps_by_rate
from revgn_lab.report.figures.likeness import heat_maps
from revgn_lab.report.figures.panels import Line, Specification
from revgn_lab.report.figures.sweeps import by_setting, by_value, value_courses

LARGEST_RISE = 100.0
"""Losses are drawn up to so many times those at the start."""
LARGEST_CHANGE = 100.0
"""Percent: losses that rise by more are drawn at this height, lest one bad step flatten all the others."""
SMALLEST_CHANGE = 1e-8  # of a kernel, as measured in float32: what is smaller is rounding
WORST_R2 = -1.0  # R^2 has no lower end: what is worse is drawn at this height
FLOAT32_EXACT = 1e-3
"""The defect up to which `Report.exact` calls a float32 step exact."""

_by_step = partial(Specification, kind=courses)
_by_epoch = partial(Specification, kind=courses, over="epoch", reduction="last")

_EPOCH_MEANS = "For mini-batches the mean over the steps of the epoch."
_SPREAD = "Line: mean over seeds; band: smallest to largest."
_GEOMETRIC = "Line: geometric mean over seeds; band: smallest to largest"
_LOG_SPREAD = f"{_GEOMETRIC}; values below {SMALLEST:g} are drawn there."
_LOSS_SPREAD = f"{_GEOMETRIC}; values below {SMALLEST:g} or above {LARGEST_RISE:g} times the first are drawn there."
_CLOCK = "against the time spent training, evaluation left out."
_HALVES = "f and g are the two half-couplings of a block"
_CKA = (
    "Debiased linear CKA of the output of a block, in other networks of a layer, after the epoch with that before "
    "training, on fixed rows: 1 is the same up to rotation and scale, 0 is unrelated."
)
_FINITE = "Runs that ended without a finite loss are not drawn."
_UNCHANGED = Line(1.0, "no change")

LOSS = _by_step(
    "training-loss-by-step",
    "Training loss by step",
    f"Loss on the rows of each step, before it. {_EPOCH_MEANS} {_LOSS_SPREAD}",
    "loss",
    "training loss",
    log=True,
    rise=LARGEST_RISE,
)
TEST_LOSS = replace(
    LOSS,
    name="test-loss-by-step",
    title="Test loss by step",
    caption=f"Loss on all test rows, before training and after epochs. {_LOSS_SPREAD}",
    column="test_loss",
    label="test loss",
    reduction="last",
)
ACCURACY = _by_epoch(
    "test-accuracy",
    "Test accuracy",
    f"Share of the test rows that are classified rightly, after the epoch. {_SPREAD}",
    "test_accuracy",
    "test accuracy (%)",
)
R2 = replace(
    ACCURACY,
    name="test-r2",
    title="Test R2",
    caption="Share of the variance of the test rows that is explained: 1 at best, 0 for their mean. Values below "
    f"{WORST_R2:g} are drawn there. {_SPREAD}",
    column="test_r2",
    label="test R2",
    line=Line(0.0, "the mean of the test rows"),
    lowest=WORST_R2,
)
LOSS_BY_SECONDS = replace(
    LOSS,
    name="training-loss-by-seconds",
    title="Training loss by wall-clock time",
    caption=f"The same {_CLOCK} Seeds are aligned by step and drawn at their mean time there. {_LOSS_SPREAD}",
    over="seconds",
)
TRAINING = (
    LOSS,
    LOSS_BY_SECONDS,
    TEST_LOSS,
    replace(
        TEST_LOSS,
        name="test-loss-by-seconds",
        title="Test loss by wall-clock time",
        caption=f"The same {_CLOCK} {_LOSS_SPREAD}",
        over="seconds",
    ),
    _by_step(
        "training-accuracy",
        "Training accuracy",
        f"Share of the rows of each step that are classified rightly, before it. {_EPOCH_MEANS} {_SPREAD}",
        column="accuracy",
        label="training accuracy (%)",
    ),
    ACCURACY,
    replace(
        ACCURACY,
        name="test-accuracy-by-seconds",
        title="Test accuracy by wall-clock time",
        caption=f"Test accuracy {_CLOCK} {_SPREAD}",
        over="seconds",
    ),
    R2,
)
LOSS_CHANGE = _by_step(
    "loss-change",
    "Loss change on the same rows",
    "100 (after - before) / before, both on the rows that the step was taken for: -100 % is a loss brought to zero. "
    f"For mini-batches the median over the steps of the epoch. Rises above {LARGEST_CHANGE:+.0f} % are drawn there. "
    f"{_SPREAD}",
    "loss_change",
    "loss change (%)",
    reduction="median",
    line=Line(0.0, "no change"),
    highest=LARGEST_CHANGE,
)
DEFECT = _by_step(
    "defect",
    "Defect of the Gauss-Newton step",
    "Relative error with which the applied step moves the outputs as asked, measured at every step; for mini-batches "
    f"the worst of the epoch. Up to {FLOAT32_EXACT:g} a float32 step counts as exact. {_LOG_SPREAD}",
    "defect",
    "relative defect",
    reduction="max",
    log=True,
    line=Line(FLOAT32_EXACT, "exact up to here"),
)
CHANGE_NORM = _by_step(
    "change-norm",
    "Norm of the steps",
    f"Norm of the change of all parameters in a step, over their norm before it. {_EPOCH_MEANS} {_LOG_SPREAD}",
    "change_norm",
    "relative norm of the step",
    log=True,
)
STEPS = (LOSS_CHANGE, DEFECT)
SIMILARITY = _by_epoch(
    "ntk-similarity",
    "Similarity of the tangent kernel to its start",
    "Cosine between the neural tangent kernel after the epoch and the one before training, on fixed test rows; 1 is no "
    f"change. Bars: two standard errors where the kernel was estimated. {_SPREAD}",
    "ntk_similarity",
    "similarity to the start",
    line=_UNCHANGED,
    error="ntk_similarity_error",
)
KERNEL = (
    SIMILARITY,
    _by_epoch(
        "ntk-change",
        "Rate of change of the tangent kernel",
        f"1 - cosine between the tangent kernels of a checkpoint and the next. {_GEOMETRIC}; values below "
        f"{SMALLEST_CHANGE:g} are drawn there.",
        "ntk_change",
        "change since the last checkpoint",
        log=True,
        lowest=SMALLEST_CHANGE,
    ),
)
ALIGNMENT = _by_epoch(
    "kernel-alignment",
    "Alignment of the tangent kernel with the targets",
    "Cosine between the neural tangent kernel after the epoch, mean over outputs, and the Gram matrix of the targets, "
    f"on fixed test rows: what grows has turned towards the targets. {_SPREAD}",
    "kernel_alignment",
    "alignment with the targets",
)
BLOCK_CKA = _by_epoch(
    "cka",
    "Likeness of representations to those before training",
    f"{_CKA} A panel for each setting and block. {_SPREAD}",
    "cka_",
    "CKA with the start",
    line=_UNCHANGED,
)
LOWEST_CKA = replace(
    BLOCK_CKA,
    name="lowest-cka",
    title="Likeness of the representation that has moved most to that before training",
    caption=f"{_CKA} {_SPREAD}",
    column="lowest_cka",
    label="lowest CKA with the start",
)
ACROSS = Specification(
    "cka-across-optimizers",
    "Likeness of final representations across optimizers",
    "Debiased linear CKA between the outputs of a block in the networks that two optimizers end with, from the same "
    "weights and on the same test rows; mean over seeds.",
    "cka",
    "CKA",
    kind=heat_maps,
)
WEIGHTS = (
    _by_epoch(
        "weight-change",
        "Change of the weights",
        f"Norm of the change since the start, over the norm at the start; {_HALVES}. What did not move is not drawn. "
        f"{_GEOMETRIC}.",
        "weight_change_",
        "relative change of the weights",
        log=True,
    ),
    _by_epoch(
        "weight-cosine",
        "Cosine of the weights with their start",
        f"1 is the direction that they started in; {_HALVES}. {_SPREAD}",
        "weight_cosine_",
        "cosine with the start",
    ),
)
EXACTNESS = (
    DEFECT,
    replace(
        DEFECT,
        name="defect-by-half-coupling",
        title="Defect of each half-coupling",
        caption=f"How much of its target a half-coupling leaves undone, at the worst step of the epoch; {_HALVES}. "
        f"Those that were not solved are not drawn. {_LOG_SPREAD}",
        column="defect_",
    ),
    _by_step(
        "rank-by-half-coupling",
        "Rank of the features of each half-coupling",
        "Singular values that the solver kept, of as many as the batch has rows; for mini-batches the mean of the "
        f"epoch. {_HALVES[0].upper()}{_HALVES[1:]}. {_SPREAD}",
        column="rank_",
        label="singular values kept",
    ),
)
_FINAL_ACCURACY = Specification(
    "final-test-accuracy",
    "Final test accuracy",
    f"On all test rows. {_SPREAD} {_FINITE}",
    "test_accuracy",
    "test accuracy (%)",
    kind=by_value,
)
_FINAL_LOSS = replace(
    _FINAL_ACCURACY,
    name="final-training-loss",
    title="Final training loss",
    caption=f"Mean over the last epoch, before each step. {_LOG_SPREAD} {_FINITE}",
    column="loss",
    label="training loss",
    log=True,
)
SWEEP = (
    _FINAL_LOSS,
    replace(
        _FINAL_LOSS,
        name="final-test-loss",
        title="Final test loss",
        caption=f"On all test rows. {_LOG_SPREAD} {_FINITE}",
        column="test_loss",
        label="test loss",
    ),
    _FINAL_ACCURACY,
    replace(_FINAL_ACCURACY, name="final-test-r2", title="Final test R2", column="test_r2", label="test R2"),
    replace(LOSS, kind=value_courses),
    replace(ACCURACY, kind=value_courses),
)
RIGHT_INVERSES = (
    replace(
        _FINAL_ACCURACY,
        name="final-test-accuracy-by-setting",
        title="Final test accuracy by setting",
        caption=f"On all test rows. {_SPREAD} Between settings a line only guides the eye. {_FINITE}",
        label="final test accuracy (%)",
        kind=by_setting,
    ),
    *(LOSS, ACCURACY, CHANGE_NORM, SIMILARITY, ALIGNMENT, LOWEST_CKA),
)
THEOREM = (
    Specification(
        "gap-by-learning-rate",
        "How far right inverses part, by learning rate",
        "Largest distance between the training loss curve of a step and that of J^+, relative to the loss at the "
        "start, with the exponent fitted in the logarithms. The theorem bounds it by O(lr): a slope of 1, as the "
        f"dotted guide has it, or more. {_GEOMETRIC}.",
        "loss",
        "largest relative gap",
        kind=gaps_by_rate,
        log=True,
    ),
    _by_step(
        "training-loss-by-time",
        "Training loss by time lr * step",
        "Steps of length lr follow the same flow for as long: the loss before each step, against lr times the number "
        f"of steps before it. {_LOG_SPREAD}",
        "loss",
        "training loss",
        over="time",
        log=True,
    ),
)
