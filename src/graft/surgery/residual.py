"""Residual adapters of convolutional networks: a 1×1 convolution α at each wide convolution f.

    series      f(x) + α f(x), after it      (Rebuffi et al. 2017, equation 2, without its own norm)
    parallel    f(x) + α x, beside it        (Rebuffi et al. 2018, equation 4)

α begins with zeros and has the groups of its convolution, so it is diagonal where that is
depthwise. Both are linear, and fold into the weights of f exactly: in series as (1 + α) f, in
parallel as α added at the centre of the kernel.

What trains is α / s. Adam's steps have the size of the rate whatever the gradient, and a sum over
many channels moves further by them than one over few: s = 1 / √(channels that α sums over) makes
one rate mean the same at a depthwise convolution and at a dense one.

Shapes: f (O, I / G, k, k), G groups; α (O, O / G, 1, 1) in series, (O, I / G, 1, 1) in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from graft.errors import InputError
from graft.surgery.inserting import Folding, Site
from graft.surgery.watching import watch


@dataclass(frozen=True)
class Residual:
    """Insert 1×1 convolutions at all 3×3 (5×5, …) convolutions of the blocks.

    Args:
        placement: `parallel` or `series`.
    """

    placement: Literal["parallel", "series"] = "parallel"

    name: ClassVar[str] = "residual"

    def sites(self, net: nn.Module, blocks: Sequence[str], run: Callable[[], Any]) -> list[Site]:
        """Return the convolutions that have a centre.

        Raises:
            InputError: no block has one.
        """
        calls = watch(net, blocks, run)
        found = [Site(c.path, c.shape[1]) for c in calls if _is_wide(c.module)]
        if not found:
            raise InputError(
                f"{type(net).__name__} has no 3×3 convolution in its blocks; residual adapters "
                "belong into convolutional networks: choose --method bottleneck or lora"
            )
        return found

    def make(self, site: Site, host: nn.Module) -> ResidualAdapter:
        """Return an adapter for a convolution."""
        return ResidualAdapter(self, site, cast("nn.Conv2d", host))


class ResidualAdapter(Folding):
    """Add `α` of a convolution's output, or of its input."""

    def __init__(self, surgery: Residual, site: Site, host: nn.Conv2d) -> None:
        super().__init__(surgery, site)
        self.is_parallel = surgery.placement == "parallel"
        self.geometry = _geometry(host)
        n_in = host.in_channels if self.is_parallel else host.out_channels
        self.scale = (n_in // host.groups) ** -0.5
        self.alpha = nn.Conv2d(
            n_in,
            host.out_channels,
            1,
            stride=host.stride if self.is_parallel else 1,  # type: ignore[arg-type]
            groups=host.groups,
            bias=False,
        )
        nn.init.zeros_(self.alpha.weight)

    def change(self, given: Tensor, output: Tensor) -> Tensor:
        """Return (N, O, h, w)."""
        if not self.is_parallel:
            return output + self._of(output)
        sizes = given.shape[-2:]
        firsts = [axis.first(size) for axis, size in zip(self.geometry, sizes, strict=True)]
        if any(firsts):
            given = F.pad(given, [-n for first in reversed(firsts) for n in (first, 0)])
        return output + self._of(given)[..., : output.shape[-2], : output.shape[-1]]

    def _of(self, given: Tensor) -> Tensor:
        """Return α times (N, I, H, W)."""
        kernel = self.alpha.weight * self.scale
        return F.conv2d(given, kernel, stride=self.alpha.stride, groups=self.alpha.groups)

    @property
    def is_identity(self) -> bool:
        """Whether α is zero."""
        return not self.alpha.weight.any()

    def fold(self, host: nn.Module) -> None:
        """Add α to the kernel."""
        conv = cast("nn.Conv2d", host)
        alpha = self.alpha.weight * self.scale
        if self.is_parallel:
            before = [(k - 1) // 2 for k in conv.kernel_size]
            around = [n for k in reversed(before) for n in (k, k)]
            conv.weight += F.pad(alpha, around)
            return
        conv.weight += _per_group(alpha, conv.weight, conv.groups)
        if conv.bias is not None:
            conv.bias += _per_group(alpha, conv.bias, conv.groups)


def _per_group(alpha: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Return α (O, O / G, 1, 1) times weights (O, …), group by group."""
    matrices = alpha.reshape(groups, -1, alpha.shape[1])
    return (matrices @ weight.reshape(groups, alpha.shape[1], -1)).reshape(weight.shape)


def _is_wide(module: nn.Module) -> bool:
    """Whether a module is a convolution wider than 1×1 whose kernel has a centre.

    Of one that pads its input by a rule of its own nobody knows where that centre falls.
    """
    if not isinstance(module, nn.Conv2d):
        return False
    if type(module).forward is not nn.Conv2d.forward and not _pads_by_size(module):
        return False
    is_odd = all(k % 2 for k in module.kernel_size) and max(module.kernel_size) > 1
    return is_odd and module.padding_mode == "zeros"


def _pads_by_size(conv: nn.Conv2d) -> bool:
    """Whether a convolution pads as TensorFlow does: by what the size of its input leaves over."""
    return type(conv).__name__ == "Conv2dSame" and type(conv).__module__.startswith("timm.")


@dataclass(frozen=True)
class Axis:
    """How a convolution moves along one axis.

    Args:
        kernel: its width.
        dilation: between its places.
        stride: between its outputs.
        padding: before the first place of the input; None where the input's size decides.
    """

    kernel: int
    dilation: int
    stride: int
    padding: int | None

    def first(self, size: int) -> int:
        """Return the place of an input of `size` on which the first output is centred."""
        padding = self.padding
        if padding is None:
            reach = (-(-size // self.stride) - 1) * self.stride + self.dilation * (self.kernel - 1)
            padding = max(reach + 1 - size, 0) // 2
        return self.dilation * (self.kernel - 1) // 2 - padding


def _geometry(conv: nn.Conv2d) -> list[Axis]:
    """Return what is known of each axis."""
    padding: Sequence[int | None] = conv.padding  # type: ignore[assignment]
    if isinstance(conv.padding, str):
        half = [d * (k - 1) // 2 for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
        padding = half if conv.padding == "same" else (0, 0)
    if _pads_by_size(conv):
        padding = (None, None)
    axes = zip(conv.kernel_size, conv.dilation, conv.stride, padding, strict=True)
    return [Axis(*axis) for axis in axes]
