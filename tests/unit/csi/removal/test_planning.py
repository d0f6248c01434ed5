"""What an uninstallation does next, as a function of what there is."""

from dataclasses import replace

import pytest

from csi.removal.planning import (
    DeleteClaim,
    DeletePool,
    LetGo,
    Persistent,
    Plan,
    Scene,
    Untaint,
    make_plan,
)

EMPTY = Scene((), (), (), ())
VOLUME = ("v1", "pvc-1")
BOUND = Persistent("pvc-1", "v1", "shop/data", retained=False, going=False)
POOL = ("trilith/nvme", False)
FULL = Scene((VOLUME,), (BOUND,), (POOL,), ("nvme",))


def test_controllers_stay_until_they_have_taken_their_guards_away() -> None:
    left = replace(EMPTY, guards=("trilith-guard-m1",))
    assert make_plan(left, everything=False) == Plan(waits=("trilith-guard-m1 is still there",))
    with_pool = replace(left, pools=(("trilith/nvme", True),), pool_records=("nvme",))
    assert make_plan(with_pool, everything=False).waits == ("pool trilith/nvme gives its disks back",)


@pytest.mark.parametrize("everything", [False, True])
def test_nothing_is_left_to_do_where_nothing_is(*, everything: bool) -> None:
    assert make_plan(EMPTY, everything=everything) == Plan()


def test_volumes_are_not_deleted_unless_that_is_said() -> None:
    plan = make_plan(FULL, everything=False)
    assert plan == Plan(refusal=plan.refusal)
    assert plan.refusal.startswith("there are volumes: pvc-1; delete them first, or set uninstall.removeEv")


def test_of_many_volumes_ten_are_named() -> None:
    many = replace(EMPTY, volumes=tuple((f"v{n}", f"pvc-{n}") for n in range(12)))
    refusal = make_plan(many, everything=False).refusal
    assert "pvc-9 and 2 more" in refusal
    assert "pvc-10" not in refusal


def test_pools_wait_until_the_last_volume_is_gone() -> None:
    plan = make_plan(FULL, everything=True)
    assert plan == Plan(
        (DeleteClaim("shop/data"),), ("volume pvc-1: claim shop/data is there as long as a pod uses it",)
    )


def test_a_claim_is_deleted_once() -> None:
    going = replace(FULL, persistent=(replace(BOUND, going=True),))
    assert make_plan(going, everything=True).steps == ()
    assert make_plan(going, everything=True).waits != ()


def test_what_was_to_be_retained_is_let_go_first() -> None:
    kept = replace(FULL, persistent=(replace(BOUND, retained=True),))
    assert make_plan(kept, everything=True).steps == (LetGo("pvc-1"), DeleteClaim("shop/data"))
    released = replace(FULL, persistent=(replace(BOUND, retained=True, claim=""),))
    plan = make_plan(released, everything=True)
    assert plan == Plan((LetGo("pvc-1"),), ("volume pvc-1 is being deleted",))


def test_a_volume_that_was_made_by_hand_has_to_go_by_hand() -> None:
    plan = make_plan(replace(FULL, persistent=()), everything=True)
    assert plan == Plan((), ("volume pvc-1 is not Kubernetes' own: `trilith volume delete pvc-1`",))


def test_a_persistent_volume_is_waited_for_when_its_record_has_gone() -> None:
    last = replace(FULL, volumes=())
    assert "there are volumes: pvc-1;" in make_plan(last, everything=False).refusal
    wait = "persistent volume pvc-1 is being deleted"
    assert make_plan(last, everything=True) == Plan((DeleteClaim("shop/data"),), (wait,))
    going = replace(last, persistent=(replace(BOUND, going=True),))
    assert make_plan(going, everything=True) == Plan((), (wait,))


@pytest.mark.parametrize("everything", [False, True])
def test_pools_without_volumes_give_their_disks_back(*, everything: bool) -> None:
    pools = replace(EMPTY, pools=(POOL,), pool_records=("nvme",))
    wait = "pool trilith/nvme gives its disks back"
    assert make_plan(pools, everything=everything) == Plan((DeletePool("trilith/nvme"),), (wait,))
    going = replace(pools, pools=(("trilith/nvme", True),))
    assert make_plan(going, everything=everything) == Plan((), (wait,))
    recorded = replace(EMPTY, pool_records=("nvme",))
    assert make_plan(recorded, everything=everything) == Plan((), ("pool nvme is still recorded",))


@pytest.mark.parametrize("everything", [False, True])
def test_nodes_that_were_given_up_are_welcomed_when_no_volume_is_left(*, everything: bool) -> None:
    given_up = replace(EMPTY, given_up=("m1", "m3"))
    assert make_plan(given_up, everything=everything).steps == (Untaint("m1"), Untaint("m3"))
    with_pool = replace(given_up, pools=(POOL,), pool_records=("nvme",))
    assert DeletePool("trilith/nvme") in make_plan(with_pool, everything=everything).steps
    assert make_plan(replace(FULL, given_up=("m1",)), everything=False).steps == ()
    assert make_plan(replace(FULL, given_up=("m1",)), everything=True).steps == (DeleteClaim("shop/data"),)
