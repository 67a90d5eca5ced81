"""LoRAs as other programs name their tensors."""

from __future__ import annotations

import pytest
import torch

from renderer.pipeline.lora_names import to_own_names

MODULES = ["blocks", "blocks.0", "blocks.0.attn.to_q", "blocks.0.attn.to_out.0", "proj_out"]
LAYERS = ["blocks.0.attn.to_q", "blocks.0.attn.to_out.0"]
OWN = {
    f"transformer.{layer}.lora_{part}.weight": torch.full((2, 2), float(number))
    for number, layer in enumerate(LAYERS, 1)
    for part in "AB"
}


def renamed(form: str) -> dict[str, torch.Tensor]:
    """The same numbers under the names of another program."""
    found = {}
    for name, tensor in OWN.items():
        module, part = name.removeprefix("transformer.").rsplit(".lora_", 1)
        kohya = {"A.weight": "lora_down.weight", "B.weight": "lora_up.weight"}[part]
        found[
            {
                "no prefix": f"{module}.lora_{part}",
                "PEFT": f"base_model.model.{module}.lora_{part}",
                "PEFT, with the adapter": f"base_model.model.{module}.lora_{part[0]}.default"
                ".weight",
                "ComfyUI": f"diffusion_model.{module}.lora_{part}",
                "the whole model": f"model.diffusion_model.{module}.{kohya}",
                "kohya": f"lora_unet_{module.replace('.', '_')}.{kohya}",
            }[form]
        ] = tensor
    return found


@pytest.mark.parametrize(
    "form",
    ["no prefix", "PEFT", "PEFT, with the adapter", "ComfyUI", "the whole model", "kohya"],
)
def test_each_form_gets_diffusers_names(form: str) -> None:
    found = to_own_names(renamed(form), MODULES)
    assert found is not None
    assert found.keys() == OWN.keys()
    assert all(torch.equal(found[name], OWN[name]) for name in OWN)


@pytest.mark.parametrize("form", ["ComfyUI", "kohya"])
def test_alpha_scales_by_its_share_of_the_rank(form: str) -> None:
    tensors = renamed(form)
    modules = {name.rsplit(".lora_", 1)[0] for name in tensors}
    tensors |= {f"{module}.alpha": torch.tensor(1.0) for module in modules}
    found = to_own_names(tensors, MODULES)
    assert found is not None
    for name, tensor in OWN.items():
        scale = 0.5 if "lora_B" in name else 1.0  # alpha 1, rank 2
        assert torch.equal(found[name], tensor * scale)


@pytest.mark.parametrize(
    "tensors",
    [
        OWN,
        {},
        {
            "layers.9.to_q.lora_A.weight": torch.ones(1),
            "layers.9.to_q.lora_B.weight": torch.ones(1),
        },
        {**OWN, "transformer.proj_out.diff_b": torch.ones(1)},
        {**renamed("no prefix"), "text_encoder.q.lora_A.weight": torch.ones(1)},
        {"diffusion_model.proj_out.alpha": torch.ones(1)},
    ],
    ids=["own", "empty", "other modules", "biases", "other models too", "alpha alone"],
)
def test_everything_else_is_left_to_diffusers(tensors: dict[str, torch.Tensor]) -> None:
    assert to_own_names(tensors, MODULES) is None
