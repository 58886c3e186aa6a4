"""What the three image sources share: find blocks, remove the classifier, assemble the backbone.

A classifier is told by what it does, not by its name: it is the linear layer whose output *is* the
logits. With that layer replaced by the identity, the network returns its own pooled features, and
nothing can be built on top of old logits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from graft import heads
from graft.backbones.backbone import Backbone, Origin, join
from graft.backbones.image_processor import ImageProcessor
from graft.backbones.trace import match_modules, trace_chains
from graft.errors import ModelError
from graft.features import Features

BLOCKS = (
    # Deepest first. `*` stands for what a plain container holds, `name*` for a numbered name.
    "encoder.stages.*.layers.*",  # transformers: ConvNeXt, ResNet, RegNet
    "encoder.layers.*.blocks.*",  # transformers: Swin
    "encoder.blocks.*",  # transformers: EfficientNet
    "encoder.layer.*",  # transformers: DINOv2, BEiT, DeiT
    "encoder.layers.encoder_layer_*",  # torchvision: ViT
    "encoder.layers.*",
    "model.layer.*",  # transformers: DINOv3
    "layer.*",  # transformers: MobileNets
    "stages.*.blocks.*",  # timm: ConvNeXt, MaxViT, LeViT
    "layers.*.blocks.*",  # timm: Swin
    "blocks.*.*",  # timm: MobileNets, EfficientNets
    "blocks.*",  # timm: ViT and its kin
    "stages.*.*",  # timm: NFNet, ByobNet
    "s*.b*",  # timm: RegNet
    "trunk_output.block*.block*",  # torchvision: RegNet
    "layer*.*",  # ResNets
    "stage*.*",  # torchvision: ShuffleNet
    "features.denseblock*.*",  # DenseNets
    "features.*.*",  # torchvision: EfficientNets, ConvNeXt, Swin
    "features.*",  # torchvision: MobileNets, SqueezeNet, VGG
    "layers.*",  # transformers: ViT
)
HIGHEST_MOMENTUM = 0.5


def image_backbone(
    net: nn.Module,
    *,
    processor: ImageProcessor,
    origin: Origin,
    read: Callable[[nn.Module, Mapping[str, Tensor]], Features],
    prefix: str = "",
) -> Backbone:
    """Trace the chain of a network whose classifier is gone and wrap it.

    Args:
        net: the network.
        processor: its processor.
        origin: where it came from.
        read: reads features off the network.
        prefix: path of the module inside `net` in which `BLOCKS` are looked for first.

    Raises:
        ModelError: the network does not take the processor's pictures, or does not return one
            vector per picture.
    """
    read = partial(_channels_last, read)
    inputs = blank(processor)
    try:
        chains = trace_chains(net, lambda: read(net, inputs), [find_blocks(net, prefix)])
        pooled = evaluated(net, lambda: read(net, inputs)).pooled
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise _unfit(origin, f"does not run on a blank picture ({_brief(error)})") from error
    if not isinstance(pooled, Tensor) or pooled.ndim != 2:
        raise _unfit(origin, "does not return one vector per picture")
    return Backbone(
        net,
        chains=chains,
        read=read,
        width=pooled.shape[1],
        processor=processor,
        modality="image",
        origin=origin,
    )


def _channels_last(
    read: Callable[[nn.Module, Mapping[str, Tensor]], Features],
    net: nn.Module,
    inputs: Mapping[str, Tensor],
) -> Features:
    """Read features; in eval mode on a processor, from pictures whose channels lie together.

    Convolutions go through them 1.1 to 1.8 times faster there (MobileNetV2 0.56 s for 16 pictures,
    0.99 s otherwise); in training some networks gain and others lose.
    """
    return read(net, inputs if net.training else _with_channels_last(inputs))


def _with_channels_last(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: x.contiguous(memory_format=torch.channels_last)
        if x.ndim == 4 and x.device.type == "cpu"
        else x
        for name, x in inputs.items()
    }


def find_blocks(net: nn.Module, prefix: str = "") -> list[str]:
    """Return the paths of a network's residual blocks, or of what comes nearest.

    Patterns of `BLOCKS` are tried in order; if none fits, the children of the container that has
    most of them are the blocks, if it holds half of the network, or else the network's own.
    """
    places = [prefix, ""] if prefix else [""]
    for pattern in (join(place, p) for place in places for p in BLOCKS):
        found = [path for path in match_modules(net, pattern) if _in_containers(net, path, pattern)]
        # A block holds two matrices or more; a lone convolution with its norm is a stem or neck.
        for n_matrices in (2, 1):
            blocks = [p for p in found if _count_matrices(net.get_submodule(p)) >= n_matrices]
            if len(blocks) > 1:
                return blocks
    containers = {"": net} | {
        path: m for path, m in net.named_modules() if type(m) in (nn.Sequential, nn.ModuleList)
    }
    half = _count_matrices(net) / 2
    children = [
        [join(path, name) for name, m in module.named_children() if _count_matrices(m)]
        for path, module in containers.items()
        if _count_matrices(module) >= half
    ]
    return max(children, key=len)


def final_linear(net: nn.Module, run: Callable[[], Tensor]) -> str | None:
    """Return the path of the linear layer whose output is what `run()` returns, if there is one."""
    outputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _a, out, path=path: outputs.update({path: out}))
        for path, module in net.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        logits = evaluated(net, run)
    finally:
        for hook in hooks:
            hook.remove()
    for path, output in reversed(outputs.items()):
        if output.data_ptr() == logits.data_ptr() and output.numel() == logits.numel():
            return path
    return None


def take_linear(net: nn.Module, path: str) -> tuple[Tensor, Tensor]:
    """Replace a linear layer by the identity; return copies of its weight and bias."""
    linear = net.get_submodule(path)
    assert isinstance(linear, nn.Linear)
    net.set_submodule(path, nn.Identity())
    return copy_of(linear)


def copy_of(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return copies of weight (C, D) and bias (C,); a missing bias is zero."""
    weight = linear.weight.detach().clone()
    bias = (
        weight.new_zeros(weight.shape[0]) if linear.bias is None else linear.bias.detach().clone()
    )
    return weight, bias


def plain_linear(head: nn.Module | None) -> nn.Linear | None:
    """Return a copy of the layer of a linear head; None for every other head."""
    return copy.deepcopy(head.out).cpu() if isinstance(head, heads.Linear) else None


def tame_batchnorm(net: nn.Module) -> tuple[str, ...]:
    """Lower the momentum of batch norms that would forget all but the last batch.

    Some libraries took over TensorFlow's decay of 0.997 where PyTorch means one minus that.

    Returns:
        A note for the user, if there was anything to lower.
    """
    hasty = [
        m
        for m in net.modules()
        if isinstance(m, _BatchNorm) and (m.momentum or 0) > HIGHEST_MOMENTUM
    ]
    if not hasty:
        return ()
    note = f"lowered the momentum of {len(hasty)} batch norms from {hasty[0].momentum} to 0.1"
    for module in hasty:
        module.momentum = 0.1
    return (note,)


def blank(processor: ImageProcessor, n: int = 2) -> dict[str, Tensor]:
    """Return network inputs of `n` pictures of noise, the same ones at every call.

    Their channels lie together, as `read` puts them: other kernels would sum in another order, and
    random weights can make much of that.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (n, processor.n_channels, *processor.size)
    pictures = torch.randn(shape, generator=generator)
    return _with_channels_last({processor.input_name: pictures})


def evaluated(net: nn.Module, run: Callable[[], Any]) -> Any:
    """Run without gradients, the whole network in eval mode, and give each module its mode back."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            return run()
    finally:
        for module, training in modes:
            module.training = training


def same_logits(
    backbone: Backbone, linear: nn.Linear, whole: nn.Module, logits_of: Callable[[Any], Tensor]
) -> bool:
    """Say whether a network rebuilt for saving answers as the backbone under its head does."""
    body = copy.deepcopy(backbone.net).cpu()
    inputs = blank(backbone.processor)  # type: ignore[arg-type]
    with torch.random.fork_rng():
        pooled = evaluated(body, lambda: backbone.read(body, inputs)).pooled
        found = evaluated(whole, lambda: logits_of(whole(**inputs)))
    expected = linear(pooled.to(linear.weight.dtype)).detach()
    return found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4, rtol=1e-4)


def meaningful(labels: Sequence[str] | None) -> tuple[str, ...]:
    """Return label names as a tuple, or none where they only number the classes."""
    names = tuple(str(label) for label in labels or ())
    return () if all(name == f"LABEL_{i}" for i, name in enumerate(names)) else names


def _in_containers(net: nn.Module, path: str, pattern: str) -> bool:
    """Say whether each segment for which `*` alone stands is held by a plain container."""
    segments = path.split(".")
    for i, wanted in enumerate(pattern.split(".")):
        if wanted == "*":
            holder = net.get_submodule(".".join(segments[:i]))
            is_dict = isinstance(holder, nn.ModuleDict)
            if not is_dict and type(holder) not in (nn.Sequential, nn.ModuleList):
                # the stages of some networks are sequences with a name of their own
                numbered = isinstance(holder, nn.Sequential) and segments[i - 1].startswith("layer")
                if not numbered:
                    return False
    return True


def _count_matrices(module: nn.Module) -> int:
    return sum(parameter.ndim > 1 for parameter in module.parameters())


def _unfit(origin: Origin, what: str) -> ModelError:
    return ModelError(f"{origin.source} model {origin.name}: {what}; choose another network")


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__
