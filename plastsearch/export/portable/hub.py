"""The encoder as transformers' own kind of model: `AutoModelForAudioClassification` and pipelines open it.

It is run by transformers alone, in the file that it becomes a part of.
"""

from typing import Any

from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel  # noqa: TID253
from transformers.modeling_outputs import SequenceClassifierOutput  # noqa: TID253

from plastsearch.export.portable.encoder import Encoder


class PlastsearchConfig(PretrainedConfig):
    """The widths of every layer, as plain data."""

    model_type = "plastsearch"

    def __init__(self, shape: dict[str, Any] | None = None, **settings: Any) -> None:
        self.shape = shape
        super().__init__(**settings)


class PlastsearchForAudioClassification(PreTrainedModel):
    """Logits for spoof and bona fide speech."""

    config_class = PlastsearchConfig
    main_input_name = "input_values"

    def __init__(self, config: PlastsearchConfig) -> None:
        super().__init__(config)
        if config.shape is None:
            raise ValueError("config.json says no shape: it is no folder that plastsearch exported")
        self.network = Encoder(config.shape)
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        """Nothing is drawn: every weight comes from the file."""

    def forward(self, input_values: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Logits of each clip; clips of a batch have one length, since padding would be heard."""
        if attention_mask is not None and not bool(attention_mask.all()):
            raise ValueError("clips of one batch must have one length: padding would be heard")
        return SequenceClassifierOutput(logits=self.network(input_values))
