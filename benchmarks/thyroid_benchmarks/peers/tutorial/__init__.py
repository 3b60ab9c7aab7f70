"""The models of an ensemble as tutorials build it; `tutorial_repository` puts them in place."""
