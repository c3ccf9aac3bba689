"""Search plans: how many cells to probe, then which rectangles of `dims × bits` to read.

    probe=32; 256x1:800 > 512x4:100 > full

means: probe the 32 nearest cells; score their rows on the first bit plane of the first 256
dimensions and keep the best 800; score those on up to 4 bit planes of 512 dimensions and keep 100;
score those on the stored full-precision vectors. This is the funnel of Kusupati et al. (2022, §4.3)
with a second axis, bits. `Plan.parse` and `str` turn text into a plan and back.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from nestvec.errors import PlanError

FULL = "full"
_EXAMPLE = "write it like 'probe=32; 256x1:800 > 512x4:100 > full'"
# 18 digits are more than any index has, and few enough for `int` and for 64 bits.
_STAGE = re.compile(r"(\d{1,18})\s*x\s*(\d{1,18})\s*:\s*(\d{1,18})")
_PROBE = re.compile(r"probe\s*=\s*(all|\d{1,18})")
_MAX_COUNT = 10**18 - 1


def _check_count(value: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_COUNT:
        raise PlanError(
            f"{name}={value!r} is not a whole number from 1 to {_MAX_COUNT}; {_EXAMPLE}"
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """Read `bits` bit planes of the first `dims` dimensions and keep the best `keep` candidates.

    A dimension stored with fewer planes than `bits` is read at the planes it has.
    """

    dims: int
    bits: int
    keep: int

    def __post_init__(self) -> None:
        for name in ("dims", "bits", "keep"):
            _check_count(getattr(self, name), name)

    def __str__(self) -> str:
        return f"{self.dims}x{self.bits}:{self.keep}"


@dataclass(frozen=True, slots=True)
class Plan:
    """`probe` cells (None: all), a funnel of coded `stages`, and a `full` last stage or not.

    Stages run in order; each keeps at most as many rows as the one before it. Without stages the
    rows of the probed cells go straight to the full vectors: `Plan.parse("probe=all; full")` is an
    exact full scan.
    """

    probe: int | None
    stages: tuple[Stage, ...] = ()
    full: bool = True

    def __post_init__(self) -> None:
        if self.probe is not None:
            _check_count(self.probe, "probe")
        if not self.stages and not self.full:
            raise PlanError(f"the plan has no stage to score rows with; {_EXAMPLE}")
        for stage, next_stage in zip(self.stages, self.stages[1:], strict=False):
            if next_stage.keep > stage.keep:
                raise PlanError(
                    f"stage {next_stage} keeps more than the {stage.keep} rows of stage {stage}; "
                    "use a keep of at most that, since a funnel narrows"
                )

    @classmethod
    @lru_cache(maxsize=64)  # a service uses the same few texts again and again
    def parse(cls, text: str) -> "Plan":
        """Parse the text of a plan; `PlanError` names the part that is not understood.

        >>> Plan.parse("probe=32; 256x1:800 > full")
        Plan(probe=32, stages=(Stage(dims=256, bits=1, keep=800),), full=True)
        """
        head, separator, funnel = text.partition(";")
        if not separator:
            raise PlanError(f"plan {text!r} does not begin with 'probe=…;'; {_EXAMPLE}")
        probe = _parse_probe(head.strip(), text)
        parts = [part.strip() for part in funnel.split(">")]
        full = parts[-1] == FULL
        return cls(probe, tuple(_parse_stage(p, text) for p in parts[: len(parts) - full]), full)

    def __str__(self) -> str:
        probe = "all" if self.probe is None else str(self.probe)
        parts = [str(stage) for stage in self.stages] + [FULL] * self.full
        return f"probe={probe}; {' > '.join(parts)}"

    @property
    def code_bits(self) -> int:
        """Bits of codes per row that the stages read together, if every dimension has the planes.

        Stages read nested rectangles of dims × bits, so a plane is as wide as its widest stage.
        """
        planes = range(1, 1 + max((stage.bits for stage in self.stages), default=0))
        return sum(max(s.dims for s in self.stages if s.bits >= plane) for plane in planes)

    def check(self, dim: int, k: int) -> None:
        """Raise `PlanError` unless the plan can return `k` hits from vectors of width `dim`."""
        for stage in self.stages:
            if stage.dims > dim:
                raise PlanError(
                    f"stage {stage} reads {stage.dims} dimensions but the index has {dim}; "
                    f"use dims <= {dim}"
                )
            if stage.keep < k:
                raise PlanError(
                    f"stage {stage} keeps {stage.keep} candidates, fewer than k={k}; "
                    f"keep at least {k}"
                )


def _parse_probe(text: str, plan: str) -> int | None:
    match = _PROBE.fullmatch(text)
    if match is None:
        raise PlanError(f"{text!r} in plan {plan!r} is not 'probe=N' or 'probe=all'; {_EXAMPLE}")
    return None if match[1] == "all" else int(match[1])


def _parse_stage(text: str, plan: str) -> Stage:
    match = _STAGE.fullmatch(text)
    if match is None:
        raise PlanError(
            f"{text!r} in plan {plan!r} is not a stage 'DIMSxBITS:KEEP', nor a last 'full'; "
            f"{_EXAMPLE}"
        )
    return Stage(*(int(number) for number in match.groups()))
