"""The model as one room, of which only what is asked for is loaded."""

import subprocess
import sys

from engine import model


def test_every_public_name_of_the_model_can_be_had() -> None:
    assert set(model.__all__) == set(model._MODULE_OF)
    for name in model.__all__:
        assert getattr(model, name) is not None


def test_asking_for_an_image_loads_no_box() -> None:
    code = "import sys; from engine.model import Image; print('engine.model.box' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
