"""What happens while a run trains: batches, steps, checkpoints, interrupts."""
