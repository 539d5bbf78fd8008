import pytest

from seqconv.architecture import BASE_WIDTH
from seqconv.networks.presets import FAMILIES, PRESETS, preset


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"^preset must be one of cifar_plain, .*, got 'seqresnet_b21' \(did you mean"):
        preset("seqresnet_b21")


def test_presets_differ() -> None:
    assert len({architecture.fingerprint() for architecture in PRESETS.values()}) == len(PRESETS)


def test_a_preset_says_its_family_and_the_family_its_data_set() -> None:
    assert set(FAMILIES) == set(BASE_WIDTH)
    defaults = {name: (FAMILIES[a.family].resolution, FAMILIES[a.family].classes) for name, a in PRESETS.items()}
    assert {name for name, of in defaults.items() if of == (32, 10)} == {n for n in PRESETS if n.startswith("cifar")}
    assert {name for name, of in defaults.items() if of == (224, 1000)} == {n for n in PRESETS if n.startswith("seq")}
