"""Networks with smooth units: derivatives, trust-region Newton, `strict`."""
