"""A gated recurrent unit along time, for many networks at once and with memory that can be forgotten on the way.

torch.nn.GRU has neither; written with autograd, the step's many small operations cost more than its products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class GatedRecurrence(torch.autograd.Function):
    """h' = (1 - u) n + u h,  r, u = sigmoid(gates),  n = tanh(x_n + r (h W_n + b_n)): Cho et al. 2014, as torch.nn.GRU.

    x [T, G, B, 3H] inputs times their weights, bias included, gates in the order r, u, n; h0 [G, B, H] before the first
    step; weight [G, H, 3H]; bias [G, 1, 3H]; keep [T, 1, B, 1], 0 where memory is forgotten before the step, or None.
    Returns the states after each step, [T, G, B, H].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None) -> Tensor:
        steps, networks, rows, _ = x.shape
        units = h0.shape[-1]
        before = x.new_empty(steps, networks, rows, units)  # the memory that each step starts from
        gates = x.new_empty(steps, networks, rows, 3 * units)  # r, u, n
        recurrent_n = x.new_empty(steps, networks, rows, units)  # h W_n + b_n
        states = x.new_empty(steps, networks, rows, units)
        h = h0
        for t in range(steps):
            torch.mul(h, 1.0 if keep is None else keep[t], out=before[t])
            products = torch.baddbmm(bias, before[t], weight)
            r_u = gates[t, ..., : 2 * units]
            torch.add(x[t, ..., : 2 * units], products[..., : 2 * units], out=r_u)
            r_u.sigmoid_()
            recurrent_n[t] = products[..., 2 * units :]
            n = gates[t, ..., 2 * units :]
            torch.addcmul(x[t, ..., 2 * units :], r_u[..., :units], recurrent_n[t], out=n)
            n.tanh_()
            torch.lerp(n, before[t], r_u[..., units:], out=states[t])
            h = states[t]
        ctx.save_for_backward(before, gates, recurrent_n, weight, *(() if keep is None else (keep,)))
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        before, gates, recurrent_n, weight, *kept = ctx.saved_tensors
        keep = kept[0] if kept else None
        steps, units = len(before), before.shape[-1]
        r, u, n = gates.split(units, dim=-1)
        # Factors that do not depend on the gradient, for all steps at once.
        of_n = (1 - u) * (1 - n.square())
        of_u = (before - n) * u * (1 - u)
        of_r = recurrent_n * r * (1 - r)
        into_x = torch.empty_like(gates)
        into_products = torch.empty_like(gates)
        back = weight.transpose(1, 2)
        later = torch.zeros_like(before[0])
        for t in range(steps - 1, -1, -1):
            dh = grad[t] + later
            dx, dp = into_x[t], into_products[t]
            dn = dx[..., 2 * units :]
            torch.mul(dh, of_n[t], out=dn)
            torch.mul(dh, of_u[t], out=dx[..., units : 2 * units])
            torch.mul(dn, of_r[t], out=dx[..., :units])
            dp[..., : 2 * units] = dx[..., : 2 * units]
            torch.mul(dn, r[t], out=dp[..., 2 * units :])
            later = torch.baddbmm(dh * u[t], dp, back)
            if keep is not None:
                later = later * keep[t]
        networks = weight.shape[0]
        all_before = before.transpose(0, 1).reshape(networks, -1, units)
        all_products = into_products.transpose(0, 1).reshape(networks, -1, 3 * units)
        return into_x, later, all_before.transpose(1, 2) @ all_products, all_products.sum(1, keepdim=True), None


def gated_recurrence(x: Tensor, h0: Tensor, weight: Tensor, bias: Tensor, keep: Tensor | None) -> Tensor:
    """See ``GatedRecurrence``."""
    states: Tensor = GatedRecurrence.apply(x, h0, weight, bias, keep)  # type: ignore[no-untyped-call]
    return states
