"""Write `docs/images/answer.png`: one phantom as the real server answers it."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from thyroid_client import ThyroidClient
from thyroid_client.overlay import evidence_picture, outline_picture
from thyroid_pipeline.decode import decode_image
from thyroid_server.embedded import EmbeddedTriton, ServerSettings
from thyroid_training.phantoms import PhantomTraits, make_phantom

CHECKOUT = Path(__file__).resolve().parent.parent
SEED = 30
TRAITS = PhantomTraits(
    nodule=True,
    echogenicity="hypoechoic",
    margin="lobulated",
    taller_than_wide=False,
    calcifications="micro",
)
GAP_PX = 8


def main() -> None:
    """Screen the phantom and put frame, outline and evidence side by side."""
    phantom = make_phantom(SEED, TRAITS, text="TIRADS 4B")
    buffer = io.BytesIO()
    Image.fromarray(phantom.image).save(buffer, "PNG")
    settings = ServerSettings(model_repository=CHECKOUT / "model_repository", profile="cpu")
    with EmbeddedTriton(settings) as server, ThyroidClient(server.grpc_address) as client:
        answer = client.screen(buffer.getvalue())
    if answer.box is None or answer.evidence is None:
        raise RuntimeError(f"the phantom of seed {SEED} was given no malignancy: choose another")
    grey = decode_image(buffer.getvalue())
    panels = [
        Image.fromarray(grey).convert("RGB"),
        outline_picture(grey, answer.mask, answer.box),
        evidence_picture(grey, answer.mask, answer.box, answer.evidence),
    ]
    width, height = panels[0].size
    picture = Image.new("RGB", (3 * width + 2 * GAP_PX, height), "white")
    for number, panel in enumerate(panels):
        picture.paste(panel, (number * (width + GAP_PX), 0))
    target = CHECKOUT / "docs" / "images" / "answer.png"
    picture.resize((picture.width * 2 // 3, height * 2 // 3)).save(target, optimize=True)
    print(f"wrote {target.relative_to(CHECKOUT)}: malignancy {answer.malignancy:.2f}")


if __name__ == "__main__":
    main()
