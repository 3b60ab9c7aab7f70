"""Whether a server is ready: whether one image goes through it from end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from thyroid_pipeline import contract
from thyroid_pipeline.warmup import PROBE_REQUEST_ID
from thyroid_server.errors import ReadinessError
from thyroid_server.settings import TlsFiles
from thyroid_server.tls import server_name


def screen_once(
    grpc_address: str, image: bytes, timeout_s: float, tls: TlsFiles | None = None
) -> None:
    """Screen one image and see that every output comes back whole.

    Args:
        grpc_address: `host:port` of the server.
        image: One encoded image.
        timeout_s: How long the answer may take.
        tls: The server's own TLS files, None where it serves plaintext.

    Raises:
        ReadinessError: No answer came, or not a whole one.
    """
    tensor = contract.IMAGE
    sent = triton.InferInput(tensor.name, [1, *tensor.shape], tensor.data_type.value)
    sent.set_data_from_numpy(np.full((1, *tensor.shape), image, dtype=np.object_))
    with triton.InferenceServerClient(grpc_address, **_channel(tls)) as client:
        try:
            answer = client.infer(
                contract.ENSEMBLE.name,
                [sent],
                request_id=PROBE_REQUEST_ID,
                client_timeout=timeout_s,
            )
        except InferenceServerException as error:
            raise ReadinessError(
                f"the first image did not go through {contract.ENSEMBLE.name} at {grpc_address}: "
                f"{error.message()} [{error.status()}]\n"
                "  wanted: an answer to the warm-up image\n"
                "  to mend it: see the server's log above; a model that fails names itself there"
            ) from error
    for output in contract.ENSEMBLE.outputs:
        _check_output(output, answer.as_numpy(output.name))


def _check_output(output: contract.Tensor, came: np.ndarray[Any, Any] | None) -> None:
    wanted = (1, *output.shape)
    if came is None or came.shape != wanted or came.dtype != output.data_type.numpy:
        what = "nothing" if came is None else f"{came.dtype} {list(came.shape)}"
        raise ReadinessError(
            f"the server answered the first image with {what} as {output.name!r}\n"
            f"  wanted: {output.data_type.numpy} {list(wanted)}\n"
            "  to mend it: the model repository was written for another contract; write it "
            "afresh: thyroid-export repository"
        )


def _channel(tls: TlsFiles | None) -> dict[str, Any]:
    """How to reach a server on this machine, past any proxy."""
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    if tls is None:
        return {"channel_args": options}
    # The server's certificate seldom names the address that this check goes to.
    if name := server_name(tls):
        options.append(("grpc.ssl_target_name_override", name))
    channel: dict[str, Any] = {
        "channel_args": options,
        "ssl": True,
        "root_certificates": str(tls.certificate),
    }
    if tls.client_ca is not None:
        certificate, key = tls.own_client_pair
        channel |= {"certificate_chain": str(certificate), "private_key": str(key)}
    return channel
