"""Sweeps: what a W&B sweep file asks for, run trial by trial."""
