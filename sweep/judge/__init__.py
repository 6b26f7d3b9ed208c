"""What a point is: verdicts with certificates. float64 throughout."""
