"""A name with a slip in it is told from a name of its own."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.catalogue.schema import did_you_mean

LISTED = [
    "aspect_ratio",
    "prompt",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "input_images",
    "output_format",
    "min_pixels",
    "image_1",
    "height",
    "mask",
    "top_k",
    "日本",
]


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("aspect_ration", "aspect_ratio"),
        ("aspect_raito", "aspect_ratio"),
        ("spect_ratio", "aspect_ratio"),
        ("aspact_ratio", "aspect_ratio"),
        ("aspet_rtio", "aspect_ratio"),
        ("aspect-ratio", "aspect_ratio"),
        ("aspectRatio", "aspect_ratio"),
        ("ASPECT_RATIO", "aspect_ratio"),
        ("aspectration", "aspect_ratio"),
        ("_prompt ", "prompt"),
        ("seeed", "seed"),
        ("sed", "seed"),
        ("num_inference_step", "num_inference_steps"),
        ("input_image", "input_images"),
        ("image-1", "image_1"),
    ],
)
def test_slip_is_asked_about(slip, meant):
    assert did_you_mean(slip, LISTED) == f" Did you mean {meant!r}?"


@pytest.mark.parametrize(
    "name",
    [
        "num_images",
        "input_format",
        "max_pixels",
        "image_2",
        "prompt_2",
        "weight",
        "task",
        "top_p",
        "guidance",
        "style",
        "__",
        "",
        "日",
        "x" * 100_000,
    ],
    ids=lambda name: name[:20],
)
def test_name_of_its_own_is_not(name):
    assert did_you_mean(name, LISTED) == ""


def test_a_few_names_are_asked_about():
    assert (
        did_you_mean("sed", ["seed", "send", "sled", "shed"]) == " Did you mean 'seed' or 'send' or 'sled'?"
    )
