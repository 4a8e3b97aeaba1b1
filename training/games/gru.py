"""A gated recurrent unit along time, for many networks at once and with memory that can be forgotten on the way.

torch.nn.GRU has neither; written with autograd, the step's many small operations cost more than its products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def gated_recurrence(x: Tensor, h0: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None) -> Tensor:
    """h' = (1 - u) n + u h,  r, u = sigmoid(gates),  n = tanh(x_n + r (h W_n + b_n)): Cho et al. 2014, as torch.nn.GRU.

    x [T, G, B, 3H] inputs times their weights, bias included, gates in the order r, u, n; h0 [G, B, H] before the first
    step; weight [G, H, 3H]; bias [G, 1, 3H]; keep [T, 1, B, 1], 0 where memory is forgotten before the step, or None.
    Returns the states after each step, [T, G, B, H].
    """
    if torch.is_grad_enabled():
        states: Tensor = _Recurrence.apply(x, h0, weight, bias, keep)  # type: ignore[no-untyped-call]
        return states
    units = h0.shape[-1]
    h, each = h0, []
    for t, (x_ru, x_n) in enumerate(zip(*torch.split(x, [2 * units, units], dim=-1), strict=True)):
        if keep is not None:
            h = h * keep[t]
        of_ru, of_n = torch.split(torch.baddbmm(bias, h, weight), [2 * units, units], dim=-1)
        r, u = torch.split((x_ru + of_ru).sigmoid_(), units, dim=-1)
        h = torch.lerp(torch.addcmul(x_n, r, of_n).tanh_(), h, u)
        each.append(h)
    return torch.stack(each)


class _Recurrence(torch.autograd.Function):
    """The same with gradients by hand: few and large operations per step, and none that the other steps could share."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None) -> Tensor:
        steps, networks, rows, _ = x.shape
        units = h0.shape[-1]
        weight_ru, weight_n = (part.contiguous() for part in torch.split(weight, [2 * units, units], dim=-1))
        bias_ru, bias_n = torch.split(bias, [2 * units, units], dim=-1)
        x_ru, x_n = (x[..., : 2 * units] + bias_ru).unbind(), x[..., 2 * units :].unbind()
        gates = x.new_empty(steps, networks, rows, 3 * units)  # r, u, n
        recurrent_n = x.new_empty(steps, networks, rows, units)  # h W_n + b_n
        states = x.new_empty(steps, networks, rows, units)
        r_u, n = gates[..., : 2 * units].unbind(), gates[..., 2 * units :].unbind()
        r, u = gates[..., :units].unbind(), gates[..., units : 2 * units].unbind()
        of_n, after = recurrent_n.unbind(), states.unbind()
        forgets = _forgets(keep, steps)
        before, h = [], h0  # the memory that each step starts from
        for t in range(steps):
            if keep is not None and forgets[t]:
                h = h * keep[t]
            before.append(h)
            torch.sigmoid(torch.baddbmm(x_ru[t], h, weight_ru), out=r_u[t])
            torch.baddbmm(bias_n, h, weight_n, out=of_n[t])
            torch.tanh(torch.addcmul(x_n[t], r[t], of_n[t]), out=n[t])
            h = torch.lerp(n[t], h, u[t], out=after[t])
        ctx.forgets = forgets
        ctx.save_for_backward(torch.stack(before), gates, recurrent_n, weight, *(() if keep is None else (keep,)))
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        before, gates, recurrent_n, weight, *kept = ctx.saved_tensors
        keep = kept[0] if kept else None
        steps, networks, rows, units = before.shape
        r, u, n = gates.split(units, dim=-1)
        # What dh is multiplied with on its way into the products with h, for all steps at once.
        factors = before.new_empty(steps, networks, rows, 3, units)
        into_n = (1 - u) * (1 - n.square())
        torch.mul(into_n, recurrent_n * r * (1 - r), out=factors[..., 0, :])
        torch.mul((before - n) * u, 1 - u, out=factors[..., 1, :])
        torch.mul(into_n, r, out=factors[..., 2, :])
        into_products = torch.empty_like(gates)
        all_dh = torch.empty_like(before)  # loss by each step's state, all later steps' part included
        dp, dp_by_gate = into_products.unbind(), into_products.view(factors.shape).unbind()
        factor, stays, given, dh = factors.unbind(), u.unbind(), grad.unbind(), all_dh.unbind()
        back = weight.transpose(1, 2).contiguous()
        dh[-1].copy_(given[-1])
        for t in range(steps - 1, -1, -1):
            torch.mul(dh[t].unsqueeze(-2), factor[t], out=dp_by_gate[t])
            if t and not ctx.forgets[t]:
                torch.baddbmm(torch.addcmul(given[t - 1], dh[t], stays[t]), dp[t], back, out=dh[t - 1])
                continue
            earlier = torch.baddbmm(dh[t] * stays[t], dp[t], back)
            if keep is not None:
                earlier.mul_(keep[t])
            if t:
                torch.add(given[t - 1], earlier, out=dh[t - 1])
        into_x = into_products.clone()
        torch.mul(all_dh, into_n, out=into_x[..., 2 * units :])
        all_before = before.transpose(0, 1).reshape(networks, -1, units)
        all_products = into_products.transpose(0, 1).reshape(networks, -1, 3 * units)
        into_weight, into_bias = all_before.transpose(1, 2) @ all_products, all_products.sum(1, keepdim=True)
        return into_x, earlier, into_weight, into_bias, None


def _forgets(keep: Tensor | None, steps: int) -> list[bool]:
    """Which steps anything is forgotten before: most have nothing, and an operation saved is time saved."""
    return [False] * steps if keep is None else (keep == 0).flatten(1).any(1).tolist()
