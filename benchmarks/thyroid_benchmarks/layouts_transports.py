"""Other ways for a client to ask: in two calls, and by frames in system shared memory."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import shared_memory

from thyroid_benchmarks.layouts_repositories import FINDER, FRAME_SCREENING, JUDGE
from thyroid_client import ImageRejected, RawAnswer, RequestRejected, Timeouts
from thyroid_client._address import Address
from thyroid_client._grpc import raw_answer, request_inputs
from thyroid_client._grpc_aio import AsyncGrpcTransport
from thyroid_pipeline import contract
from thyroid_pipeline.errors import ImageError
from thyroid_pipeline.steps import decode_batch

SLOTS = 64
_ADMIN_HEADER = "triton-grpc-protocol-admin-key"


class TwoCallTransport(AsyncGrpcTransport):
    """Asks where the nodule is, and then what it is: the region travels back and forth."""

    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        """Send one image, then what came of it, and wait for both answers."""
        with self._errors(timeout_s):
            found = await self._client.infer(
                FINDER.name, request_inputs(image), client_timeout=timeout_s
            )
            inputs = []
            for tensor in JUDGE.inputs:
                array = found.as_numpy(tensor.name)
                inputs.append(triton.InferInput(tensor.name, array.shape, tensor.data_type.value))
                inputs[-1].set_data_from_numpy(array)
            judged = await self._client.infer(JUDGE.name, inputs, client_timeout=timeout_s)
        return _together(raw_answer(found), raw_answer(judged))


class FusedTransport(AsyncGrpcTransport):
    """Asks a model that goes the whole way by itself.

    Our client knows the refusal of an image by what Triton writes before the message of an
    ensemble's step; here the model itself refuses.
    """

    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        """Send one image and wait for the answer."""
        try:
            return await super().infer(image, timeout_s=timeout_s)
        except RequestRejected as error:
            raise ImageRejected(str(error)) from error


class FrameTransport(AsyncGrpcTransport):
    """Decodes an image and hands its frame over by shared memory, instead of sending the image."""

    def __init__(self, address: Address, timeouts: Timeouts, frames: SharedFrames) -> None:
        super().__init__(address, timeouts)
        self._frames = frames

    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        """Decode the image, and have the frame screened.

        Raises:
            ImageRejected: It cannot be decoded: the client refuses it as the server would.
        """
        with self._frames.slot() as slot:
            inputs = await asyncio.to_thread(slot.fill, image)
            with self._errors(timeout_s):
                answer = await self._client.infer(
                    FRAME_SCREENING.name, inputs, client_timeout=timeout_s
                )
                return _together(raw_answer(answer))


class SharedFrames:
    """A block of system shared memory with room for a frame of each request on its way.

    Args:
        name: Of the region, as the server knows it.
        region: A handle of it, of `SLOTS` frames.
    """

    def __init__(self, name: str, region: Any) -> None:
        self._free = [FrameSlot(name, region, number * _FRAME_BYTES) for number in range(SLOTS)]

    @contextlib.contextmanager
    def slot(self) -> Iterator[FrameSlot]:
        """Give a place that no other request has.

        Raises:
            RuntimeError: There is none left.
        """
        if not self._free:
            raise RuntimeError(
                f"{SLOTS} requests are on their way and one more came; at most {SLOTS} at once "
                "were wanted: use fewer clients"
            )
        slot = self._free.pop()
        try:
            yield slot
        finally:
            self._free.append(slot)


@dataclass(frozen=True)
class FrameSlot:
    """A place for one frame and what else `FRAME_SCREENING` takes."""

    name: str
    region: Any
    offset: int

    def fill(self, image: bytes) -> list[triton.InferInput]:
        """Decode an image into the place, and name it as the inputs of `FRAME_SCREENING`.

        Raises:
            ImageRejected: It cannot be decoded.
        """
        try:
            made = decode_batch({contract.IMAGE.name: np.array([[image]], np.object_)})
        except ImageError as error:
            raise ImageRejected(str(error)) from error
        arrays = [made[tensor.name] for tensor in FRAME_SCREENING.inputs]
        shared_memory.set_shared_memory_region(self.region, arrays, self.offset)
        inputs, place = [], self.offset
        for tensor in FRAME_SCREENING.inputs:
            shape = [1, *tensor.shape]
            inputs.append(triton.InferInput(tensor.name, shape, tensor.data_type.value))
            inputs[-1].set_shared_memory(self.name, _bytes_of(tensor), place)
            place += _bytes_of(tensor)
        return inputs


@contextlib.contextmanager
def shared_frames(address: Address, admin_key: str) -> Iterator[SharedFrames]:
    """Make a block of shared memory, tell a server of it, and remove its name in the end.

    Args:
        address: Of the server.
        admin_key: Its key; only whoever has it may name shared memory.
    """
    name = f"thyroid-frames-{secrets.token_hex(8)}"
    size = SLOTS * _FRAME_BYTES
    region = shared_memory.create_shared_memory_region(name, f"/{name}", size)
    try:
        with triton.InferenceServerClient(address.target) as client:
            headers = {_ADMIN_HEADER: admin_key}
            client.register_system_shared_memory(name, f"/{name}", size, headers=headers)
        # Never unregistered: Triton may still hold the last request when its answer is here, and
        # then refuses. Its view of the block ends with it.
        yield SharedFrames(name, region)
    finally:
        shared_memory.destroy_shared_memory_region(region)


def _bytes_of(tensor: contract.Tensor) -> int:
    return int(np.prod(tensor.shape)) * tensor.data_type.numpy.itemsize


_FRAME_BYTES = sum(_bytes_of(tensor) for tensor in FRAME_SCREENING.inputs)


def _together(*answers: RawAnswer) -> RawAnswer:
    """Put answers together as if the ensemble had given them."""
    known = {tensor.name: tensor for answer in answers for tensor in answer.tensors}
    tensors = (known[tensor.name] for tensor in contract.ENSEMBLE.outputs if tensor.name in known)
    return RawAnswer(contract.ENSEMBLE.name, "", tuple(tensors))
