"""One hidden layer of piecewise-linear units: minima inside cells, on kinks, in valleys."""
