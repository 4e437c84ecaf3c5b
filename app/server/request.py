"""What a client asks for, as a value: checked for form here, and for sense by the plan."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ...core.scenario import ScenarioRequest
from ...core.spec import Spec

Name = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9._+-]+$")]


class ScenarioAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Name
    parameters: dict[Name, bool | int | float | str] = Field(default_factory=dict, max_length=50)


class Asked(BaseModel):
    """A dataset: the fields of a spec, with the domain's defaults for those that are missing."""

    model_config = ConfigDict(extra="forbid")
    domain: Name
    size: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    start: Annotated[str, Field(max_length=10)] | None = None
    end: Annotated[str, Field(max_length=10)] | None = None
    scenarios: list[ScenarioAsked] = Field(default_factory=list, max_length=50)
    set: dict[Name, Any] = Field(default_factory=dict, max_length=200)

    def spec(self) -> Spec:
        scenarios = tuple(ScenarioRequest(s.name, s.parameters) for s in self.scenarios)
        return Spec(self.domain, self.size, self.seed, self.start, self.end, scenarios, self.set)

    def command(self) -> str:
        """The command line that makes the same dataset."""
        words = ["populace", "generate", self.domain]
        for flag, value in (("--size", self.size), ("--seed", self.seed), ("--start", self.start), ("--end", self.end)):
            if value is not None:
                words += [flag, str(value)]
        for scenario in self.scenarios:
            told = ",".join(f"{k}={_flat(v)}" for k, v in scenario.parameters.items())
            words += ["--scenario", f"{scenario.name}:{told}" if told else scenario.name]
        for name, value in self.set.items():
            words += ["--set", f"{name}={_flat(value)}"]
        return shlex.join(words)

    def python(self) -> str:
        """The Python that makes the same dataset."""
        given: dict[str, Any] = {
            k: v for k, v in (("size", self.size), ("seed", self.seed), ("start", self.start), ("end", self.end)) if v
        }
        if self.scenarios:
            given["scenarios"] = [{"name": s.name, **s.parameters} if s.parameters else s.name for s in self.scenarios]
        if self.set:
            given["set"] = self.set
        words = "".join(f", {k}={v!r}" for k, v in given.items())
        return f'import populace\n\ndata = populace.generate("{self.domain}"{words})'


class RowAsked(Asked):
    """One row of a dataset, by the key of its table."""

    table: Annotated[str, Field(max_length=60, pattern=r"^[a-z_]+$")]
    key: Annotated[int, Field(ge=0, lt=2**63)]


class JobAsked(Asked):
    """A dataset to be kept: its format, or a view of the domain, or a database that the server lets clients write to."""

    format: Annotated[str, Field(max_length=20)] = "parquet"
    view: Name | None = None
    to: Annotated[str, Field(max_length=500)] | None = None


class StreamAsked(Asked):
    """A stream of a dataset's events: to a broker that the server lets clients write to, or, without `to`, kept here to be read."""

    to: Annotated[str, Field(max_length=500)] | None = None
    speed: Annotated[str, Field(max_length=20)] | None = None
    rate: Annotated[str, Field(max_length=20)] | None = None
    events: list[Name] = Field(default_factory=list, max_length=50)
    topic: Annotated[str, Field(max_length=500)] | None = None
    body: Annotated[str, Field(max_length=20_000, pattern=r"^[^@]")] = "cloudevents"
    """No file of this machine's: a template stands here itself."""

    def command(self) -> str:
        words = ["populace", "stream", *shlex.split(super().command())[2:]]
        for flag, value in (("--to", self.to), ("--speed", self.speed), ("--rate", self.rate), ("--topic", self.topic)):
            words += [flag, value] if value is not None else []
        words += [w for event in self.events for w in ("--event", event)]
        words += ["--body", self.body] if self.body != "cloudevents" else []
        return shlex.join(words)


class Told(BaseModel):
    """What is to become of a stream that plays: `pace` takes a speed or a rate, `change` scenarios that start now and priors that shift."""

    model_config = ConfigDict(extra="forbid")
    action: Literal["pause", "resume", "stop", "pace", "change"]
    speed: Annotated[str, Field(max_length=20)] | None = None
    rate: Annotated[str, Field(max_length=20)] | None = None
    scenario: list[Annotated[str, Field(max_length=500)]] = Field(default_factory=list, max_length=20)
    set: dict[Name, Any] = Field(default_factory=dict, max_length=50)

    def body(self) -> dict[str, Any]:
        """What the stream's own controls are told."""
        if self.action == "pace":
            return {k: v for k, v in (("speed", self.speed), ("rate", self.rate)) if v is not None}
        return {"scenario": self.scenario, "set": self.set} if self.action == "change" else {}


class OfJob(JobAsked):
    """What another job made."""

    of: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


def _flat(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)
