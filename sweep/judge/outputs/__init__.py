"""One hidden layer and several outputs: minima across the symmetries of F."""
