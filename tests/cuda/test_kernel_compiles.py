"""The kernel compiles to machine code of several cards, wherever Triton is installed."""

import os

import pytest
import torch

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="interpreted code is not compiled")]
WRITTEN = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@pytest.mark.parametrize("card", [80, 90])
@pytest.mark.parametrize(("dtype", "limbs", "pixels", "ones"), [
    (torch.bfloat16, 17, 5, {}), (torch.float32, 12, 9, {}), (torch.float16, 25, 5, {}),
    (torch.bfloat16, 1, 5, {"persons": 1}), (torch.bfloat16, 17, 9, {"persons": 1, "frames": 1})])
def test_it_compiles(card, dtype, limbs, pixels, ones):
    """Triton makes arguments that are 1 constants."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from ptl_skel.representations.kernel import _render_frame

    constants = {"HEIGHT": 56, "WIDTH": 56, "LIMBS": limbs, "PIXELS": pixels,
                 "LANES": triton.next_power_of_2(limbs), "LEAST": 1e-3, "FAR": 1e5,
                 "FILLED": 1024, "AT_ONCE": 512, **ones}
    types = {"volume": f"*{WRITTEN[dtype]}", "points": "*fp32", "scores": "*fp32",
             "starts": "*i32", "ends": "*i32", "persons": "i32", "frames": "i32", "joints": "i32",
             "sigma": "fp32", "reach": "fp32", "span": "i32"}
    names = _render_frame.arg_names
    signature = {name: "constexpr" if name in constants else types[name] for name in names}
    aligned = {(names.index(name),): [["tt.divisibility", 16]]
               for name in names if signature[name].startswith("*")}
    made = triton.compile(ASTSource(_render_frame, signature, constants, aligned),
                          target=GPUTarget("cuda", card, 32),
                          options={"enable_fp_fusion": False})
    assert "st.global.v4" in made.asm["ptx"]  # fills 16 bytes at a time
    assert "fma.rn.f32" not in made.asm["ptx"]
