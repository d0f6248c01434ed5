"""Mutants of what is done in Kubernetes: pods, nodes, claims, certificates."""

from tests.mutants import disks, mistakes
from tests.mutants.mutant import Mutant

OPERATOR = "tests/unit/csi/operator"
REMOVAL = "tests/unit/control/test_disk_removal.py"
FAILOVER = "tests/unit/csi/failover/test_deciding.py"

CLUSTER = (
    Mutant(
        "any pod gets the certificate of any node",
        "csi.certificates.judging:judge",
        mistakes.signs_for_anybody,
        ("tests/unit/csi/certificates",),
    ),
    Mutant(
        "an uninstallation takes data that nobody said to take",
        "csi.removal.planning:make_plan",
        mistakes.removes_unasked,
        ("tests/unit/csi/removal",),
    ),
    Mutant(
        "a drain that any replica may follow",
        "csi.operator.letting_go:count_needed",
        mistakes.returns(0),
        (f"{OPERATOR}/test_letting_go.py",),
    ),
    Mutant(
        "a disk is taken out of its pool before its replicas have moved",
        "replication.control.emptying:Emptying._require_unneeded",
        mistakes.returns(None),
        (REMOVAL,),
    ),
    Mutant(
        "a disk that was taken out is taken again at once",
        "replication.control.cordons:shut_disks",
        disks.shut_ignored,
        (f"{OPERATOR}/test_choosing.py", REMOVAL),
    ),
    Mutant(
        "what nodes did not have before a record was written is missing",
        "csi.operator.describing:_find_ailments",
        mistakes.believes_old_facts,
        (f"{OPERATOR}/test_describing.py",),
    ),
    Mutant(
        "pods freed of volumes that are not fenced",
        "csi.failover.deciding:_find_stranded",
        mistakes.returns_volumes,
        (FAILOVER,),
    ),
    Mutant(
        "a node given up whose peers do not know it",
        "csi.failover.deciding:_is_missed",
        mistakes.returns(True),
        (FAILOVER,),
    ),
    Mutant(
        "a node given up whose kubelet is well",
        "csi.failover.deciding:_is_lease_over",
        mistakes.returns(True),
        (FAILOVER,),
    ),
    Mutant(
        "a claim met whose owner has not said that its data may go",
        "csi.claims:judge",
        mistakes.returns(None),
        ("tests/unit/csi/test_claims.py",),
    ),
    Mutant(
        "a node retired whose volumes are not fenced",
        "csi.failover.deciding:_may_retire",
        mistakes.returns(True),
        (FAILOVER,),
    ),
    Mutant(
        "a node retired whose pods use volumes that nobody has fenced",
        "csi.failover.strangers:_is_harmless",
        mistakes.returns(True),
        ("tests/unit/csi/failover/test_strangers.py",),
    ),
    Mutant(
        "a dead node's pod forgotten since nothing is attached for it",
        "csi.failover.scene:Scene._find_unattached",
        mistakes.returns(()),
        ("tests/unit/csi/failover/test_scene.py",),
    ),
    Mutant(
        "a node given up on one peer's word",
        "csi.failover.deciding:_is_missed",
        mistakes.one_witness,
        (FAILOVER,),
    ),
    Mutant(
        "nodes given up while most are silent",
        "csi.failover.deciding:_why_held",
        mistakes.returns(""),
        (FAILOVER,),
    ),
    Mutant(
        "all dead nodes given up at once",
        "csi.failover.deciding:_choose_marks",
        mistakes.at_any_pace,
        (FAILOVER,),
    ),
    Mutant(
        "a drain below the minimum of replicas in sync",
        "csi.operator.letting_go:count_needed",
        mistakes.minimum_ignored,
        (f"{OPERATOR}/test_letting_go.py",),
    ),
    Mutant(
        "a node that was let go counts as there",
        "csi.operator.letting_go:choose_waits",
        mistakes.nobody_is_gone,
        (f"{OPERATOR}/test_letting_go.py",),
    ),
    Mutant(
        "a node leaves by a list of records that is behind",
        "csi.operator.nodes:Nodes._read_volumes_on",
        mistakes.reads_lists,
        (f"{OPERATOR}/test_leaving.py",),
    ),
)
