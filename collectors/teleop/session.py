"""One sitting: the loop that drives and records, and what pages, terminals and signals may ask of it meanwhile.

`run` is the loop's thread. `order`, `input`, `status`, `pictures` and `stop_now` may be called from any other; they
wait for nothing, and nothing in the loop waits for them.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from collectors.recorder import Recorder, Tick
from collectors.teleop import orders
from collectors.teleop.clerk import Clerk
from collectors.teleop.course import Course
from collectors.teleop.desk import Desk
from collectors.teleop.drive import Drive, Move
from collectors.teleop.faults import STALE_BODY, Watch
from collectors.teleop.framing import Framing
from collectors.teleop.inputs import Inputs
from collectors.teleop.loop import Beat, Clock, Metronome, SystemClock, tidy
from collectors.teleop.messages import Input, Order, Status
from collectors.teleop.plan import Plan
from collectors.teleop.safety import DEADMAN, Watchdog, missing
from collectors.teleop.status import Rates, Reporter
from dataengine.errors import DataEngineError
from dataengine.robot import Device, Resettable, Robot, Sample

STATUS_EVERY = 0.1  # [s]


class Session:
    """robot, devices: who moves, and who may say how; the first device drives at first. recorder: None to rehearse.
    framing: the last session's pictures. clock: another time than the machine's; then nothing happens in
    other threads. Implements `messages.Sitting`.
    """

    def __init__(
        self,
        robot: Robot,
        devices: Mapping[str, Device],
        plan: Plan,
        recorder: Recorder | None = None,
        framing: Framing | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.robot, self.devices, self.plan, self.recorder, self.framing = robot, devices, plan, recorder, framing
        self.clock = clock or SystemClock()
        self.metronome = Metronome(plan.fps, self.clock)
        self.inputs = Inputs(self.clock.now)
        for device in devices.values():
            if hasattr(device, "inputs"):
                device.inputs = self.inputs
        self.drive = Drive(robot, next(iter(devices.values())), plan.fps)
        self.desk = Desk(recorder, Clerk("clerk", at_once=clock is not None), self.say, not plan.alone)
        self.course: Course = Course(robot, self.drive, self.desk, plan, self.say, self.clock.now)
        self.watch = Watch({})
        self.watchdog = Watchdog(robot.hold, self.clock.now)
        self.rates, self.reporter = Rates(), Reporter(self)
        self.observation: Mapping[str, Sample] = {}
        self.said, self.holding, self.missed = "", "", 0
        self.progress: float | None = None
        self.started = self.clock.now()
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._status: Status | None = None
        self._published, self._succeeded = -np.inf, 0.0
        self._stopping = self._ending = False

    # -- for any thread ------------------------------------------------------------------------------------

    def order(self, order: Order) -> None:
        if order.name == "estop":
            self.stop_now()
        else:
            self._orders.put(order)

    def stop_now(self) -> None:
        """Emergency stop: the watchdog holds the robot within its next 20 ms, whatever the loop is doing."""
        self._stopping = True
        self.watchdog.demand()

    def end(self) -> None:
        """Hold the robot and end the session; an episode that nobody judged is kept and marked."""
        self._ending = True
        self.stop_now()

    def input(self, given: Input) -> None:
        self.inputs.take(given)

    def status(self) -> Status:
        status = self._status
        if status is None:
            status = self._status = self.reporter.make(self.clock.now())
        if self.watchdog.silent > DEADMAN:
            stuck = f"The loop has been stuck for {self.watchdog.silent:.1f} s; the robot is held. Check its cables."
            return replace(status, trouble=(stuck, *status.trouble))
        return status

    def pictures(self) -> Mapping[str, np.ndarray]:
        newest = getattr(self.robot, "newest", None)  # fresher than the loop's, where drawing has a thread
        seen = newest() if newest is not None else self.observation
        return {key: s.value for key, s in seen.items() if s.value.ndim == 3 and s.value.dtype == np.uint8}

    def reference(self) -> Mapping[str, np.ndarray]:
        return self.framing.reference if self.framing is not None else {}

    # -- the loop --------------------------------------------------------------------------------------------

    def say(self, words: str) -> None:
        """The answer to an order, or what just happened."""
        self.said = words

    def run(self) -> None:
        """From connecting to the end. Whatever ends it, the robot is held and what lies on the desk is kept."""
        self.watchdog.start()
        self.course.prepare()
        try:
            with tidy(self.metronome) as collect:
                while self.course.phase != "done":
                    self.tick(self.metronome.wait())
                    collect()
        finally:
            self.close()

    def tick(self, beat: Beat) -> None:
        """Everything of one beat."""
        bitten = self.watchdog.beat()
        self.desk.collect()
        self.course.connector.collect()
        self._take_orders()
        if self.course.phase == "fault":
            self.course.mend()
        if self.course.senses and self.course.phase not in ("fault", "starting", "done"):
            try:
                self._live(beat, bitten)
            except DataEngineError as problem:
                self._fail(f"{problem}")
            except Exception as problem:  # drivers raise what they like; none of it may end the session
                self._fail(f"{type(problem).__name__}: {problem}")
        else:
            self.watchdog.rest()
        known = self._status is not None and self._status.phase == self.course.phase
        if not known or beat.time - self._published >= STATUS_EVERY - 1e-6:
            self._published, self._status = beat.time, self.reporter.make(beat.time)

    def keep(self) -> None:
        """Keep the episode at hand, and its first pictures for the next session."""
        self.course.keep()

    def close(self) -> None:
        """Let go of everything. An episode that nobody judged is kept and marked."""
        self.watchdog.rest()
        if self.desk.open:
            self.desk.end("the session ended")
            self.desk.stopped = self.desk.stopped or "nobody judged it"
            self.desk.keep()
        if self.framing is not None and (first := self.pictures()):
            self.framing.keep(first)
        self.desk.close()
        self.watchdog.stop()
        for device in self.devices.values():
            device.stop()
        self.course.connector.close()
        if self.course.senses:
            try:
                self.robot.hold()
            except Exception as problem:
                self.say(f"the robot could not be held: {problem}")
        self.robot.disconnect()
        self._status = self.reporter.make(self.clock.now())

    # -- inside ----------------------------------------------------------------------------------------------

    def _take_orders(self) -> None:
        if self._stopping:
            self._stopping = False
            orders.carry_out(self, Order("estop"))
        if self._ending:
            self.course.finish()
        while not self._orders.empty():
            orders.carry_out(self, self._orders.get_nowait())
            self._published = -np.inf  # whoever ordered hears at once

    def _live(self, beat: Beat, bitten: bool) -> None:
        """One beat of a robot that answers."""
        course = self.course
        if not self.watch.features:
            self.watch = self._new_watch()
        self.observation = self._seen(self.robot.observe())
        self.rates.see(self.observation)
        if not self.watch.look(self.clock.now(), self.observation):
            self._fail(self.watch.fault)
            return
        if missing(self.robot.features, self.observation):
            return  # cameras that have not drawn yet
        if bitten:
            self.drive.rejoin()
        if course.phase == "held":
            return
        if course.phase == "approach" and course.homing:
            move = self.drive.home(np.asarray(self.robot.home))  # type: ignore[attr-defined]
            if not self.drive.joining:
                course.homing = False
                course.phase = "approach" if getattr(self.drive.device, "leads", False) else "ready"
        else:
            move = self.drive.step(beat.time, self.observation, self._follows())
            if course.phase == "approach" and not self.drive.joining:
                course.phase = "ready"
        self._after(beat, move)

    def _seen(self, seen: Mapping[str, Sample]) -> Mapping[str, Sample]:
        """An observation; while something is recorded, a camera that gives none gives its last again, as of then."""
        if self.course.phase != "recording":
            return seen
        cameras = {key for key, feature in self.robot.features.items() if feature.is_camera}
        return {**{key: sample for key, sample in self.observation.items() if key in cameras}, **seen}

    def _follows(self) -> bool:
        phase = self.course.phase
        if getattr(self.drive.device, "autonomous", False):
            return phase == "recording"
        return phase in ("recording", "ready", "approach", "reset")

    def _after(self, beat: Beat, move: Move) -> None:
        course = self.course
        self.holding = move.held
        if self.drive.refused > DEADMAN:
            course.hold(move.held)
            return
        self._judge()
        if course.phase == "recording":
            self._record(beat, move)
            over = self.clock.now() - course.began
            if over >= self.plan.seconds:
                course.stop()
                self.say(f"stopped after {self.plan.seconds:g} s; keep or discard?")
            elif self.plan.alone and self._succeeded and beat.time - self._succeeded >= self.plan.settle:
                course.stop()
        elif course.phase == "reset" and beat.time >= course.reset_ends and not course.connector.busy:
            course.ready()
        elif self.plan.alone and course.phase == "ready" and not self.desk.clerk.busy:
            if self.desk.kept >= self.plan.target:
                course.finish()
            else:
                course.start()
        elif self.plan.alone and course.phase == "review" and not self.desk.clerk.busy:
            course.keep()

    def _record(self, beat: Beat, move: Move) -> None:
        self.missed += beat.missed
        if not self.desk.running:
            return
        values = getattr(self.robot, "columns_now", None)
        try:
            self.desk.add(
                Tick(
                    due=beat.due,
                    time=beat.time,
                    observation=self.observation,
                    action=move.action,
                    sent=move.sent,
                    actor=move.actor,
                    intervention=move.intervention,
                    missed=beat.missed if self.desk.rows else 0,
                    columns=values() if values is not None else {},
                )
            )
        except DataEngineError as problem:  # disk or encoder: what came before is safe
            self.course.stop(f"{problem}")
            self.say(f"{problem}")

    def _judge(self) -> None:
        """What the world says of the present moment; a person's word is never overwritten."""
        if not isinstance(self.robot, Resettable) or self.course.phase != "recording":
            return
        verdict = self.robot.verdict()
        self.progress = round(float(verdict["progress"]), 3)
        won = bool(verdict["success"])
        self._succeeded = (self._succeeded or self.clock.now()) if won else 0.0
        if self.desk.running and not self.desk.notes.judged:
            self.desk.notes.success = won

    def _new_watch(self) -> Watch:
        return Watch(self.robot.features, getattr(self.robot, "patience", STALE_BODY))

    def _fail(self, why: str) -> None:
        self.watch = self._new_watch()
        self.holding = ""
        self.course.fault(why)
        self.say(f"{why}; the session goes on when it is back")
