"""
A classifier with probabilities: breast cancer
==============================================

`GaussNewtonClassifier` beside logistic regression on a table of 569 tumours: how often each is right, and whether its
probabilities can be believed.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from revgn.estimators import GaussNewtonClassifier

# %%
# Half of the rows are for testing, for probabilities are told apart only by many rows. Two networks in place of eight,
# so that this page is made in seconds.

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0, stratify=y)

models = {
    "GaussNewtonClassifier": GaussNewtonClassifier(n_estimators=2, max_iter=60, random_state=0),
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
}
probabilities = {}
for name, model in models.items():
    found = model.fit(X_train, y_train).predict_proba(X_test)
    probabilities[name] = found[:, 1]
    print(f"{name:<22} accuracy {np.mean(found.argmax(1) == y_test):.3f}, log loss {log_loss(y_test, found):.3f}")

# %%
# Both are right about equally often: 285 rows do not tell such differences apart. The picture shows how sure each is
# where it is right and where it is wrong.

figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained", sharey=True)
for panel, (name, p) in zip(panels, probabilities.items(), strict=True):
    for value, label, colour in ((0, "malignant", "tab:red"), (1, "benign", "tab:blue")):
        panel.hist(p[y_test == value], bins=20, range=(0, 1), alpha=0.6, color=colour, label=label)
    panel.set(xlabel="probability of benign", title=name, yscale="log")
panels[0].set_ylabel("test rows")
panels[0].legend(frameon=False)
plt.show()
