"""Networks on a GPU: the published outputs, views against Conv3d, memory, compilation."""

import pytest
import torch
import torch.nn.functional as F
from material import BACKBONES, as_conv3d, load, shape_of
from test_published import PYSKL, TOLERANCE, TORCHVISION, filled, golden
from torch.overrides import TorchFunctionMode

pytestmark = pytest.mark.cuda
HALF = 0.05
"""Of the largest logit, in bfloat16: 50 layers that each round to 2**-9."""
FRAMES, SIZE, LARGE = 8, 16, 32
MAPS = [name for name in BACKBONES if name not in {"conv1d", "stgcnpp"}]


def inputs_of(name, device, size=SIZE):
    torch.manual_seed(1)
    inputs = torch.rand(2, *shape_of(name, FRAMES, size)).to(device)
    return inputs.contiguous(memory_format=torch.channels_last_3d)


def gradients(network, inputs):
    logits = network(inputs)
    F.cross_entropy(logits, torch.arange(len(inputs), device=inputs.device)).backward()
    return logits, {name: parameter.grad for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("name", PYSKL + TORCHVISION)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, TOLERANCE),
                                                  (torch.bfloat16, HALF)])
def test_golden_logits(shared, device, name, dtype, tolerance):
    _, arrays = golden(shared, name)
    inputs = torch.from_numpy(arrays["x"])
    if name == "stgcnpp":
        inputs = inputs.permute(0, 4, 2, 1, 3)  # (N, M, T, V, C) there, (N, C, T, M, V) here
    network = filled(name).to(device)
    inputs = inputs.to(device).contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode(), torch.autocast(device.type, dtype, dtype != torch.float32):
        logits = network(inputs).float().cpu()
    expected = torch.from_numpy(arrays["logits"])
    torch.testing.assert_close(logits, expected, rtol=0,
                               atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("name", MAPS)
def test_views_equal_conv3d(device, name):
    """In double precision, where nothing but another formula could differ.

    The last maps must not be single pixels: a batch norm over two numbers magnifies any rounding.
    """
    views, plain = load(name).double().to(device), as_conv3d(load(name)).double().to(device)
    inputs = inputs_of(name, device, LARGE).double()
    logits, found = gradients(views, inputs)
    expected_logits, expected = gradients(plain, inputs.contiguous())
    torch.testing.assert_close(logits, expected_logits, rtol=0,
                               atol=1e-9 * float(expected_logits.abs().max()))
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for gradient, other in zip(found.values(), expected.values(), strict=True):
        torch.testing.assert_close(gradient, other, rtol=0, atol=1e-9 * largest)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("mixed", [False, True])
def test_memory_stays_channels_last(device, name, mixed):
    """Forwards and backwards, in every tensor between two layers."""
    network = load(name).to(device)
    inputs = inputs_of(name, device)
    wrong, gradients_seen = [], []

    def check(what):
        def look(tensor):
            if tensor is not None and tensor.ndim == 5 and not tensor.is_contiguous(
                    memory_format=torch.channels_last_3d):
                wrong.append((what, tuple(tensor.shape), tensor.stride()))
            gradients_seen.append(what)
        return look

    def after(module, args, outputs, path=""):
        check(path)(outputs)
        if outputs.requires_grad:
            outputs.register_hook(check(f"gradient of {path}"))

    for path, module in network.backbone.named_modules():
        module.register_forward_hook(
            lambda module, args, outputs, path=path: after(module, args, outputs, path))
    with NoCopies(), torch.autocast(device.type, torch.bfloat16, mixed):
        logits = network(inputs)
    F.cross_entropy(logits.float(), torch.arange(len(inputs), device=device)).backward()
    assert any(what.startswith("gradient") for what in gradients_seen)
    assert not wrong


class NoCopies(TorchFunctionMode):
    """Refuses what copies a tensor of maps in order to change its memory."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in {"flatten", "reshape", "contiguous"} and (
                args[0].ndim == 5 and args[0].numel() and min(args[0].shape[2:]) > 1
                and result.data_ptr() != args[0].data_ptr()):
            raise AssertionError(f"{func.__name__} copied {tuple(args[0].shape)}")
        return result


def test_a_copy_is_noticed(device):
    with NoCopies(), pytest.raises(AssertionError, match="flatten copied"):
        torch.rand(2, 3, 4, 5, 6, device=device).transpose(1, 2).flatten(0, 1)


@pytest.mark.parametrize("name", ["reduced", "slowonly", "conv1d", "stgcnpp"])
def test_compiled_equals_eager(device, name):
    eager, compiled = load(name).to(device), load(name).to(device)
    compiled.compile(backend="inductor" if device.type == "cuda" else "aot_eager")
    inputs = inputs_of(name, device)
    logits, found = gradients(compiled, inputs)
    expected_logits, expected = gradients(eager, inputs)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-3, atol=1e-4)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for gradient, other in zip(found.values(), expected.values(), strict=True):
        torch.testing.assert_close(gradient, other, rtol=0, atol=1e-3 * largest)
    torch._dynamo.reset()
