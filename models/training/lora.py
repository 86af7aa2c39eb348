"""Low-rank adapters (Hu et al., ICLR 2022, "LoRA"): what is trained of an encoder too large to be trained whole."""

from __future__ import annotations

from torch import Tensor, nn

PLACES = ("query", "value", "q_proj", "v_proj", "qkv", "c_attn")  # linear maps of attention, by their last name


class Lora(nn.Module):
    """A linear map, frozen, and the product of two thin ones beside it, which begins at nothing."""

    def __init__(self, source: nn.Linear, rank: int) -> None:
        super().__init__()
        self.source, self.scale = source.requires_grad_(False), 2.0
        self.down = nn.Linear(source.in_features, rank, bias=False)
        self.up = nn.Linear(rank, source.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.source(x) + self.scale * self.up(self.down(x))

    def merged(self) -> nn.Linear:
        """The one linear map that does what both do."""
        self.source.weight.data += self.scale * (self.up.weight @ self.down.weight).to(self.source.weight.dtype)
        return self.source


def adapt(module: nn.Module, rank: int) -> int:
    """Freeze `module` and put adapters beside its attention's maps; returns how many. Raises ValueError at none."""
    module.requires_grad_(False)
    found = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if name in PLACES and isinstance(child, nn.Linear)
    ]
    for parent, name, child in found:
        setattr(parent, name, Lora(child, rank))
    if not found:
        raise ValueError(f"no linear map of {type(module).__name__} is named one of {', '.join(PLACES)}")
    return len(found)


def merge(module: nn.Module) -> None:
    """Put every adapter into the map it stands beside."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Lora):
                setattr(parent, name, child.merged())
