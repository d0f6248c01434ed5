"""docs/csi.md says what the plugin advertises, and which codes it gives."""

import re
from pathlib import Path

import pytest

from csi import controller, node
from csi.capabilities import MODES, _name_mode
from csi.errors import CODES
from csi.parameters import KNOWN

TEXT = (Path(__file__).parents[3] / "docs/csi.md").read_text()
CONTROLLER, NODE = controller.CAPABILITY.RPC.Type, node.CAPABILITY.RPC.Type


@pytest.mark.parametrize(
    ("service", "names"),
    [
        ("controller", [CONTROLLER.Name(kind) for kind in controller.CAPABILITIES]),
        ("node", [NODE.Name(kind) for kind in node.CAPABILITIES]),
    ],
)
def test_the_capabilities_are_those_that_are_advertised(service: str, names: list[str]) -> None:
    assert re.findall(rf"^\| {service} \| (\w+) \| yes \|", TEXT, re.MULTILINE) == names


def test_the_codes_are_those_that_can_be_given() -> None:
    listed = re.findall(r"^\| ([A-Z_]+) \|", TEXT, re.MULTILINE)
    assert set(listed) == {code.name for code in CODES.values()}


def test_every_parameter_and_mode_is_explained() -> None:
    assert [key for key in KNOWN if f"`{key}`" not in TEXT] == []
    assert [mode for mode in MODES if _name_mode(mode) not in TEXT] == []
