"""Random windows and architectures for hypothesis, small enough to enumerate by hand."""

from hypothesis import strategies as st

from seqconv.aggregation import DENSE, Window
from seqconv.architecture import Architecture, Stage

windows = st.one_of(
    st.just(DENSE),
    st.integers(1, 40).map(lambda groups: Window(groups=groups)),
    st.floats(min_value=0.01, max_value=8).map(lambda ratio: Window(ratio=ratio)),
)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Valid architectures of one to three stages, up to 192 channels in groups of 8 or 16."""
    pyramid = draw(st.sampled_from([(1,), (1, 2), (2, 4), (1, 3), (1, 2, 4), (2, 4, 8)]))
    stages = []
    for _ in pyramid:
        form = draw(st.sampled_from(["plain", "bottleneck"]))
        stages.append(
            Stage(
                blocks=draw(st.integers(1, 2)),
                group_width=draw(st.sampled_from([8, 16])),
                window=draw(windows),
                form=form,
                subgroups=draw(st.sampled_from([1, 2, 4])) if form == "bottleneck" else 1,
            )
        )
    return Architecture(stages=tuple(stages), widening=draw(st.integers(1, 3)), pyramid=pyramid)
