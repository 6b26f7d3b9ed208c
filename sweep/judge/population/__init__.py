"""The population objective of a ReLU teacher and student."""
