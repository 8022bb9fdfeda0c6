"""What a check has to say: one sentence that names object and field, what is wrong there, and what to do."""

from dataclasses import dataclass

from plastsearch.kubernetes.manifests import Object


@dataclass(frozen=True)
class Finding:
    """One mistake."""

    about: Object
    field: str
    said: str

    def __str__(self) -> str:
        return f"{self.about}: {self.field}: {self.said}"
