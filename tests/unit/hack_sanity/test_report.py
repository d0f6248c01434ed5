import json

from hack.sanity.suite import Wish, parse_report

MESSAGE = """Unexpected error:
    <*status.Error | 0x39c270a06638>:
    rpc error: code = NotFound desc = volume v1 does not exist
    {
        s: {state: {}},
    }
occurred"""


def spec(name: str, state: str, message: str = "", leaf: str = "It") -> dict[str, object]:
    found: dict[str, object] = {
        "ContainerHierarchyTexts": ["Controller Service", "CreateVolume"], "LeafNodeType": leaf,
        "LeafNodeText": name, "State": state, "RunTime": 1_500_000_000,
    }  # fmt: skip
    return found | ({"Failure": {"Message": message}} if message else {})


def test_a_report_is_told_apart_into_passed_skipped_and_failed() -> None:
    specs = [
        spec("works", "passed"), spec("clones", "skipped", "Volume Cloning not supported"),
        spec("deletes", "failed", MESSAGE), spec("waits", "timedout"), spec("later", "pending"),
        spec("", "passed", leaf="BeforeSuite"),
    ]  # fmt: skip
    outcome = parse_report(json.dumps([{"SpecReports": specs, "RunTime": 90e9}]), Wish("mount", 3))
    assert [each.name for each in outcome.passed] == ["Controller Service CreateVolume works"]
    assert dict(outcome.reasons()) == {
        "Volume Cloning not supported": 1,
        "pending in the suite itself: Controller Service CreateVolume later": 1,
    }
    assert [each.state for each in outcome.failed] == ["failed", "timedout"]
    assert outcome.failed[0].why == "rpc error: code = NotFound desc = volume v1 does not exist"
    assert outcome.seconds == 90
