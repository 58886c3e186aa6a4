"""Newton's method with conjugate gradients, for a family of convex problems in lock-step.

Products with the Hessian propose a step in float32 where the features allow; objective and
gradient, in float64, decide about it. So the speed is that of float32 and the answer that of
float64. If float32 proposes nothing useful any more, or losses become too small for it, products
continue in float64. No clock decides anything.

Source: Nocedal and Wright (2006), "Numerical Optimization", algorithm 7.1 (line search
Newton-CG); the forcing term and the stop by the Newton decrement follow Boyd and Vandenberghe
(2004), section 9.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graft.solvers.conditioning import Conditioning, Inverse, begin
from graft.solvers.family import Family, Point, evaluate, hessian_product

MAX_PRODUCTS = 250  # of one step
MAX_HALVINGS = 40
MAX_STUCK = 3  # steps of float32 in a row that hardly come nearer
SAME = 0.9  # share of an objective down to which a step has hardly lowered it
GROWN = 1e3  # times what conjugate gradients began with: rounding has led them astray
LEFT, LEFT_ROUGH = 1e-2, 0.1  # share of what the tolerance grants that a step leaves unsolved
# Mean objective below which float32 loses too much of what probabilities lack to one: for the
# gradient, and for the curvature, which needs to be no more than about right.
FINE_SLOPE, FINE_CURVATURE = 1e-3, 1e-6
ROUNDING = 1e-14  # of a decrement, as a share of the objective
ROUNDING_GAP = 1e-10  # a step that cannot improve on this relative gap has met rounding


@dataclass(frozen=True, eq=False)
class Minimum:
    """Record where `minimise` ended.

    Args:
        point: the family there.
        conditioning: the last one, for the next l2 of a path.
        gap: (F,) estimated distance to the minimum, as a share of the objective.
        n_iterations: Newton steps.
        n_products: products with the Hessian.
        converged: (F,) bool.
        message: why it stopped.
    """

    point: Point
    conditioning: Conditioning
    gap: Tensor
    n_iterations: int
    n_products: int
    converged: Tensor
    message: str


@dataclass(frozen=True, eq=False)
class Solved:
    """Record how a Newton equation was solved.

    Args:
        step: (F, C, D + 1), with the plain bias last.
        left: (F,) what it leaves of the squared decrement.
        n_products: taken.
        rate: at which each shrank the squared residual, e-fold.
        reach: as `newton_step` takes it, for the next.
    """

    step: Tensor
    left: Tensor
    n_products: int
    rate: float
    reach: float


def minimise(
    family: Family, weight: Tensor, bias: Tensor, *, l2: float, tolerance: float,
    max_iterations: int, warm: Conditioning | None = None, rough: bool = False,
) -> Minimum:  # fmt: skip
    """Minimise all problems of a family from a start.

    Args:
        family: F problems.
        weight: (F, C, D) float64, the start.
        bias: (F, C) float64, the start.
        l2: the penalty, positive.
        tolerance: stop once the Newton decrement is below `tolerance * sqrt(2 * objective)`,
            which puts the objective within about `tolerance ** 2` of its minimum, relatively. The
            step that shows this is still taken.
        max_iterations: Newton steps at most.
        warm: of a minimum nearby; used as long as it serves.
        rough: take objective and gradient in the type of the products too; for a path's interior,
            with a tolerance of no less than 1e-3. What is recorded of the point beside weight and
            bias is then that of the one before.
    """
    dtype = _product_dtype(family)
    exact = dtype if rough else torch.float64
    keep = _buffer(family, dtype)
    point = evaluate(family, weight, bias, l2=l2, keep=keep, dtype=exact)
    conditioning = begin(family, point) if warm is None else warm
    gap = torch.full_like(point.objective, torch.inf)
    done = torch.zeros_like(point.objective, dtype=torch.bool)
    least = gap
    n_products = n_iterations = n_stuck = 0
    message = f"stopped after {max_iterations} iterations, the limit"
    while n_iterations < max_iterations:
        is_lost = n_stuck == MAX_STUCK or _least(point) < FINE_CURVATURE
        if dtype == torch.float32 and is_lost:
            dtype = exact = torch.float64
            keep = _buffer(family, dtype)
            point = evaluate(family, point.weight, point.bias, l2=l2, keep=keep)
        elif exact == torch.float32 and _least(point) < FINE_SLOPE:
            exact = torch.float64
            point = evaluate(family, point.weight, point.bias, l2=l2, keep=keep)
        conditioning = conditioning.renewed(family, point, l2=l2)
        inverse = conditioning.made.inverse(family, point, l2=l2)
        solved = newton_step(
            family, point, inverse, l2=l2, dtype=dtype, reach=conditioning.reach,
            most_left=(LEFT_ROUGH if rough else LEFT) * tolerance**2,
        )  # fmt: skip
        step = solved.step
        n_iterations, n_products = n_iterations + 1, n_products + solved.n_products
        conditioning = conditioning.after(solved.n_products, solved.rate, solved.reach)
        decrement = -_dot(point.gradient, step) + solved.left
        gap = decrement.abs() / _scale(point)
        # Below zero by more than rounding the inverse is none any more, and says nothing.
        is_sound = torch.minimum(solved.left, decrement) >= -ROUNDING * _scale(point)
        done = (gap <= tolerance**2) & is_sound
        if rough and bool(done.all()):
            # So near the minimum the whole step is right, and nobody asks what it is worth.
            weight, bias = point.weight + step[..., :-1], point.bias + step[..., -1]
            point = replace(point, weight=weight, bias=bias)
            message = "converged"
            break
        before = point.objective
        point, moved = _search_line(family, point, step, l2=l2, keep=keep, dtype=exact)
        if bool(done.all()):
            message = "converged"
            break
        # Far away the objective falls and the gap stays; near the minimum the gap falls.
        is_stuck = done | (gap >= least / 2) & (point.objective > SAME * before)
        n_stuck = n_stuck + 1 if bool(is_stuck.all()) else 0
        least = torch.minimum(least, gap)
        if bool((done | ~moved).all()):
            if dtype == torch.float32:
                n_stuck = MAX_STUCK
            else:
                done = done | (gap <= ROUNDING_GAP) & is_sound
                message = "stopped where rounding leaves nothing to gain"
                break
    return Minimum(point, conditioning, gap, n_iterations, n_products, done, message)


def newton_step(
    family: Family, point: Point, inverse: Inverse, *, l2: float, most_left: float,
    dtype: torch.dtype, reach: float = 1.0,
) -> Solved:  # fmt: skip
    """Solve the Newton equation to the accuracy that pays, by preconditioned conjugate gradients.

    Args:
        most_left: of the squared decrement, as a share of twice the objective; finer never pays.
        reach: how much longer the way to the minimum is than it looks in the norm of `inverse`, as
            far as earlier steps have shown. An inverse that is too small hides what is left; the
            lengths of steps along conjugate directions show it, being the inverse of curvatures in
            its norm: but for rounding, none exceeds the inverse of the least.
    """
    centre = inverse.centre
    # With features about the centre, the same function has bias b + W c: the chain rule moves
    # the gradient there, and the step back.
    residual = -point.gradient
    residual[..., :-1] -= residual[..., -1:] * centre
    # The penalty is on W alone, which both coordinates share, so nothing else changes.
    z = inverse.apply(residual)
    rho = first = _dot(residual, z)
    scale = _scale(point)
    # Fast at the end, cheap at the start; never much finer than the tolerance asks.
    forcing = (reach * rho / scale).clamp(min=0).pow(0.25).clamp(1e-3, 0.2)
    goal = torch.maximum(forcing.square() * reach * rho, most_left * scale)
    step, search = torch.zeros_like(z), z
    n_products = 0
    while n_products < MAX_PRODUCTS:
        active = reach * rho > goal
        if not bool(active.any()):
            break
        product = hessian_product(family, point, search, centre=centre, l2=l2, dtype=dtype)
        n_products += 1
        curvature = _dot(search, product)
        active = active & (curvature > 0)
        if not bool(active.any()):
            break
        length = torch.where(active, rho / curvature, 0.0)
        reach = max(reach, float(length.max()))
        alpha = length[:, None, None]
        step = step + alpha * search
        residual = residual - alpha * product
        z = inverse.apply(residual)
        rho_next = torch.where(active, _dot(residual, z), rho)
        beta = torch.where(active, rho_next / rho.clamp(min=1e-300), 0.0)
        search = z + beta[:, None, None] * search
        rho = rho_next
        if bool((rho > GROWN * first.clamp(min=0)).any()):
            break
    step[..., -1] -= step[..., :-1] @ centre
    rate = float((first / rho.clamp(min=1e-300)).clamp(min=1).log().mean()) / max(n_products, 1)
    return Solved(step, reach * rho, n_products, rate, reach)


def _search_line(
    family: Family, point: Point, step: Tensor, *, l2: float, keep: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Point, Tensor]:  # fmt: skip
    """Return the point at the first length of 1, then shorter, that lowers every objective enough.

    A problem for which no length does stays where it is; the second value (F,) says which moved.
    """
    slope = _dot(point.gradient, step)
    length = torch.ones_like(slope)
    open_ = slope < 0
    length[~open_] = 0
    rounding = 100 * torch.finfo(dtype).eps
    slack = rounding * point.objective
    for _ in range(MAX_HALVINGS):
        grown = length[:, None, None] * step
        new = evaluate(
            family, point.weight + grown[..., :-1], point.bias + grown[..., -1], l2=l2, keep=keep,
            dtype=dtype,
        )  # fmt: skip
        change = new.objective - point.objective
        enough = change <= 1e-4 * length * slope
        # Close to the minimum the change drowns in rounding while the slope along the step
        # still tells, and a convex function cannot rise where its slope has shrunk like this.
        quiet = (length * slope).abs() <= rounding**0.5 * point.objective
        enough |= quiet & (change <= slack) & (_dot(new.gradient, step).abs() <= 0.5 * slope.abs())
        poor = ~enough & (length > 0)
        if not bool(poor.any()):
            return new, length > 0
        curved = -slope * length / (2 * (change / length.clamp(min=1e-300) - slope))
        shorter = torch.where(curved.isfinite(), curved, 0.0)
        shorter = torch.minimum(torch.maximum(shorter, 0.1 * length), 0.5 * length)
        shorter = torch.where(shorter < 1e-8, 0.0, shorter)
        length = torch.where(poor, shorter, length)
    raise AssertionError("a length shrinks below 1e-8 in fewer trials than these")


def _least(point: Point) -> float:
    """Return the smallest objective of any problem."""
    return float(point.objective.min())


def _scale(point: Point) -> Tensor:
    """Return what a squared decrement is measured by (F,)."""
    return 2 * point.objective.clamp(min=1e-300)


def _product_dtype(family: Family) -> torch.dtype:
    """Return the type of products with the Hessian: float64 where float32 would lose the spread."""
    rows = family.rows
    spread = rows.variance.sqrt()
    far = (rows.mean.abs() > 1e4 * spread) & (spread > 0)
    return torch.float64 if bool(far.any()) else torch.float32


def _buffer(family: Family, dtype: torch.dtype) -> Tensor | None:
    """Return room for the probabilities (N, P, C), or None where they are computed anew."""
    if not family.keeps(dtype):
        return None
    n_counting = len(family.parts[0].own(family.moves))
    shape = (family.rows.n_rows, n_counting, family.targets.n_classes)
    return torch.empty(shape, dtype=dtype, device=family.rows.device)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each problem (F,)."""
    return (a * b).sum(dim=(1, 2))
