"""What every proof stands on: rounding, balls, spectra, exact ranks, scalar losses."""
