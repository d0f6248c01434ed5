"""The demo's story, as `make demo` tells it: machines die under a volume; nothing acknowledged is lost."""

import pytest

from hack.checker.collector import Collector
from hack.demo.story import Story, Told
from hack.lab.cluster import Cluster
from hack.lab.network import HOST_ADDRESS
from hack.lab.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.more]


def test_the_demos_story_goes_as_promised(cluster: Cluster) -> None:
    told: dict[str, float] = {}
    stalls: list[float] = []

    def tell(news: Told) -> None:
        print(f"{news.seconds:6.1f} s  {news.step}: {news.notable}")
        told[news.step] = news.seconds
        stalls.append(collector.stall())

    with Site(cluster) as site, Collector(HOST_ADDRESS) as collector:
        story = Story(cluster, site, collector, tell)
        verdict = story.run()
    assert list(told) == [step for step, _ in story.steps()]
    assert verdict.lost == ()
    assert verdict.checked > 1000
    of_m3 = [number for number, step in enumerate(told) if step.startswith("m3")]
    redundant_after = sum(list(told.values())[number] for number in of_m3)
    print(
        f"story demo checked {verdict.checked} lost {len(verdict.lost)} "
        f"longest-stall {stalls[of_m3[0]]:.1f} redundant-after {redundant_after:.1f}"
    )
