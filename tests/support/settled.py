"""Rounds in which cases took turns, for questions about them."""

from bench.records import Case, Measurement, Stages
from support.records import measurement

WOBBLE = (1.0, 1.01, 0.99, 1.005, 0.995)  # factors of the rounds


def took_turns(case: Case, ms: float, count: int = 3, **changes: object) -> list[Measurement]:
    """Rounds of a case at `ms`, each in the sitting of its number; 2 s of stages."""
    return [
        measurement(
            case,
            number,
            samples_s=[ms / 1e3 * WOBBLE[number % len(WOBBLE)]] * 3,
            **{"sitting": number, "stages_s": Stages(build=2.0), **changes},
        )
        for number in range(1, count + 1)
    ]
