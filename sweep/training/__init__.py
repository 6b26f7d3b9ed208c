"""The training loop, optimizers and stopping rules."""
