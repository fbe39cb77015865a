"""The way of a session through its phases: ready → recording → review → reset → ready, and what interrupts it.

Everything here happens in the loop's thread; what takes time is the clerk's. A transition that is not possible says so
and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from collectors.teleop.clerk import Clerk
from collectors.teleop.desk import Desk
from collectors.teleop.drive import Drive, actors
from collectors.teleop.messages import Phase
from collectors.teleop.plan import Plan
from collectors.teleop.safety import check_robot
from dataengine.robot import Device, Resettable, Robot

BACKOFF, BACKOFF_MOST = 0.5, 10.0  # [s] between tries to reach a lost robot, doubled each time
LEAST = 0.5  # [s] of an episode that is worth keeping when a fault ends it


class Course:
    """robot, drive, desk, plan: what it conducts. said: tells the person. now: the clock.

    `phase`, `why` it is held or faulty, `seed` and `task` of the scene, `instruction` of the next episode.
    """

    def __init__(
        self, robot: Robot, drive: Drive, desk: Desk, plan: Plan, said: Callable[[str], None], now: Callable[[], float]
    ) -> None:
        self.robot, self.drive, self.desk, self.plan, self.said, self.now = robot, drive, desk, plan, said, now
        self.connector = Clerk("connector", at_once=desk.clerk.at_once)
        self.phase: Phase = "starting"
        self.why, self.rehearsal = "", plan.rehearse
        self.seed, self.task, self.instruction = plan.seed, "", plan.instruction
        self.began = self.reset_ends = 0.0
        self.homing = False
        self.senses = False  # whether the robot may be asked what it senses
        self._retry, self._backoff = 0.0, BACKOFF

    # -- the usual round -----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Connect, check, lay out the first scene; then ready."""
        self.phase = "starting"

        def work() -> None:
            self.robot.connect()
            check_robot(self.robot)
            self._lay()
            self.drive.device.start(self.robot)
            self.drive.begin()

        self.connector.give(work, lambda _: self._connected(), self._unconnected)

    def start(self) -> None:
        if self.desk.opening or self.desk.clerk.busy:
            self.said("one moment, the last episode is still being written")
        elif self.rehearsal or self.desk.recorder is None:
            self._running()
        else:
            extra = {"device": self.drive.device.name, "seed": self.seed, "world_task": self.task or None}
            self.desk.begin(self.instruction, extra, self._running)

    def stop(self, why: str = "") -> None:
        self.desk.end(why)
        if self.desk.open:
            self.phase = "review"
            self.said("keep or discard?")
        else:
            self.reset()

    def keep(self) -> None:
        if not self.desk.open:
            self.said("there is no episode to keep")
            return
        self.desk.keep()
        self.reset()

    def discard(self, same: bool = False) -> None:
        """Throw the episode away. same: the same scene again."""
        if self.desk.open:
            self.desk.discard("thrown away; the same again" if same else "thrown away")
        self.reset(same)

    def reset(self, same: bool = False) -> None:
        """Between episodes: the next scene, or time to set it up."""
        if self.phase in ("held", "fault"):
            return
        self.phase, self.reset_ends = "reset", self.now() + self.plan.reset_seconds
        self.seed += 0 if same else 1
        self._anew()

    def ready(self) -> None:
        """The scene is set up."""
        if self.connector.busy:
            self.said("one moment, the scene is being laid out")
            return
        self.phase = "ready"

    def go_home(self) -> None:
        if getattr(self.robot, "home", None) is None:
            self.said("this robot has no start pose")
        else:
            self.phase, self.homing = "approach", True
            self.drive.rejoin()

    def finish(self) -> None:
        """Nothing more comes."""
        self.phase = "done"

    # -- what interrupts -----------------------------------------------------------------------------------

    def hold(self, why: str) -> None:
        """Stay where it is until `release`; an episode that runs has ended."""
        self.desk.end(why)
        if self.phase not in ("fault", "starting", "done"):
            self.phase, self.why = "held", why
            self.robot.hold()

    def release(self) -> None:
        """Go on from where the robot is, slowly."""
        self.why = ""
        self.drive.rejoin()
        self.phase = "review" if self.desk.open else self._first_phase()

    def fault(self, why: str) -> None:
        """Robot, camera or device fail: the episode is kept up to here and marked, and they are looked for again."""
        if self.desk.running:
            self.desk.end(why)
            if self.desk.rows >= LEAST * self.plan.fps:
                self.desk.keep()
            else:
                self.desk.discard(f"too short to keep: {why}")
        self.phase, self.why, self.senses = "fault", why, False
        self._backoff = BACKOFF
        self._retry = self.now() + self._backoff
        self.connector.give(self.robot.hold, lambda _: None, lambda _: None)

    def mend(self) -> None:
        """While faulty, once a tick: try again when it is time to."""
        if self.connector.busy or self.now() < self._retry:
            return

        def work() -> None:
            self.drive.device.stop()
            self.robot.disconnect()
            self.robot.connect()
            check_robot(self.robot)
            self.drive.device.start(self.robot)
            self.drive.begin()

        self.connector.give(work, lambda _: self._mended(), self._unconnected)

    def use(self, device: Device) -> None:
        """Another device; its start may take a while."""

        def failed(problem: Exception) -> None:
            self.said(f"{device.name}: {problem}")

        before = self.drive.device
        if device is before:
            self.said(f"{device.name} drives already")
            return
        self.connector.give(lambda: device.start(self.robot), lambda _: self._used(before, device), failed)

    # -- inside ----------------------------------------------------------------------------------------------

    def _used(self, before: Device, device: Device) -> None:
        before.stop()
        self.drive.device, self.drive.actor = device, actors(device)[0]
        self.drive.rejoin()
        self.said(f"{device.name} drives now")

    def _running(self) -> None:
        if getattr(self.drive.device, "autonomous", False):
            self.drive.device.start(self.robot)  # a policy begins an episode without the last one's actions
        self.phase, self.began = "recording", self.now()
        self.said("rehearsing, nothing is recorded" if not self.desk.running else "recording")

    def _lay(self) -> None:
        """In the connector's thread: the scene of the seed."""
        if isinstance(self.robot, Resettable):
            tasks = self.plan.tasks
            self.robot.reset(self.seed, self.task or (tasks[self.seed % len(tasks)] if tasks else None))

    def _anew(self) -> None:
        """Lay out the scene and begin again in it; robots without one go on as they are."""
        if not isinstance(self.robot, Resettable):
            return
        self.senses = False

        def work() -> None:
            self._lay()
            self.drive.device.start(self.robot)
            self.drive.begin()

        self.connector.give(work, lambda _: self._scene(), lambda problem: self.fault(f"{problem}"))

    def _scene(self) -> None:
        self.senses = True
        if isinstance(self.robot, Resettable) and not self.plan.instruction:
            self.instruction = self.robot.instruction

    def _connected(self) -> None:
        self._scene()
        self.phase = self._first_phase()

    def _mended(self) -> None:
        self.senses, self.why = True, ""
        self.said("the robot is back")
        self.phase = "reset"
        if self.desk.open:
            self.phase = "review"
        else:
            self.reset()

    def _unconnected(self, problem: Exception) -> None:
        self.phase, self.why, self.senses = "fault", f"{problem}", False
        self._backoff = min(2 * self._backoff, BACKOFF_MOST)
        self._retry = self.now() + self._backoff

    def _first_phase(self) -> Phase:
        self.homing = getattr(self.robot, "home", None) is not None
        return "approach" if self.homing or getattr(self.drive.device, "leads", False) else "ready"
