"""Calls that are tried again."""

import random
import time


class GaveUp(Exception):
    """Raised after the last try."""


class Policy:
    """When to try again, and how long to wait before."""

    def __init__(self, most: int = 5, first: float = 0.1, longest: float = 10.0) -> None:
        if most < 1:
            raise ValueError("most must be at least 1")
        self.most = most
        self.first = first
        self.longest = longest

    def delay(self, tries: int) -> float:
        """Seconds before the next try: doubled each time, with jitter, never above the longest."""
        wait = min(self.longest, self.first * 2**tries)
        return random.uniform(wait / 2, wait)

    def describe(self) -> str:
        """A line for logs."""
        return f"{self.most} tries, {self.first} to {self.longest} s"


def run(work, policy: Policy):
    """Call `work` until it returns; raises GaveUp with the last error."""
    for tries in range(policy.most):
        try:
            return work()
        except OSError as e:
            last = e
            time.sleep(policy.delay(tries))
    raise GaveUp(str(last)) from last


def main() -> None:
    """An example for the shell."""
    print(Policy().describe())
    print(run(lambda: 42, Policy()))
