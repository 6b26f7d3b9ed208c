"""Where networks without an added neuron slide to infinity."""
