r"""Adam, with or without a decay of the matrices, as plain values that a checkpoint can hold.

With g the gradient, m and v its running mean and square,

.. math:: w \leftarrow w - \eta\,\lambda\,w - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

where :math:`\lambda` is 0 in Adam, and in AdamW for biases and norms. PyTorch's function does the work. Its class of
the same name loads the compiler too, which takes longer than to train a small network.

References:
    Kingma & Ba, 2015, doi:10.48550/arXiv.1412.6980
    Loshchilov & Hutter, 2019, doi:10.48550/arXiv.1711.05101
"""

__all__ = ["Adam", "is_matrix"]

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adamw import adamw

_MOMENTS = ("mean", "square", "n_steps")


class Adam:
    """Adam of a network's weights.

    Args:
        network: Its weights are changed in place.
        decay: AdamW's decay of matrices and kernels; 0 is Adam.
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        self._weights: dict[str, Tensor] = dict(network.named_parameters())
        self._decay = decay
        self.state: dict[str, dict[str, Tensor]] = {}
        for name, weight in self._weights.items():
            n_steps = torch.zeros((), device=weight.device)
            moments = torch.zeros_like(weight), torch.zeros_like(weight), n_steps
            self.state[name] = dict(zip(_MOMENTS, moments, strict=True))

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Take a copy of the moments of another time, on the device of the weights."""
        self.state = {
            name: {part: tensor.to(self._weights[name].device, copy=True) for part, tensor in moments.items()}
            for name, moments in state.items()
        }

    def step(self, learning_rate: float) -> None:
        """Move the weights that have a gradient by one step."""
        for of_matrices, decay in ((True, self._decay), (False, 0.0)):
            gradients = {
                name: weight.grad
                for name, weight in self._weights.items()
                if is_matrix(weight) == of_matrices and weight.grad is not None
            }
            mean, square, n_steps = ([self.state[name][part] for name in gradients] for part in _MOMENTS)
            with torch.no_grad():
                adamw(
                    [self._weights[name] for name in gradients],
                    list(gradients.values()),
                    mean,
                    square,
                    [],
                    n_steps,
                    fused=True,
                    amsgrad=False,
                    beta1=0.9,
                    beta2=0.999,
                    lr=learning_rate,
                    weight_decay=decay,
                    eps=1e-8,
                    maximize=False,
                )


def is_matrix(weight: Float[Tensor, "..."]) -> bool:
    """Return whether a weight is a matrix or a kernel, not a bias or the scale of a norm."""
    return weight.ndim > 1
