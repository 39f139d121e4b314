"""The optimizer, the certificate of its steps, and what they report."""

from revgn.optim.gauss_newton import GaussNewton as GaussNewton
from revgn.optim.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from revgn.optim.step_report import Report as Report
