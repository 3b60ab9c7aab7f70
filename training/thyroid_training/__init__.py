"""Networks, phantoms, data sets and fitting."""
