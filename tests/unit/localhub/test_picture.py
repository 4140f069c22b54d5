from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import models
from airflow_provider_oxen.localhub.catalogue import default_catalogue
from airflow_provider_oxen.localhub.picture import PRESETS, Picture, number_of_images, size

CATALOGUE = default_catalogue()
KLEIN = models.find(CATALOGUE, "black-forest-labs-flux-2-klein-4b")
Z_IMAGE = models.find(CATALOGUE, "z-image-turbo")
QWEN = models.find(CATALOGUE, "qwen-image")
GPT = models.find(CATALOGUE, "gpt-image-2")
DEFAULT = (640, 480)


@pytest.mark.parametrize(
    ("entry", "body", "wanted"),
    [
        *[(KLEIN, {"image_size": name}, pixels) for name, pixels in PRESETS.items()],
        (KLEIN, {"image_size": {"width": 300, "height": 200}}, (300, 200)),
        (KLEIN, {"aspect_ratio": "16:9"}, (1024, 576)),
        (KLEIN, {"aspect_ratio": "9:16"}, (576, 1024)),
        (KLEIN, {}, (1024, 1024)),
        (Z_IMAGE, {}, DEFAULT),
        (Z_IMAGE, {"size": "320x200"}, (320, 200)),
        (QWEN, {}, (1024, 768)),
        (GPT, {"resolution": "4K", "aspect_ratio": "3:2"}, (4096, 2731)),
        # What cannot be read is as if it were not there; what is too big is cut.
        (Z_IMAGE, {"image_size": "enormous"}, DEFAULT),
        (Z_IMAGE, {"image_size": {"width": "wide"}}, DEFAULT),
        (Z_IMAGE, {"aspect_ratio": "wide"}, DEFAULT),
        (Z_IMAGE, {"image_size": {"width": 99999, "height": -1}}, (4096, 1)),
    ],
)
def test_size_is_the_one_asked_for(entry, body, wanted):
    assert size(entry, body, DEFAULT) == wanted


@pytest.mark.parametrize(
    ("entry", "body", "media_type", "quality"),
    [
        (KLEIN, {}, "image/jpeg", 80),
        (KLEIN, {"output_format": "png", "output_quality": 200}, "image/png", 100),
        (Z_IMAGE, {}, "image/webp", 80),
        (Z_IMAGE, {"output_format": "jpeg", "output_quality": "best"}, "image/jpeg", 80),
        (QWEN, {}, "image/png", 80),
    ],
)
def test_format_is_asked_for_or_the_models_own(entry, body, media_type, quality):
    picture = Picture.of(entry, {"prompt": "x", **body}, 1, 0, DEFAULT)
    assert (picture.media_type, picture.quality) == (media_type, quality)


@pytest.mark.parametrize(
    ("entry", "body", "number"),
    [(Z_IMAGE, {}, 1), (Z_IMAGE, {"num_images": 3}, 3), (KLEIN, {"num_images": 3}, 1)],
)
def test_number_of_images_is_a_parameter_of_the_models_own(entry, body, number):
    assert number_of_images(entry, body) == number


def test_number_of_images_that_is_no_number_is_one():
    entry = {"id": "x", "request_schema": {"properties": {"num_images": {}}}}
    assert number_of_images(entry, {"num_images": "many"}) == 1


def test_ready_made_image_has_the_default_size_whatever_is_asked_for():
    body = {"prompt": "x", "size": "320x200", "output_format": "png", "output_quality": 5}
    assert Picture.of(Z_IMAGE, body, 1, 0, DEFAULT, 1000) == Picture(
        "z-image-turbo", "x", 1, 0, *DEFAULT, "JPEG", 80, 1000
    )
    huge = Picture.of(Z_IMAGE, body, 1, 0, (99999, 1), 0)
    assert (huge.width, huge.height) == (4096, 1)
