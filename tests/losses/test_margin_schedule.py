import math

import pytest

from mvector.errors import ConfigError
from mvector.losses import AAMLoss, CELoss, MarginScheduler


def schedule(loss=None, **arguments):
    defaults = {"steps_per_epoch": 10, "increase_start_epoch": 2, "fix_epoch": 6}
    return MarginScheduler(loss or AAMLoss(), **{**defaults, "initial_margin": 0.1, "final_margin": 0.5, **arguments})


@pytest.mark.parametrize("increase_type", ["exp", "linear"])
def test_margin_at_every_step(increase_type):
    loss = AAMLoss()
    scheduler = schedule(loss, increase_type=increase_type)
    assert loss.margin == 0.1
    for step in range(80):
        done = min(max((step - 20) / 40, 0), 1)
        if step >= 60:
            expected = 0.5
        elif increase_type == "linear":
            expected = 0.1 + 0.4 * done
        else:
            expected = 0.1 + 0.4 * (1 - math.exp(-math.log(1000) * done))
        scheduler.step(step)
        assert scheduler.margin == loss.margin == pytest.approx(expected, abs=1e-9)


def test_margin_depends_on_the_step_alone():
    one, other = schedule(), schedule()
    for step in range(45):
        one.step(step)
    other.step(44)
    assert one.margin == other.margin


def test_no_epochs_of_increase_is_a_jump():
    scheduler = schedule(increase_start_epoch=3, fix_epoch=3)
    scheduler.step(29)
    assert scheduler.margin == 0.1
    scheduler.step(30)
    assert scheduler.margin == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": CELoss()}, "CELoss has no margin to schedule: set use_margin_scheduler to False"),
        ({"increase_type": "cubic"}, "must be one of exp, linear, found 'cubic'"),
        ({"fix_epoch": 1}, "must not come before"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        schedule(**arguments)
