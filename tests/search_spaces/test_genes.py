import pytest

from search_spaces.genes import parse_genes
from seqconv import DENSE, Window
from seqconv.aggregation import Dilated, Pattern
from tests.search_spaces.examples import categorical, integer, real


def test_constants_are_parsed() -> None:
    genes = parse_genes({"widening": 4, "stage1.window": "0.5G", "stage1.form": "plain"})
    assert [gene.value({}) for gene in genes.values()] == [4, Window(ratio=0.5), "plain"]
    assert [gene.to_plain() for gene in genes.values()] == [4, "0.5G", "plain"]


@pytest.mark.parametrize(
    ("window", "value", "expected"),
    [
        (real(0.25, 2, step=0.25), 0.5, Window(ratio=0.5)),
        (real(1, 2, step=1), 2.0, Window(ratio=2)),
        (integer(1, 8), 2, Window(groups=2)),
        (categorical("0.5G", 3, "dense"), "0.5G", Window(ratio=0.5)),
        (categorical("0.5G", 3, "dense"), 3, Window(groups=3)),
        (categorical("0.5G", 3, "dense"), "dense", DENSE),
        (categorical("log", "dilated(4, 2)"), "dilated(4, 2)", Dilated(Window(groups=4), 2)),
    ],
)
def test_a_window_knob_is_a_ratio_groups_or_what_is_written(window: dict, value: object, expected: Pattern) -> None:
    gene = parse_genes({"stage1.window": window})["stage1.window"]
    assert gene.value({"stage1.window": value}) == expected


@pytest.mark.parametrize(("field", "otherwise"), [("form", "plain"), ("subgroups", 1), ("window", Window(ratio=1))])
def test_where_a_condition_does_not_hold_the_default_of_a_stage_does(field: str, otherwise: object) -> None:
    choices = {"form": ["bottleneck"], "subgroups": [2], "window": ["dense"]}[field]
    knob = categorical(*choices, when={"stage1.blocks": [2]})
    genes = parse_genes({"stage1.blocks": integer(1, 2), f"stage1.{field}": knob})
    assert genes[f"stage1.{field}"].value({"stage1.blocks": 1}) == otherwise


def test_otherwise_is_part_of_the_plain_form() -> None:
    knob = real(0.5, 1, when={"stage1.blocks": [2]}, otherwise="dense")
    gene = parse_genes({"stage1.blocks": integer(1, 2), "stage1.window": knob})["stage1.window"]
    assert gene.value({}) == DENSE
    assert gene.to_plain()["otherwise"] == "dense"


@pytest.mark.parametrize(("form", "is_knob"), [("bottleneck", True), ("plain", False)])
def test_a_condition_on_a_constant_is_resolved(form: str, is_knob: bool) -> None:
    knob = categorical(1, 2, 4, when={"stage1.form": ["bottleneck"]})
    gene = parse_genes({"stage1.form": form, "stage1.subgroups": knob})["stage1.subgroups"]
    assert (gene.knob is not None) is is_knob
    assert gene.to_plain() == ({**categorical(1, 2, 4), "name": "stage1.subgroups"} if is_knob else 1)


def test_a_condition_on_a_knob_that_a_constant_switched_off_is_resolved_too() -> None:
    genes = parse_genes(
        {
            "stage1.form": "plain",
            "stage1.subgroups": categorical(2, 4, when={"stage1.form": ["bottleneck"]}),
            "stage1.blocks": integer(2, 3, when={"stage1.subgroups": [2]}, otherwise=1),
        }
    )
    assert [gene.knob for gene in genes.values()] == [None, None, None]
    assert genes["stage1.blocks"].value({}) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stage1.blocks": 0}, "stage1.blocks: blocks must be an integer at least 1, got 0"),
        ({"stage1.blocks": integer(0, 2)}, "stage1.blocks: blocks must be an integer at least 1, got 0"),
        ({"stage1.blocks": categorical(1, "2")}, "stage1.blocks: blocks must be an integer at least 1, got '2'"),
        ({"stage1.blocks": real(1, 2)},
         "stage1.blocks: takes a constant or a categorical or integer knob, got a float knob"),
        ({"stage1.form": integer(1, 2)},
         "stage1.form: takes a constant or a categorical knob, got a knob of type integer"),
        ({"stage1.form": categorical("plain", "bottlneck")},
         "stage1.form: form must be one of plain, bottleneck, got 'bottlneck' (did you mean bottleneck?)"),
        ({"stage1.window": 0.5},
         "stage1.window: window must be a number of groups such as 4, a ratio of the input groups such as 0.5G, "),
        ({"stage1.window": categorical("dense", "logg")}, "stage1.window: window must be "),
        ({"stage1.window": categorical("dilated(4)")},
         "stage1.window: window dilated(4): it must be written as dilated(window, dilation)"),
        ({"stage1.window": real(0, 1)}, "stage1.window: window ratio must be a number above 0"),
        ({"stage1.window": integer(0, 4)}, "stage1.window: window in groups must be an integer"),
        ({"stage1.window": real(2, 1)}, "stage1.window: low 2.0 is above high 1.0"),
        ({"stage1.window": {"type": "flaot", "low": 1, "high": 2}},
         "stage1.window: type must be one of categorical, integer, float, got 'flaot' (did you mean float?)"),
        ({"widening": "wide"}, "widening: widening must be an integer at least 1, got 'wide'"),
        ({"stage1.window": real(1, 2, otherwise="dense")},
         "stage1.window: otherwise needs a condition: add when, or leave it out"),
        ({"stage1.form": categorical("plain"), "stage1.blocks": integer(1, 2, when={"stage1.form": ["plain"]})},
         "stage1.blocks: a knob with a condition needs otherwise, the value where that does not hold"),
        ({"stage1.form": "plain", "stage1.subgroups": categorical(2, when={"stage1.form": ["bottlneck"]})},
         "stage1.form: form must be one of plain, bottleneck, got 'bottlneck' (did you mean bottleneck?)"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used(settings: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_genes(settings)
    assert str(error.value).startswith(message)
