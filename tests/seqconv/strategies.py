"""Random patterns and architectures for hypothesis, small enough to enumerate by hand."""

from collections.abc import Sequence

from hypothesis import strategies as st

from seqconv.aggregation import (
    DENSE,
    Dilated,
    Explicit,
    Group,
    Harmonic,
    Log,
    Pattern,
    Random,
    Regular,
    Shuffle,
    Split,
    Window,
)
from seqconv.architecture import Architecture, Stage

PYRAMIDS = ((1,), (1, 2), (2, 4), (1, 3), (1, 2, 4), (2, 4, 8))

windows = st.one_of(
    st.just(DENSE),
    st.integers(1, 40).map(lambda groups: Window(groups=groups)),
    st.floats(min_value=0.01, max_value=8).map(lambda ratio: Window(ratio=ratio)),
)


def patterns(in_groups: int, out_groups: int) -> st.SearchStrategy[Pattern]:
    """Every kind, with the parameters for which a layer with these sizes exists."""
    steps = range(1, out_groups + 1)
    rows = (st.sets(st.integers(1 - in_groups, step - 1), min_size=1).map(tuple) for step in steps)
    divisors = [size for size in range(1, in_groups + 1) if in_groups % size == 0]
    return st.one_of(
        windows,
        st.sampled_from([Log(), Harmonic(), Regular(), Group(), Split()]),
        st.builds(Dilated, windows, st.integers(1, in_groups)),
        st.builds(Shuffle, st.sampled_from(divisors)),
        st.builds(Random, st.integers(0, 20), st.sampled_from([0, 0.25, 0.5, 0.75, 1])),
        st.builds(Explicit, st.tuples(*rows)),
    )


@st.composite
def architectures(
    draw: st.DrawFn, *, any_pattern: bool = False, pyramids: Sequence[tuple[int, ...]] = PYRAMIDS
) -> Architecture:
    """Valid architectures of as many stages as the pyramids have, up to 192 channels in groups of 8 or 16."""
    pyramid = draw(st.sampled_from(pyramids))
    widening = draw(st.sampled_from([1, 1.5, 2, 2.5, 3]))
    widths = [int(16 * widening) * p // pyramid[0] for p in pyramid]
    stages = []
    for width, wider in zip(widths, [*widths[1:], 0], strict=True):
        form = draw(st.sampled_from(["plain", "bottleneck"]))
        group_width = draw(st.sampled_from([k for k in (8, 16) if width % k == wider % k == 0]))
        groups = width // group_width
        steps = max(groups, (wider - width) // group_width)
        stages.append(
            Stage(
                blocks=draw(st.integers(1, 2)),
                group_width=group_width,
                window=draw(patterns(groups, steps) if any_pattern else windows),
                form=form,
                subgroups=draw(st.sampled_from([1, 2, 4])) if form == "bottleneck" else 1,
            )
        )
    return Architecture(stages=tuple(stages), widening=widening, pyramid=pyramid)
