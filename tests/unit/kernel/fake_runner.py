"""Runners that answer what they were told to, and refuse everything else."""

from collections.abc import Callable, Mapping, Sequence

from replication.kernel.run import NOTHING

Answer = str | Exception | Callable[[Sequence[str]], str]


class FakeRunner:
    """Answers by the beginning of the command line; an unexpected command fails the test."""

    def __init__(self, answers: dict[tuple[str, ...], Answer] | None = None) -> None:
        self.answers = answers or {}
        self.calls: list[tuple[str, ...]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> str:
        assert timeout > 0
        self.calls.append(tuple(argv))
        for beginning in sorted(self.answers, key=len, reverse=True):
            if tuple(argv[: len(beginning)]) == beginning:
                return _give(self.answers[beginning], argv)
        raise AssertionError(f"unexpected command: {' '.join(argv)}")


def _give(answer: Answer, argv: Sequence[str]) -> str:
    if isinstance(answer, Exception):
        raise answer
    return answer if isinstance(answer, str) else answer(argv)
