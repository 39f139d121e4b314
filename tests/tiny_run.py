"""The settings of a run of 12 steps in no time, as they stand in YAML."""

TINY = {
    "data": {"name_or_path": "digits", "rows": 64},
    "model": {"num_blocks": 2, "hidden_features": 80},
    "loss": "MSELoss",
    "optimizer": {"class_path": "GaussNewton", "init_args": {"lr": 0.5}},
    "epochs": 3,
    "batch_size": 16,
    "device": "cpu",
}
