"""Values survive the wire, and the messages have exactly the fields of the dataclasses."""

import dataclasses
import inspect
import typing

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given
from hypothesis import strategies as st

from replication import model
from replication.errors import InvalidRequest
from replication.rpc.client import TIMEOUTS
from replication.rpc.convert import from_message, to_message
from replication.rpc.v1 import node_pb2 as pb
from tests.unit.rpc.shapes import METHODS, SERVICE, any_value, get_message_type, list_wire_types, snake

WIRE_TYPES = list_wire_types()


def test_the_contract_puts_the_known_types_on_the_wire() -> None:
    assert {model.NodeFacts, model.Target, model.ArrayReport, model.RejoinSpec} <= set(WIRE_TYPES)
    assert len(WIRE_TYPES) == 24


@pytest.mark.parametrize("value_type", WIRE_TYPES)
@given(data=st.data())
def test_every_value_survives_the_round_trip(value_type: type, data: st.DataObject) -> None:
    value = data.draw(any_value(value_type))
    message_type = get_message_type(value_type)
    sent = to_message(value, message_type).SerializeToString()
    assert from_message(message_type.FromString(sent), value_type) == value


@pytest.mark.parametrize("value_type", WIRE_TYPES)
def test_a_message_has_the_fields_of_its_dataclass_and_no_others(value_type: type) -> None:
    fields = [field.name for field in dataclasses.fields(value_type)]
    assert sorted(get_message_type(value_type).DESCRIPTOR.fields_by_name) == sorted(fields)


@pytest.mark.parametrize("value_type", WIRE_TYPES)
def test_a_field_that_may_be_none_knows_whether_it_was_set(value_type: type) -> None:
    for name, hint in typing.get_type_hints(value_type).items():
        descriptor = get_message_type(value_type).DESCRIPTOR.fields_by_name[name]
        nested = isinstance(hint, type) and dataclasses.is_dataclass(hint)
        assert descriptor.has_presence == (nested or type(None) in typing.get_args(hint)), name


def test_the_service_has_the_methods_of_the_contract() -> None:
    assert {snake(method.name) for method in SERVICE.methods} == set(METHODS)


def test_every_method_but_the_endless_one_has_a_deadline() -> None:
    assert set(TIMEOUTS) | {"Watch"} == {method.name for method in SERVICE.methods}


@pytest.mark.parametrize("method", list(SERVICE.methods), ids=lambda method: method.name)
def test_a_request_has_the_parameters_of_its_method(method: typing.Any) -> None:  # noqa: ANN401
    parameters = list(inspect.signature(METHODS[snake(method.name)]).parameters)[1:]
    hints = typing.get_type_hints(METHODS[snake(method.name)])
    if len(parameters) == 1 and dataclasses.is_dataclass(hints[parameters[0]]):
        assert method.input_type.name == hints[parameters[0]].__name__
    else:
        assert [field.name for field in method.input_type.fields] == parameters


def test_an_unknown_value_of_an_enumeration_is_an_error() -> None:
    message = pb.MemberReport(replica_id="r0", health="splendid")
    with pytest.raises(InvalidRequest, match=r"MemberHealth has no value 'splendid'"):
        from_message(message, model.MemberReport)


def test_a_missing_value_of_an_enumeration_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match=r"MemberHealth has no value ''"):
        from_message(pb.MemberReport(replica_id="r0"), model.MemberReport)


def test_a_missing_message_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="Prepared lacks facts"):
        from_message(pb.Prepared(boot_id="b"), model.Prepared)


def test_none_and_empty_are_told_apart() -> None:
    """On a message of protobuf's own that has an optional string, since no message of ours has one."""

    @dataclasses.dataclass(frozen=True)
    class Named:
        name: str | None

    assert from_message(FileDescriptorProto(), Named) == Named(None)
    assert from_message(to_message(Named(""), FileDescriptorProto), Named) == Named("")


@pytest.mark.parametrize("hint", [dict[str, str], str | int, tuple[str, int], object])
def test_a_type_that_has_no_place_on_the_wire_is_refused(hint: object) -> None:
    odd = dataclasses.make_dataclass("Odd", [("name", hint)])
    with pytest.raises(TypeError, match="cannot be put on the wire"):
        from_message(pb.DescribeRequest(), odd)
