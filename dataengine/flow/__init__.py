"""Flows: a YAML file of stages, run over every episode of its sources on Dask, into one store.

Holds reading flow files, fingerprints and the result cache, what a worker does with one episode, the driver
that commits in order, quarantine, the event log, jobs on the finished store, and the report. A flow knows
parts only by name; what a stage does, and what a format looks like, stands elsewhere.
"""

from dataengine.flow.convert import convert
from dataengine.flow.events import FlowStatus, cancel, status
from dataengine.flow.plan import FlowPlan, plan_flow
from dataengine.flow.run import FlowResult, run_flow
from dataengine.flow.spec import FlowSpec, PartSpec, SourceSpec, load_flow

__all__ = [
    "FlowPlan",
    "FlowResult",
    "FlowSpec",
    "FlowStatus",
    "PartSpec",
    "SourceSpec",
    "cancel",
    "convert",
    "load_flow",
    "plan_flow",
    "run_flow",
    "status",
]
