"""The door: the `sweep` program. The only room that imports hydra and omegaconf."""
