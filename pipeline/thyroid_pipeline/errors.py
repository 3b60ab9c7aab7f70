"""The one error that the pipeline raises for an input it cannot screen."""


class ImageError(ValueError):
    """An image, or what a step was given of it, cannot be screened as it came.

    The message says what came, what was wanted and how to mend it. It never carries pixel data or
    metadata of the image, so it may be logged.
    """
