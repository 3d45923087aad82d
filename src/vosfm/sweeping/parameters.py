"""What a sweep file says of a parameter: one value, several, or a distribution to draw from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from vosfm.errors import InputError

Value = Any
"""What YAML can hold."""

_SPANS: Mapping[str, Callable[[Generator, float, float], float]] = {
    "uniform": lambda chance, low, high: chance.uniform(low, high),
    "log_uniform": lambda chance, low, high: math.exp(chance.uniform(low, high)),
    "log_uniform_values": lambda chance, low, high: math.exp(
        chance.uniform(math.log(low), math.log(high))
    ),
    "inv_log_uniform": lambda chance, low, high: math.exp(-chance.uniform(low, high)),
    "inv_log_uniform_values": lambda chance, low, high: math.exp(
        -chance.uniform(-math.log(high), -math.log(low))
    ),
}
_BELLS: Mapping[str, Callable[[Generator, float, float], float]] = {
    "normal": lambda chance, mu, sigma: chance.normal(mu, sigma),
    "log_normal": lambda chance, mu, sigma: chance.lognormal(mu, sigma),
}
_QUANTIZED = ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta")

DISTRIBUTIONS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "constant": (frozenset({"value"}), frozenset()),
    "categorical": (frozenset({"values"}), frozenset()),
    "categorical_w_probabilities": (frozenset({"values", "probabilities"}), frozenset()),
    "int_uniform": (frozenset({"min", "max"}), frozenset()),
    **{name: (frozenset({"min", "max"}), frozenset()) for name in _SPANS},
    **{name: (frozenset(), frozenset({"mu", "sigma"})) for name in _BELLS},
    "beta": (frozenset(), frozenset({"a", "b"})),
    **{
        f"q_{name}": (frozenset({"min", "max"}), frozenset({"q"}))
        for name in _QUANTIZED
        if name in _SPANS
    },
    **{f"q_{name}": (frozenset(), frozenset({"mu", "sigma", "q"})) for name in _BELLS},
    "q_beta": (frozenset(), frozenset({"a", "b", "q"})),
}
"""Distributions that W&B knows: which keys each needs, and which it takes besides.

Source: the W&B documentation, "Sweep configuration options".
"""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a sweep.

    Attributes:
        distribution: a name in `DISTRIBUTIONS`.
        keys: what the file says of it: value, values, min, max, ...
    """

    distribution: str
    keys: Mapping[str, Any]

    def listed(self) -> list[Value] | None:
        """Every value, in order; None of a distribution that has no end of them."""
        if self.distribution == "constant":
            return [self.keys["value"]]
        if self.distribution.startswith("categorical"):
            return list(self.keys["values"])
        if self.distribution == "int_uniform":
            return list(range(self.keys["min"], self.keys["max"] + 1))
        return None

    def draw(self, chance: Generator) -> Value:
        """Draw a value."""
        keys, name = self.keys, self.distribution
        listed = self.listed()
        if listed is not None:
            weights = keys.get("probabilities")
            shares = None if weights is None else [weight / sum(weights) for weight in weights]
            return listed[int(chance.choice(len(listed), p=shares))]
        kind = name.removeprefix("q_")
        if kind == "beta":
            drawn = chance.beta(keys.get("a", 1), keys.get("b", 1))
        elif kind in _SPANS:
            drawn = _SPANS[kind](chance, keys["min"], keys["max"])
        else:
            drawn = _BELLS[kind](chance, keys.get("mu", 0), keys.get("sigma", 1))
        if kind == name:
            return float(drawn)
        q = keys.get("q", 1.0)
        steps = round(float(drawn) / q)
        return steps * q


def parameter(where: str, told: Any) -> Parameter:
    """Read what a sweep file says of a parameter.

    Args:
        where: file and key, for messages.
        told: the mapping behind the key.

    Raises:
        InputError: if it is none that W&B would take.
    """
    if not isinstance(told, Mapping):
        raise InputError(f"{where}: is {told!r}; give values: [...], or value: {told!r}")
    keys = {key: value for key, value in told.items() if key != "distribution"}
    name = told.get("distribution", _implied(keys))
    if name not in DISTRIBUTIONS:
        known = ", ".join(sorted(DISTRIBUTIONS))
        raise InputError(f"{where}: distribution is {name!r}; there are: {known}")
    needed, taken = DISTRIBUTIONS[name]
    if missing := sorted(needed - set(keys)):
        raise InputError(
            f"{where}: has no {missing[0]}; give values: [...], value: ..., or min and max"
        )
    if strange := sorted(str(key) for key in set(keys) - needed - taken):
        allowed = ", ".join(sorted(needed | taken))
        raise InputError(f"{where}: {strange[0]} does not go with {name}, which takes {allowed}")
    _check(where, name, keys)
    return Parameter(name, keys)


def _implied(keys: Mapping[str, Any]) -> str:
    """The distribution that keys without its name stand for."""
    if "value" in keys:
        return "constant"
    if "values" in keys:
        return "categorical_w_probabilities" if "probabilities" in keys else "categorical"
    whole = all(_whole(keys.get(key)) for key in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _check(where: str, name: str, keys: Mapping[str, Any]) -> None:
    values, weights = keys.get("values", [None]), keys.get("probabilities")
    if not isinstance(values, list) or not values:
        raise InputError(f"{where}: values is {values!r}; give a list of at least one")
    if weights is not None and (
        not isinstance(weights, list)
        or len(weights) != len(values)
        or not all(_number(weight) and weight >= 0 for weight in weights)
        or not sum(weights) > 0
    ):
        raise InputError(f"{where}: give one probability from 0 on for each of the values")
    for key in ("min", "max", "mu", "sigma", "q", "a", "b"):
        if key in keys and not _number(keys[key]):
            # YAML takes 1e-4 for a word: it wants a point, 1.0e-4.
            raise InputError(f"{where}: {key} is {keys[key]!r}; give a number, such as 1.0e-4")
    if name == "int_uniform" and not all(_whole(keys[key]) for key in ("min", "max")):
        raise InputError(f"{where}: int_uniform takes whole numbers, not {dict(keys)}")
    if "min" in keys and not keys["min"] < keys["max"]:
        raise InputError(f"{where}: min {keys['min']} is not below max {keys['max']}")
    if name.endswith("_values") and not keys["min"] > 0:
        raise InputError(f"{where}: min is {keys['min']}; {name} takes numbers above 0")
    if not keys.get("q", 1) > 0:
        raise InputError(f"{where}: q is {keys['q']}; give a number above 0")
    for key in ("sigma", "a", "b"):
        if not keys.get(key, 0) >= 0:
            raise InputError(f"{where}: {key} is {keys[key]}; give a number from 0 on")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
