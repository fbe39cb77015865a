"""What a person may order, and when; whatever is out of place is answered in words and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from collectors.teleop.messages import Order, Phase
from dataengine.robot import Resettable

if TYPE_CHECKING:
    from collectors.teleop.session import Session

Doing = Callable[["Session", Order], None]

_BETWEEN: tuple[Phase, ...] = ("ready", "reset", "approach")
_JUDGED: tuple[Phase, ...] = ("recording", "review", "held", "fault")

# In which phases an order makes sense; those that are not named here always do.
PLACES: Mapping[str, tuple[Phase, ...]] = {
    "start": ("ready", "reset"),
    "stop": ("recording",),
    "keep": _JUDGED,
    "discard": _JUDGED,
    "redo": ("recording", "review", "ready", "reset"),
    "undo": (*_BETWEEN, "held", "fault"),
    "success": _JUDGED,
    "failure": _JUDGED,
    "release": ("held",),
    "takeover": ("recording", "ready"),
    "handback": ("recording", "ready"),
    "reset": (*_BETWEEN, "review"),
    "home": ("ready", "reset"),
    "rehearse": _BETWEEN,
    "device": (*_BETWEEN, "review"),
    "task": _BETWEEN,
}


def carry_out(session: Session, order: Order) -> None:
    """Do it, or say why not."""
    course = session.course
    if course.phase == "done" and order.name != "estop":
        session.say("the session is over")
    elif course.phase not in PLACES.get(order.name, (course.phase,)):
        session.say(f"{order.name}: not while {_WHILE.get(course.phase, course.phase)}")
    else:
        _DOINGS[order.name](session, order)


_WHILE: Mapping[str, str] = {
    "starting": "the robot is being connected",
    "approach": "the robot is on its way to the first pose",
    "ready": "nothing is recorded",
    "recording": "an episode is recorded",
    "review": "an episode waits for keep or discard",
    "reset": "the scene is being set up",
    "held": "the robot is held; release it first",
    "fault": "something is broken",
}


def _next(session: Session, order: Order) -> None:
    course = session.course
    if course.phase == "recording":
        course.stop()
    elif course.phase == "review":
        session.keep()
    elif course.phase == "reset":
        course.ready()
    elif course.phase == "ready":
        course.start()
    else:
        session.say(f"next: not while {_WHILE[course.phase]}")


def _start(session: Session, order: Order) -> None:
    if session.course.phase == "reset":
        session.course.ready()
    if session.course.phase == "ready":
        session.course.start()


def _keep(session: Session, order: Order) -> None:
    session.keep()


def _discard(session: Session, order: Order) -> None:
    session.course.discard()


def _redo(session: Session, order: Order) -> None:
    session.course.discard(same=True)
    session.say("the same scene again")


def _undo(session: Session, order: Order) -> None:
    if session.desk.clerk.busy:
        session.say("one moment, the last episode is still being written")
    else:
        session.desk.undo()


def _judge(session: Session, order: Order) -> None:
    if not session.desk.open:
        session.say("there is no episode to judge")
        return
    session.desk.notes.success, session.desk.notes.judged = order.name == "success", True
    session.say(f"judged a {order.name}")


def _estop(session: Session, order: Order) -> None:
    session.course.hold("emergency stop")
    session.say("stopped; release to go on")


def _release(session: Session, order: Order) -> None:
    session.course.release()
    session.say("released; the robot goes on slowly from where it is")


def _change_actor(session: Session, order: Order) -> None:
    change = getattr(session.drive.device, order.name, None)
    if change is None:
        session.say(f"{order.name}: {session.drive.device.name} acts alone; choose a device with a person beside it")
    else:
        change()
        session.say("you act now" if order.name == "takeover" else "handed back")


def _reset(session: Session, order: Order) -> None:
    if session.course.phase == "review":
        session.say("keep or discard first")
    else:
        session.course.reset()
        session.say("the next scene")


def _home(session: Session, order: Order) -> None:
    session.course.go_home()


def _instruct(session: Session, order: Order) -> None:
    session.course.instruction = order.text
    if session.desk.open:
        session.desk.notes.task = order.text
    session.say(f"instruction: {order.text}")


def _note(session: Session, order: Order) -> None:
    if session.desk.open:
        session.desk.notes.note = order.text
        session.say("noted")
    else:
        session.say("note: there is no episode it could stand with")


def _flag(session: Session, order: Order) -> None:
    if session.desk.open:
        session.desk.notes.flagged = order.on
        session.say("flagged for a second look" if order.on else "no longer flagged")
    else:
        session.say("flag: there is no episode at hand")


def _rehearse(session: Session, order: Order) -> None:
    session.course.rehearsal = order.on
    session.say("rehearsal: nothing is recorded" if order.on else "episodes are recorded again")


def _device(session: Session, order: Order) -> None:
    device = session.devices.get(order.text)
    if device is None:
        session.say(f"there is no device {order.text!r} here; there are {', '.join(session.devices)}")
    else:
        session.course.use(device)


def _task(session: Session, order: Order) -> None:
    robot = session.robot
    if not isinstance(robot, Resettable) or order.text not in robot.tasks:
        known = ", ".join(robot.tasks) if isinstance(robot, Resettable) else "none of its own: edit the instruction"
        session.say(f"there is no task {order.text!r} here; there are {known}")
    else:
        session.course.task = order.text
        session.course.reset(same=True)


def _finish(session: Session, order: Order) -> None:
    if session.desk.open:
        session.say("keep or discard the episode first")
    else:
        session.course.finish()


_DOINGS: Mapping[str, Doing] = {
    "next": _next,
    "start": _start,
    "stop": lambda session, order: session.course.stop(),
    "keep": _keep,
    "discard": _discard,
    "redo": _redo,
    "undo": _undo,
    "success": _judge,
    "failure": _judge,
    "estop": _estop,
    "release": _release,
    "takeover": _change_actor,
    "handback": _change_actor,
    "reset": _reset,
    "home": _home,
    "instruct": _instruct,
    "note": _note,
    "flag": _flag,
    "rehearse": _rehearse,
    "device": _device,
    "task": _task,
    "finish": _finish,
}
