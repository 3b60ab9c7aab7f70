"""Other ways for a client to ask: in two calls, and by frames in system shared memory."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
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
    """Names frames that lie in shared memory already, instead of sending an image."""

    def __init__(self, address: Address, timeouts: Timeouts, frames: SharedFrames) -> None:
        super().__init__(address, timeouts)
        self._frames = frames

    async def infer(self, image: bytes, *, timeout_s: float) -> RawAnswer:
        """Have the image's frame screened."""
        inputs = self._frames.inputs(image)
        with self._errors(timeout_s):
            answer = await self._client.infer(
                FRAME_SCREENING.name, inputs, client_timeout=timeout_s
            )
        return _together(raw_answer(answer))


class SharedFrames:
    """The frames of all images that can be screened, in a block of system shared memory.

    Args:
        contents: Encoded images; those that cannot be screened are refused when they are asked for,
            as the server would refuse them.
        region: A handle of a shared memory region, large enough: see `shared_frames`.
    """

    def __init__(self, contents: Sequence[bytes], name: str, region: Any) -> None:
        self._name = name
        self._places: dict[bytes, int | ImageError] = {}
        offset = 0
        for content in contents:
            image = np.array([[content]], np.object_)
            try:
                made = decode_batch({contract.IMAGE.name: image})
            except ImageError as error:
                self._places[content] = error
                continue
            arrays = [made[tensor.name] for tensor in FRAME_SCREENING.inputs]
            shared_memory.set_shared_memory_region(region, arrays, offset)
            self._places[content] = offset
            offset += _FRAME_BYTES

    def inputs(self, image: bytes) -> list[triton.InferInput]:
        """Return the inputs of `FRAME_SCREENING` for an image.

        Raises:
            ImageRejected: It cannot be screened.
        """
        place = self._places[image]
        if isinstance(place, ImageError):
            raise ImageRejected(str(place))
        inputs = []
        for tensor in FRAME_SCREENING.inputs:
            shape = [1, *tensor.shape]
            inputs.append(triton.InferInput(tensor.name, shape, tensor.data_type.value))
            inputs[-1].set_shared_memory(self._name, _bytes_of(tensor), place)
            place += _bytes_of(tensor)
        return inputs


@contextlib.contextmanager
def shared_frames(
    address: Address, admin_key: str, contents: Sequence[bytes]
) -> Iterator[SharedFrames]:
    """Decode all images into shared memory, tell a server of it, and remove its name in the end.

    Args:
        address: Of the server.
        admin_key: Its key; only whoever has it may name shared memory.
        contents: Encoded images.
    """
    name = f"thyroid-frames-{secrets.token_hex(8)}"
    size = len(contents) * _FRAME_BYTES
    region = shared_memory.create_shared_memory_region(name, f"/{name}", size)
    try:
        frames = SharedFrames(contents, name, region)
        with triton.InferenceServerClient(address.target) as client:
            headers = {_ADMIN_HEADER: admin_key}
            client.register_system_shared_memory(name, f"/{name}", size, headers=headers)
        # Never unregistered: Triton may still hold the last request when its answer is here, and
        # then refuses. Its view of the block ends with it.
        yield frames
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
