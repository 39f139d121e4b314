"""What a model says of a new table."""

from revgn_lab.data.tabular.frames import Frame, pd
from revgn_lab.data.tabular.reading import Table
from revgn_lab.models.model_folder import Model


def predict(model: Model, table: Table) -> tuple[Frame, list[str]]:
    """A row for each row of the table, in its order, and what was noticed.

    Columns: the target, predicted; for a quantity its standard deviation, for classes the probability of each.

    Raises:
        DataError: the table lacks columns of the model, or they hold something else.
    """
    notes = list(table.notes)
    unused = [str(name) for name in table.frame if name not in {plan.name for plan in model.encoding.columns}]
    if unused:
        notes.append(f"not looked at: {', '.join(unused)}")
    inputs = model.encoding.inputs(table.frame, source=str(table.path), notes=notes)
    if model.task == "regression":
        mean, std = model.estimator.predict(inputs, return_std=True)
        return pd.DataFrame({model.target: mean, f"{model.target} std": std}), notes
    probabilities = model.estimator.predict_proba(inputs)
    classes = model.estimator.classes_
    predicted = classes[probabilities.argmax(axis=1)]
    columns = {f"probability of {name}": probabilities[:, place] for place, name in enumerate(classes)}
    return pd.DataFrame({model.target: predicted, **columns}), notes
