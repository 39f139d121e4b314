"""One run from its settings to its results: training, metrics, checkpoints, and the folder that holds them."""
