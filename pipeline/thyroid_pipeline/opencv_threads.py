"""How many threads OpenCV uses, in a process that works on one image after another."""

from __future__ import annotations

import cv2


def use_one_thread() -> None:
    """Keep OpenCV to the thread that calls it, in this whole process.

    By default it divides a filter among all cores, and its threads go on looking for work after
    each: on two cores decoding took 16.4 ms of processor time an image so and 11.3 on one thread,
    cropping 7.8 and 6.4 (medians of three rounds in turns), and neither was done sooner. A server
    has other images for the other cores.
    """
    cv2.setNumThreads(1)
