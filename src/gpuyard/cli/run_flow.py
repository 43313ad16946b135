"""`gpuyard run`, step by step: order, wait, send, run, fetch, give back, bill. The giving back is never left out."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuyard.cli.amounts import show_bytes, show_gpus, show_money
from gpuyard.cli.bill import Bill
from gpuyard.cli.errand import Errand
from gpuyard.cli.failures import CliError, ExitStatus, Failure, debugging, failure_of
from gpuyard.cli.interruptions import Interrupted, Interruptions
from gpuyard.cli.output import Output
from gpuyard.cli.progress import WaitingWords
from gpuyard.cli.run_plan import RunPlan, Transfer
from gpuyard.cli.screen import Screen, jsonable
from gpuyard.cli.transfers import download, upload

if TYPE_CHECKING:
    from gpuyard import Client
    from gpuyard.sdk import ExecutionFollower, Instance

STOPPED_BY_LIMIT = ("limit", "idle", "balance")
"""Words of the yard's reasons for stopping an instance by itself."""


@dataclass
class Outcome:
    status: int = ExitStatus.OK
    failure: Failure | None = None
    execution_id: str | None = None
    exit_code: int | None = None
    """The script's own; None where it did not get to its end."""
    downloads: list[dict[str, Any]] = field(default_factory=list)
    bill: Bill | None = None
    kept: bool = False

    def fail(self, failure: Failure) -> None:
        """The first failure is the cause; later ones are its company."""
        if self.failure is None:
            self.failure, self.status = failure, failure.status

    def as_json(self, instance: Instance | None) -> dict[str, Any]:
        value: dict[str, Any] = {
            "exit_status": int(self.status),
            "exit_code": self.exit_code,
            "execution_id": self.execution_id,
            "instance": None if instance is None else jsonable(instance.view),
            "kept": self.kept,
            "downloads": self.downloads,
            "bill": None if self.bill is None else self.bill.as_json(),
        }
        return value | (self.failure.as_json() if self.failure is not None else {})


@dataclass(frozen=True)
class RunOptions:
    plan: RunPlan
    order: Mapping[str, Any]
    """What `instances.create` takes."""
    key: str
    keep: bool = False
    detach: bool = False


class Run:
    """One `gpuyard run`. `perform` returns its exit status and raises nothing that is expected."""

    def __init__(self, screen: Screen, client: Client, options: RunOptions) -> None:
        self._screen = screen
        self._options = options
        self._errand = Errand(client, options.order, options.key)
        self._outcome = Outcome()
        self._execution: ExecutionFollower | None = None

    def perform(self) -> int:
        outcome = self._outcome
        with Interruptions(
            lambda: self._screen.warn("still giving the instance back; a moment"),
            lambda: self._screen.warn("an order is on its way: a moment, or press again"),
        ) as interruptions:
            try:
                try:
                    self._work(interruptions)
                finally:
                    # a signal right here is raised once more, at most: then the outer blocks run undisturbed
                    interruptions.hold()
            except Interrupted as interrupted:
                outcome.status = interrupted.status
                self._screen.say(f"interrupted ({interrupted.number.name})")
            except Exception as error:
                if debugging():
                    traceback.print_exc()
                outcome.fail(self._explain(error))
            finally:
                self._settle()
        self._report()
        return int(outcome.status)

    def _work(self, interruptions: Interruptions) -> None:
        with interruptions.deferred():
            instance = self._errand.order()
        self._until_running(instance)
        plan = self._options.plan
        for transfer in plan.uploads:
            self._upload(instance, transfer)
        if plan.preparation is not None:
            self._prepare(instance, plan.preparation)
        self._execution = instance.submit(plan.argv, name=plan.title)
        self._outcome.execution_id = self._execution.id
        if self._options.detach:
            return
        self._follow(instance, self._execution)
        for transfer in plan.downloads:
            self._download(instance, transfer)

    def _until_running(self, instance: Instance) -> None:
        price = instance.price_per_hour_micro
        what = show_gpus(instance.gpus) if instance.gpus else "no GPU"
        with self._screen.stage(f"{instance.name}: ordered {what}") as tell:
            words = WaitingWords(instance.name)
            instance.wait_until_running(on_progress=lambda progress: tell(words.of(progress)))
        price = instance.price_per_hour_micro
        where = f"{instance.provider}, {show_money(price, instance.currency)} per hour"
        self._screen.say(f"{instance.name}: {show_gpus(instance.gpus)} from {where}")
        if instance.simulated:
            self._screen.say("this GPU is simulated: the script runs on the CPU")

    def _upload(self, instance: Instance, transfer: Transfer) -> None:
        with self._screen.transfer(f"uploading {transfer.there}") as progress:
            sent = upload(instance, transfer.here, transfer.there, progress)
        self._screen.say(f"uploaded {transfer.there} ({show_bytes(sent)})")

    def _prepare(self, instance: Instance, argv: tuple[str, ...]) -> None:
        self._screen.say(f"installing {argv[-1]}")
        output = Output(all_to_stderr=True)
        output.write_all(instance.submit(argv, name="requirements").follow())
        if output.exit_code != 0:
            raise CliError(
                f"pip could not install {argv[-1]} (exit code {output.exit_code})",
                status=ExitStatus.USAGE,
                hint="its words are above; correct the requirements file",
                code="requirements",
            )

    def _follow(self, instance: Instance, execution: ExecutionFollower) -> None:
        output = Output(all_to_stderr=self._screen.as_json)
        try:
            output.write_all(execution.follow())
        finally:
            output.end_line()
        if output.exit_code is None:
            raise self._ended_early(instance, output.reason)
        self._outcome.exit_code = output.exit_code
        self._outcome.status = _status_of(output.exit_code)
        if output.exit_code != 0:
            # a limit ends programs before the instance: then it is the limit that ended the run
            early = self._ended_early(instance, output.reason)
            if early.status is ExitStatus.LIMIT:
                raise early

    def _ended_early(self, instance: Instance, reason: str) -> CliError:
        """The script did not get to its end: because of a limit, somebody, or the machine."""
        instance.refresh()
        state, why = str(instance.state), instance.state_reason
        if state in ("stopping", "stopped") and any(word in why for word in STOPPED_BY_LIMIT):
            hint = "raise the limit (--max-cost, --max-duration), or keep the disk with --keep and start it again"
            return CliError(f"stopped: {why}", status=ExitStatus.LIMIT, hint=hint, code="limit_reached")
        told = why or reason or f"the instance is {state}"
        hint = f"`gpuyard instances why {instance.short_id}` tells what is known"
        return CliError(f"the script did not end by itself: {told}", status=ExitStatus.LOST, hint=hint, code="lost")

    def _download(self, instance: Instance, transfer: Transfer) -> None:
        try:
            with self._screen.transfer(f"downloading {transfer.there}") as progress:
                received = download(instance, transfer.there, transfer.here, progress)
        except Exception as error:
            failure = failure_of(error)
            if failure.code != "not_found":
                raise
            if self._outcome.exit_code:
                self._screen.say(f"{transfer.there} was not written")
                return
            self._outcome.fail(
                Failure(
                    f"the script wrote no {transfer.there}",
                    ExitStatus.NOT_FOUND,
                    "not_found",
                    "--out names a path below the directory the script runs in",
                )
            )
            return
        self._outcome.downloads.append({"from": transfer.there, "to": str(transfer.here), "bytes": received})
        self._screen.say(f"downloaded {_short(transfer.here)} ({show_bytes(received)})")

    def _explain(self, error: Exception) -> Failure:
        """An error while working; when a limit has stopped the instance meanwhile, that is the reason."""
        failure = failure_of(error)
        instance = self._errand.instance
        if instance is None or failure.status in (ExitStatus.LIMIT, ExitStatus.USAGE, ExitStatus.CANNOT_WRITE):
            return failure
        try:
            early = self._ended_early(instance, "")
        except Exception:
            return failure
        return failure_of(early) if early.status is ExitStatus.LIMIT else failure

    def _settle(self) -> None:
        """Give the instance back, or say how to; then ask what it cost. Nothing gets in between any more."""
        instance, outcome = self._errand.instance, self._outcome
        started = self._execution is not None
        if instance is not None and started and (self._options.keep or (self._options.detach and not outcome.failure)):
            self._keep(instance)
        elif self._errand.to_release:
            name = instance.name if instance is not None else "the instance"
            try:
                with self._screen.stage(f"giving {name} back") as tell:
                    self._errand.release(tell)
            except Exception as error:
                failure = failure_of(error)
                outcome.fail(failure)
                if outcome.failure is not failure and not self._screen.as_json:
                    self._screen.failure(failure)
        self._ask_for_bill()

    def _keep(self, instance: Instance) -> None:
        self._outcome.kept = True
        if self._execution is not None and self._outcome.status in (130, 143, 129):
            try:
                self._execution.signal("INT")
            except Exception as error:
                self._screen.warn(f"the script may run on: {failure_of(error).message}")
        if self._options.detach:
            self._screen.say(f"it runs on: `gpuyard instances logs {instance.name} --follow`")
        self._screen.say(f"{instance.name} is kept and costs: `gpuyard instances rm {instance.name}` deletes it")

    def _ask_for_bill(self) -> None:
        instance = self._errand.instance
        if instance is None or self._options.detach:
            return
        try:
            self._outcome.bill = Bill.of(instance.view, instance.usage())
        except Exception as error:
            self._screen.warn(f"no bill: {failure_of(error).message}")

    def _report(self) -> None:
        screen, outcome = self._screen, self._outcome
        if screen.as_json:
            screen.result(outcome.as_json(self._errand.instance))
            return
        if outcome.bill is not None:
            for name, text in outcome.bill.lines():
                screen.say(f"{name:<12} {text}")
        if outcome.failure is not None:
            screen.failure(outcome.failure)
        elif outcome.exit_code:
            screen.say(f"the script ended with exit code {outcome.exit_code}")


def _status_of(exit_code: int) -> int:
    """A program killed by signal N is told as 128 + N, as shells do."""
    return 128 - exit_code if exit_code < 0 else exit_code & 0xFF


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
