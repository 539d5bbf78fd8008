from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain, islice

from hypothesis import given
from hypothesis import strategies as st

from training.full.image_order import EvaluationOrder, Key, TrainOrder

ORDER = TrainOrder(images=50, size=4, accumulate=1, epochs=3, rank=0, world=1, seed=0)


def epoch(order: TrainOrder, number: int) -> list[list[Key]]:
    return list(islice(order.batches(number, 0), order.steps))


@st.composite
def train_orders(draw: st.DrawFn) -> TrainOrder:
    size, accumulate, world = (draw(st.integers(1, 4)) for _ in range(3))
    images = draw(st.integers(size * accumulate * world, 80))
    return TrainOrder(
        images=images, size=size, accumulate=accumulate, epochs=3, rank=0, world=world, seed=draw(st.integers(0, 9))
    )


@given(train_orders())
def test_an_epoch_has_each_image_at_most_once_over_all_processes(order: TrainOrder) -> None:
    keys = list(chain.from_iterable(chain(*(epoch(replace(order, rank=r), 2) for r in range(order.world)))))
    batch = order.size * order.accumulate * order.world
    assert set(Counter(keys).values()) == {1}
    assert len(keys) == order.images // batch * batch
    assert {number for number, _ in keys} == {2}
    assert {index for _, index in keys} <= set(range(order.images))


@given(train_orders())
def test_how_a_batch_is_divided_does_not_change_it(order: TrainOrder) -> None:
    parts = order.accumulate * order.world
    whole = replace(order, size=order.size * parts, accumulate=1, world=1)
    divided = [epoch(replace(order, rank=rank), 1) for rank in range(order.world)]
    assert len(divided[0]) == order.steps == whole.steps * order.accumulate
    in_turn = list(chain(*zip(*divided, strict=True)))
    assert [
        list(chain(*in_turn[first : first + parts])) for first in range(0, len(in_turn), parts)
    ] == epoch(whole, 1)  # fmt: skip


@given(train_orders(), st.integers(1, 3), st.data())
def test_any_batch_can_be_the_first(order: TrainOrder, number: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, order.steps))
    everything = list(order.batches(1, 0))
    assert list(order.batches(number, start)) == everything[(number - 1) * order.steps + start :]


def test_the_order_follows_from_seed_and_epoch() -> None:
    assert epoch(ORDER, 1) == epoch(replace(ORDER, epochs=9), 1)
    orders = [[index for _, index in chain(*epoch(order, number))]
              for order in (ORDER, replace(ORDER, seed=1)) for number in (1, 2)]  # fmt: skip
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) != order for order in orders)


def test_left_over_images_come_in_another_epoch() -> None:
    left = [set(range(50)) - {index for _, index in chain(*epoch(ORDER, number))} for number in (1, 2, 3)]
    assert [len(images) for images in left] == [2, 2, 2]
    assert not set.intersection(*left)


def test_nothing_is_read_ahead_of_the_last_epoch() -> None:
    assert len(list(ORDER.batches(3, 5))) == ORDER.steps - 5
    assert len(list(ORDER.batches(4, 5))) == ORDER.steps - 5


@given(st.integers(0, 40), st.integers(1, 7), st.integers(1, 5))
def test_a_test_has_each_image_once_over_all_processes(images: int, size: int, world: int) -> None:
    orders = [EvaluationOrder(images=images, size=size, rank=rank, world=world) for rank in range(world)]
    batches = [list(order.batches(64, 0)) for order in orders]
    assert Counter(chain(*chain(*batches))) == Counter((64, index) for index in range(images))
    for order, of_process in zip(orders, batches, strict=True):
        assert len(of_process) == order.steps
        assert [len(batch) for batch in of_process[:-1]] == [size] * (order.steps - 1 if order.steps else 0)
        assert list(order.batches(64, order.steps // 2)) == of_process[order.steps // 2 :]
