"""What can go wrong with the lab itself, as opposed to what runs in it."""


class LabError(Exception):
    """The lab cannot do what was asked; the message says why and what helps."""


class MachineGone(LabError):  # noqa: N818 - named after the condition
    """The machine is off, or went away while it was being asked."""


class CommandFailed(LabError):  # noqa: N818 - named after the condition
    """A command in a guest did not end as expected; the message carries its output."""


class CommandTimedOut(CommandFailed):
    """A command in a guest, or a condition waited for, took longer than it may."""
