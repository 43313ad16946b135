"""The shapes of `/yard/v1`, for the server and the SDK alike: requests refuse unknown fields, replies tolerate them.

`gpuyard.wire.InstanceView` and the like are loaded when first used, so that a client which only builds a URL does not pay
for pydantic; each module can be imported by its own name too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuyard.wire.accounts import AccountMade as AccountMade
    from gpuyard.wire.accounts import AccountView as AccountView
    from gpuyard.wire.accounts import KeyMade as KeyMade
    from gpuyard.wire.accounts import KeyView as KeyView
    from gpuyard.wire.accounts import MemberView as MemberView
    from gpuyard.wire.accounts import MeView as MeView
    from gpuyard.wire.base import ErrorBody as ErrorBody
    from gpuyard.wire.base import ErrorReply as ErrorReply
    from gpuyard.wire.base import Page as Page
    from gpuyard.wire.executions import ExecutionView as ExecutionView
    from gpuyard.wire.executions import Record as Record
    from gpuyard.wire.inside import AppView as AppView
    from gpuyard.wire.inside import FileEntry as FileEntry
    from gpuyard.wire.inside import FileListing as FileListing
    from gpuyard.wire.inside import KernelView as KernelView
    from gpuyard.wire.inside import SamplesView as SamplesView
    from gpuyard.wire.inside import TerminalView as TerminalView
    from gpuyard.wire.inside import Unpacked as Unpacked
    from gpuyard.wire.instances import GpuView as GpuView
    from gpuyard.wire.instances import InstanceUsage as InstanceUsage
    from gpuyard.wire.instances import InstanceView as InstanceView
    from gpuyard.wire.instances import LimitsView as LimitsView
    from gpuyard.wire.instances import OpenView as OpenView
    from gpuyard.wire.instances import PlacementView as PlacementView
    from gpuyard.wire.instances import WhyView as WhyView
    from gpuyard.wire.yard import BalanceView as BalanceView
    from gpuyard.wire.yard import EventView as EventView
    from gpuyard.wire.yard import GpuKind as GpuKind
    from gpuyard.wire.yard import LedgerEntryView as LedgerEntryView
    from gpuyard.wire.yard import OfferView as OfferView
    from gpuyard.wire.yard import ProviderView as ProviderView
    from gpuyard.wire.yard import UsageView as UsageView

_MODULES = ("instances", "executions", "inside", "yard", "accounts", "base")


def __getattr__(name: str) -> object:
    if name[:1].isupper():
        for module in _MODULES:
            found = getattr(import_module(f"gpuyard.wire.{module}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module 'gpuyard.wire' has no attribute {name!r}")
