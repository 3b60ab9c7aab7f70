"""The numbers of how networks are judged, where commands and data sets both need them."""

FOLDS = 5
"""Parts into which a set's patients are split; one is held out."""
