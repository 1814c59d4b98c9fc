"""Optimizers by name in one table, and the groups that they step."""

from regimen.training.optimizers.groups import parameter_groups
from regimen.training.optimizers.muon import Muon, MuonAdamW, orthogonalised
from regimen.training.optimizers.table import OPTIMIZERS

__all__ = ["OPTIMIZERS", "Muon", "MuonAdamW", "orthogonalised", "parameter_groups"]
