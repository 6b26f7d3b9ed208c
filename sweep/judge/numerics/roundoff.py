"""The unit roundoff of float64, in which every proof of the judge counts its rounding."""

#: u = 2⁻⁵³: rounding to nearest moves a number by at most this share of it.
UNIT = 2.0**-53
