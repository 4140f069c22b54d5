"""The models a local hub starts with: schemas and prices as the real catalogue's look.

An entry is a plain dict in the ``ai`` layout's words, so that one copied from the real hub's
``GET /api/ai/models`` can be put into :attr:`.HubSettings.catalogue` as it is. ``can_run_inference``
and ``deprecated`` stand beside them, since the ``classic`` layout tells those.
"""

from __future__ import annotations

from typing import Any

__all__ = ["default_catalogue"]

_RATIOS = ["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"]
_PRESETS = ["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"]


def default_catalogue() -> list[dict[str, Any]]:
    """Return a fresh catalogue: it is the caller's to change."""
    return [
        _model(
            "black-forest-labs-flux-2-klein-4b",
            "FLUX.2 [klein] 4B",
            "Black Forest Labs",
            {"method": "per_image", "cost_per_image": 0.014},
            {
                "aspect_ratio": {"type": "string", "enum": _RATIOS, "default": "1:1"},
                "num_inference_steps": _integer(1, 50, 4),
                "guidance_scale": {"type": "number", "minimum": 0, "maximum": 10, "default": 1},
                "seed": _seed(),
                "output_format": _format("jpg"),
                "output_quality": _integer(0, 100, 80),
            },
        ),
        _model(
            "z-image-turbo",
            "Z-Image Turbo",
            "Tongyi-MAI",
            {"method": "per_image", "cost_per_image": 0.01},
            {
                "num_inference_steps": _integer(1, 50, 8),
                "seed": _seed(),
                "num_images": _integer(1, 4, 1),
                "output_format": _format("webp"),
            },
        ),
        _model(
            "qwen-image",
            "Qwen Image",
            "Alibaba",
            {"method": "per_image", "cost_per_image": 0.025},
            {
                "image_size": {
                    "anyOf": [
                        {"type": "string", "enum": _PRESETS},
                        {
                            "type": "object",
                            "required": ["width", "height"],
                            "properties": {
                                "width": {"type": "integer", "minimum": 64, "maximum": 2048},
                                "height": {"type": "integer", "minimum": 64, "maximum": 2048},
                            },
                        },
                    ],
                    "default": "landscape_4_3",
                },
                "negative_prompt": {"type": "string", "nullable": True},
                "num_inference_steps": _integer(2, 50, 30),
                "seed": _seed(),
            },
        ),
        _model(
            "gpt-image-2",
            "GPT Image 2",
            "OpenAI",
            {
                "method": "per_image",
                "cost_per_image": None,
                "cost_per_image_grid": {
                    "low": {"1K": 0.02, "2K": 0.04, "4K": 0.08},
                    "medium": {"1K": 0.07, "2K": 0.14, "4K": 0.28},
                    "high": {"1K": 0.28, "2K": 0.57, "4K": 1.13},
                },
            },
            {
                "quality": {"type": "string", "enum": ["low", "medium", "high"], "default": "medium"},
                "resolution": {"type": "string", "enum": ["1K", "2K", "4K"], "default": "1K"},
                "aspect_ratio": {"type": "string", "enum": _RATIOS, "default": "1:1"},
                "output_format": _format("png"),
            },
        ),
        _model(
            "stable-diffusion-xl",
            "Stable Diffusion XL",
            "Stability AI",
            {"method": "per_image", "cost_per_image": 0.012},
            {"image_size": {"type": "string", "enum": _PRESETS, "default": "square_hd"}, "seed": _seed()},
            deprecated=True,
        ),
        _model(
            "black-forest-labs-flux-1-pro",
            "FLUX.1 [pro]",
            "Black Forest Labs",
            {"method": "per_image", "cost_per_image": 0.05},
            {"aspect_ratio": {"type": "string", "enum": _RATIOS, "default": "1:1"}, "seed": _seed()},
            can_run_inference=False,
        ),
        _model(
            "local-user-brand-style",
            "Brand style (fine-tuned)",
            "local-user",
            {"method": "time", "cost_per_image": None},
            {"num_inference_steps": _integer(1, 50, 28), "seed": _seed(), "output_format": _format("png")},
            model_type="custom",
            deployments=[{"status": "inactive"}],
        ),
        _model(
            "local-user-product-shots",
            "Product shots (fine-tuned)",
            "local-user",
            {"method": "time", "cost_per_image": None},
            {"num_inference_steps": _integer(1, 50, 28), "seed": _seed(), "output_format": _format("png")},
            model_type="custom",
            deployments=[{"status": "active"}],
        ),
        _model(
            "google-veo-3-1-fast",
            "Veo 3.1 Fast",
            "Google",
            {"method": "per_video_output_second", "cost_per_image": None},
            {"duration": {"type": "integer", "enum": [4, 6, 8], "default": 8}, "seed": _seed()},
            endpoint="/videos/generate",
            output="video",
        ),
        _model(
            "qwen3-8b-instruct",
            "Qwen3 8B Instruct",
            "Alibaba",
            {"method": "token", "cost_per_image": None},
            {"temperature": {"type": "number", "minimum": 0, "maximum": 2, "default": 1}},
            endpoint="/chat/completions",
            output="text",
        ),
    ]


def _model(
    id: str,
    display_name: str,
    developer: str,
    pricing: dict[str, Any],
    parameters: dict[str, Any],
    *,
    endpoint: str = "/images/generate",
    output: str = "image",
    model_type: str = "base",
    deployments: list[dict[str, str]] | None = None,
    can_run_inference: bool = True,
    deprecated: bool = False,
) -> dict[str, Any]:
    prompt = {"type": "string", "description": "What to make."}
    properties = {"prompt": prompt, **parameters}
    return {
        "id": id,
        "object": "model",
        "owned_by": "oxen" if model_type == "base" else developer,
        "display_name": display_name,
        "model_type": model_type,
        "endpoint": endpoint,
        "capabilities": {"input": ["text"], "output": [output]},
        "pricing": {"cost_per_image_grid": None, **pricing},
        "deployments": deployments or [],
        "developer": {"name": developer},
        "request_schema": {
            "type": "object",
            "required": ["prompt"],
            "properties": {
                name: {**rules, "x-order": order} for order, (name, rules) in enumerate(properties.items())
            },
        },
        "can_run_inference": can_run_inference,
        "deprecated": deprecated,
    }


def _integer(minimum: int, maximum: int, default: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": maximum, "default": default}


def _seed() -> dict[str, Any]:
    return {"type": "integer", "nullable": True}


def _format(default: str) -> dict[str, Any]:
    return {"type": "string", "enum": ["webp", "jpg", "png"], "default": default}
