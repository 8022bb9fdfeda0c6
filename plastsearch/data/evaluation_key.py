"""Issues keys to the evaluation split. Only trial/finalist.py may import this: two import contracts say so.

The contracts are in pyproject.toml, and a test breaks them to see that they hold. Apart from evaluation.py, so that
what asks for a key, as all of `data` does, cannot make one.
"""

from plastsearch.data.evaluation import EvaluationKey, _issued


def issue(purpose: str) -> EvaluationKey:
    """A new key; whoever holds it may open the evaluation split."""
    key = object.__new__(EvaluationKey)
    key.purpose = purpose
    _issued.add(key)
    return key
